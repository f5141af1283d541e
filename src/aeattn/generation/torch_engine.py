"""The simple decoding engine: PyTorch, one character a step through the model and its cache.

Shapes: B sequences, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aeattn.config.model import CacheKind
from aeattn.data.tokenizer import Ids
from aeattn.generation.engine import is_latent
from aeattn.generation.sampling import RandomStream, Sampling
from aeattn.nn.cache import Cache
from aeattn.nn.size import size
from aeattn.nn.transformer import LanguageModel

PIECE = 512  # characters of a prompt that are read at once: scores take memory by its square


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout, even while the model is being trained."""
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()


class Window:
    """What the model sees: the newest characters of each sequence, and the cache over them.

    Sequences of different lengths end together; when one is full, all are read again, shorter ones whole.
    """

    def __init__(self, model: LanguageModel, prompts: Sequence[Sequence[int]], cache: CacheKind = "auto") -> None:
        self.model, self.context, self.kind = model, model.config.context, cache
        self.rows = [list(prompt[-self.context :]) for prompt in prompts]
        self.device = next(model.parameters()).device
        self.cache: Cache | None = None

    def next_logits(self) -> Tensor:
        """Logits of the character after those seen, (B, V)."""
        if self.cache is None:
            longest = max(map(len, self.rows))
            padding = torch.tensor([longest - len(row) for row in self.rows], device=self.device)
            self.cache = self.model.new_cache(self.kind, padding if bool(padding.any()) else None)
            fresh = torch.tensor([[0] * (longest - len(row)) + row for row in self.rows], device=self.device)
        else:
            fresh = torch.tensor([row[-1:] for row in self.rows], device=self.device)
        for start in range(0, fresh.shape[1], PIECE):
            with evaluating(self.model):
                logits: Tensor = self.model(fresh[:, start : start + PIECE], self.cache)
        return logits[:, -1]

    def append(self, ids: Sequence[int]) -> None:
        """Take in one more character a sequence, after `next_logits`."""
        half = max(1, self.context // 2) if self.context > 1 else 0
        for row, new in zip(self.rows, ids, strict=True):
            if len(row) == self.context:
                del row[: self.context - half]
                self.cache = None
            row.append(new)


class SimpleDecoding:
    """Sequences written by PyTorch."""

    def __init__(self, window: Window, sampling: Sampling, seed: int, first: int = 0) -> None:
        self.window, self.sampling = window, sampling
        self.stream = RandomStream(seed, len(window.rows), first)
        with torch.inference_mode():
            self._logits = window.next_logits()

    @torch.inference_mode()
    def write(self, n: int) -> Ids:
        written = np.empty((len(self.window.rows), n), np.int32)
        for step in range(n):
            chances = probabilities(self._logits, self.sampling)
            ids = choose(chances, torch.from_numpy(self.stream.draw().copy()).to(chances.device)).tolist()
            written[:, step] = ids
            self.window.append(ids)
            self._logits = self.window.next_logits()
        return written

    def logits(self) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = self._logits.float().cpu().numpy()
        return found

    @property
    def cache_bytes(self) -> int:
        return 0 if self.window.cache is None else self.window.cache.bytes


class SimpleEngine:
    """The engine that runs wherever PyTorch does."""

    name, block = "simple", 1

    def __init__(self, model: LanguageModel, cache: CacheKind = "auto") -> None:
        self.model, self.kind = model, cache
        self.latent = is_latent(model.config, cache)
        found = size(model.config)
        a_char = found.latent_cache_bytes if self.latent and found.latent_cache_bytes else found.cache_bytes
        self.sequence_bytes = model.config.context * a_char

    def start(self, prompts: Sequence[Ids], sampling: Sampling, seed: int, first: int = 0) -> SimpleDecoding:
        return SimpleDecoding(Window(self.model, [p.tolist() for p in prompts], self.kind), sampling, seed, first)


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """The distribution that is drawn from, (B, V) -> (B, V), in float64; rows sum to 1.

    First temperature, then the `top_k` likeliest, then the smallest set of likeliest characters whose
    probability reaches `top_p` (nucleus, Holtzman et al. 2020). Ties go to the lower id.
    """
    logits = logits.double()
    if sampling.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).double()
    scaled = (logits - logits.amax(dim=-1, keepdim=True)) / sampling.temperature
    chances = scaled.softmax(dim=-1)
    if sampling.top_k is None and sampling.top_p is None:
        return chances
    ranked, order = chances.sort(dim=-1, descending=True, stable=True)
    keep = torch.ones_like(ranked, dtype=torch.bool)
    if sampling.top_k is not None:
        keep[:, sampling.top_k :] = False
    if sampling.top_p is not None:
        kept = torch.where(keep, ranked, 0.0)
        before = kept.cumsum(dim=-1) - kept
        keep &= before < sampling.top_p * kept.sum(dim=-1, keepdim=True)
    kept = torch.zeros_like(chances).scatter(-1, order, torch.where(keep, ranked, 0.0))
    return kept / kept.sum(dim=-1, keepdim=True)


def choose(chances: Tensor, uniform: Tensor) -> Tensor:
    """The character at which the running sum of chances (B, V) passes `uniform` (B,): ids (B,)."""
    sums = chances.cumsum(dim=-1)
    ids = torch.searchsorted(sums, (uniform * sums[:, -1]).unsqueeze(-1), right=True).squeeze(-1)
    places = torch.arange(chances.shape[-1], device=chances.device)
    last_possible = torch.where(chances > 0, places, -1).amax(dim=-1)
    return torch.minimum(ids, last_possible)  # rounding must never pick a character of probability 0
