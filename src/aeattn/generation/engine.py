"""What every decoding engine does, and which one is taken.

Beyond the context. A model sees at most `context` characters. When they are full, the older half is
forgotten: the newest half of the context is read again from the start, and writing goes on. So every
character is predicted from between half a context and a whole one, and each prediction equals that of a full
pass over exactly those characters. A prompt longer than the context is read from its newest `context` characters
on. All engines do the same, and draw from the same random numbers.

    fast      compiled from C++, on the CPU, without PyTorch: generation/compiled_engine.py
    simple    PyTorch, on any device: generation/torch_engine.py

Shapes: B sequences.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from aeattn.config.generation import EngineKind
from aeattn.config.model import CacheKind, ModelConfig
from aeattn.data.tokenizer import Ids
from aeattn.errors import InputError
from aeattn.generation.sampling import Sampling
from aeattn.kernels.build import SWITCH
from aeattn.kernels.decode import library
from aeattn.nn.size import not_compiled, use_latent_cache

FAST_ENGINE = "C++"  # as records name it


class Decoding(Protocol):
    """Sequences that are being written."""

    def write(self, n: int) -> Ids:
        """The next `n` ids of every sequence, (B, n)."""
        ...

    def logits(self) -> npt.NDArray[np.float32]:
        """Those from which the next id will be drawn, (B, V)."""
        ...

    @property
    def cache_bytes(self) -> int:
        """Bytes that the caches of all sequences really take."""
        ...


class Engine(Protocol):
    """A model made ready to write."""

    name: str
    latent: bool  # what the cache keeps: codes, or keys and values
    block: int  # characters that are best asked for at once
    sequence_bytes: int  # that the cache of one sequence takes

    def start(self, prompts: Sequence[Ids], sampling: Sampling, seed: int, first: int = 0) -> Decoding:
        """Read prompts of any lengths of at least 1. They draw the random numbers of rows `first` and on."""
        ...


def is_latent(config: ModelConfig, cache: CacheKind) -> bool:
    """Whether the cache keeps codes. Raises InputError where `latent` is asked for and not exact."""
    try:
        return use_latent_cache(config, cache)
    except ValueError as error:
        raise InputError(str(error)) from error


def pick(wanted: EngineKind, on_cpu: bool, config: ModelConfig | None = None) -> Literal["fast", "simple"]:
    """The engine to take: `auto` is the fast one where it can be had, and has what the model is made of. Raises
    InputError where `fast` cannot be taken."""
    if wanted == "simple":
        return "simple"
    reason = why_not_fast() if on_cpu else "it runs on the CPU, with float32 weights"
    if config is not None:
        reason = not_compiled(config) or reason
    if reason is None:
        return "fast"
    if wanted == "fast":
        raise InputError(f"no fast engine: {reason}")
    return "simple"


@cache
def why_not_fast() -> str | None:
    """Why the fast engine cannot be had, or None. It is compiled here, or what was compiled before is loaded: what
    can go wrong with a compiler goes wrong now."""
    if os.environ.get(SWITCH) == "off":
        return f"{SWITCH} is off"
    try:
        library()
    except (OSError, InputError) as error:
        return f"it cannot be compiled ({' '.join(str(error).split())[:200]})"
    return None


def fast_engine(config: ModelConfig, weights: Mapping[str, npt.NDArray[np.float32]], cache: CacheKind) -> Engine:
    """The fast engine for weights by name. Raises InputError for a cache that is not exact, or for what it
    lacks."""
    if reason := not_compiled(config):
        raise InputError(f"no fast engine: {reason}")
    from aeattn.generation.compiled_engine import CompiledEngine

    return CompiledEngine(config, weights, is_latent(config, cache))
