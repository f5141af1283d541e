"""Stores of ids on disk, their cache, and the preparation of a corpus."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aeattn.config.text import TextOptions
from aeattn.data import store as module
from aeattn.data.build import characters_of
from aeattn.data.corpora import Corpus, Document, resolve
from aeattn.data.store import build_store, cached_store, cached_tokenizer, prepare
from aeattn.data.tokenizer import CharTokenizer, Tokenizer
from aeattn.errors import InputError, SlowerWarning
from aeattn.files import Json, sealed

PLAIN = TextOptions()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AEATTN_CACHE", str(tmp_path / "stores"))
    return tmp_path / "stores"


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths of the stores built during the test."""
    built: list[Path] = []

    build = module._build

    def spy(*arguments: Any) -> Json:
        built.append(next(path for path in arguments if isinstance(path, Path)))
        return build(*arguments)

    monkeypatch.setattr(module, "_build", spy)
    return built


def test_a_store_holds_what_went_in(tmp_path: Path) -> None:
    texts = ["hello\nworld", "", "café!", "x" * 5000]
    documents = [Document(f"d{n}", text=text) for n, text in enumerate(texts)]
    tokenizer = CharTokenizer("\n !acdefhlorwx")
    store = build_store(documents, tokenizer, TextOptions(keep="\n !acdefhlorwxé"), tmp_path / "a.ids")
    assert store.ids.dtype == tokenizer.dtype
    assert not store.ids.flags.writeable
    assert [(d.name, len(d)) for d in store.documents] == [("d0", 11), ("d1", 0), ("d2", 5), ("d3", 5000)]
    decoded = [tokenizer.decode(ids) for _, ids in store.texts()]
    assert decoded == ["hello\nworld", "", "caf !", "x" * 5000]
    assert store.unknown == Counter("é")
    again = build_store([], tokenizer, PLAIN, tmp_path / "a.ids")  # what is there is taken
    assert (again.documents, again.unknown, again.sha256) == (store.documents, store.unknown, store.sha256)
    assert [(d.chars, d.bytes) for d in store.documents] == [(11, 11), (0, 0), (5, 6), (5000, 5000)]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.ids", "a.ids.json"]


def test_an_empty_store_opens(tmp_path: Path) -> None:
    store = build_store([], CharTokenizer("ab"), PLAIN, tmp_path / "a.ids")
    assert len(store.ids) == 0
    assert build_store([], CharTokenizer("ab"), PLAIN, tmp_path / "a.ids").documents == ()


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"fine\xff")
    with pytest.raises(InputError, match=r"bad\.txt"):
        build_store([Document("bad", path=tmp_path / "bad.txt")], CharTokenizer("ab"), PLAIN, tmp_path / "a.ids")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["bad.txt"]


def test_the_cache_is_used(builds: list[Path]) -> None:
    documents = [Document("a", text="abab")]
    first = cached_store(documents, CharTokenizer("ab"), PLAIN)
    assert cached_store(documents, CharTokenizer("ab"), PLAIN).sha256 == first.sha256
    assert len(builds) == 1


