"""Tables of texts: every format gives the same rows, whole rows stay on one side, what is broken is refused."""

from __future__ import annotations

import builtins
import csv
import gzip
import io
import json
import os
import random
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aeattn.config.text import TextOptions
from aeattn.data import opening, rows, sides, splits
from aeattn.data.corpora import Corpus, Document, resolve
from aeattn.data.documents import Rows
from aeattn.data.splits import Blocks, Draw
from aeattn.data.tables import choose, count_rows, format_of, table
from aeattn.errors import InputError

TEXTS = ['Once, "twice"\nand\tthrice.', "Zwölf Bücher — 中文 😀", "a\rb", "", "  spaces ", "last one"]
FORMATS = ["parquet", "arrow", "stream.arrow", "jsonl", "ndjson", "csv", "tsv"]
PACKED = [f"{kind}.{how}" for kind in ("jsonl", "csv", "tsv") for how in ("gz", "zst")]
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=30)


def write(path: Path, texts: list[str | None], column: str = "text", **others: list[Any]) -> Path:
    """A table of this one column, and of others, in the format that the file's name says."""
    columns = {**others, column: texts}
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".parquet"):
        pq.write_table(pa.table(columns), path, row_group_size=4)
    elif name.endswith(".arrow"):
        found = pa.table(columns)
        new = pa.ipc.new_stream if "stream" in name else pa.ipc.new_file
        with new(str(path), found.schema) as writer:
            writer.write_table(found, max_chunksize=3)
    else:
        packed = _lines(name, columns).encode()
        packed = gzip.compress(packed, mtime=0) if path.suffix == ".gz" else packed
        path.write_bytes(zstandard.compress(packed) if path.suffix == ".zst" else packed)
    return path


def _lines(name: str, columns: dict[str, list[Any]]) -> str:
    table = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if name.endswith(("jsonl", "ndjson")):
        return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in table)
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, delimiter="\t" if name.endswith("tsv") else ",", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue()


def read(documents: tuple[Document, ...]) -> str:
    return "".join(chunk for document in documents for chunk in document.chunks(TextOptions()))


def texts_of(documents: tuple[Document, ...]) -> list[str]:
    return [text for text in read(documents).split("\n\n") if text]


def whole(path: Path, **options: Any) -> str:
    """The text of a table that is named to validate on, and so is not split."""
    other = path.parent / "other.txt"
    other.write_text("other")
    return read(resolve([str(other)], valid=[str(path)], **options).valid)


@pytest.mark.parametrize("kind", FORMATS + PACKED)
def test_every_format_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"a.{kind}", [*TEXTS], number=list(range(6)), title=["t"] * 6)
    wanted = [text.replace("\r", "\n") for text in TEXTS if text]
    assert whole(path) == "".join(f"{text}\n\n" for text in wanted)
    assert whole(path, rows="lines") == "".join(f"{text}\n" for text in wanted)
    assert whole(path, column="title") == "t\n\n" * 6
    assert count_rows(path, "text") == 6


@given(st.lists(words | st.none(), min_size=1, max_size=9))
@example(["a" * 40_000, "b" * 70_000, "é"])
def test_batches_of_arrow_are_those_of_strings(found: list[str | None]) -> None:
    slow: list[str | None] = rows.with_text([None, *found, ""])
    fast = rows.with_text(pa.array([None, *found, ""], pa.large_string()))
    assert rows.texts(fast) == slow
    if not slow:
        return
    hashes = rows.hashes(slow)
    assert hashes.tolist() == rows.hashes(fast).tolist() == [int(rows.hashes([text])[0]) for text in slow]
    assert len(set(hashes.tolist())) == len(set(slow))
    assert rows.running(fast, "\n\n") == rows.running(slow, "\n\n")
    mask = hashes % np.uint64(2) == 0
    assert rows.texts(rows.chosen(fast, mask)) == rows.chosen(slow, mask)
    assert rows.sizes(fast).tolist() == [len((text or "").encode()) for text in slow]
    for batch in (fast, slow, rows.part(fast, 1, 9)):
        again = rows.from_bytes(*rows.as_bytes(batch), of_arrow=not isinstance(batch, list))
        assert rows.texts(again) == rows.texts(batch)
    assert rows.texts(rows.part(fast, -2, 1)) == rows.part(slow, -2, 1) == slow[:1]


