"""Activations: of the feed-forward, and of the autoencoders.

Any shape to the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from aeattn.config.model import ActivationKind

TANH_SCALE = math.sqrt(2 / math.pi)
TANH_CUBE = 0.044715


def relu2(x: Tensor) -> Tensor:
    """Squared ReLU (So et al. 2021, Primer)."""
    return F.relu(x).square()


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form (Hendrycks and Gimpel 2016), as `gelu_sigmoid` where a compiler fuses it."""
    return gelu_sigmoid(x) if torch.compiler.is_compiling() else F.gelu(x, approximate="tanh")


def gelu_sigmoid(x: Tensor) -> Tensor:
    """The same function by (1 + tanh y) / 2 = sigmoid(2 y), one exponential instead of a hyperbolic tangent."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    inner = TANH_SCALE * (wide + TANH_CUBE * wide * wide * wide)
    return (wide * torch.sigmoid(2 * inner)).to(x.dtype)


ACTIVATIONS: dict[ActivationKind, Callable[[Tensor], Tensor]] = {"gelu": gelu, "relu2": relu2}
