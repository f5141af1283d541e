"""Builds of stores that are stopped, waited for, refused, and gone on with."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from aeattn.config.text import TextOptions
from aeattn.data import build as module
from aeattn.data import sole, store, sums, watch
from aeattn.data.corpora import Document
from aeattn.data.store import TokenStore, build_store
from aeattn.data.threads import ahead
from aeattn.data.tokenizer import CharTokenizer, Ids
from aeattn.errors import Damaged, InputError, SlowerWarning

OPTIONS = TextOptions(keep=" abcde")


class Killed(BaseException):
    """Ends a build as a signal does, without any of our handlers."""


class Interrupted(CharTokenizer):
    """Is killed before it encodes for the nth time."""

    left = 1 << 30

    def encode(self, text: str, unknown: Counter[str] | None = None, strict: bool = False) -> Ids:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return super().encode(text, unknown, strict)


class Words(Interrupted):
    """Holds back what follows the last space of a chunk, as subwords do."""

    def encode_chunks(self, chunks: Iterable[str], unknown: Counter[str] | None = None) -> Iterator[Ids]:
        held = ""
        for chunk in chunks:
            text, at = held + chunk, (held + chunk).rfind(" ") + 1
            held = text[at:]
            yield self.encode(text[:at], unknown)
        yield self.encode(held, unknown)


@pytest.fixture(autouse=True)
def journals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOURNAL_SECONDS", 0.0)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    folder, random = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    found = []
    for number, size in enumerate((30_000, 0, 50, 12_000)):
        path = folder / f"{number}.txt"
        path.write_text("".join(random.choice(list("abcdeé "), size)), encoding="utf-8")
        found.append(
            Document(f"d{number}", path=path, limit=25_000)
        )  # read in chunks of 25,000 characters or less
    return [*found, Document("text", text="cab xé"), Document("last", text="de" * 40_000, limit=20_000)]


def same(one: TokenStore, two: TokenStore) -> bool:
    np.testing.assert_array_equal(one.ids, two.ids)
    facts = ("documents", "unknown", "dropped", "sha256")
    return all(getattr(one, fact) == getattr(two, fact) for fact in facts)


@pytest.mark.parametrize("kind", [Interrupted, Words])
def test_a_build_that_is_killed_goes_on(
    kind: type[Interrupted], documents: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AHEAD", 0)
    whole = build_store(documents, CharTokenizer(" abcd"), OPTIONS, tmp_path / "whole.ids")
    tokenizer = kind(" abcd")
    path = tmp_path / "killed.ids"
    kills = 0
    while kills < 40:
        tokenizer.left = 3
        try:
            found = build_store(documents, tokenizer, OPTIONS, path)
            break
        except Killed:
            kills += 1
            assert (tmp_path / ".killed.ids.journal").exists()
            with (tmp_path / ".killed.ids.partial").open("ab") as file:
                file.write(b"what no journal knows of")
    assert 0 < kills < 40
    assert same(found, whole)
    assert not list(tmp_path.glob(".killed*"))


@pytest.mark.parametrize("damage", ["partial", "rows", "journal", "short"])
def test_what_is_not_as_the_journal_says_is_made_anew(
    documents: list[Document], tmp_path: Path, damage: str
) -> None:
    tokenizer = Interrupted(" abcd")
    tokenizer.left = 3
    path = tmp_path / "a.ids"
    with pytest.raises(Killed):
        build_store(documents, tokenizer, OPTIONS, path)
    file = tmp_path / f".a.ids.{'partial' if damage == 'short' else damage}"
    content = file.read_bytes()
    assert content
    file.write_bytes(content[:-1] if damage == "short" else bytes([content[0] ^ 1]) + content[1:])
    tokenizer.left = 1 << 30
    whole = build_store(documents, CharTokenizer(" abcd"), OPTIONS, tmp_path / "whole.ids")
    assert same(build_store(documents, tokenizer, OPTIONS, path), whole)


def test_a_second_process_waits_and_takes_what_the_first_has_made(
    documents: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, waiting, said, found = [], threading.Event(), list[str](), list[TokenStore]()
    build = store._build

    def slow(*arguments: object) -> object:
        built.append(1)
        waiting.wait(20)
        return build(*arguments)  # type: ignore[arg-type]

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    def second() -> None:
        found.append(build_store(documents, CharTokenizer(" abcd"), OPTIONS, tmp_path / "a.ids", say))

    monkeypatch.setattr(store, "_build", slow)
    threads = [threading.Thread(target=second) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert len(said) == 1
    assert "another process is making" in said[0]
    assert same(*found)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.ids", "a.ids.json"]


def test_without_locks_each_process_builds_apart(
    documents: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aeattn.files.fcntl", None)
    tokenizer = Interrupted(" abcd")
    tokenizer.left = 2
    with pytest.raises(Killed):
        build_store(documents, tokenizer, OPTIONS, tmp_path / "a.ids")
    tokenizer.left = 1 << 30
    found = build_store(documents, tokenizer, OPTIONS, tmp_path / "a.ids")
    assert same(found, build_store(documents, CharTokenizer(" abcd"), OPTIONS, tmp_path / "b.ids"))


def test_a_full_disk_is_one_line_and_the_next_try_is_right(
    documents: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = module._Appended._write

    def full(self: module._Appended, pieces: list[bytes | memoryview]) -> None:
        if self.sums.bytes > 20_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, pieces)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module._Appended, "_write", full)
        patch.setattr(module.Build, "bytes_to_come", lambda _: 3_000_000)
        with pytest.raises(InputError, match=r"No space left on device\); about 3 MB more are needed; set AEATTN"):
            build_store(documents, CharTokenizer(" abcd"), OPTIONS, tmp_path / "a.ids")
    found = build_store(documents, CharTokenizer(" abcd"), OPTIONS, tmp_path / "a.ids")
    assert same(found, build_store(documents, CharTokenizer(" abcd"), OPTIONS, tmp_path / "b.ids"))


def test_a_text_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("abc")

    class Writer(CharTokenizer):
        def encode(self, text: str, unknown: Counter[str] | None = None, strict: bool = False) -> Ids:
            path.write_text("abcd")
            return super().encode(text, unknown, strict)

    with pytest.raises(InputError, match="changed while it was read"):
        build_store([Document("a", path=path)], Writer("abcd"), TextOptions(), tmp_path / "a.ids")
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["text.txt"]


def test_many_documents_lie_in_a_file_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [Document(f"é{n}", text="ab" * n) for n in range(30)]
    few = build_store(documents, CharTokenizer("ab"), TextOptions(), tmp_path / "few.ids")
    monkeypatch.setattr(store, "FEW_DOCUMENTS", 29)
    for _ in range(2):
        many = build_store(documents, CharTokenizer("ab"), TextOptions(), tmp_path / "many.ids")
        assert not isinstance(many.documents, tuple)
        assert (tuple(many.documents), many.chars) == (few.documents, few.chars)
        assert many.documents[3:9:2] == few.documents[3:9:2]
        assert many.documents[-1] == few.documents[-1]
        assert [(name, len(ids)) for name, ids in many.texts()] == [(d.name, len(d)) for d in few.documents]
    del many
    (tmp_path / "many.ids.documents").write_bytes(b"torn")
    with pytest.warns(SlowerWarning, match="is made anew"):
        again = build_store(documents, CharTokenizer("ab"), TextOptions(), tmp_path / "many.ids")
    assert tuple(again.documents) == few.documents


def test_what_nobody_goes_on_with_is_removed_after_a_day(documents: list[Document], tmp_path: Path) -> None:
    tokenizer = Interrupted(" abcd")
    for name in ("old", "new"):
        tokenizer.left = 2
        with pytest.raises(Killed):
            build_store(documents, tokenizer, OPTIONS, tmp_path / f"{name}.ids")
    (tmp_path / ".whole.ids.rows").write_bytes(b"what was left by a process that was killed at its very end")
    for name in (".old.ids.partial", ".whole.ids.rows"):
        os.utime(tmp_path / name, (0, time.time() - 1.1 * sole.ABANDONED_SECONDS))
    build_store([], CharTokenizer("ab"), OPTIONS, tmp_path / "other.ids")
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names == {
        "other.ids",
        "other.ids.json",
        *(f".new.ids.{kind}" for kind in ("partial", "rows", "journal")),
    }


@pytest.mark.parametrize("place", [0, 35, 99])
def test_large_files_are_read_whole_at_first_and_by_samples_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(sums, "BLOCK", 10)
    monkeypatch.setattr(sums, "WHOLE_BYTES", 50)
    monkeypatch.setattr(sums, "SAMPLED", 200)  # all ten blocks, all but surely
    path, said = tmp_path / "file", list[str]()
    path.write_bytes(bytes(range(100)))
    facts = sums.sums_of(path).facts()
    for _ in range(2):
        sums.check(path, facts, said.append)
    assert len(said) == 1
    content = bytearray(range(100))
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged):  # the system has noted that it was written to
        sums.check(path, facts)
    sums.mark_seen(path)
    with pytest.raises(Damaged):  # it has not, as when a disk forgets
        sums.check(path, facts)
    shutil.copy(path, tmp_path / "other")
    with pytest.raises(Damaged):
        sums.check(tmp_path / "other", facts)


def test_sums_do_not_depend_on_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "BLOCK", 7)
    content, whole, pieces = bytes(range(200)), sums.Sums(), sums.Sums()
    whole.update(content)
    for first in range(0, 200, 3):
        pieces.update(content[first : first + 3])
    assert whole.facts() == pieces.facts()
    assert len(whole.facts()["blocks"]) == 29


def test_long_work_says_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [0.0], list[str]()
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    seen = watch.Watch(said.append, "encoding", total=4_850_000_000)
    seen.add(850_000_000, worked=False)
    for _ in range(3):
        now[0] += 6.0
        seen.add(500_000_000)
    assert said == ["encoding: 1.85 GB of 4.85 GB, 83 MB/s, 0:36 left"]
    now[0] += 10.0
    seen.add(5_000_000_000)
    assert said[1:] == ["encoding: 7.35 GB, 232 MB/s"]


def test_items_are_taken_ahead_in_order_and_errors_come_through() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise Killed

    every = ahead(items())
    assert [next(every) for _ in range(5)] == list(range(5))
    with pytest.raises(Killed):
        next(every)
    every.close()  # type: ignore[attr-defined]
