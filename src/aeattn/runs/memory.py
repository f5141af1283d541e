"""Whether a model fits this machine's memory, asked before it is built and without PyTorch."""

from __future__ import annotations

import math
import os

from aeattn.errors import InputError
from aeattn.config.model import ModelConfig
from aeattn.nn.size import parameters

BYTES_PER_PARAMETER = 16  # weight, gradient and two moments in float32


def check_memory(config: ModelConfig) -> None:
    """Raise InputError for a model whose weights, gradients and optimizer state alone exceed the memory."""
    needed = parameters(config) * BYTES_PER_PARAMETER
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    if needed > there:
        raise InputError(
            f"a model of {parameters(config):,} parameters takes {needed / 2**30:,.0f} GiB to train, this machine "
            f"has {there / 2**30:,.0f}: choose a smaller --d-model, --d-ff or --n-layers"
        )
