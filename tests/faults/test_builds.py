"""Builds of stores in processes of their own, killed and at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.conftest import Tally
from tests.faults.harness import FULL, ROOT

SCRIPT = """
import sys, time
from pathlib import Path
from aeattn.config.text import TextOptions
from aeattn.data import build
from aeattn.data.corpora import Document
from aeattn.data.store import build_store
from aeattn.data.tokenizer import CharTokenizer

build.JOURNAL_SECONDS = 0.0

class Slow(CharTokenizer):
    def encode(self, text, unknown=None, strict=False):
        time.sleep(0.01)
        return super().encode(text, unknown, strict)

texts = sorted(Path(sys.argv[1]).iterdir())
documents = [Document(path.name, path=path, limit=60_000) for path in texts]
say = lambda line: print(line, flush=True)
found = build_store(documents, Slow(" abcd"), TextOptions(), Path(sys.argv[2]), say)
print(found.sha256, sum(len(d) for d in found.documents), found.unknown.total())
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, draw = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    for number in range(20):
        letters = draw.choice(list("abcde "), 60_000 if number % 3 else 500)
        (folder / f"{number:02}.txt").write_text("".join(letters), encoding="utf-8")
    return folder


def start(texts: Path, store: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", SCRIPT, str(texts), str(store)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def answer(process: subprocess.Popen[str]) -> str:
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0
    return output.strip().splitlines()[-1]


def test_a_build_that_is_killed_at_any_moment_goes_on(texts: Path, tmp_path: Path, tally: Tally) -> None:
    whole, draw = answer(start(texts, tmp_path / "whole.ids")), random.Random(7)
    for _ in range(20 if FULL else 1):
        store, partial = tmp_path / "a.ids", tmp_path / ".a.ids.partial"
        sizes = sorted(draw.sample(range(1, 800_000), 3 if FULL else 1))
        for size in sizes:
            process = start(texts, store)
            while process.poll() is None and (not partial.exists() or partial.stat().st_size < size):
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        left = partial.exists() and (tmp_path / ".a.ids.journal").exists()
        process = start(texts, store)
        output = process.communicate(timeout=120)[0].strip().splitlines()
        right = output[-1] == whole and (not left or "going on after" in output[0])
        assert tally.count("killed builds of stores right", right), output
        assert not list(tmp_path.glob(".a.ids*"))
        store.unlink()
        (tmp_path / "a.ids.json").unlink()


def test_two_processes_build_the_same_store(texts: Path, tmp_path: Path, tally: Tally) -> None:
    for number in range(10 if FULL else 1):
        both = [start(texts, tmp_path / f"{number}.ids") for _ in range(2)]
        answers = {answer(process) for process in both}
        assert tally.count("stores built twice at once right", len(answers) == 1), answers
        assert sorted(path.name for path in tmp_path.glob(f"*{number}.ids*")) == [
            f"{number}.ids",
            f"{number}.ids.json",
        ]


WHOLE = """
import sys, time
from aeattn.data import build, drawn, sides, small
from aeattn.data.corpora import resolve
from aeattn.data.store import prepare
from aeattn.data.quality import quality

build.JOURNAL_SECONDS, drawn.WORTH, sides.MOST_BYTES, sides.FEW_ROWS, small.MOST_TEXTS = 0.0, 0, 20_000, 20, 16
for name in ("_encode_group", "_note"):
    def slowly(self, *arguments, call=getattr(build.Build, name)):
        time.sleep(0.005)
        return call(self, *arguments)
    setattr(build.Build, name, slowly)
corpus = resolve([sys.argv[1]])
found = prepare(corpus, spec=sys.argv[2])
rows = quality((corpus.train, found.train), (corpus.valid, found.valid), corpus.options)
print(found.train.sha256, found.valid.sha256, found.tokenizer.digest, rows.to_dict())
"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parquet files of rows, and many small texts."""
    folder, draw = tmp_path_factory.mktemp("mixed"), np.random.default_rng(0)
    texts = ["".join(draw.choice(list("abc, é"), int(draw.integers(1, 60)))) for _ in range(9000)]
    for number in range(3):
        rows = texts[3000 * number : 3000 * (number + 1)]
        pq.write_table(pa.table({"text": rows}), folder / f"{number}.parquet", row_group_size=400)
    for number in range(150):
        (folder / f"{number:03}.txt").write_text(texts[number] * 9, encoding="utf-8")
    return folder


@pytest.mark.parametrize("spec", ["char", "bpe:300"])
def test_tables_and_small_texts_go_on_after_any_number_of_kills(
    mixed: Path, tmp_path: Path, tally: Tally, spec: str
) -> None:
    def begin(cache: Path) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "AEATTN_CACHE": str(cache)}
        command = [sys.executable, "-c", WHOLE, str(mixed), spec]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    whole, draw = answer(begin(tmp_path / "whole")), random.Random(11)
    for number in range(20 if FULL else 1):
        cache = tmp_path / str(number)
        for files in sorted(draw.sample(range(1, 16), 5 if FULL else 2)):
            process = begin(cache)
            while process.poll() is None and sum(path.is_file() for path in cache.rglob("*")) < files:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert tally.count("killed preparations right", answer(begin(cache)) == whole)
        assert not list(cache.glob("stores/.*.partial"))
