"""Downloads and the cache, against stand-ins for the network."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from aeattn import host
from aeattn.config.text import TextOptions
from aeattn.data import fetch, manifest
from aeattn.data.corpora import documents_to_evaluate, resolve
from aeattn.errors import InputError, SlowerWarning

BOOK = b"CHAPTER I\n\n\n\n\n\nIt was\xc2\xa0late.  \n\n"
LISTED = b"CHAPTER I\n\n\nIt was late.\n"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the public host, and a manifest of two books and a play in it."""
    host = tmp_path / "host"
    listed = {
        "books/train/a.txt": LISTED,
        "books/valid/b.txt": LISTED,
        "shakespeare/input.txt": BOOK,
        "books/test/c.txt": BOOK,  # as its source has it
    }
    rows = []
    for file, data in listed.items():
        path = host / "owner" / "texts" / "c0ffee" / "raw" / Path(file).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(BOOK)
        digest, size = hashlib.sha256(data).hexdigest(), str(len(data))
        source = f"owner/texts@c0ffee:raw/{path.name}"
        rows.append({"file": file, "author": "", "bytes": size, "sha256": digest, "source": source})
    monkeypatch.setattr(manifest, "shipped", lambda: tuple(rows))
    monkeypatch.setattr(fetch, "SOURCE_URL", f"file://{host}/{{owner}}/{{repository}}/{{commit}}/{{path}}")
    monkeypatch.setenv("AEATTN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AEATTN_CORPORA", raising=False)
    return host / "owner" / "texts" / "c0ffee" / "raw"


def test_sources_become_addresses() -> None:
    assert fetch.source_url("dbamman/litbank@3e50:original/a b.txt") == (
        "https://github.com/dbamman/litbank/raw/3e50/original/a b.txt"
    )
    for row in manifest.shipped():
        assert len(fetch.source_url(row["source"]).split("/")[6]) == 40  # a full commit


def test_a_corpus_is_fetched_once_and_checked(source: Path, tmp_path: Path) -> None:
    told: list[str] = []
    corpus = resolve(["books"], progress=told.append)
    assert [d.path and d.path.read_bytes() for d in (*corpus.train, *corpus.valid)] == [LISTED, LISTED]
    assert told == ["downloading books/train/a.txt (1 of 2)", "downloading books/valid/b.txt (2 of 2)"]
    resolve(["books"], progress=told.append)
    assert len(told) == 2
    assert resolve(["shakespeare"]).train[0].path == tmp_path / "cache/corpora/shakespeare/input.txt"


def test_the_books_to_judge_by_are_fetched_when_they_are_named_alone(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache/corpora/books"
    resolve(["books"])
    assert not (folder / "test").exists()
    [document] = documents_to_evaluate(["books/test"], TextOptions())
    assert document.path == folder / "test/c.txt"
    assert document.path.read_bytes() == BOOK
    assert not resolve(["books"]).notes
    assert "".join(replace(document, skip=9, limit=9).chunks(TextOptions())).split() == ["It"]


def test_a_file_cut_short_is_fetched_again(source: Path, tmp_path: Path) -> None:
    folder = fetch.fetch_corpus("books")
    (folder / "train/a.txt").write_bytes(LISTED[:5])
    with pytest.warns(SlowerWarning, match=r"a\.txt is not what was downloaded"):
        assert (fetch.fetch_corpus("books") / "train/a.txt").read_bytes() == LISTED


@pytest.mark.parametrize("end", [".txt", ".txt.json"])
@pytest.mark.parametrize("damage", ["empty", "cut", "flipped"])
def test_damaged_tales_are_generated_anew_after_one_line(end: str, damage: str, tmp_path: Path) -> None:
    path, nats = fetch.tales(2_000, 0, "train")
    whole = path.read_bytes()
    victim = path.with_name(path.stem + end)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes({"empty": b"", "cut": bytes(content[:9]), "flipped": bytes(content)}[damage])
    with pytest.warns(SlowerWarning, match="a damaged cache entry is made anew"):
        assert fetch.tales(2_000, 0, "train") == (path, nats)
    assert path.read_bytes() == whole
    assert fetch.tales(2_000, 0, "train") == (path, nats)


def test_a_changed_source_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "a.txt").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"checksum differs.*AEATTN_CORPORA"):
        fetch.fetch_corpus("books")
    assert not list((tmp_path / "cache").rglob("*.txt"))


def test_no_network_says_what_to_do(source: Path) -> None:
    (source / "input.txt").unlink()
    with pytest.raises(InputError, match=r"cannot download .*; connect to the network, or set AEATTN_CORPORA"):
        fetch.fetch_corpus("shakespeare")


def test_notes_of_the_transcribers_go() -> None:
    text = b"Their Greek [_Transcriber's Note: The name of the Greek goddess\nAthene._] letters."
    assert fetch.as_listed("599_vanity_fair.txt", text) == b"Their Greek letters.\n"
    assert fetch.as_listed("other.txt", text) == text + b"\n"


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AEATTN_CACHE", "/a/b")
    assert host.cache_dir() == Path("/a/b")
    monkeypatch.delenv("AEATTN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert host.cache_dir() == Path("/x/aeattn")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert host.cache_dir() == tmp_path / ".cache/aeattn"
