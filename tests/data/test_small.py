"""Small texts that are read together are what each is alone."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeattn.config.text import TextOptions
from aeattn.data import build, small, tokenizer
from aeattn.data.corpora import Document
from aeattn.data.small import Group, in_groups
from aeattn.data.store import build_store
from aeattn.data.tokenizer import CharTokenizer, Tokenizer, make_tokenizer
from aeattn.errors import InputError

OPTIONS = [TextOptions(), TextOptions(ascii=True, lower=True, unwrap=True, keep="abc \n"), TextOptions(lower=True)]
texts = st.lists(st.text(st.sampled_from("aBcé\r\n \ufeff“😀x"), max_size=12), max_size=20)


def apart(documents: list[Document], options: TextOptions) -> tuple[list[str], Counter[str]]:
    dropped: Counter[str] = Counter()
    return ["".join(document.chunks(options, dropped)) for document in documents], dropped


@settings(max_examples=40)
@given(texts, st.sampled_from(OPTIONS), st.booleans())
def test_groups_are_their_texts(
    tmp_path_factory: pytest.TempPathFactory, found: list[str], options: TextOptions, files: bool
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    documents = [Document(str(n), text=text) for n, text in enumerate(found)]
    if files:
        documents = [Document(str(n), path=folder / f"{n}.txt") for n in range(len(found))]
        for document, text in zip(documents, found, strict=True):
            assert document.path
            document.path.write_bytes(text.encode())
    groups = list(in_groups(documents, options))
    dropped: Counter[str] = Counter()
    together: list[str] = []
    for group in groups:
        assert isinstance(group, Group)
        together += group.texts
        dropped += group.dropped
    assert (together, dropped) == apart(documents, options)


@pytest.mark.parametrize("spec", ["char", "bytes", "bpe:270"])
def test_a_store_is_the_same_whether_its_texts_are_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    draw = np.random.default_rng(0)
    found = ["".join(draw.choice(list("abc é\r\n“😀"), int(draw.integers(0, 90)))) for _ in range(60)]
    found[7] *= 500  # large
    documents = []
    for number, text in enumerate(found):
        path = tmp_path / f"{number:02}.txt{'.gz' if number % 9 == 4 else ''}"
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        limit = 20 if number % 11 == 3 else None
        documents.append(Document(f"d{number}", path=path, limit=limit))
    made: Tokenizer = CharTokenizer("\n abcé") if spec == "char" else make_tokenizer(spec, found)
    monkeypatch.setattr(small, "MOST_TEXTS", 8)
    quick = build_store(documents, made, TextOptions(), tmp_path / "quick.ids")
    monkeypatch.setattr(small, "SMALL_BYTES", -1)
    slow = build_store(documents, made, TextOptions(), tmp_path / "slow.ids")
    for fact in ("documents", "unknown", "dropped", "sha256"):
        assert getattr(quick, fact) == getattr(slow, fact)
    assert sum(d.bytes for d in quick.documents) > 20_000


def test_what_is_wrong_with_a_small_text_is_said(tmp_path: Path) -> None:
    for number, (content, message) in enumerate(
        [
            (b"caf\xe9", r"bad\.txt: not UTF-8 at byte 3"),
            (b"a\0", "is not a text file"),
            ("é".encode("utf-16"), "is UTF-16"),
            (b"\x1f\x8bno", "broken gzip file"),
            (None, "cannot be read"),
        ]
    ):
        (tmp_path / "good.txt").write_text("good")
        bad = tmp_path / "bad.txt"
        bad.unlink() if content is None else bad.write_bytes(content)
        documents = [Document("good", path=tmp_path / "good.txt"), Document("bad", path=bad)]
        with pytest.raises(InputError, match=message):
            build_store(documents, CharTokenizer("dgo"), TextOptions(), tmp_path / f"{number}.ids")


def test_a_small_text_that_changes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abc")
    (group,) = in_groups([Document("a", path=path)], TextOptions())
    assert isinstance(group, Group)
    group.check_unchanged()
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="changed while it was read"):
        group.check_unchanged()


class Pairs(CharTokenizer):
    """Reads ids in a way of its own, which must not be taken for that of characters."""

    def encode(self, text: str, unknown: Counter[str] | None = None, strict: bool = False) -> tokenizer.Ids:
        return super().encode(text[::2], unknown, strict)


def test_a_tokenizer_of_ones_own_sees_each_text_alone(tmp_path: Path) -> None:
    documents = [Document("a", text="abc"), Document("b", text="bca")]
    found = build_store(documents, Pairs("abc"), TextOptions(), tmp_path / "a.ids")
    assert found.ids.tolist() == [0, 2, 1, 0]
    assert [len(document) for document in found.documents] == [2, 2]


def test_a_build_of_small_texts_goes_on_from_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "JOURNAL_SECONDS", 0.0)
    monkeypatch.setattr(small, "MOST_TEXTS", 3)
    documents = [Document(str(n), text="abc" * n) for n in range(20)]
    left = 4

    class Killed(BaseException):
        pass

    class Interrupted(CharTokenizer):
        def encode(self, text: str, unknown: Counter[str] | None = None, strict: bool = False) -> tokenizer.Ids:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return super().encode(text, unknown, strict)

    whole = build_store(documents, CharTokenizer("abc"), TextOptions(), tmp_path / "whole.ids")
    path, kills = tmp_path / "a.ids", 0
    while True:
        try:
            found = build_store(documents, Interrupted("abc"), TextOptions(), path)
            break
        except Killed:
            kills, left = kills + 1, 4
    assert kills > 2
    assert (found.sha256, found.documents) == (whole.sha256, whole.documents)
