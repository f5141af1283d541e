"""Reading and normalising text: the result must not depend on how the text was cut."""

from __future__ import annotations

import gzip
import re
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aeattn.config.convert import build
from aeattn.config.text import TextOptions
from aeattn.data.text import normalise, normalise_text, read_chunks
from aeattn.errors import InputError

awkward = st.sampled_from("\r\n\n\n \t\u00a0\u2028\x85\x0b\ufeff\u0301éÉßŒﬁ½ΣΑΣ aAİ‘’“”—…中😀_.'")
texts = st.text(awkward | st.characters(exclude_categories=["Cs"]), max_size=60)
options = st.builds(
    TextOptions,
    ascii=st.booleans(),
    lower=st.booleans(),
    unwrap=st.booleans(),
    keep=st.none() | st.just("abcdefghijklmnopqrstuvwxyz \n.,'\"-") | st.text(awkward, min_size=1),
)


def cut(text: str, places: list[int]) -> list[str]:
    borders = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(borders)]


def slow_normalise(text: str, options: TextOptions) -> str:
    """The whole text at once, step by step."""
    text = re.sub("\r\n?", "\n", text.replace("\ufeff", ""))
    if options.ascii:
        text = "".join(normalise_text(c, TextOptions(ascii=True)) if ord(c) > 127 else c for c in text)
    if options.lower:
        text = "".join(c.lower() for c in text)
    if options.unwrap:
        paragraphs = re.split(r"[^\S\n]*\n[^\S\n]*\n\s*", text.strip())
        ending = "\n" if "\n" in text[len(text.rstrip()) :] and text.strip() else ""
        text = "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs) + ending
    if options.keep is not None:
        text = "".join(c for c in text if c in options.keep)
        if options.unwrap:
            ending = "\n" if "\n" in text[len(text.rstrip()) :] and text.strip() else ""
            lines = (" ".join(line.split()) for line in text.split("\n"))
            text = "\n".join(line for line in lines if line) + ending
    return text


@settings(deadline=None)
@given(texts, options, st.lists(st.integers(0, 100), max_size=12))
@example("a\r\nb\r\r\n", TextOptions(), [2, 7])
@example("e\u0301 e", TextOptions(ascii=True), [1])
@example("ΑΣ", TextOptions(lower=True), [1])
@example(" a \n \n b \n", TextOptions(unwrap=True), [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_where_the_text_is_cut_makes_no_difference(text: str, options: TextOptions, places: list[int]) -> None:
    whole_report: Counter[str] = Counter()
    parts_report: Counter[str] = Counter()
    whole = "".join(normalise([text], options, whole_report))
    parts = "".join(normalise(cut(text, places), options, parts_report))
    assert parts == whole == normalise_text(text, options)
    assert parts_report == whole_report


@settings(deadline=None)
@given(texts, options)
def test_streaming_equals_its_slow_twin(text: str, options: TextOptions) -> None:
    assert normalise_text(text, options) == slow_normalise(text, options)


@settings(deadline=None)
@given(texts, options)
def test_normalising_again_changes_nothing(text: str, options: TextOptions) -> None:
    """Save for unwrapping, which takes the line ends that it made for those inside a paragraph."""
    options = TextOptions(options.ascii, options.lower, False, options.keep)
    once = normalise_text(text, options)
    assert normalise_text(once, options) == once


@settings(deadline=None)
@given(texts)
def test_options_promise_what_they_say(text: str) -> None:
    assert normalise_text(text, TextOptions(ascii=True)).isascii()
    assert set(normalise_text(text, TextOptions(keep="ab "))) <= set("ab ")
    unwrapped = normalise_text(text, TextOptions(unwrap=True, ascii=True, keep="ab \n"))
    assert not re.search(r"\s\s|^\s", unwrapped)
    assert "\r" not in normalise_text(text, TextOptions())


@settings(deadline=None)
@given(st.text(st.characters(categories=["Ll", "Lu"]), max_size=30))
def test_accents_go_and_letters_stay(text: str) -> None:
    accented = [c for c in text if unicodedata.normalize("NFD", c)[0].isascii()]
    folded = normalise_text("".join(accented), TextOptions(ascii=True))
    assert folded == "".join(unicodedata.normalize("NFD", c)[0] for c in accented)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("“He’s—well…”", '"He\'s--well..."'),
        ("Brontë cœur Æsop naïve ﬁn", "Bronte coeur AEsop naive fin"),
        ("1–2 × 3½ Straße\u00a0!", "1-2 x 31/2 Strasse !"),
        ("中£†", ""),
    ],
)
def test_folding_to_ascii(text: str, folded: str) -> None:
    assert normalise_text(text, TextOptions(ascii=True)) == folded


