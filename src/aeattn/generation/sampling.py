"""How characters are drawn: the settings, and one random stream for all engines. Needs no PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aeattn.errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How the next character is drawn. Temperature 0 is greedy; `top_k` and `top_p` of None keep all.

    Raises InputError for values that cannot be. A `top_k` beyond the vocabulary keeps all of it.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"temperature is {self.temperature}: choose 0 (greedy) or more")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top-k is {self.top_k}: choose at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError(f"top-p is {self.top_p}: choose more than 0 and at most 1")


class RandomStream:
    """Uniform numbers in [0, 1): number `step` of sequence `row` depends on (seed, row, step) alone.

    So every engine, in batches of any size, draws the same text. Philox 4x64 (Salmon et al. 2011) by way of
    its raw bits, which are the same in every version of NumPy.
    """

    BLOCK = 1024

    def __init__(self, seed: int, rows: int, first: int = 0) -> None:
        if not 0 <= seed < 2**63:
            raise InputError(f"seed is {seed}: choose a whole number from 0 to below 2^63")
        self.generators = [np.random.Philox(key=[seed, row]) for row in range(first, first + rows)]
        self._drawn: npt.NDArray[np.float64] = np.empty((rows, 0))
        self._next = 0

    def draw(self) -> npt.NDArray[np.float64]:
        """The next number of every sequence, (B,)."""
        return self.take(1)[:, 0]

    def take(self, n: int) -> npt.NDArray[np.float64]:
        """The next `n` numbers of every sequence, (B, n)."""
        parts = []
        while n > 0:
            if self._next == self._drawn.shape[1]:
                raw = [g.random_raw(self.BLOCK) for g in self.generators]
                self._drawn = (np.stack(raw) >> np.uint64(11)).astype(np.float64) * 2.0**-53
                self._next = 0
            part = self._drawn[:, self._next : self._next + n]
            self._next += part.shape[1]
            n -= part.shape[1]
            parts.append(part)
        return np.concatenate(parts, axis=1) if parts else self._drawn[:, :0]
