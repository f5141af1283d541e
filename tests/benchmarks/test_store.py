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
    assert 0 < found["batch_milliseconds"] < 1000
    known["small"] = {"text_bytes": 1e7, "batch_milliseconds": 0.123}
    record = {"sentences": 3000, "formats": {"txt": known}, "environment": {"cpu": "one", "threads": 2}}
    page = str(SECTIONS["speed/store"][1](record)[1])
    assert "1.00 GB" in page
    assert "0.12" in page
    del known["small"]  # as records were before
    assert "–" in str(SECTIONS["speed/store"][1](record)[1])


def test_a_folder_that_is_not_there_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "not" / "there"
    with store._work_folder(store.argparse.ArgumentParser(), folder) as made:
        assert Path(made).parent == folder
    assert not list(folder.iterdir())
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SystemExit, match="2"),
        store._work_folder(store.argparse.ArgumentParser(), tmp_path / "file"),
    ):
        pass
    assert "name a folder that can be written to" in capsys.readouterr().err