def test_unwrapping_gives_a_paragraph_a_line() -> None:
    text = "\n\n  CHAPTER I\n\n\nIt was a\ndark   night;\n\t the rain fell.\n"
    text += "   \n_Then_ * * *\n\n* * *\n\nEnd.\n\n"
    assert normalise_text(text, TextOptions(unwrap=True)).split("\n") == [
        "CHAPTER I",
        "It was a dark night; the rain fell.",
        "_Then_ * * *",
        "* * *",
        "End.",
        "",
    ]
    kept = TextOptions(unwrap=True, lower=True, keep="abcdefghijklmnopqrstuvwxyz \n.;")
    assert normalise_text(text, kept) == "chapter i\nit was a dark night; the rain fell.\nthen \nend.\n".replace(
        " \n", "\n"
    )


def test_what_is_dropped_is_counted() -> None:
    report: Counter[str] = Counter()
    options = TextOptions(ascii=True, keep="ab")
    assert "".join(normalise(["ab中é", "中x\u0301b"], options, report)) == "abb"
    assert report == {"中": 2, "é→e": 1, "e": 1, "x": 1}


def test_memory_does_not_grow_with_white_space() -> None:
    chunks = ("\n " * 5000 for _ in range(200))
    assert list(normalise(chunks, TextOptions(unwrap=True))) == []


def test_options_survive_a_dictionary_and_refuse_what_they_do_not_know() -> None:
    options = TextOptions(ascii=True, keep="ab")
    assert build(TextOptions, options.to_dict(), "text options") == options
    for wrong in ({"asci": True}, {"ascii": 1}, {"keep": ""}, {"keep": 3}):
        with pytest.raises(InputError, match="option"):
            build(TextOptions, wrong, "text options")


@settings(deadline=None)
@given(text=texts.filter(lambda text: "\0" not in text), size=st.integers(1, 9))
def test_files_read_as_written(tmp_path_factory: pytest.TempPathFactory, text: str, size: int) -> None:
    folder = tmp_path_factory.mktemp("text")
    (folder / "a.txt").write_bytes(text.encode())
    (folder / "b.txt.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    for name in ("a.txt", "b.txt.gz"):
        chunks = list(read_chunks(folder / name, size))
        assert "".join(chunks) == text
        assert all(0 < len(chunk) <= size for chunk in chunks)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"ab\xff", "2"),
        ("é€".encode() + b"\xc3(", "5"),
        (b"abc\xe2\x82", "3"),
        (b"x" * 1500 + b"\x80", "1,500"),
    ],
)
def test_the_offset_of_what_is_not_utf8(tmp_path: Path, size: int, data: bytes, offset: str) -> None:
    for path, content in ((tmp_path / "a.txt", data), (tmp_path / "a.txt.gz", gzip.compress(data, mtime=0))):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{path}: not UTF-8 at byte {offset}; .* iconv"):
            list(read_chunks(path, size))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", "héllo".encode("utf-16"), "UTF-16"),
        ("a.txt", b"\xfe\xff\x00a", "UTF-16"),
        ("a.txt", b"\x7fELF\0\0", "not a text file"),
        ("a.txt.gz", b"plain text", "broken gzip"),
        ("a.txt.gz", gzip.compress(b"text" * 999, mtime=0)[:-9], "broken gzip"),
        ("a.txt.gz", gzip.compress(b"text" * 999, mtime=0)[:20] + b"\xff" * 40, "broken gzip"),
    ],
)
def test_files_that_are_no_text_say_so(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        list(read_chunks(path))
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.txt", tmp_path):
        with pytest.raises(InputError, match=re.escape(str(path))):
            list(read_chunks(path))


def test_compressed_text_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(gzip.compress(b"hello", mtime=0))
    assert "".join(read_chunks(path)) == "hello"
