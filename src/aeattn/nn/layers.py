"""Activations, dropout and embedding: PyTorch has them too, but slower on a CPU, or not twice the same."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, library, nn
from torch.nn import functional as F

from aeattn.config.model import ActivationKind
from aeattn.kernels.available import transformed

TANH_SCALE = math.sqrt(2 / math.pi)
TANH_CUBE = 0.044715
LEVELS = 1 << 16  # a probability of dropout is rounded to this fraction
ELEMENTS_A_WORD = 4


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


class Dropout(nn.Module):
    """`nn.Dropout` (Srivastava et al. 2014), any shape to the same: each element is zero with probability `p`,
    to the nearest 1/65536, and else divided by 1 - p.

    On a CPU PyTorch draws a number an element, one thread after the other; here one of its 64-bit numbers gives
    the masks of four elements.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        by_words = x.device.type == "cpu" and not transformed()
        return dropout_by_words(x, self.p) if by_words else F.dropout(x, self.p)


def dropout_by_words(x: Tensor, p: float) -> Tensor:
    """`F.dropout(x, p)` with sixteen random bits an element."""
    dropped = min(round(p * LEVELS), LEVELS - 1)
    n_words = -(-x.numel() // ELEMENTS_A_WORD)
    words = torch.empty(n_words, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    draws = words.view(torch.int16)[: x.numel()].view(x.shape)
    kept = draws >= dropped - LEVELS // 2
    return torch.where(kept, x * (LEVELS / (LEVELS - dropped)), 0)


class Embedding(nn.Embedding):
    """`nn.Embedding` without its options: ids of any shape to the same and D.

    PyTorch's compiler adds up the gradients of one row from several threads at once, in whatever order they come:
    that is slow, and no two runs are alike. Its function that is not compiled adds them in order.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.weight.device.type != "cpu" or transformed():
            return super().forward(input)
        embedded: Tensor = _embed(self.weight, input)
        return embedded


@library.custom_op("aeattn::embed", mutates_args=(), device_types="cpu")
def _embed(weight: Tensor, ids: Tensor) -> Tensor:
    embedded: Tensor = torch.ops.aten.embedding(weight, ids)
    return embedded


@_embed.register_fake
def _(weight: Tensor, ids: Tensor) -> Tensor:
    return weight.new_empty(*ids.shape, weight.shape[1])


@library.custom_op("aeattn::embed_backward", mutates_args=(), device_types="cpu")
def _embed_backward(gradient: Tensor, ids: Tensor, rows: int) -> Tensor:
    summed: Tensor = torch.ops.aten.embedding_dense_backward(gradient.contiguous(), ids, rows, -1, False)
    return summed


@_embed_backward.register_fake
def _(gradient: Tensor, ids: Tensor, rows: int) -> Tensor:
    return gradient.new_empty(rows, gradient.shape[-1])


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    weight, ids = inputs
    ctx.save_for_backward(ids)
    ctx.rows = weight.shape[0]  # type: ignore[attr-defined]


def _differentiate(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
    (ids,) = ctx.saved_tensors  # type: ignore[attr-defined]
    if torch.is_grad_enabled():  # this gradient is to be differentiated, too
        return torch.ops.aten.embedding_dense_backward(gradient, ids, ctx.rows, -1, False), None  # type: ignore[attr-defined]
    return _embed_backward(gradient, ids, ctx.rows), None  # type: ignore[attr-defined]


_embed.register_autograd(_differentiate, setup_context=_keep)
