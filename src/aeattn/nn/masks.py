"""Masks as `torch.nn.MultiheadAttention` takes them, as one that is added to the scores.

Shapes: B batch, T time (q queries, k keys), D width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aeattn.nn.positions import distances


def joined(
    x: Tensor, heads: int, n_keys: int, padding: Tensor | None, extra: Tensor | None, is_causal: bool
) -> Tensor | None:
    """All masks of an input (B, Tq, D) as one, broadcastable to (B, H, Tq, Tk): `padding` (B, Tk), `extra` (Tq,
    Tk), (B H, Tq, Tk) or (B or 1, H or 1, Tq, Tk), and the future where `is_causal`. None where there is none of
    them.

    Raises ValueError for other shapes, and for masks that are neither bool nor floats.
    """
    batch, time = x.shape[:2]
    masks = []
    if padding is not None:
        if (shape := tuple(padding.shape)) != (batch, n_keys):
            raise ValueError(f"key_padding_mask has shape {shape}: {(batch, n_keys)} is expected")
        masks.append(additive("key_padding_mask", padding, x)[:, None, None, :])
    if extra is not None:
        if not _fits(extra.shape, batch, heads, (time, n_keys)):
            choices = f"{(time, n_keys)}, {(batch * heads, time, n_keys)} or {(batch, heads, time, n_keys)}"
            raise ValueError(f"attn_mask has shape {tuple(extra.shape)}: {choices} is expected")
        each = additive("attn_mask", extra, x)
        masks.append(each.view(batch, heads, time, n_keys) if each.dim() == 3 else each)
    if is_causal:
        masks.append(additive("the future", distances(time, n_keys, x.device) < 0, x))
    return sum(masks[1:], masks[0]) if masks else None


def fully_masked(mask: Tensor, time: int, causal: bool) -> Tensor:
    """Which of `time` queries may look at nothing at all: broadcastable to (B, H, Tq, 1)."""
    allowed = mask > float("-inf")
    if causal:
        allowed = allowed & (distances(time, mask.shape[-1], mask.device) >= 0)
    return ~allowed.any(dim=-1, keepdim=True)


def additive(name: str, mask: Tensor, x: Tensor) -> Tensor:
    """A mask as floats of at least 32 bits. Raises ValueError for one of integers."""
    precise = torch.promote_types(x.dtype, torch.float32)
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape, dtype=precise, device=mask.device).masked_fill(mask, float("-inf"))
    if not mask.is_floating_point():
        raise ValueError(f"{name} has type {mask.dtype}: choose bool, true where a key is hidden, or floats")
    return mask.to(precise)


def _fits(shape: torch.Size, batch: int, heads: int, last: tuple[int, int]) -> bool:
    if shape[-2:] != last or len(shape) > 4:
        return False
    first = tuple(shape[:-2])
    if len(first) == 2:
        return first[0] in (1, batch) and first[1] in (1, heads)
    return first in ((), (batch * heads,))
