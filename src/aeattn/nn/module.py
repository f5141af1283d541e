"""Autoencoder attention as one module to drop into any PyTorch model.

It sees no tokens, so values from their identity (`value_embedding` of `ModelConfig`) are the model's alone.

Shapes: B batch, T time (q queries, k keys), D width, H heads.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from aeattn.config.model import CacheKind, ModelConfig, PositionKind
from aeattn.nn.cache import LayerCache
from aeattn.nn.masks import fully_masked, joined
from aeattn.nn.size import use_latent_cache
from aeattn.nn.transformer import make_attention

Device = torch.device | str | int


class _NoWeights:
    """Stands where PyTorch's layers look for the matrices of their fused kernel, and keeps them from taking it:
    they do not for arguments with a `__torch_function__` of their own."""

    weight = bias = None

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        return NotImplemented


class AutoencoderAttention(nn.Module):
    """Multi-head self-attention whose queries, keys and values pass through autoencoders.

        attention = AutoencoderAttention(d_model=128, n_heads=4, bottleneck=32)
        y = attention(x)                                    # (B, T, D) -> (B, T, D)
        y, weights = attention(x, need_weights=True)        # weights (B, T, T), the mean over heads

        cache = attention.new_cache(capacity=256)           # codes alone, wherever that is exact
        y = attention(x[:, :100], cache=cache)              # the same, piece by piece
        y = attention(x[:, 100:], cache=cache)

    Called as `torch.nn.MultiheadAttention` is, with query, key and value, it answers as that does, so it can stand
    in place of `self_attn` in PyTorch's layers; `aeattn.replace_attention` puts it there.

    Stable: arguments, masks and the cache's protocol. The names of parameters may change before version 1.0.

    Args:
        d_model: Width D of input and output.
        n_heads: Number of heads; must divide the width, unless `head_width` is given, or `per_head`.
        bottleneck: Width of the codes, from 1 to D; a quarter of the width if not given.
        query: What makes queries: `autoencoder`, `bottleneck` (no nonlinearity), `linear` (standard attention),
            `residual` (linear and autoencoder added up), `gelu`, `deep`, `deep-linear`, `deep-autoencoder`,
            `latent` (aeattn/nn/kinds.py) or a kind of your own.
        key: The same for keys.
        value: The same for values; or `shared`, which decodes the keys' codes.
        n_kv_heads: Heads of keys and values, as many as `n_heads` if not given; must divide them.
        head_width: Width of a head, D / `n_heads` if not given, which then must be whole.
        query_bottleneck: Width of the queries' codes, where it is not `bottleneck`.
        d_hidden: Width of the hidden layers of deep kinds, D if not given.
        middle: A second matrix inside the bottleneck; a second hidden layer of deep kinds.
        gate: Multiply what a head has mixed by sigmoid(x W), one number a head; W begins at zero.
        per_head: Every head has autoencoders of its own over the full width; the heads are added up.
        causal: No position sees a later one. Without it, ALiBi penalises later keys by their distance, as earlier
            ones. `nn.MultiheadAttention` is not causal unless a mask says so: give `causal=False` to replace one.
        positions: `none`, `alibi`, `decoupled` or `rotary`; `learned` positions are the model's matter.
        d_rotary: Width of the rotary part of each head under `decoupled` positions.
        qk_norm: Normalise queries and keys.
        dropout: Fraction of attention weights that is dropped, while training.
        bias: Add a vector to queries and one to the output; both begin at zero. These are as many as
            `nn.MultiheadAttention(bias=True)` has use of: one on keys cancels in the softmax, one on values is one
            on the output.
        batch_first: Inputs and outputs are (B, T, D); else (T, B, D), the default of
            `nn.MultiheadAttention`.
        device: Where the weights are.
        dtype: Of the weights, a floating-point type; inputs have the same, or autocast is on.

    Raises:
        ValueError: What `ModelConfig` refuses, with a mend.
    """

    in_proj_weight = out_proj = _NoWeights()  # PyTorch's layers read these five
    in_proj_bias = None
    _qkv_same_embed_dim = False

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
        bias: bool = False,
        batch_first: bool = True,
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
        self.d_model = self.embed_dim = d_model
        self.num_heads, self.batch_first = n_heads, batch_first
        with nullcontext() if device is None else torch.device(device):
            self.attention = make_attention(self.config, causal=causal, dropout=dropout, bias=bias)
        self.to(dtype=dtype)

    def extra_repr(self) -> str:
        """What `repr` says beside the projections."""
        config, attention = self.config, self.attention
        kinds = dict.fromkeys(str(getattr(config, role)) for role in ("query", "key", "value"))
        parts = [f"{self.d_model}, n_heads={self.num_heads}, bottleneck={config.bottleneck}", "/".join(kinds)]
        if config.n_kv_heads is not None:
            parts.append(f"n_kv_heads={config.n_kv_heads}")
        parts.append("causal" if attention.causal else "not causal")
        if config.positions != "none":
            parts.append(f"{config.positions} positions")
        return ", ".join(parts + ([] if self.batch_first else ["batch_first=False"]))

    def new_cache(self, capacity: int, kind: CacheKind = "auto") -> LayerCache:
        """An empty cache, to be given to `forward` again and again, with new positions each time.

        Its arrays are made for the batch that comes first, and then hold `capacity` positions of it; `length` says
        how many are there, `bytes` what they take, `latent` whether codes are kept. Gradients pass through the
        newest piece alone: those of earlier ones raise PyTorch's RuntimeError.

        Args:
            capacity: How many positions there will be at most.
            kind: `latent` keeps codes, `full` keys and values; `auto` codes wherever that gives the same result.

        Raises:
            ValueError: Attention that is not causal has no cache, and a `latent` one must be exact.
        """
        if not self.attention.causal:
            raise ValueError("a cache needs causal attention: what is kept must not change with what comes later")
        if not isinstance(capacity, int) or capacity < 1:
            raise ValueError(f"capacity is {capacity!r}: choose a whole number of positions of at least 1")
        return LayerCache(capacity, use_latent_cache(self.config, kind))

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        need_weights: bool | None = None,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        cache: LayerCache | None = None,
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """What each position finds among all, or among those before it.

        Masks mean what they mean to `torch.nn.MultiheadAttention`: bool, true where a key is hidden, or floats
        that are added to the scores; the two masks need not be of one type. Where it answers with NaN, a query
        that may look at nothing, this module mixes zeros: the output is zero, or the output's bias, and
        gradients are finite.

        Args:
            query: The input (B, T, D), or (T, B, D) unless `batch_first`, or (T, D) for a batch of one.
            key: The input once more, the same tensor, or nothing: this is self-attention.
            value: As `key`.
            key_padding_mask: (B, Tk), or (Tk,) for (T, D): which keys no query sees.
            need_weights: Return the weights too; computed step by step, slower and in more memory. True if not
                given and called with key and value, else false.
            attn_mask: (Tq, Tk), (B H, Tq, Tk) or (B or 1, H or 1, Tq, Tk): which keys a query does not see.
            average_attn_weights: The mean of the weights over heads, rather than those of each.
            is_causal: No position sees a later one, whatever `causal` of the module is. As a hint beside
                `attn_mask`, it changes nothing if it is true.
            cache: What has been kept of earlier positions (`new_cache`): the input are the positions after those,
                and masks cover the keys of all. The result is that of one pass over all positions.

        Returns:
            The output, of the input's shape. Called with key and value, or with `need_weights`, a pair of it and
                of the weights, (B, Tq, Tk), or (B, H, Tq, Tk) if not averaged, after dropout; or None.

        Raises:
            ValueError: Inputs and masks of other shapes or types, among them masks of integers and nested tensors;
                keys or values that are not the query; a cache that is full or another batch's.
        """
        alone = key is None and value is None
        if not alone and not (key is query and value is query):
            raise ValueError("this is self-attention: give one tensor as query, key and value")
        if query.is_nested:
            raise ValueError("the input is a nested tensor: give a padded one, and key_padding_mask")
        x = self._batched(query)
        if key_padding_mask is not None and query.dim() == 2 and key_padding_mask.dim() == 1:
            key_padding_mask = key_padding_mask[None]
        past = 0 if cache is None else cache.length
        mask = joined(x, self.num_heads, past + x.shape[1], key_padding_mask, attn_mask, is_causal)
        hidden = None if mask is None else fully_masked(mask, x.shape[1], self.attention.causal)
        if mask is not None and hidden is not None:
            mask = mask.masked_fill(hidden, 0.0)
        if not (not alone if need_weights is None else need_weights):
            out = self._as_given(self.attention(x, mask=mask, fully_masked=hidden, cache=cache), query)
            return out if alone else (out, None)
        out, weights = self.attention.with_weights(x, mask=mask, fully_masked=hidden, cache=cache)
        weights = weights.mean(dim=1) if average_attn_weights else weights
        return self._as_given(out, query), weights[0] if query.dim() == 2 else weights

    def _batched(self, query: Tensor) -> Tensor:
        """The input as (B, T, D). Raises ValueError for what is none."""
        known = query.dim() in (2, 3) and query.shape[-1] == self.d_model
        x = query
        if known:
            x = query[None] if query.dim() == 2 else query if self.batch_first else query.transpose(0, 1)
        if not known or x.shape[1] == 0:
            order = "batch, time" if self.batch_first else "time, batch"
            raise ValueError(f"x has shape {tuple(query.shape)}: ({order}, {self.d_model}) is expected")
        return x

    def _as_given(self, out: Tensor, query: Tensor) -> Tensor:
        """The output (B, T, D) in the form of the input."""
        if query.dim() == 2:
            return out[0]
        return out if self.batch_first else out.transpose(0, 1)
