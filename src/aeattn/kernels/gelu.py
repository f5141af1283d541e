"""GELU of codes side by side through `gelu.cpp`, as an operator that PyTorch differentiates and compiles around.

What one product made for several encoders is cut into the codes of each while GELU is applied, and their gradients
are put side by side again: nothing is copied.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, library
from torch.nn import functional as F

from aeattn.kernels import build
from aeattn.kernels.available import LANES, can_load, constant, gradients_again

SOURCE = Path(__file__).with_name("gelu.cpp")


def gelu_parts(x: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """(..., K) to GELU in its tanh form of each part, (..., width), of widths that sum to K. Needs
    `is_ready` of these widths and this type."""
    parts: list[Tensor] = _gelu(x, list(widths))
    return parts


def gelu_parts_slowly(x: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """The slow twin of `gelu_parts`, by PyTorch's operators, which can be differentiated again."""
    return [F.gelu(part, approximate="tanh") for part in torch.split(x, list(widths), dim=-1)]


@constant
def is_ready(widths: tuple[int, ...], dtype: torch.dtype) -> bool:
    """Whether the kernel can be used here for parts of these widths; compiles it, the first time."""
    return not any(width % LANES for width in widths) and can_load(functools.partial(_library, dtype), dtype)


@functools.cache
def _library(dtype: torch.dtype) -> ctypes.CDLL:
    return build.load(SOURCE, BF16=int(dtype == torch.bfloat16))


@library.custom_op("aeattn::gelu_parts", mutates_args=(), device_types="cpu")
def _gelu(x: Tensor, widths: list[int]) -> list[Tensor]:
    parts = [x.new_empty(*x.shape[:-1], width) for width in widths]
    _call("gelu_forward", x, parts)
    return parts


@_gelu.register_fake
def _(x: Tensor, widths: list[int]) -> list[Tensor]:
    return [x.new_empty(*x.shape[:-1], width) for width in widths]


@library.custom_op("aeattn::gelu_parts_backward", mutates_args=(), device_types="cpu")
def _gelu_backward(gradients: list[Tensor], x: Tensor) -> Tensor:
    d_x = x.new_empty(x.shape)
    _call("gelu_backward", x, [gradient.contiguous() for gradient in gradients], d_x)
    return d_x


@_gelu_backward.register_fake
def _(gradients: list[Tensor], x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _keep(
    ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, list[int]], output: list[Tensor]
) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.widths = inputs[1]  # type: ignore[attr-defined]


def _differentiate(
    ctx: torch.autograd.function.FunctionCtx, gradients: list[Tensor]
) -> tuple[Tensor | None, None]:
    (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
    if torch.is_grad_enabled():  # these gradients are to be differentiated, too
        return gradients_again(lambda x: gelu_parts_slowly(x, ctx.widths), (x,), gradients)[0], None  # type: ignore[attr-defined]
    return _gelu_backward(gradients, x), None


_gelu.register_autograd(_differentiate, setup_context=_keep)


def _call(function: str, x: Tensor, parts: Sequence[Tensor], d_x: Tensor | None = None) -> None:
    """Call the kernel with rows of x, which may be cut out of wider ones, and parts and d_x without gaps."""
    rows = x.reshape(-1, x.shape[-1])
    rows = rows if rows.stride(1) == 1 else rows.contiguous()
    result = () if d_x is None else (ctypes.c_void_p(d_x.data_ptr()), ctypes.c_int64(d_x.shape[-1]))
    getattr(_library(x.dtype), function)(
        ctypes.c_void_p(rows.data_ptr()),
        ctypes.c_int64(rows.stride(0)),
        (ctypes.c_void_p * len(parts))(*(part.data_ptr() for part in parts)),
        (ctypes.c_int64 * len(parts))(*(part.shape[-1] for part in parts)),
        ctypes.c_int64(len(parts)),
        *result,
        ctypes.c_int64(len(rows)),
        ctypes.c_int(torch.get_num_threads()),
    )
