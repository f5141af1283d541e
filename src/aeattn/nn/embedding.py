"""An embedding whose gradient is the same every time.

PyTorch's compiler adds up the gradients of one row from several threads at once, in whatever order they come: that
is slow, and no two runs are alike. Its function that is not compiled adds them in order.
"""

from __future__ import annotations

import torch
from torch import Tensor, library, nn


class Embedding(nn.Embedding):
    """`nn.Embedding` without its options: ids of any shape to the same and D."""

    def forward(self, input: Tensor) -> Tensor:
        if self.weight.device.type != "cpu":
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
    return _embed_backward(gradient, ids, ctx.rows), None  # type: ignore[attr-defined]


_embed.register_autograd(_differentiate, setup_context=_keep)
