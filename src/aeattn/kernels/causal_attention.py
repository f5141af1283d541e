"""Causal attention through `causal_attention.cpp`, as an operator that PyTorch differentiates and compiles around.

In float32 it needs AVX2 or AVX-512, in bf16 AVX512-BF16.

Shapes: B batch, H heads, G heads of keys and values, T time, C head width.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, library
from torch.utils.flop_counter import register_flop_formula

from aeattn.kernels import build
from aeattn.kernels.available import LANES, can_load, constant, gradients_again

SOURCE = Path(__file__).with_name("causal_attention.cpp")


def attend_native(q_BHTC: Tensor, k_BGTC: Tensor, v_BGTC: Tensor, slopes: Tensor | None) -> Tensor:
    """softmax(q k' - slope * distance) v over the past, (B, H, T, C), all of one type; `q` is scaled already,
    `slopes` (H,) in float32. H / G heads beside each other share keys and values. Needs `is_ready(C, type)`."""
    mixed: Tensor = _attend(q_BHTC, k_BGTC, v_BGTC, slopes)[0]
    return mixed


def attend_slowly(q_BHTC: Tensor, k_BGTC: Tensor, v_BGTC: Tensor, slopes: Tensor | None) -> Tensor:
    """The slow twin of `attend_native`, by PyTorch's operators, which can be differentiated again."""
    k, v = (x.repeat_interleave(q_BHTC.shape[1] // x.shape[1], dim=1) for x in (k_BGTC, v_BGTC))
    places = torch.arange(q_BHTC.shape[2], device=q_BHTC.device)
    behind = places[:, None] - places
    scores = q_BHTC.float() @ k.float().mT
    if slopes is not None:
        scores = scores - slopes[:, None, None] * behind
    return scores.masked_fill(behind < 0, float("-inf")).softmax(dim=-1).to(v.dtype) @ v


@constant
def is_ready(width: int, dtype: torch.dtype) -> bool:
    """Whether the kernel can be used here for heads of this width; compiles it, the first time."""
    return width % LANES == 0 and can_load(functools.partial(_library, width, dtype), dtype)


@functools.cache
def _library(width: int, dtype: torch.dtype) -> ctypes.CDLL:
    return build.load(SOURCE, WIDTH=width, BF16=int(dtype == torch.bfloat16))


@library.custom_op("aeattn::attend", mutates_args=(), device_types="cpu")
def _attend(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor | None) -> tuple[Tensor, Tensor]:
    """What is attended to, and the logarithm of each query's sum of exponentials, (B, H, T) in float32."""
    q, k, v = (_dense(x) for x in (q, k, v))
    out, log_sums = _empty(q), q.new_empty(q.shape[:3], dtype=torch.float32)
    _call("attend_forward", [q, k, v, out], [slopes, log_sums])
    return out, log_sums


@_attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor | None) -> tuple[Tensor, Tensor]:
    return _empty(q), q.new_empty(q.shape[:3], dtype=torch.float32)


@library.custom_op("aeattn::attend_backward", mutates_args=(), device_types="cpu")
def _attend_backward(
    d_out: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, log_sums: Tensor, slopes: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of queries, keys, values and, (B, H), of each sequence's slopes."""
    d_out, q, k, v, out = (_dense(x) for x in (d_out, q, k, v, out))
    gradients = [_empty(x) for x in (q, k, v)]
    d_slopes = log_sums.new_empty(log_sums.shape[:2])
    pointer = None if slopes is None else d_slopes
    _call("attend_backward", [q, k, v, out, d_out, *gradients], [slopes, log_sums, pointer])
    return gradients[0], gradients[1], gradients[2], d_slopes


@_attend_backward.register_fake
def _(
    d_out: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, log_sums: Tensor, slopes: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _empty(q), _empty(k), _empty(v), log_sums.new_empty(log_sums.shape[:2])


def _keep(
    ctx: torch.autograd.function.FunctionCtx, inputs: Sequence[Tensor | None], output: Sequence[Tensor]
) -> None:
    q, k, v, slopes = inputs
    ctx.save_for_backward(q, k, v, *output, slopes)  # type: ignore[arg-type]


def _differentiate(
    ctx: torch.autograd.function.FunctionCtx, d_out: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    q, k, v, out, log_sums, slopes = ctx.saved_tensors  # type: ignore[attr-defined]
    if torch.is_grad_enabled():  # these gradients are to be differentiated, too
        return gradients_again(attend_slowly, (q, k, v, slopes), d_out)
    d_q, d_k, d_v, d_slopes = _attend_backward(d_out, q, k, v, out, log_sums, slopes)
    return d_q, d_k, d_v, None if slopes is None else d_slopes.sum(dim=0)


_attend.register_autograd(_differentiate, setup_context=_keep)


@register_flop_formula(torch.ops.aeattn.attend)
def _count(q: torch.Size, k: torch.Size, v: torch.Size, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Two products, the future included, as PyTorch counts its own attention."""
    return 4 * q.numel() * k[2]


@register_flop_formula(torch.ops.aeattn.attend_backward)
def _count_backward(
    d_out: torch.Size, q: torch.Size, k: torch.Size, *_: Any, out_shape: Any = None, **__: Any
) -> int:
    """Five products, one of them that of the forward pass again."""
    return 10 * q.numel() * k[2]


def _dense(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _empty(like: Tensor) -> Tensor:
    """(B, H, T, C), in memory as (B, T, H, C): what comes before and after attention has heads side by side."""
    batch, heads, time, width = like.shape
    return like.new_empty(batch, time, heads, width).transpose(1, 2)


def _call(function: str, tensors: Sequence[Tensor], vectors: Sequence[Tensor | None]) -> None:
    """Call the kernel with tensors (B, H or G, T, C) and vectors in float32."""
    batch, heads, time, width = tensors[0].shape
    groups = tensors[1].shape[1]
    data = (ctypes.c_void_p * len(tensors))(*(x.data_ptr() for x in tensors))
    strides = [x.stride(dim) for x in tensors for dim in (0, 2, 1)]
    getattr(_library(width, tensors[0].dtype), function)(
        data,
        (ctypes.c_int64 * len(strides))(*strides),
        *(None if x is None else ctypes.c_void_p(x.data_ptr()) for x in vectors),
        *(ctypes.c_int64(n) for n in (batch, time, heads, groups)),
        ctypes.c_int(torch.get_num_threads()),
    )
