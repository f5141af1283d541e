"""Which windows of a text are looked at: the same ones for every model with the same characters and context.

Shapes: B windows, T time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from aeattn.data.batches import Int64
from aeattn.data.store import TokenStore
from aeattn.data.stored import evenly, lengths_of
from aeattn.data.tokenizer import Counts, Ids
from aeattn.errors import InputError


@dataclass(frozen=True)
class Sample:
    """Whole windows: `length` tokens to read from each of `starts` in `ids`, and one more to predict.

    Attention is measured for the second half of each window, from `first_query` on, so that every query sees at
    least half a window: with few tokens to choose from, all attention is sparse.
    """

    ids: Ids
    starts: Int64
    length: int
    read: Callable[[int], None] = field(default=lambda _: None, compare=False)  # is told of windows
    chars_per_token: Counts | None = field(default=None, compare=False)  # by id; None: one each

    @property
    def first_query(self) -> int:
        return self.length // 2

    @property
    def queries(self) -> int:
        """Measured positions, over all windows."""
        return len(self.starts) * (self.length - self.first_query)

    def window(self, start: int) -> Int64:
        """The window at `start` and the token after it, (T + 1,)."""
        return self.ids[start : start + self.length + 1].astype(np.int64)

    def batches(self, rows: int, device: torch.device | str = "cpu") -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets, each (at most `rows`, T): only these are in memory."""
        for at in range(0, len(self.starts), rows):
            part = np.stack([self.window(int(start)) for start in self.starts[at : at + rows]])
            ids = torch.from_numpy(part).to(device)
            yield ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
            self.read(len(part))

    def chars(self, ids: Tensor) -> int:
        """How many characters tokens have together."""
        return ids.numel() if self.chars_per_token is None else int(self.chars_per_token[ids.cpu().numpy()].sum())

    def digest(self) -> str:
        """Identifies what is read, so that a comparison can tell that it was the same."""
        sha = hashlib.sha256(str(self.length).encode())
        for start in self.starts:
            sha.update(self.window(int(start)).tobytes())
        return sha.hexdigest()


def sample(store: TokenStore, context: int, tokens: int) -> Sample:
    """Evenly spaced windows of a whole context, as many as fit into so many tokens, none across the border of
    two documents. Where every document is shorter, one window of the longest.

    Raises InputError for a text of fewer than 3 tokens.
    """
    lengths = lengths_of(store.documents)
    length = min(context, int(lengths.max(initial=0)) - 1)
    if length < 2:
        raise InputError("nothing to look at: give a text of at least 3 characters")
    # a window needs length + 1 tokens
    counts = np.maximum(0, -(-(lengths - length) // length))
    picked = evenly(counts, max(1, tokens // length))
    starts = np.array([store.documents[document].start + number * length for document, number in picked])
    return Sample(store.ids, starts, length)


def rows_at_once(length: int, n_heads: int, numbers: int = 1 << 22) -> int:
    """Windows to read at once so that weights of a block of 128 queries take at most `numbers` numbers."""
    return max(1, numbers // (n_heads * min(length, 128) * length))
