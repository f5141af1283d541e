"""Ids to text piece by piece, where one character may take several tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aeattn.data.tokenizer import Tokenizer


class Decoder:
    """Passes text on; what may be a part of a character waits until it is whole.

    The pieces, with what `close` returns, add up to the text of all ids.
    """

    LONGEST = 4  # tokens that can share a character: its bytes in UTF-8

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._whole = bool(tokenizer.chars_per_token.all())  # no character is ever split
        self._waiting: list[int] = []

    def push(self, ids: npt.NDArray[np.integer[Any]]) -> str:
        if self._whole:
            return self.tokenizer.decode(ids)
        known = np.concatenate([np.array(self._waiting, ids.dtype), ids]) if self._waiting else ids
        at = self._undecided(known)
        self._waiting = known[at:].tolist()
        return self.tokenizer.decode(known[:at])

    @property
    def waits(self) -> bool:
        """Whether something is held back that has not been passed on."""
        return bool(self._waiting)

    def close(self) -> str:
        waiting, self._waiting = self._waiting, []
        return self.tokenizer.decode(waiting)

    def _undecided(self, ids: npt.NDArray[np.integer[Any]]) -> int:
        """Where the last tokens begin that may not be whole: the fewest that stand by themselves."""
        decode, recent = self.tokenizer.decode, max(0, len(ids) - 2 * self.LONGEST)
        text = decode(ids[recent:])
        if not text.endswith("\ufffd"):
            return len(ids)
        cuts = range(len(ids) - 1, max(0, len(ids) - self.LONGEST), -1)
        return next((at for at in cuts if decode(ids[recent:at]) + decode(ids[at:]) == text), recent)
