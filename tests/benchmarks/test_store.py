"""The stand-in for BookCorpus, and what is found of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aeattn.benchmarks import store
from aeattn.benchmarks.results_page import SECTIONS

parquet = pytest.importorskip("pyarrow.parquet")


def test_the_stand_in_has_sentences_in_rows_and_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "TALES_CHARS", 60_000)
    monkeypatch.setenv("AEATTN_CACHE", str(tmp_path / "cache"))
    for name in store.FORMATS:
        (tmp_path / name).mkdir()
    size = store.write_txt(tmp_path / "txt", 3000)
    lines = (tmp_path / "txt" / "sentences.txt").read_text().splitlines()
    assert (len(lines), sum(map(len, lines)) + 3000) == (3000, size)
    assert 40 < size / 3000 < 90
    assert len(set(lines)) > 2000
    store.write_parquet(tmp_path / "parquet", 3000)
    tables = [parquet.read_table(path) for path in sorted((tmp_path / "parquet").iterdir())]
    assert [table.num_rows for table in tables] == [round(share * 3000) for share in store.SHARES]
    assert tables[0]["text"].to_pylist()[:50] == lines[:50]
    found = store.prepare(str(tmp_path / "txt"))
    assert sum(found["ids"].values()) == size
    assert found["peak_bytes"] > 10_000_000
    sizes = dict.fromkeys(("text_bytes", "file_bytes", "cache_bytes"), 1e9)
    known = {**sizes, "mb_per_second": 100.0, **found, "again": found}
    record = {"sentences": 3000, "formats": {"txt": known}, "environment": {"cpu": "one", "threads": 2}}
    assert "1.00 GB" in str(SECTIONS["speed/store"][1](record)[1])