def test_whatever_changes_the_ids_changes_the_entry(tmp_path: Path, builds: list[Path]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abab" * 10)
    tokenizer = CharTokenizer("ab")
    cached_store([Document("a", path=path)], tokenizer, PLAIN)
    cached_store([Document("a", path=path, limit=3)], tokenizer, PLAIN)
    cached_store([Document("a", path=path, stop=0.5)], tokenizer, PLAIN)
    cached_store([Document("b", path=path)], tokenizer, PLAIN)
    cached_store([Document("a", path=path)], tokenizer, TextOptions(lower=True))
    cached_store([Document("a", path=path)], CharTokenizer("abc"), PLAIN)
    cached_store([Document("a", text="abab")], tokenizer, PLAIN)
    cached_store([Document("a", text="abba")], tokenizer, PLAIN)
    path.write_text("baba" * 11)
    assert cached_store([Document("a", path=path)], tokenizer, PLAIN).ids[0] == 1
    assert len(set(builds)) == len(builds) == 9


def test_a_text_of_the_same_size_and_time_is_another(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abab")
    times = path.stat()
    before = Document("a", path=path).identity()
    time.sleep(0.02)  # file systems count in ticks
    path.write_text("baba")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_mtime_ns == times.st_mtime_ns
    assert Document("a", path=path).identity() != before


@pytest.mark.parametrize("damage", ["flip", "cut", "no ids", "no facts", "bad facts", "other facts"])
def test_a_damaged_entry_is_made_again(builds: list[Path], damage: str) -> None:
    documents = [Document("a", text="abab")]
    whole = cached_store(documents, CharTokenizer("ab"), PLAIN).ids.copy()
    ids, facts = builds[0], Path(f"{builds[0]}.json")
    damages = {
        "flip": lambda: ids.write_bytes(b"\1\1\1\1"),
        "cut": lambda: ids.write_bytes(b"\0\1"),
        "no ids": ids.unlink,
        "no facts": facts.unlink,
        "bad facts": lambda: facts.write_text("{"),
        "other facts": lambda: facts.write_text("[1]"),
    }
    damages[damage]()
    said = nullcontext() if damage == "no facts" else pytest.warns(SlowerWarning, match="is made anew")
    with said:
        again = cached_store(documents, CharTokenizer("ab"), PLAIN).ids
    np.testing.assert_array_equal(again, whole)
    assert len(builds) == 2


def test_the_vocabulary_is_cached_and_made_again(cache: Path) -> None:
    documents = [Document("a", text="abracadabra")]
    assert cached_tokenizer(documents, PLAIN) == CharTokenizer("abcdr")
    (entry,) = (cache / "tokenizers").iterdir()
    other = {"kind": "characters", "characters": ["z"]}
    for content in ("", "broken", json.dumps(other), json.dumps(sealed({**other, "kind": "?"}))):
        entry.write_text(content)
        with pytest.warns(SlowerWarning, match="is made anew"):
            assert cached_tokenizer(documents, PLAIN) == CharTokenizer("abcdr")
    entry.write_text(json.dumps(sealed(other)))
    assert cached_tokenizer(documents, PLAIN) == CharTokenizer("z")


def test_a_cache_that_cannot_be_written_says_what_to_do(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="AEATTN_CACHE"):
        cached_store([Document("a", text="abab")], CharTokenizer("ab"), PLAIN)


def test_preparing_takes_the_vocabulary_from_the_training_side(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("abc *abd* " * 50)
    (tmp_path / "two.txt").write_text("abcé ÿ" * 20)
    corpus = resolve(
        [str(tmp_path / "one.txt")], valid=[str(tmp_path / "two.txt")], options=TextOptions(keep="abcdeéÿ ")
    )
    prepared = prepare(corpus)
    assert prepared.tokenizer == CharTokenizer(" abcd")
    assert len(prepared.train.ids) == 400
    assert prepared.valid.unknown == {"é": 20, "ÿ": 20}
    assert prepared.notes == [
        "training text: 100 characters ('*' 100) dropped in normalising",
        "validation text: 40 characters ('é' 20, 'ÿ' 20) not in the vocabulary, read as the substitute",
    ]
    assert prepare(corpus, CharTokenizer("abcé")).train.unknown == {" ": 100, "d": 50}


def test_preparing_tells_of_text_on_both_sides(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    text = "".join(random.choice(list("abcdefgh "), 4000))
    (tmp_path / "one.txt").write_text(text)
    (tmp_path / "two.txt").write_text("ab" * 500 + text[:1000])
    for _ in range(2):  # computed, then from the cache
        notes = prepare(resolve([str(tmp_path / "one.txt")], valid=[str(tmp_path / "two.txt")])).notes
        assert "of the validation text occurs in the training text (two: 4" in notes[-1]


def test_nothing_left_is_an_error() -> None:
    some, none = (Document("a", text="abc"),), (Document("b", text="***"),)
    options = TextOptions(keep="abc")
    with pytest.raises(InputError, match="empty"):
        prepare(Corpus("x", none, some, options))
    with pytest.raises(InputError, match="training text is empty"):
        prepare(Corpus("x", none, some, options), CharTokenizer("abc"))
    with pytest.raises(InputError, match="validation text is empty"):
        prepare(Corpus("x", some, none, options))


def test_of_several_processes_one_makes_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    made, said, waiting, found = [], list[str](), threading.Event(), list[Tokenizer]()

    def slow(spec: str, chunks: Iterable[str]) -> Tokenizer:
        made.append(spec)
        waiting.wait(20)
        return CharTokenizer.from_chunks(chunks)

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    def one() -> None:
        found.append(cached_tokenizer([Document("a", text="some text")], TextOptions(), "char", say))

    monkeypatch.setattr(module, "make_tokenizer", slow)
    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["char"]
    assert "another process is making" in said[0]
    assert found[0] == found[1] == CharTokenizer.from_chunks(["some text"])


KILLED = """
import os, signal, sys
from pathlib import Path
from aeattn.config.text import TextOptions
from aeattn.data import store
from aeattn.data.documents import Document

store.WORTH_NOTING = 1
look = store.characters_of
def killed(document, options):
    yield "z"  # no character of the text: it must not be kept
    os.kill(os.getpid(), signal.SIGKILL)
store.characters_of = lambda d, o: (killed if d.name == sys.argv[1] else look)(d, o)
documents = [Document(path, path=Path(path)) for path in sys.argv[2:]]
store.cached_tokenizer(documents, TextOptions())
"""


def test_a_vocabulary_whose_making_is_killed_goes_on_after_the_files_that_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"one.txt": "ab\n" * 20_000, "two.txt": "bc " * 20_000, "three.txt": "é" * 40_000}
    paths = [tmp_path / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text)
    command = [sys.executable, "-c", KILLED, str(paths[2]), *map(str, paths)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    looked: list[str] = []

    def look(document: Document, options: TextOptions) -> Iterator[str]:
        looked.append(document.name)
        return characters_of(document, options)

    monkeypatch.setattr(module, "WORTH_NOTING", 1)
    monkeypatch.setattr(module, "characters_of", look)
    documents = [Document(str(path), path=path) for path in paths]
    assert cached_tokenizer(documents, TextOptions()) == CharTokenizer("\n abcé")
    assert looked == [str(paths[2])]
    paths[0].write_text("xyz" * 20_000)  # what is known of a file is known of its content
    assert cached_tokenizer(documents, TextOptions()) == CharTokenizer(" bcxyzé")
    assert looked[1:] == [str(paths[0])]
