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
from aeattn.generation.engine import Ids
from aeattn.generation.fast import decode
from aeattn.generation.fast.layout import LANES, Layout, Weights, aligned, lay_out
from aeattn.generation.sampling import RandomStream, SamplingRule
from aeattn.nn.size import weight_shapes


class FastDecoding:
    """Sequences written by compiled code."""

    def __init__(
        self,
        layout: Layout,
        config: ModelConfig,
        prompts: Sequence[Ids],
        rule: SamplingRule,
        seed: int,
        threads: int,
    ) -> None:
        n = len(prompts)
        self.layout, self.rule, self.stream = layout, rule, RandomStream(seed, n)
        self.windows = np.zeros((n, config.context), np.int32)
        self.lengths = np.zeros(n, np.int64)
        for row, prompt in enumerate(prompts):
            newest = prompt[-config.context :]
            self.windows[row, : len(newest)], self.lengths[row] = newest, len(newest)
        self.caches = aligned(n * layout.cache_numbers)
        self._logits = np.zeros((n, config.vocab_size), np.float32)
        edges = [n * i // threads for i in range(threads + 1)]
        self.parts = [
            _Part(a, b, aligned(layout.work_numbers), np.zeros(config.d_ff + 2 * LANES, np.int32))
            for a, b in itertools.pairwise(edges)
            if b > a
        ]
        self.pool = ThreadPoolExecutor(len(self.parts)) if len(self.parts) > 1 else None
        self._draw(0, fresh=True)

    def write(self, n: int) -> Ids:
        return self._draw(n, fresh=False)

    def logits(self) -> npt.NDArray[np.float32]:
        return self._logits.copy()

    @property
    def cache_bytes(self) -> int:
        return int(self.caches.nbytes)

    def _draw(self, n: int, fresh: bool) -> Ids:
        uniforms, out = self.stream.take(n), np.empty((len(self.windows), n), np.int32)
        rule, layout = self.rule, self.layout

        def work(part: _Part) -> None:
            decode.write(
                layout.model, layout.layers, layout.weights, self.caches, part.work, part.indices, self.windows,
                self.lengths, self._logits, uniforms, out, part.first, part.last, fresh, float(rule.temperature),
                rule.top_k or 0, float(rule.top_p or 0.0),
            )  # fmt: skip

        if self.pool is None:
            work(self.parts[0])
        else:
            list(self.pool.map(work, self.parts))
        return out


class _Part:
    """The sequences of one thread, and its room to work."""

    def __init__(
        self, first: int, last: int, work: npt.NDArray[np.float32], indices: npt.NDArray[np.int32]
    ) -> None:
        self.first, self.last, self.work, self.indices = first, last, work, indices


class FastEngine:
    """The compiled engine over weights by name, as `LanguageModel(config)` calls them."""

    name, block = "fast", 64

    def __init__(self, config: ModelConfig, weights: Weights, latent: bool) -> None:
        self.config, self.latent = config, latent
        self.layout = lay_out(config, weights, latent)

    def start(self, prompts: Sequence[Ids], rule: SamplingRule, seed: int) -> FastDecoding:
        threads = min(len(prompts), _processors())
        return FastDecoding(self.layout, self.config, prompts, rule, seed, threads)


def compile_now() -> None:
    """Compile, or load what was compiled before: the machine code is the same for all models."""
    config = ModelConfig(vocab_size=2, context=4, d_model=4, n_layers=1, n_heads=1, d_ff=4, bottleneck=2)
    weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(config).items()}
    FastEngine(config, weights, latent=True).start([np.zeros(1, np.int32)], SamplingRule(), seed=0)


def _processors() -> int:
    """That this process may use, and no more than `OMP_NUM_THREADS` where that is set."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(available, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else available
