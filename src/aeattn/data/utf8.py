"""Characters: their code points, their bytes, and what makes a vocabulary of them."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from aeattn.data.lookup import ByteTable
from aeattn.errors import InputError

_SURROGATE = re.compile("[\ud800-\udfff]")


def begins_character(values: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
    """Which bytes do not go on with a character."""
    begins: npt.NDArray[np.bool_] = (values & 0xC0) != 0x80
    return begins


def whole_characters(text: str, unknown: Counter[str] | None = None, strict: bool = False) -> str:
    """The text with U+FFFD for lone surrogates, which are no characters and have no bytes.

    `unknown` and `strict` are as in `Tokenizer.encode`.
    """
    if text.isascii():
        return text
    try:
        text.encode()  # far faster than to look for what it refuses
        return text
    except UnicodeEncodeError:
        found = Counter(_SURROGATE.findall(text))
    if strict:
        raise InputError(f"characters that are none (lone surrogates): {listed(found)}; remove or replace them")
    if unknown is not None:
        unknown.update(found)
    return _SURROGATE.sub("\ufffd", text)


def codes(text: str) -> npt.NDArray[np.uint32]:
    """The code points of `text`; lone surrogates, which a command line can hold, pass as they are."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def parted(text: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], str] | None:
    """The bytes of a text that is all but ASCII, where in them its other characters have theirs, and these
    characters; None for a text with many of them, or with surrogates."""
    try:
        content = np.frombuffer(text.encode(), np.uint8)
    except UnicodeEncodeError:
        return None
    places = np.flatnonzero(content >= 128)
    return None if len(places) > len(content) // 16 else (content, places, content[places].tobytes().decode())


def characters_in(chunks: Iterable[str]) -> str:
    """Each character of a text in chunks once, in ascending order."""
    found = np.zeros(sys.maxunicode + 1, np.bool_)
    new = ByteTable(np.ones(256, np.uint8))  # 0 for the bytes of ASCII that are known, and all others
    for chunk in chunks:
        if not chunk.isascii():
            others = parted(chunk)
            found[codes(chunk if others is None else others[2])] = True
            chunk = chunk if others is not None else ""
        content = np.frombuffer(chunk.encode(), np.uint8)
        if new.take(content).any():
            found[:128] |= np.bincount(content, minlength=128)[:128] > 0
            new = ByteTable(np.append(~found[:128], np.zeros(128, np.bool_)))
    return "".join(map(chr, np.flatnonzero(found)))


def check_vocabulary(characters: str) -> None:
    """Raises InputError for characters that are no vocabulary: none, twice, in another order, or surrogates."""
    if not isinstance(characters, str) or not characters:
        raise InputError("a vocabulary must be a string of at least one character")
    points = codes(characters).astype(np.int64)
    steps = np.diff(points)
    if (steps == 0).any():
        raise InputError("a vocabulary must not hold a character twice")
    if (steps < 0).any():
        raise InputError("the characters of a vocabulary must be in ascending order")
    if ((points >= 0xD800) & (points < 0xE000)).any():
        raise InputError("a vocabulary must not hold surrogates: they are not characters")


def joined(characters: object) -> str:
    """A list of characters as a string. Raises InputError for what is none."""
    if not isinstance(characters, list) or len(characters) > 0x110000:
        raise InputError("not a tokenizer: 'characters' must be a list of characters")
    for character in characters:
        if not isinstance(character, str) or len(character) != 1:
            raise InputError(f"not a tokenizer: {str(character)[:20]!r} is not one character")
    return "".join(characters)


def listed(unknown: Counter[str]) -> str:
    """The commonest of them, with their numbers, in a line."""
    shown = ", ".join(f"{c!r} ({n:,})" for c, n in unknown.most_common(8))
    return shown + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else "")
