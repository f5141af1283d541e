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

    With `keys`, a number for each row x[i], masks are a function of that number and of the `use` alone, whichever
    rows a process has (`dropout_by_rows`). Without, they come from PyTorch's generator: on a CPU it draws a number
    an element, one thread after the other; here one of its 64-bit numbers gives the masks of four elements.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.keys: Tensor | None = None
        self.place = 0  # among the uses of a model

    def forward(self, x: Tensor, use: int = 0) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if self.keys is not None and not transformed():
            return dropout_by_rows(x, self.p, mixed(self.keys + signed((self.place + use) * _LANE)))
        by_words = x.device.type == "cpu" and not transformed()
        return dropout_by_words(x, self.p) if by_words else F.dropout(x, self.p)


def key_dropouts(model: nn.Module, rows: int, device: torch.device | None = None) -> Tensor:
    """Have all dropout of a model drawn by keys, (rows,) int64, which are to be filled before each forward pass
    with the keys of its rows. Every layer, and each of its at most two uses, has a stream of its own."""
    keys = torch.zeros(rows, dtype=torch.int64, device=device)
    for i, layer in enumerate(m for m in model.modules() if isinstance(m, Dropout)):
        layer.keys, layer.place = keys, 2 * i
    return keys


def row_keys(seed: int, batch: int, rows: Tensor) -> Tensor:
    """A key for each row (B,) of a batch: a function of the seed, the number of the batch, and that of the row."""
    key = torch.full((), signed(seed), dtype=torch.int64, device=rows.device)
    return mixed(mixed(mixed(key) + batch) + rows)


def dropout_by_rows(x: Tensor, p: float, keys: Tensor) -> Tensor:
    """`F.dropout(x, p)`, (B, ...) to the same, with sixteen random bits an element: those of row i from keys[i] by
    SplitMix64 (Steele et al. 2014, "Fast splittable pseudorandom number generators", figure 17)."""
    n = x[0].numel()
    steps = torch.arange(1, -(-n // ELEMENTS_A_WORD) + 1, device=x.device) * _GOLDEN
    words = mixed(keys[:, None] + steps)
    return _dropped(x, p, words.view(torch.int16)[:, :n].reshape(x.shape))


def mixed(words: Tensor) -> Tensor:
    """The output function of SplitMix64: 64-bit words to others that look random."""
    words = (words ^ ((words >> 30) & (1 << 34) - 1)) * _FIRST
    words = (words ^ ((words >> 27) & (1 << 37) - 1)) * _SECOND
    return words ^ ((words >> 31) & (1 << 33) - 1)


def signed(word: int) -> int:
    """The same 64 bits as PyTorch's integers have them."""
    return (word + (1 << 63)) % (1 << 64) - (1 << 63)


_GOLDEN, _LANE = signed(0x9E3779B97F4A7C15), signed(0xD1342543DE82EF95)
_FIRST, _SECOND = signed(0xBF58476D1CE4E5B9), signed(0x94D049BB133111EB)


def dropout_by_words(x: Tensor, p: float) -> Tensor:
    """`F.dropout(x, p)` with sixteen random bits an element."""
    n_words = -(-x.numel() // ELEMENTS_A_WORD)
    words = torch.empty(n_words, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    return _dropped(x, p, words.view(torch.int16)[: x.numel()].view(x.shape))


def _dropped(x: Tensor, p: float, draws: Tensor) -> Tensor:
    """`draws` are of x's shape, uniform over the numbers of sixteen bits."""
    dropped = min(round(p * LEVELS), LEVELS - 1)
    return torch.where(draws >= dropped - LEVELS // 2, x * (LEVELS / (LEVELS - dropped)), 0)


class Embedding(nn.Embedding):
    """`nn.Embedding` without its options: ids of any shape to the same and D.

    PyTorch's compiler adds up the gradients of one row from several threads at once, in whatever order they come:
    that is slow, and no two runs are alike. Its function that is not compiled adds them in order. Where nothing is
    to be differentiated or compiled, PyTorch's own does without importing that compiler.
    """

    def forward(self, input: Tensor) -> Tensor:
        plain = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if self.weight.device.type != "cpu" or plain or transformed():
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
