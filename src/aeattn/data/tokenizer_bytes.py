"""The tokenizer of bytes: the ids of a text are its bytes in UTF-8. No vocabulary, nothing is unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from aeattn.config.run import BYTE_TOKENS
from aeattn.data.tokenizer import Counts, Ids, Tokenizer, register_tokenizer
from aeattn.data.utf8 import begins_character, whole_characters
from aeattn.errors import InputError


@register_tokenizer("bytes")
class ByteTokenizer(Tokenizer):
    """256 tokens, one a byte."""

    vocab_size, learns = BYTE_TOKENS, False

    @classmethod
    def check(cls, argument: str) -> None:
        if argument:
            raise InputError(f"the tokenizer of bytes takes no argument, not {argument[:40]!r}: leave it out")

    @classmethod
    def make(cls, argument: str, chunks: Iterable[str]) -> ByteTokenizer:
        cls.check(argument)
        return cls()

    @cached_property
    def chars_per_token(self) -> Counts:
        return begins_character(np.arange(BYTE_TOKENS)).astype(np.int64)

    @cached_property
    def bytes_per_token(self) -> Counts:
        return np.ones(BYTE_TOKENS, np.int64)

    def encode(self, text: str, unknown: Counter[str] | None = None, strict: bool = False) -> Ids:
        """Ids (N,): see `Tokenizer.encode`."""
        return np.frombuffer(bytearray(whole_characters(text, unknown, strict).encode()), np.uint8)

    def decode(self, ids: npt.ArrayLike) -> str:
        array = np.asarray(ids).reshape(-1)
        if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= BYTE_TOKENS):
            raise ValueError(f"ids must be integers from 0 to {BYTE_TOKENS - 1}")
        return array.astype(np.uint8).tobytes().decode("utf-8", "replace")

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "bytes"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ByteTokenizer:
        if set(values) != {"kind"}:
            raise InputError("not a tokenizer of bytes: expected its 'kind' alone")
        return cls()
