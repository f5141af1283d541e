"""Characters and their bytes, for tokenizers whose tokens are bytes."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from aeattn.data.tokenizer import listed
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
    if text.isascii() or not (found := Counter(_SURROGATE.findall(text))):
        return text
    if strict:
        raise InputError(f"characters that are none (lone surrogates): {listed(found)}; remove or replace them")
    if unknown is not None:
        unknown.update(found)
    return _SURROGATE.sub("\ufffd", text)