OPTIONS = [TextOptions(), TextOptions(lower=True, ascii=True), TextOptions(unwrap=True), TextOptions(keep="ab\n")]


@settings(max_examples=40)
@given(st.lists(words | st.none(), max_size=9), st.sampled_from(OPTIONS), st.sampled_from(["\n", "\n\n"]))
@example(["\r", "\n\ufeff"], OPTIONS[0], "\n")
def test_characters_in_any_order_are_those_of_the_text(
    tmp_path_factory: pytest.TempPathFactory, found: list[str | None], options: TextOptions, end: str
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    for name in ("a.parquet", "b.jsonl"):
        path = write(folder / name, ["x", *found])
        document = Document(
            "a", path=path, rows=Rows("text", end), more=(Document("b", path=path, rows=Rows("text", end)),)
        )
        for each in (document, replace(document, limit=7, more=()), replace(document, start=0.5, more=())):
            assert set("".join(each.characters(options))) == set("".join(each.chunks(options)))


def test_a_column_is_guessed_or_asked_for() -> None:
    columns = {"id": "numbers (int64)", "title": "text", "Content": "text"}
    assert choose(columns, None, "a") == "Content"
    assert choose(columns, "title", "a") == "title"
    assert choose({"x": "text"}, None, "a") == "x"
    for found, wanted, message in (
        (columns, "id", r"the column 'id' holds numbers \(int64\); columns of text are 'title', 'Content'"),
        (columns, "body", "the column 'body' is not there; columns of text are"),
        ({"a": "text", "b": "text"}, None, "which column is the text\\? Name one with --column: 'a', 'b'"),
        ({"id": "numbers"}, None, "no column holds text \\('id': numbers\\)"),
        ({}, None, "no column holds text \\(it has none\\)"),
    ):
        with pytest.raises(InputError, match=message):
            choose(found, wanted, "a")


@pytest.mark.parametrize("kind", FORMATS)
def test_numbers_are_no_text(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"a.{kind}", ["a", "b"], label=[1, 2])
    with pytest.raises(InputError, match=r"the column 'label' holds numbers.*columns of text are 'text'"):
        resolve([str(path)], column="label")
    with pytest.raises(InputError, match="the column 'nope' is not there"):
        resolve([str(path)], column="nope")


def test_tables_and_texts_mix_in_folders_and_globs(tmp_path: Path) -> None:
    for number, kind in enumerate(["parquet", "jsonl.zst", "csv.gz", "tsv", "arrow"]):
        write(tmp_path / f"{number}.{kind}", [f"row {number} {row} " + "x" * 50 for row in range(8)])
    write(tmp_path / "meta.csv", ["x"], "title", author=["y"])
    for name, packed in (("a.txt.zst", zstandard.compress(b"one text " * 9)), ("b.txt", b"another text " * 9)):
        (tmp_path / name).write_bytes(packed)
    for name in (str(tmp_path), f"{tmp_path}/*"):
        corpus = resolve([name])
        both = read(corpus.train) + read(corpus.valid)
        assert sorted(set(both.split()) - {"row", "x" * 50}) == sorted({*"01234567", "one", "another", "text"})
        assert any("the text is the column 'text' of 5 table(s)" in note for note in corpus.notes)
        assert any("passed over" in note and "which column is the text?" in note for note in corpus.notes)
    with pytest.raises(InputError, match=r"meta\.csv: which column is the text\?"):
        resolve([f"{tmp_path}/meta.csv"])


# Sides


def sides_of(corpus: Corpus) -> tuple[list[str], list[str]]:
    return texts_of(corpus.train), texts_of(corpus.valid)


def made(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [f"text {number} " + "ab c" * draw.randrange(1, 60) for number in range(count)]


@pytest.mark.parametrize("count", [2, 3, 40, 1800])
def test_rows_are_split_whole_and_by_their_text(tmp_path: Path, count: int) -> None:
    texts = made(count)
    shuffled = random.Random(1).sample(texts, count)
    write(tmp_path / "a.parquet", [*texts[: count // 3 + 1]])
    write(tmp_path / "b.jsonl", [*texts[count // 3 + 1 :], *texts[:2]])
    write(tmp_path / "moved.csv", [*shuffled])
    train, valid = sides_of(resolve([f"{tmp_path}/[ab].*"], seed=3))
    assert sorted({*train, *valid}) == sorted(texts)
    assert not set(train) & set(valid)
    assert train
    assert valid
    if count >= 40:
        assert 0.04 < sum(map(len, valid)) / sum(map(len, texts)) < 0.16
        assert set(sides_of(resolve([f"{tmp_path}/[ab].*"], seed=4))[1]) != set(valid)
    assert {frozenset(side) for side in sides_of(resolve([f"{tmp_path}/moved.csv"], seed=3))} == {
        frozenset(train), frozenset(valid)
    }  # fmt: skip


def test_a_single_row_is_split_in_order(tmp_path: Path) -> None:
    corpus = resolve([str(write(tmp_path / "a.jsonl", ["0123456789" * 10, "", None]))])
    assert read(corpus.train) == ("0123456789" * 10)[:91]
    assert read(corpus.train) + read(corpus.valid) == "0123456789" * 10 + "\n\n"


def test_of_many_texts_so_many_validate_that_it_takes_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "FEW_ROWS", 10)
    monkeypatch.setattr(sides, "MOST_BYTES", 2000)
    path = write(tmp_path / "a.jsonl", [*made(400)])
    (tmp_path / "b.txt").write_text("a text")
    corpus = resolve([str(tmp_path)])
    assert 300 < len(read(corpus.valid)) < 6000
    assert any("of the rows" in note for note in corpus.notes)
    assert path.stat().st_size > 40_000
    assert "a text" in read(corpus.train)


@given(st.integers(1, 3000), st.integers(1, 5), st.integers(1, 400))
def test_blocks_are_apart(count: int, blocks: int, most: int) -> None:
    train, valid = (Blocks(side, blocks, most).ranges(count) for side in (False, True))
    borders = sorted([*((a, b, "train") for a, b in train), *((a, b, "valid") for a, b in valid)])
    assert all(0 <= a < b <= count for a, b, _ in borders)
    assert all(before[1] <= after[0] for before, after in pairwise(borders))
    gaps = [after[0] - before[1] for before, after in pairwise(borders) if before[2] != after[2]]
    assert valid
    if count >= 100:
        assert train
        assert min(gaps) >= min(splits.GAP_ROWS, int(count * 0.1 / blocks), count // 100) >= 1
        assert sum(b - a for a, b in valid) <= count * 0.1


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_lines_of_one_text_are_split_in_blocks_with_gaps(tmp_path: Path, kind: str) -> None:
    lines = [f"sentence {number} ." for number in range(1000)]
    path = write(tmp_path / f"a.{kind}", [*lines])
    corpus = resolve([str(path)], rows="lines")
    train, valid = (read(side).splitlines() for side in (corpus.train, corpus.valid))
    assert (len(train), len(valid)) == (700, 100)
    assert [line for line in lines if line in {*train, *valid}] == sorted(
        [*train, *valid], key=lambda line: int(line.split()[1])
    )
    places = {line: number for number, line in enumerate(lines)}
    assert min(abs(places[a] - places[b]) for a in valid for b in train) > 20


def test_what_a_table_is_known_by_says_which_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*made(30), "x"])
    found = [
        json.dumps(document.identity())
        for options in ({}, {"seed": 1}, {"rows": "lines"})
        for document in (lambda c: (*c.train, *c.valid))(resolve([str(path)], **options))
    ]
    assert len(set(found)) == 6
    assert Draw(0, True, few=(1, 2)).identity() == Draw(0, True, few=(2, 1)).identity()


# What is broken


def broken(folder: Path) -> Iterator[tuple[Path, str]]:
    good = json.dumps({"text": "once upon a time"}) + "\n"
    big = [f"row {number} " + os.urandom(400).hex() for number in range(200)]
    for name in ("half.parquet", "half.arrow"):
        data = write(folder / name, big).read_bytes()  # type: ignore[arg-type]
        (folder / name).write_bytes(data[: len(data) // 2])
        yield folder / name, f"broken {'Parquet' if 'parquet' in name else 'Arrow'} file"
    for name, pack, kind in (
        ("a.jsonl.gz", gzip.compress, "gzip"),
        ("a.csv.zst", zstandard.compress, "Zstandard"),
    ):
        (folder / name).write_bytes(pack(good.encode() * 9 if "json" in name else b"text\nx\n" * 9)[:-6])
        yield folder / name, f"broken {kind} file"
    contents = {
        "empty.parquet": (b"", "broken Parquet file"),
        "empty.jsonl": (b"", "no column holds text"),
        "list.jsonl": ((good + "[1]\n").encode(), "line 2 is a list, not an object"),
        "cut.jsonl": ((good + good[:-9]).encode(), "line 2 is no JSON"),
        "late.jsonl": ((good * 1500 + '{"text": 3}\n').encode(), "line 1,501: .*'text' holds numbers, not text"),
        "surrogate.jsonl": ((good * 1500 + '{"text": "\\ud83d"}\n').encode(), "line 1,501"),
        "later.jsonl": ((good * 1500 + "3\n").encode(), "line 1,501 is a number, not an object"),
        "ragged.csv": (b"id,text\n1,a\n2,b,c\n", "line 3: 3 columns where the header has 2"),
        "quote.csv": (b'id,text\n1,a\n2,"b\n', "line 3: unexpected end of data"),
        "latin.jsonl": (good.encode() + '{"text": "caf\u00e9"}\n'.encode("latin-1"), "not UTF-8 at byte 42"),
        "latin.csv": ("text\ncaf\u00e9\n".encode("latin-1"), "not UTF-8 at byte 8"),
        "latin.tsv": ("text\ncaf\u00e9\n".encode("latin-1"), "not UTF-8 at byte 8"),
        "utf16.csv": ("text\na\n".encode("utf-16"), "is UTF-16"),
        "a.txt.zst": (b"plain text", "broken Zstandard file"),
    }
    for name, (content, message) in contents.items():
        (folder / name).write_bytes(content)
        yield folder / name, message
    latin = pa.array([b"fine", "caf\u00e9".encode("latin-1")]).view(pa.string())
    pq.write_table(pa.table({"text": latin}), folder / "latin.parquet")
    for number, ends in enumerate([(0, 2**30, 6), (0, -5, 6), (3, 1, 6), (-(2**30), 3, 6), (0, 3, 2**30)]):
        path = write(folder / f"ends-{number}.arrow", ["abc", "def"])
        path.write_bytes(path.read_bytes().replace(struct.pack("<3i", 0, 3, 6), struct.pack("<3i", *ends)))
        yield path, "broken Arrow file"
    yield folder / "latin.parquet", "a text in the column 'text' is not UTF-8 .*after 'fine"


def test_what_is_broken_is_refused_in_a_line(tmp_path: Path) -> None:
    for path, message in broken(tmp_path):
        with pytest.raises(InputError, match=message) as caught:
            whole(path)
        assert "\n" not in str(caught.value), path
        assert str(path) in str(caught.value)


def test_a_parquet_file_with_a_torn_page_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [os.urandom(3000).hex() for _ in range(40)])
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 4000] = b"\xff" * 4000
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.parquet: (broken Parquet file|a text in the column)"):
        whole(path)


@pytest.mark.parametrize("name", ["bomb.txt.gz", "bomb.txt.zst", "bomb.jsonl.zst"])
def test_a_bomb_is_refused_before_it_fills_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(opening, "RATIO_AFTER", 1 << 20)
    data = b"a" * (8 << 20)
    pack = gzip.compress if name.endswith("gz") else zstandard.compress
    (tmp_path / name).write_bytes(pack(data) * 3)
    with pytest.raises(InputError, match="more than 500 bytes come out of each byte"):
        whole(tmp_path / name)


def test_frames_of_zstandard_follow_each_other(tmp_path: Path) -> None:
    frames = [zstandard.compress(os.urandom(3000).hex().encode()) for _ in range(3)]
    skipped = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"
    (tmp_path / "a.zst").write_bytes(frames[0] + skipped + frames[1] + frames[2])
    wanted = b"".join(map(zstandard.decompress, frames))
    for size in (7, 100_000):
        assert b"".join(opening.blocks(tmp_path / "a.zst", size)) == wanted


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    os.mkfifo(tmp_path / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.txt"))
        (tmp_path / "good.txt").write_text("a good text")
        for name, kind in (
            ("pipe.txt", "a named pipe"),
            ("pipe.jsonl", "a named pipe"),
            ("socket.txt", "a socket"),
        ):
            for given in (str(tmp_path / name), f"{tmp_path}/{name[:-1]}?"):
                with pytest.raises(InputError, match=f"is {kind}, which is no file"):
                    resolve([given])
        with pytest.raises(InputError, match="is a device"):
            resolve(["/dev/zero"])
        assert read(resolve([str(tmp_path)]).train) == "a good tex"[:9]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl", "a.parquet", "a.csv.zst", "a.arrow"])
def test_a_text_that_changes_while_it_is_read_is_refused(tmp_path: Path, name: str) -> None:
    texts = [os.urandom(2000).hex() for _ in range(900)]
    path = tmp_path / name
    if format_of(path):
        write(path, [*texts])
        chunks = (str(batch[:1]) for batch in table(path).batches(path, "text"))
    else:
        data = "\n".join(texts).encode()
        path.write_bytes(gzip.compress(data, 1) if name.endswith("gz") else data)
        chunks = Document("a", path=path).chunks(TextOptions())
    assert next(chunks)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="changed while it was read"):
        list(chunks)


@pytest.mark.parametrize(("name", "package"), [("a.parquet", "pyarrow"), ("a.txt.zst", "zstandard")])
def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    path = tmp_path / name
    path.write_bytes(zstandard.compress(b"text")) if name.endswith("zst") else write(path, ["a"])
    for module in [m for m in sys.modules if m.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    real = builtins.__import__

    def without(wanted: str, *arguments: Any, **known: Any) -> Any:
        if wanted.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(wanted, *arguments, **known)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        InputError, match=rf"needs the package {package}: pip install 'autoencoder-attention\[data\]'"
    ):
        resolve([str(path)])


def test_a_parquet_file_is_read_as_it_is_wanted(tmp_path: Path) -> None:
    path, before = tmp_path / "a.parquet", pa.total_allocated_bytes()
    texts = pa.array([os.urandom(1000).hex() for _ in range(12_000)])
    pq.write_table(pa.table({"text": texts}), path, row_group_size=500, compression="none", use_dictionary=False)
    size = path.stat().st_size
    del texts
    for number, _ in enumerate(table(path).batches(path, "text")):
        assert pa.total_allocated_bytes() - before < size // 2, number
    assert size > 20_000_000
