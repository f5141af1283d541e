"""Autoencoder attention as one module to drop into any PyTorch model.

It sees no tokens, so values from their identity (`value_embedding` of `ModelConfig`) are the model's alone.

Shapes: B batch, T time (q queries, k keys), D width, H heads.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from aeattn.config.model import CacheKind, ModelConfig, PositionKind
from aeattn.nn.cache import LayerCache
from aeattn.nn.positions import distances
from aeattn.nn.size import use_latent_cache
from aeattn.nn.transformer import make_attention

Device = torch.device | str | int


class AutoencoderAttention(nn.Module):
    """Multi-head self-attention whose queries, keys and values pass through autoencoders.

        attention = AutoencoderAttention(d_model=128, n_heads=4, bottleneck=32)
        y = attention(x)                                    # (B, T, D) -> (B, T, D)

        cache = attention.new_cache(capacity=256)           # codes alone, wherever that is exact
        y = attention(x[:, :100], cache=cache)              # the same, piece by piece
        y = attention(x[:, 100:], cache=cache)

    Args:
        d_model: width D of input and output.
        n_heads: must divide the width, unless `head_width` is given, or `per_head`.
        bottleneck: width of the codes, from 1 to D; a quarter of the width if not given.
        query, key, value: `autoencoder`, `bottleneck` (no nonlinearity), `linear` (standard attention), `residual`
            (linear and autoencoder added up), `gelu`, `deep`, `deep-linear`, `deep-autoencoder`, `latent`
            (aeattn/nn/kinds.py) or a kind of your own; a value may also be `shared`: it decodes the keys' codes.
        n_kv_heads: heads of keys and values, as many as `n_heads` if not given; must divide them.
        head_width: width of a head, D / `n_heads` if not given, which then must be whole.
        query_bottleneck: width of the queries' codes, where it is not `bottleneck`.
        d_hidden: width of the hidden layers of deep kinds, D if not given.
        middle: a second matrix inside the bottleneck; a second hidden layer of deep kinds.
        gate: multiply what a head has mixed by sigmoid(x W), one number a head; W begins at zero.
        per_head: every head has autoencoders of its own over the full width; the heads are added up.
        causal: no position sees a later one. Without it, ALiBi penalises later keys by their distance, as earlier
            ones.
        positions: `none`, `alibi`, `decoupled` or `rotary`; `learned` positions are the model's matter.
        d_rotary: width of the rotary part of each head under `decoupled` positions.
        qk_norm: normalise queries and keys.
        dropout: of attention weights, while training.
        device, dtype: of the weights.

    Raises:
        ValueError: what `ModelConfig` refuses, with a mend.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        bottleneck: int | None = None,
        *,
        query: str = "autoencoder",
        key: str = "autoencoder",
        value: str = "autoencoder",
        n_kv_heads: int | None = None,
        head_width: int | None = None,
        query_bottleneck: int | None = None,
        d_hidden: int | None = None,
        middle: bool = False,
        gate: bool = False,
        per_head: bool = False,
        causal: bool = True,
        positions: PositionKind = "none",
        d_rotary: int = 16,
        qk_norm: bool = False,
        dropout: float = 0.0,
        device: Device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if positions == "learned":
            raise ValueError("positions is 'learned': add them to x, and choose none, alibi, rotary or decoupled")
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"dtype is {dtype}: choose a floating-point type")
        quarter = max(1, d_model // 4) if isinstance(d_model, int) else 1
        self.config = ModelConfig(
            n_layers=1, d_model=d_model, n_heads=n_heads, bottleneck=quarter if bottleneck is None else bottleneck,
            query=query, key=key, value=value, n_kv_heads=n_kv_heads, head_width=head_width,
            query_bottleneck=query_bottleneck, d_hidden=d_hidden, middle=middle, gate=gate, per_head=per_head,
            positions=positions, d_rotary=d_rotary, qk_norm=qk_norm, dropout=dropout,
        )  # fmt: skip
        self.d_model = d_model
        with nullcontext() if device is None else torch.device(device):
            self.attention = make_attention(self.config, causal=causal, dropout=dropout)
        self.to(dtype=dtype)

    def new_cache(self, capacity: int, kind: CacheKind = "auto") -> LayerCache:
        """An empty cache for so many positions. Raises ValueError where there can be none: attention that is not
        causal, or a `latent` one that is not exact."""
        if not self.attention.causal:
            raise ValueError("a cache needs causal attention: what is kept must not change with what comes later")
        if not isinstance(capacity, int) or capacity < 1:
            raise ValueError(f"capacity is {capacity!r}: choose a whole number of positions of at least 1")
        return LayerCache(capacity, use_latent_cache(self.config, kind))

    def forward(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        attn_mask: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D), with masks as `torch.nn.MultiheadAttention` takes them.

        `key_padding_mask`: (B, Tk). `attn_mask`: (Tq, Tk), (B H, Tq, Tk) or (B, 1 or H, Tq, Tk). Both are true
        where a key is hidden, or floats that are added to the scores. A query that may look at nothing gives
        zeros. With a cache, `x` are the positions after those in it, and masks cover the keys of all. Raises
        ValueError for other shapes and types.
        """
        if x.dim() != 3 or x.shape[-1] != self.d_model or x.shape[1] == 0:
            raise ValueError(f"x has shape {tuple(x.shape)}: (batch, time, {self.d_model}) is expected")
        past = 0 if cache is None else cache.length
        mask = self._mask(x, past + x.shape[1], key_padding_mask, attn_mask)
        hidden = None if mask is None else self._fully_masked(mask, x.shape[1])
        if mask is not None and hidden is not None:
            mask = mask.masked_fill(hidden, 0.0)
        out: Tensor = self.attention(x, mask=mask, fully_masked=hidden, cache=cache)
        return out

    def _mask(self, x: Tensor, n_keys: int, padding: Tensor | None, extra: Tensor | None) -> Tensor | None:
        """Both masks as one that is added to the scores, broadcastable to (B, H, Tq, Tk)."""
        batch, time, heads = x.shape[0], x.shape[1], self.attention.n_heads
        mask = None
        if padding is not None:
            if (shape := tuple(padding.shape)) != (batch, n_keys):
                raise ValueError(f"key_padding_mask has shape {shape}: {(batch, n_keys)} is expected")
            mask = _additive("key_padding_mask", padding, x)[:, None, None, :]
        if extra is not None:
            if not _fits(extra.shape, batch, heads, (time, n_keys)):
                choices = f"{(time, n_keys)}, {(batch * heads, time, n_keys)} or {(batch, heads, time, n_keys)}"
                raise ValueError(f"attn_mask has shape {tuple(extra.shape)}: {choices} is expected")
            each = _additive("attn_mask", extra, x)
            each = each.view(batch, heads, time, n_keys) if each.dim() == 3 else each
            mask = each if mask is None else mask + each
        return mask

    def _fully_masked(self, mask: Tensor, time: int) -> Tensor:
        """Which queries may look at nothing at all: broadcastable to (B, H, Tq, 1)."""
        allowed, n_keys = mask > float("-inf"), mask.shape[-1]
        if self.attention.causal:
            allowed = allowed & (distances(time, n_keys, mask.device) >= 0)
        return ~allowed.any(dim=-1, keepdim=True)


def _fits(shape: torch.Size, batch: int, heads: int, last: tuple[int, int]) -> bool:
    if shape[-2:] != last or len(shape) > 4:
        return False
    first = tuple(shape[:-2])
    if len(first) == 2:
        return first[0] in (1, batch) and first[1] in (1, heads)
    return first in ((), (batch * heads,))


def _additive(name: str, mask: Tensor, x: Tensor) -> Tensor:
    precise = torch.promote_types(x.dtype, torch.float32)
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape, dtype=precise, device=mask.device).masked_fill(mask, float("-inf"))
    if not mask.is_floating_point():
        raise ValueError(f"{name} has type {mask.dtype}: choose bool, true where a key is hidden, or floats")
    return mask.to(precise)
