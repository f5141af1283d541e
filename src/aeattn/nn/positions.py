"""How attention learns where a character stands.

    learned     an embedding a position, added to the input (in `transformer.py`; nothing here)
    alibi       scores fall off linearly with distance (Press et al. 2022), by a slope that each head
                learns: additive, so absorbable
    rotary      queries and keys are rotated (Su et al. 2021): not absorbable on decoded keys
    decoupled   a few dimensions of their own carry the rotation, one key for all heads
                (DeepSeek-V2, 2024): absorbable

Shapes: B batch, T time, H heads, C head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROTARY_BASE = 10_000.0


def alibi_slopes(n_heads: int) -> Tensor:
    """Where the slopes start, (H,): geometric from 2^(-8/H) to 2^-8 (Press et al. 2022, section 3)."""
    return torch.exp2(-8.0 * torch.arange(1, n_heads + 1) / n_heads)


def alibi_bias(slopes: Tensor, n_queries: int, n_keys: int) -> Tensor:
    """What is added to the scores, (H, Tq, Tk), at least in float32: minus slope times distance, to either side.

    Queries are the last `n_queries` of the `n_keys` positions.
    """
    return -wide(slopes)[:, None, None] * distances(n_queries, n_keys, slopes.device).abs()


def distances(n_queries: int, n_keys: int, device: torch.device) -> Tensor:
    """How far each key lies behind each query, (Tq, Tk), negative for the future."""
    queries = torch.arange(n_keys - n_queries, n_keys, device=device)
    return queries[:, None] - torch.arange(n_keys, device=device)[None, :]


def wide(x: Tensor) -> Tensor:
    """At least in float32: scores and angles want more than bf16 has."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def rotate(x: Tensor, start: int) -> Tensor:
    """Rotary embedding of (B, H, T, C), C even, whose first position is `start` (Su et al. 2021, eq. 34)."""
    width, precise = x.shape[-1] // 2, torch.promote_types(x.dtype, torch.float32)
    frequencies = ROTARY_BASE ** (-torch.arange(width, device=x.device, dtype=precise) / width)
    positions = torch.arange(start, start + x.shape[-2], device=x.device, dtype=precise)
    angles = positions[:, None] * frequencies[None, :]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    left, right = x[..., :width], x[..., width:]
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)
