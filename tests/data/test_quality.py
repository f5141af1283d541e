"""What became of a text: one record, counted by a slow twin."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeattn.config.text import TextOptions
from aeattn.data import quality as module
from aeattn.data.corpora import documents_to_evaluate, resolve
from aeattn.data.quality import Quality, quality
from aeattn.data.store import cached_overlap, cached_store, prepare
from aeattn.data.text import normalise_text
from aeattn.terminal.tables import sentences_of


def write(path: Path, texts: list[str | None]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def measured(names: list[str], **options: Any) -> tuple[Quality, Any]:
    corpus = resolve(names, **options)
    text = prepare(corpus)
    shared = cached_overlap(text.train, text.valid, text.tokenizer)
    return quality((corpus.train, text.train), (corpus.valid, text.valid), corpus.options, shared), corpus


def made(count: int) -> list[str]:
    return [f"number {number}: " + "abc " * (number % 9) for number in range(count)]


def test_rows_are_counted_as_a_slow_twin_counts_them(tmp_path: Path) -> None:
    train = [*made(40), *made(7), *made(3), None, ""]
    valid = [*made(5), "other", "other", "Other\r\nline"]
    found, _ = measured([str(write(tmp_path / "a.jsonl", train))], valid=[str(write(tmp_path / "v.jsonl", valid))])
    assert found.train is not None
    there = [text for text in train if text]
    assert (found.train.texts, found.valid.texts) == (len(there), len(valid))
    assert found.train.duplicates == len(there) - len(set(there)) == 10
    assert (found.valid.duplicates, found.shared_texts) == (1, sum(text in set(there) for text in valid))
    assert (found.train.repeated, found.valid.repeated) == (("a",), ("v",))
    assert found.train.chars == sum(len(text) + 2 for text in there)
    assert found.one_in == 1
    lowered, _ = measured(
        [str(tmp_path / "a.jsonl")],
        valid=[str(tmp_path / "v.jsonl")],
        options=TextOptions(lower=True, keep="other"),
    )
    assert lowered.valid.duplicates > found.valid.duplicates  # what is alike after normalisation
    assert Quality.from_dict(json.loads(json.dumps(found.to_dict()))).rows() == found.rows()


def test_many_rows_are_sampled_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HASHES", 400)
    texts = [*made(2000), *made(1000)]
    found, _ = measured([str(write(tmp_path / "a.jsonl", [*texts]))])
    assert found.one_in >= 8
    assert found.train is not None
    assert found.train.texts + found.valid.texts == 3000
    assert 500 < found.train.duplicates + found.valid.duplicates < 1500
    assert found.shared_texts == 0  # copies are drawn to one side
    assert any("about" in cell for line in found.rows() for cell in line)


def test_files_and_characters_are_counted(tmp_path: Path) -> None:
    for name, text in (
        ("a", "Caf\u00e9 one\n"),
        ("b", "cafe one \u4e2d\n"),
        ("c", "another, \u00e9\u00e9\n"),
        ("v", "CAFE ONE\n"),
    ):
        (tmp_path / f"{name}.txt").write_text(text * 9)
    options = TextOptions(ascii=True, lower=True, keep="abcdefghijklmnopqrstuvwxyz \n")
    found, corpus = measured([f"{tmp_path}/[abc].txt"], valid=[str(tmp_path / "v.txt")], options=options)
    assert found.train is not None
    assert found.train.dropped == {"\u4e2d": 9, ",": 9}
    assert found.train.folded == {"\u00e9\u2192e": 27}
    assert (found.train.texts, found.train.duplicates, found.shared_texts) == (3, 0, 1)
    lines = sentences_of(("", "training", "validation"), found.rows())
    assert any(line.startswith("folded characters: training 27 ") for line in lines)
    assert not any("unknown" in line or "duplicate" in line for line in lines)
    tokenizer = prepare(corpus).tokenizer
    (tmp_path / "w.txt").write_text("cafe one ?\n" * 9)
    documents = documents_to_evaluate([str(tmp_path / "w.txt"), str(tmp_path / "c.txt")], TextOptions())
    alone = quality(None, (documents, cached_store(documents, tokenizer, TextOptions())), TextOptions())
    assert alone.train is None
    assert Counter(alone.valid.unknown)["?"] == 9
    assert alone.rows()[0] == ("texts", "2")


@given(
    st.lists(st.text(st.sampled_from("aBé\r\n \ufeff“\0Σ😀x"), min_size=1, max_size=8), min_size=1, max_size=9),
    st.sampled_from([
        TextOptions(lower=True), TextOptions(ascii=True), TextOptions(keep="aB\n"), TextOptions(keep="\0a"),
        TextOptions(unwrap=True), TextOptions(ascii=True, lower=True, unwrap=True, keep="ab \n"),
    ]),
)  # fmt: skip
def test_rows_are_normalised_together_as_each_by_itself(rows: list[str], options: TextOptions) -> None:
    assert module._normalised(rows, options) == [normalise_text(row, options) for row in rows]
