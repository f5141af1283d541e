"""Characters to ids and back."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeattn.data import tokenizer as module
from aeattn.data.lookup import ByteTable
from aeattn.data.tokenizer import CharTokenizer, load_tokenizer
from aeattn.errors import InputError

characters = st.characters(exclude_categories=["Cs"])
texts = st.text(characters, min_size=1)


def slow_ids(tokenizer: CharTokenizer, text: str) -> list[int]:
    substitute = tokenizer.characters.index(tokenizer.substitute)
    return [tokenizer.characters.find(c) if c in tokenizer.characters else substitute for c in text]


@settings(deadline=None)
@given(texts)
def test_decoding_undoes_encoding(text: str) -> None:
    tokenizer = CharTokenizer.from_chunks([text])
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(deadline=None)
@given(texts, st.text(characters) | st.text(st.characters(codec="ascii")), st.sampled_from([1, 1 << 14]))
def test_encoding_equals_its_slow_twin(known: str, text: str, long: int) -> None:
    tokenizer = CharTokenizer.from_chunks([known])
    unknown: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LONG", long)
        assert tokenizer.encode(text, unknown).tolist() == slow_ids(tokenizer, text)
    assert unknown == Counter(c for c in text if c not in known) == tokenizer.unknown_counts(text)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*("plain text, " * 3,) * 6, "é", "“", "😀", "x", "\ud83d"]), max_size=20).map(
        "".join
    )
)
def test_texts_that_are_all_but_ascii_are_encoded_as_others(text: str) -> None:
    for known in ("plain text,é“😀", "plain text,é", "plin “"):
        tokenizer, unknown = CharTokenizer("".join(sorted({*known}))), Counter[str]()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_LONG", 1)
            assert tokenizer.encode(text, unknown).tolist() == slow_ids(tokenizer, text)
        assert unknown == Counter(c for c in text if c not in known)
    if text and "\ud83d" not in text:
        assert CharTokenizer.from_chunks([text]).characters == "".join(sorted(set(text)))


@settings(deadline=None)
@given(st.lists(texts, min_size=1))
def test_the_vocabulary_does_not_depend_on_the_chunks(chunks: list[str]) -> None:
    tokenizer = CharTokenizer.from_chunks(chunks)
    assert tokenizer.characters == "".join(sorted(set("".join(chunks))))
    assert tokenizer == CharTokenizer.from_chunks(["".join(chunks)])


@settings(deadline=None)
@given(texts)
def test_saving_and_loading_gives_the_same(text: str) -> None:
    tokenizer = CharTokenizer.from_chunks([text])
    assert CharTokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict()))) == tokenizer


def test_a_file_of_it(tmp_path: Path) -> None:
    tokenizer = CharTokenizer("\n abcé😀")
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer.to_dict()))
    assert load_tokenizer(tmp_path / "tokenizer.json") == tokenizer


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(1, np.uint8), (256, np.uint8), (257, np.uint16), (65536, np.uint16), (65537, np.uint32)],
)
def test_ids_take_the_smallest_type(size: int, dtype: type) -> None:
    codes = [code for code in range(size + 2048) if not 0xD800 <= code < 0xE000][:size]
    tokenizer = CharTokenizer("".join(map(chr, codes)))
    ids = tokenizer.encode(tokenizer.characters)
    assert ids.dtype == dtype == tokenizer.dtype
    assert tokenizer.decode(ids) == tokenizer.characters


@pytest.mark.parametrize(("vocabulary", "substitute"), [("\n a", " "), ("\nab", "\n"), ("abc", "a"), ("!é", "!")])
def test_unknown_characters_are_read_as_the_substitute(vocabulary: str, substitute: str) -> None:
    tokenizer = CharTokenizer(vocabulary)
    assert tokenizer.substitute == substitute
    assert tokenizer.decode(tokenizer.encode("Zü😀\udcff")) == substitute * 4


def test_strict_encoding_names_the_unknown_characters() -> None:
    with pytest.raises(InputError, match=r"'x' \(2\), '€' \(1\)"):
        CharTokenizer("ab").encode("axbx€", strict=True)
    assert CharTokenizer("ab").encode("ab", strict=True).tolist() == [0, 1]


def test_encoded_ids_can_be_written_to() -> None:
    ids = CharTokenizer("ab").encode("abab")
    ids[0] = 1
    assert CharTokenizer("ab").decode(ids) == "bbab"


def test_decoding_takes_any_integers_and_refuses_others() -> None:
    tokenizer = CharTokenizer("abc")
    assert tokenizer.decode([2, 1, 0]) == tokenizer.decode(np.array([2, 1, 0], np.int64)) == "cba"
    assert tokenizer.decode([]) == ""
    for wrong in ([3], [-1], [0.5], np.array([3], np.uint8)):
        with pytest.raises(ValueError, match="from 0 to 2"):
            tokenizer.decode(wrong)


@pytest.mark.parametrize("vocabulary", ["", "aba", "ba", "aa", "a\ud800", None, 3, ["a"]])
def test_impossible_vocabularies_are_refused(vocabulary: str) -> None:
    with pytest.raises(InputError, match="vocabulary"):
        CharTokenizer(vocabulary)


@pytest.mark.parametrize(
    "written",
    [
        "[]",
        "{}",
        "not json",
        '"abc"',
        '{"kind": "characters"}',
        '{"kind": "bpe", "characters": ["a"]}',
        '{"kind": "characters", "characters": "abc"}',
        '{"kind": "characters", "characters": []}',
        '{"kind": "characters", "characters": ["a", "a"]}',
        '{"kind": "characters", "characters": ["b", "a"]}',
        '{"kind": "characters", "characters": ["ab"]}',
        '{"kind": "characters", "characters": ["a", 7]}',
        '{"kind": "characters", "characters": ["\\ud800"]}',
        '{"kind": "characters", "characters": ["a"], "more": 1}',
        "[" * 100_000,
    ],
)
def test_files_that_are_no_tokenizer_are_refused_by_name(tmp_path: Path, written: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(written)
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        load_tokenizer(path)


def test_absurd_files_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(InputError, match="too large"):
        load_tokenizer(path)
    with pytest.raises(InputError, match="must be a list"):
        CharTokenizer.from_dict({"kind": "characters", "characters": ["a"] * 0x110001})
    with pytest.raises(InputError, match="cannot be read"):
        load_tokenizer(tmp_path / "missing.json")


def test_no_text_makes_no_vocabulary() -> None:
    with pytest.raises(InputError, match="empty"):
        CharTokenizer.from_chunks(["", ""])


@given(st.binary(max_size=70), st.integers(0, 3))
def test_bytes_by_a_table_are_those_of_translate(content: bytes, first: int) -> None:
    table = np.random.default_rng(0).permutation(256).astype(np.uint8)
    wanted = content[first:].translate(table.tobytes())
    assert ByteTable(table).take(content[first:]).tobytes() == wanted
    assert ByteTable(table).take(np.frombuffer(content, np.uint8)[first:]).tobytes() == wanted
