"""How fast a text becomes ids, in how much memory: a stand-in with the layout of BookCorpus, 74 million sentences.

    python -m aeattn.benchmarks.store                           writes results/speed/store.json
    python -m aeattn.benchmarks.store --sentences 3000000 --folder DIR --no-record

The sentences are those of `tales`, in small letters. They are written to Parquet files of unequal size, one
sentence a row, and to one .txt, one a line; block after block has its letters exchanged in another way, so that
passages do not recur. A process of its own prepares each: it makes the vocabulary, both stores, and compares both
sides. Peak memory is resident memory, as the system has it; `again` is a second start, which finds everything.
Batches are drawn by memory map from its ids and from those of a text of a hundredth of its size: medians.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aeattn.benchmarks.records import checkout
from aeattn.data import tales
from aeattn.files import Json, write_json
from aeattn.hardware import describe

SENTENCES, BYTES_A_SENTENCE = 74_004_228, 65.5
SHARES = (0.31, 0.22, 0.17, 0.12, 0.08, 0.06, 0.03, 0.01)  # of the sentences in each Parquet file
TALES_CHARS = 8_000_000
FORMATS = ("parquet", "txt")
SMALL = 100  # a text so many times smaller, of which batches are drawn as well
BATCHES, BATCH, CONTEXT = 2000, 32, 256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=SENTENCES, metavar="N")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="a disk with room for twice the text; emptied")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--no-record", action="store_true", help="print what is found, and leave the record alone")
    parser.add_argument("--prepare", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        print(json.dumps(prepare(options.prepare)))
        return 0
    with _work_folder(parser, options.folder) as folder:
        found = {
            "name": "store",
            "command": ["python", "-m", "aeattn.benchmarks.store"],
            "sentences": options.sentences,
            "formats": {name: measure(Path(folder), name, options.sentences) for name in options.formats},
            "environment": describe(),
        }
    if not options.no_record:
        write_json(checkout() / "results" / "speed" / "store.json", found)
    print(json.dumps(found, indent=1))
    return 0


@contextmanager
def _work_folder(parser: argparse.ArgumentParser, parent: Path | None) -> Iterator[str]:
    """A folder in `parent`, which is made if need be, until the end of the block."""
    try:
        if parent:
            parent.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(dir=parent)
    except OSError as error:
        parser.error(f"--folder {parent}: {error.strerror}; name a folder that can be written to")
    with made as folder:
        yield folder


def measure(folder: Path, name: str, sentences: int) -> Json:
    """Write the stand-in, prepare it twice in processes of their own, and remove it; the same, once, of a smaller
    one."""
    found = _measured(folder, name, sentences, starts=2)
    small = _measured(folder, name, max(1000, sentences // SMALL), starts=1)
    return {**found, "small": {key: small[key] for key in ("text_bytes", "batch_milliseconds")}}


def _measured(folder: Path, name: str, sentences: int, starts: int) -> Json:
    text, cache = folder / name, folder / "cache"
    text.mkdir()
    start = time.perf_counter()
    size = (write_parquet if name == "parquet" else write_txt)(text, sentences)
    written = time.perf_counter() - start
    on_disk = sum(path.stat().st_size for path in text.iterdir())
    first, *again = (_prepared(text, cache) for _ in range(starts))
    kept = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    shutil.rmtree(cache)
    shutil.rmtree(text)
    return {
        "text_bytes": size, "file_bytes": on_disk, "cache_bytes": kept, "writing_seconds": written,
        "mb_per_second": size / first["seconds"] / 1e6, **first, **({"again": again[0]} if again else {}),
    }  # fmt: skip


def _prepared(text: Path, cache: Path) -> Json:
    """What a process of its own says that prepares the text; its progress goes to ours."""
    command = [sys.executable, "-m", "aeattn.benchmarks.store", "--prepare", str(text)]
    environment = {**os.environ, "AEATTN_CACHE": str(cache)}
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return dict(json.loads(found))


def prepare(name: str) -> Json:
    """Seconds until a text can be trained on, the most memory that it took, in bytes, and milliseconds to draw a
    batch of it."""
    from aeattn.data import store
    from aeattn.data.corpora import resolve

    start = time.perf_counter()
    text = store.prepare(resolve([name]), progress=lambda line: print(line, file=sys.stderr, flush=True))
    seconds = time.perf_counter() - start
    processor = sum(os.times()[:4])
    sizes = {side: len(part.ids) for side, part in (("train", text.train), ("valid", text.valid))}
    peak = peak_bytes()  # before pages of the ids are in memory as well
    return {
        "seconds": seconds, "processor_seconds": processor, "peak_bytes": peak, "ids": sizes,
        "batch_milliseconds": batch_milliseconds(text.train.ids),
    }  # fmt: skip


def batch_milliseconds(ids: npt.NDArray[Any]) -> float:
    """The median of many batches of BATCH windows of CONTEXT tokens, from anywhere in the ids."""
    from aeattn.data.batches import TrainBatches

    batches, times = TrainBatches(ids, batch=BATCH, context=CONTEXT, seed=0), []
    for step in range(BATCHES):
        start = time.perf_counter()
        batches.at(step)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def peak_bytes() -> int:
    """The most memory that this process or one of its own had at once."""
    with suppress(OSError):  # what the next line says counts the process that started this one, on Linux
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return 1024 * max(int(found[1]) if found else 0, children)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# -- the stand-in ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """Sentences one after the other, each with a line end: their bytes, and where each ends, (N,)."""

    content: bytes
    ends: npt.NDArray[np.int64]


def sentences_of_tales() -> Block:
    """Some of about BYTES_A_SENTENCE."""
    text, _ = tales.generate(TALES_CHARS)
    content = " ".join(text.lower().split()).replace(". ", " .\n").encode("ascii")
    ends = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n")) + 1
    joined = max(1, round(BYTES_A_SENTENCE * len(ends) / len(content)))
    last = np.arange(joined - 1, len(ends), joined)
    marks = np.frombuffer(content[: ends[last[-1]]], np.uint8).copy()
    marks[np.delete(ends[: last[-1] + 1], last) - 1] = ord(" ")
    return Block(marks.tobytes(), ends[last])


def blocks(sentences: int, seed: int = 0) -> Iterator[Block]:
    """So many sentences; each block has its letters exchanged in a way of its own, and so has each seed."""
    base, letters = sentences_of_tales(), np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    random = np.random.default_rng(seed)
    while sentences > 0:
        exchanged = bytes.maketrans(letters.tobytes(), random.permutation(letters).tobytes())
        count = min(sentences, len(base.ends))
        yield Block(base.content[: base.ends[count - 1]].translate(exchanged), base.ends[:count])
        sentences -= count


def write_txt(folder: Path, sentences: int) -> int:
    """One file, a sentence a line; returns the bytes of text."""
    with (folder / "sentences.txt").open("wb") as file:
        return sum(file.write(block.content) for block in blocks(sentences))


def write_parquet(folder: Path, sentences: int) -> int:
    """Files of unequal size, a sentence a row in the column `text`."""
    size = 0
    counts = [round(share * sentences) for share in SHARES[1:]]
    for number, count in enumerate([sentences - sum(counts), *counts]):
        if count:
            size += _write_parquet(folder / f"{number:04}.parquet", count, seed=number)
    return size


def _write_parquet(path: Path, sentences: int, seed: int) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema: Any = pa.schema([("text", pa.string())])
    size = 0
    with pq.ParquetWriter(path, schema) as writer:
        for block in blocks(sentences, seed):
            count, content = len(block.ends), block.content.replace(b"\n", b"")
            starts = np.concatenate([[0], block.ends - np.arange(1, count + 1)]).astype(np.int32)
            rows = pa.StringArray.from_buffers(count, pa.py_buffer(starts), pa.py_buffer(content))
            writer.write_table(pa.table([rows], schema=schema), row_group_size=1 << 16)
            size += len(content)
    return size


if __name__ == "__main__":
    sys.exit(main())
