"""Autoencoder attention as one module to drop into any PyTorch model.

Shapes: B batch, T time, D width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeattn.config.model import PositionKind, ProjectionKind, ValueKind
from aeattn.nn.attention import Attention
from aeattn.nn.projection import Projection, make_heads


class AutoencoderAttention(nn.Module):
    """Multi-head self-attention whose queries, keys and values pass through autoencoders.

        attention = AutoencoderAttention(d_model=128, n_heads=4, bottleneck=32)
        y = attention(x)                                    # (B, T, D) -> (B, T, D)

    Args:
        d_model: width D of input and output.
        n_heads: must divide the width, unless `per_head`.
        bottleneck: width of the codes, from 1 to D; a quarter of the width if not given.
        query, key, value: `autoencoder`, `bottleneck` (no nonlinearity), `linear` (standard attention) or
            `residual` (linear and autoencoder added up); a value may also be `shared`: it decodes the keys' codes.
        middle: a second matrix inside the bottleneck.
        per_head: every head has autoencoders of its own over the full width; the heads are added up.
        causal: no position sees a later one.
        positions: `none`, `alibi`, `decoupled` or `rotary`; `learned` positions are the model's matter.
        qk_norm: normalise queries and keys.
        dropout: of attention weights, while training.

    Raises:
        ValueError: widths that do not fit together.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        bottleneck: int | None = None,
        *,
        query: ProjectionKind = "autoencoder",
        key: ProjectionKind = "autoencoder",
        value: ValueKind = "autoencoder",
        middle: bool = False,
        per_head: bool = False,
        causal: bool = True,
        positions: PositionKind = "none",
        qk_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if d_model < 1 or n_heads < 1 or (not per_head and d_model % n_heads):
            raise ValueError(f"{n_heads} heads do not divide the width {d_model}: choose heads that do")
        width = max(1, d_model // 4) if bottleneck is None else bottleneck

        if value == "shared" and key in ("linear", "residual"):
            raise ValueError(f"value is shared, but a {key} key has no code: choose another key")

        def projection(kind: ValueKind) -> Projection:
            own = n_heads if per_head else None
            return make_heads(kind, d_model, d_model, width, middle=middle, own_for_each_of=own)

        self.d_model = d_model
        self.attention = Attention(
            projection(query),
            projection(key),
            projection(value),
            n_heads=n_heads,
            d_head=d_model if per_head else d_model // n_heads,
            d_model=d_model,
            output=None if per_head else nn.Linear(d_model, d_model, bias=False),
            positions=positions,
            qk_norm=qk_norm,
            causal=causal,
            dropout=dropout,
        )

    def forward(
        self, x: Tensor, *, key_padding_mask: Tensor | None = None, attn_mask: Tensor | None = None
    ) -> Tensor:
        """(B, T, D) -> (B, T, D), with masks as `torch.nn.MultiheadAttention` takes them.

        `key_padding_mask`: (B, T), true where a position is padding. `attn_mask`: (T, T) or (B, 1 or H, T, T),
        true where a query (row) may not look at a key (column), or floats that are added to the scores. A
        query that may look at nothing gives zeros. Raises ValueError for other shapes.
        """
        if x.dim() != 3 or x.shape[-1] != self.d_model:
            raise ValueError(f"x has shape {tuple(x.shape)}: (batch, time, {self.d_model}) is expected")
        mask = self._mask(x, key_padding_mask, attn_mask)
        if mask is None:
            out: Tensor = self.attention(x)
            return out
        blind = self._blind(mask, x.shape[1])
        seen: Tensor = self.attention(x, mask=mask.masked_fill(blind, 0.0), blind=blind)
        return seen

    def _mask(self, x: Tensor, padding: Tensor | None, extra: Tensor | None) -> Tensor | None:
        """Both masks as one that is added to the scores, broadcastable to (B, H, T, T)."""
        batch, time, _ = x.shape
        mask = None
        if padding is not None:
            if padding.shape != (batch, time):
                raise ValueError(f"key_padding_mask has shape {tuple(padding.shape)}: {(batch, time)} is expected")
            mask = _additive(padding)[:, None, None, :]
        if extra is not None:
            if extra.shape[-2:] != (time, time) or extra.dim() not in (2, 4):
                raise ValueError(
                    f"attn_mask has shape {tuple(extra.shape)}: {(time, time)} or (batch, heads, time, time) "
                    "is expected"
                )
            mask = _additive(extra) if mask is None else mask + _additive(extra)
        return mask

    def _blind(self, mask: Tensor, time: int) -> Tensor:
        """Which queries may look at nothing at all: broadcastable to (B, H, T, 1)."""
        allowed = mask > float("-inf")
        if self.attention.causal:
            allowed = allowed & torch.ones(time, time, dtype=torch.bool, device=mask.device).tril()
        return ~allowed.any(dim=-1, keepdim=True)


def _additive(mask: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.float()
    return torch.zeros(mask.shape, device=mask.device).masked_fill(mask, float("-inf"))
