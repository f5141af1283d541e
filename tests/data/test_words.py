"""A table of words gives the ids that the library gives, whatever stands in a text."""

from __future__ import annotations

import itertools
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeattn.data import subwords, words
from aeattn.data.subwords_check import LETTERS, SPACES
from aeattn.data.tokenizer import Ids
from aeattn.data.words import WordTable, border_of
from tests.data.test_subwords import KINDS, TEXTS

LONG = st.sampled_from(
    ["a" * 15, " " + "b" * 15, " " + "c" * 16, "\0", "a\0", " don't,", "it's;x", "x" * 70, "é" * 8, "\n"]
)
MANY = st.lists(TEXTS | LONG, max_size=12).map("".join)


@settings(max_examples=200)
@given(MANY)
def test_a_text_is_cut_where_the_pattern_cuts_it(text: str) -> None:
    for cut in (SPACES, LETTERS):
        border = border_of(cut, plain=False)
        assert border is not None
        content = text.encode()
        wanted = list(itertools.accumulate(len(part.encode()) for part in cut.split(text)))[:-1]
        assert border.find(np.frombuffer(content, np.uint8)).tolist() == wanted
        for last, first in itertools.pairwise(text):
            if max(last, first) < "\x80":
                assert border.between(ord(last), ord(first)) == bool(cut.search(last + first))


def test_every_character_ends_a_word_or_does_not_as_in_the_pattern() -> None:
    border = border_of(SPACES, plain=False)
    assert border is not None
    every = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    text = "x".join(f"{character} " for character in every)
    starts = np.cumsum([0, *(len(part.encode()) for part in SPACES.split(text))])[1:-1]
    np.testing.assert_array_equal(border.find(np.frombuffer(text.encode(), np.uint8)), starts)


@settings(max_examples=150, deadline=None)
@given(st.lists(MANY, min_size=1, max_size=5), st.sampled_from(["learned", "llama", "special", "added"]))
@pytest.mark.parametrize(("bits", "most"), [(18, 1 << 21), (3, 40)])
def test_ids_are_those_of_the_library(bits: int, most: int, texts: list[str], kind: str) -> None:
    tokenizer: Any = KINDS[kind]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "_BITS", bits)
        patch.setattr(words, "MOST_IDS", most)
        patch.setattr(words, "MOST_OTHERS", 10)
        patch.setattr(words, "LONGEST_KEPT", 30)
        table = WordTable(tokenizer._border, tokenizer._ask, tokenizer.dtype)
        for text in [*texts, *texts]:
            wanted = tokenizer._library.encode(text, add_special_tokens=False).ids
            assert table.ids(text).tolist() == wanted


def test_many_words_in_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer: Any = KINDS["learned"]
    monkeypatch.setattr(words, "_BITS", 8)
    draw = np.random.default_rng(0)
    letters = np.array(list("abcdefgh,.'é "))
    text = "".join(draw.choice(letters, 60_000))
    table = WordTable(tokenizer._border, tokenizer._ask, tokenizer.dtype)
    wanted = tokenizer._library.encode(text, add_special_tokens=False).ids
    for _ in range(2):
        assert table.ids(text).tolist() == wanted
    assert table._others


def test_threads_encode_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer: Any = KINDS["learned"]
    monkeypatch.setattr(subwords, "LONG", 10)
    draw = np.random.default_rng(1)
    texts = ["".join(draw.choice(list("abc dé'."), 3000)) for _ in range(24)]
    wanted = [tokenizer._library.encode(text, add_special_tokens=False).ids for text in texts]
    found: dict[int, Ids] = {}

    def encode(first: int) -> None:
        for number in range(first, len(texts), 3):
            found[number] = tokenizer.encode(texts[number])

    threads = [threading.Thread(target=encode, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number].tolist() for number in range(len(texts))] == wanted
    assert 0 < len(tokenizer._tables) <= 4
