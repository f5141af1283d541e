"""Attention over what a cache keeps: decoded keys and values, or the codes themselves.

A decoder D is linear, so it moves to the other side of the product (DeepSeek-V2, 2024, section 2.1.2):

    q . k = q . (z D) = (q D') . z              queries read codes of keys
    sum_t w_t v_t = (sum_t w_t z_t) D           one decoding after the sum, none a character

Where keys are divided by their root mean square, its inverse is kept beside the code, one number a head.

Shapes: B batch, T time (q queries, k keys), H heads, G groups of heads (1 where all read the same code, or H),
C head width, K code width, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeattn.nn.cache import LayerCache
from aeattn.nn.projection import encode_together

if TYPE_CHECKING:
    from aeattn.nn.attention import Attention


def attend_cached(attention: Attention, x: Tensor, cache: LayerCache, mask: Tensor | None = None) -> Tensor:
    """The attention of new characters (B, T, D) to themselves and all before them: (B, T, D)."""
    start = cache.length
    q_code, k_code, v_code = encode_together((attention.query, attention.key, attention.value), x)
    queries = attention.queries(q_code, start)
    new, reading = _keys(attention, k_code, queries, start, cache.latent)
    value_decoders = attention.value.head_decoders(attention.n_heads) if cache.latent else None
    if not cache.latent:
        new["values"] = attention.values(v_code)
    elif not attention.value.shares_code:
        new["values"] = attention.value.split_code(v_code, attention.n_heads)
    rotary_queries = None
    if attention.positions == "decoupled":
        rotary_queries, new["rotary"] = attention.rotary_parts(x, start)
    kept = cache.append(new)
    weights = _weights(attention, reading, rotary_queries, kept, mask)
    mixed = weights @ kept.get("values", kept["keys"])
    return attention.merge(mixed if value_decoders is None else mixed @ value_decoders.mT)


def _keys(
    attention: Attention, code: Tensor, queries: Tensor, start: int, latent: bool
) -> tuple[dict[str, Tensor], Tensor]:
    """What to keep of the keys, and the queries that read it: (B, H, T, C), or (B, H, T, K) for codes."""
    decoders = attention.key.head_decoders(attention.n_heads) if latent else None
    if decoders is None:
        return {"keys": attention.keys(code, start)}, queries
    new = {"keys": attention.key.split_code(code, attention.n_heads)}
    if attention.query_gain is not None:
        decoded = attention.split(attention.key.decode(code)).float()
        mean = decoded.square().mean(dim=-1, keepdim=True) + torch.finfo(code.dtype).eps
        new["norms"] = mean.rsqrt().to(code.dtype)
    return new, queries @ decoders


def _weights(
    attention: Attention,
    queries: Tensor,
    rotary_queries: Tensor | None,
    kept: dict[str, Tensor],
    mask: Tensor | None,
) -> Tensor:
    """The softmax over all kept characters, (B, H, Tq, Tk)."""
    scores = (queries @ kept["keys"].mT).float()
    if "norms" in kept:
        scores = scores * kept["norms"].mT
    if rotary_queries is not None:
        scores = scores + rotary_queries @ kept["rotary"].mT
    bias = attention.bias(scores.shape[2], scores.shape[3], mask, scores.device)
    return (scores if bias is None else scores + bias).softmax(dim=-1).to(queries.dtype)
