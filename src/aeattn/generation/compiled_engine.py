"""The fast engine: the whole decoding loop compiled, several characters a call, a thread for each part of a batch.

Sequences do not depend on each other, so threads share nothing but the weights and never wait for each other.

Shapes: B sequences, T context, V vocabulary.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from aeattn.config.model import ModelConfig
from aeattn.data.tokenizer import Ids
from aeattn.generation.layout import Layout, Weights, aligned, lay_out
from aeattn.generation.sampling import RandomStream, Sampling
from aeattn.kernels import decode


class CompiledDecoding:
    """Sequences written by compiled code."""

    def __init__(
        self, layout: Layout, config: ModelConfig, prompts: Sequence[Ids], sampling: Sampling, stream: RandomStream
    ) -> None:
        n = len(prompts)
        threads = min(n, _processors())
        self.layout, self.sampling, self.stream = layout, sampling, stream
        self.windows = np.zeros((n, config.context), np.int32)
        self.lengths = np.zeros(n, np.int64)
        for row, prompt in enumerate(prompts):
            newest = prompt[-config.context :]
            self.windows[row, : len(newest)], self.lengths[row] = newest, len(newest)
        self.caches = aligned(n * layout.cache_numbers)
        self._logits = np.zeros((n, config.vocab_size), np.float32)
        edges = [n * i // threads for i in range(threads + 1)]
        numbers = decode.work_numbers(layout.model, layout.layers)
        self.parts = [(first, last, aligned(numbers)) for first, last in itertools.pairwise(edges)]
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._draw(0, fresh=True)

    def write(self, n: int) -> Ids:
        return self._draw(n, fresh=False)

    def logits(self) -> npt.NDArray[np.float32]:
        return self._logits.copy()

    @property
    def cache_bytes(self) -> int:
        return int(self.caches.nbytes)

    def _draw(self, n: int, fresh: bool) -> Ids:
        uniforms, out = np.ascontiguousarray(self.stream.take(n)), np.empty((len(self.windows), n), np.int32)
        sampling = (self.sampling.temperature, self.sampling.top_k or 0, self.sampling.top_p or 0.0)
        given = (self.layout.model, self.layout.layers, self.layout.weights)

        def work(part: tuple[int, int, npt.NDArray[np.float32]]) -> None:
            first, last, room = part
            ours = (self.caches, room, self.windows, self.lengths, self._logits, uniforms, out)
            decode.generate((*given, *ours), n, first, last, fresh, sampling)

        if self.pool is None:
            work(self.parts[0])
        else:
            list(self.pool.map(work, self.parts))
        return out


class CompiledEngine:
    """The compiled engine over weights by name, as `LanguageModel(config)` calls them."""

    name, block = "fast", 64

    def __init__(self, config: ModelConfig, weights: Weights, latent: bool) -> None:
        self.config, self.latent = config, latent
        self.layout = lay_out(config, weights, latent)
        self.sequence_bytes = 4 * self.layout.cache_numbers

    def start(self, prompts: Sequence[Ids], sampling: Sampling, seed: int, first: int = 0) -> CompiledDecoding:
        stream = RandomStream(seed, len(prompts), first)
        return CompiledDecoding(self.layout, self.config, prompts, sampling, stream)


def _processors() -> int:
    """That this process may use, and no more than `OMP_NUM_THREADS` where that is set."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(available, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else available
