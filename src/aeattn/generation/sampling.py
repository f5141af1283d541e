"""From logits to the next character: temperature, top-k, top-p, and one random stream for all engines.

Shapes: B sequences, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aeattn.errors import InputError


@dataclass(frozen=True)
class SamplingRule:
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


def probabilities(logits: Tensor, rule: SamplingRule) -> Tensor:
    """The distribution that is drawn from, (B, V) -> (B, V), in float64; rows sum to 1.

    First temperature, then the `top_k` likeliest, then the smallest set of likeliest characters whose
    probability reaches `top_p` (nucleus, Holtzman et al. 2020). Ties go to the lower id.
    """
    logits = logits.double()
    if rule.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).double()
    scaled = (logits - logits.amax(dim=-1, keepdim=True)) / rule.temperature
    chances = scaled.softmax(dim=-1)
    if rule.top_k is None and rule.top_p is None:
        return chances
    ranked, order = chances.sort(dim=-1, descending=True, stable=True)
    keep = torch.ones_like(ranked, dtype=torch.bool)
    if rule.top_k is not None:
        keep[:, rule.top_k :] = False
    if rule.top_p is not None:
        kept = torch.where(keep, ranked, 0.0)
        before = kept.cumsum(dim=-1) - kept
        keep &= before < rule.top_p * kept.sum(dim=-1, keepdim=True)
    kept = torch.zeros_like(chances).scatter(-1, order, torch.where(keep, ranked, 0.0))
    return kept / kept.sum(dim=-1, keepdim=True)


class RandomStream:
    """Uniform numbers in [0, 1): number `step` of sequence `row` depends on (seed, row, step) alone.

    So every engine, in batches of any size, draws the same text. Philox 4x64 (Salmon et al. 2011) by way of
    its raw bits, which are the same in every version of NumPy.
    """

    BLOCK = 1024

    def __init__(self, seed: int, rows: int) -> None:
        if not 0 <= seed < 2**63:
            raise InputError(f"seed is {seed}: choose a whole number from 0 to below 2^63")
        self.generators = [np.random.Philox(key=[seed, row]) for row in range(rows)]
        self._drawn: npt.NDArray[np.float64] = np.empty((rows, 0))
        self._next = 0

    def draw(self) -> npt.NDArray[np.float64]:
        """The next number of every sequence, (B,)."""
        if self._next == self._drawn.shape[1]:
            raw = [g.random_raw(self.BLOCK) for g in self.generators]
            self._drawn = (np.stack(raw) >> np.uint64(11)).astype(np.float64) * 2.0**-53
            self._next = 0
        self._next += 1
        return self._drawn[:, self._next - 1]


def choose(chances: Tensor, uniform: Tensor) -> Tensor:
    """The character at which the running sum of chances (B, V) passes `uniform` (B,): ids (B,)."""
    sums = chances.cumsum(dim=-1)
    ids = torch.searchsorted(sums, (uniform * sums[:, -1]).unsqueeze(-1), right=True).squeeze(-1)
    return torch.minimum(ids, _last_possible(chances))


def _last_possible(chances: Tensor) -> Tensor:
    """Rounding must never pick a character of probability 0 at the end of the vocabulary."""
    places = torch.arange(chances.shape[-1], device=chances.device)
    return torch.where(chances > 0, places, -1).amax(dim=-1)
