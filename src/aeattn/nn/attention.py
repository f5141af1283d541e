"""Causal multi-head attention over projections that come from outside.

Nothing here knows what a projection is made of: it takes three modules that map (B, T, D) to (B, T, H C),
and the positions to use. Three ways to compute the same weights stand side by side: `attend_plain`, whose
products and softmax a compiler fuses, `attend_fused`, PyTorch's own kernel, and `attend_native`, ours for CPUs.

Shapes: B batch, T time (q queries, k keys), D width, H heads, C head width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.config.model import PositionKind
from aeattn.kernels.causal_attention import attend_native, is_ready
from aeattn.nn.absorbed import attend_cached
from aeattn.nn.cache import LayerCache
from aeattn.nn.positions import alibi_bias, alibi_slopes, distances, rotate
from aeattn.nn.projection import Projection, encode_together

QUERY_BLOCK = 128
PLAIN_UP_TO = 512  # keys; beyond this PyTorch's kernel is faster on a CPU too


def attend_plain(
    q_BHTC: Tensor, k_BHTC: Tensor, v_BHTC: Tensor, bias: Tensor | None, dropout: float = 0.0
) -> Tensor:
    """softmax(q k' + bias) v, step by step: (B, H, Tq, C). `q` is scaled already.

    The sum of a row divides the mixed values, C of them, and not its Tk weights; so the gradient of the softmax
    needs no sum over keys either, and a compiler has fewer passes over the scores to make (Dao et al. 2022).
    """
    scores = (q_BHTC @ k_BHTC.transpose(-2, -1)).float()
    if bias is not None:
        scores = scores + bias
    weights = (scores - scores.detach().amax(dim=-1, keepdim=True)).exp()
    sums = weights.sum(dim=-1, keepdim=True)
    weights = F.dropout(weights, dropout) if dropout > 0 else weights
    mixed = weights.to(v_BHTC.dtype) @ v_BHTC
    return (mixed.float() / sums).to(v_BHTC.dtype)


def attend_blockwise(
    q_BHTC: Tensor, k_BHTC: Tensor, v_BHTC: Tensor, bias: Tensor | None, dropout: float = 0.0
) -> Tensor:
    """`attend_plain` of a causal pass, a block of queries at a time, each with the keys up to its end
    alone: what lies in the future is never computed. `bias` must forbid the future inside a block."""
    blocks = []
    for start in range(0, q_BHTC.shape[2], QUERY_BLOCK):
        end = min(start + QUERY_BLOCK, q_BHTC.shape[2])
        part = None if bias is None else bias[..., start:end, :end]
        q, k, v = q_BHTC[:, :, start:end], k_BHTC[:, :, :end], v_BHTC[:, :, :end]
        blocks.append(attend_plain(q, k, v, part, dropout))
    return torch.cat(blocks, dim=2)


def attend_fused(
    q_BHTC: Tensor, k_BHTC: Tensor, v_BHTC: Tensor, bias: Tensor | None, dropout: float = 0.0
) -> Tensor:
    """The same through `scaled_dot_product_attention`."""
    mask = None if bias is None else bias.to(q_BHTC.dtype)
    return F.scaled_dot_product_attention(q_BHTC, k_BHTC, v_BHTC, attn_mask=mask, dropout_p=dropout, scale=1.0)


class Attention(nn.Module):
    """Multi-head self-attention: (B, T, D) -> (B, T, D).

    `output` maps the heads in a row (H C) back to D; without it every head is D wide and they are added up.
    With `qk_norm`, queries and keys are divided by their root mean square (Henry et al. 2020), queries
    have a learned gain. `d_rotary` is the width of the decoupled rotary part.
    """

    def __init__(
        self,
        query: Projection,
        key: Projection,
        value: Projection,
        *,
        n_heads: int,
        d_head: int,
        d_model: int,
        output: nn.Linear | None,
        positions: PositionKind = "none",
        d_rotary: int = 16,
        qk_norm: bool = False,
        causal: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = query, key, value, output
        self.n_heads, self.d_head, self.positions, self.causal = n_heads, d_head, positions, causal
        self.dropout = dropout
        self.query_gain = nn.Parameter(torch.ones(n_heads, 1, d_head)) if qk_norm else None
        if positions == "alibi":
            self.log_slopes = nn.Parameter(alibi_slopes(n_heads).log())
        if positions == "decoupled":
            self.query_rotary = nn.Linear(d_model, n_heads * d_rotary, bias=False)
            self.key_rotary = nn.Linear(d_model, d_rotary, bias=False)
        self.scale = 1.0 / math.sqrt(d_head + (d_rotary if positions == "decoupled" else 0))

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        blind: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D).

        `mask` is added to the scores, broadcastable to (B, H, Tq, Tk); minus infinity forbids, but must leave
        every query a key. `blind`, broadcastable to (B, H, Tq, 1), is true for queries that get zeros instead.
        With a cache, `x` holds only the new characters, and `mask` covers all keys; nothing is `blind`.
        """
        if cache is not None:
            return attend_cached(self, x, cache, mask)
        q, k, v_code = self.queries_and_keys(x)
        output = self.absorbed_output()
        if output is None:
            v = self.values(v_code)
        else:
            v = self.value.split_code(v_code, self.n_heads).expand(-1, self.n_heads, -1, -1)
        mixed = self.attend(q, k, v, mask)
        mixed = mixed if blind is None else mixed.masked_fill(blind, 0.0)
        return self.merge(mixed) if output is None else F.linear(_side_by_side(mixed), output)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Values (B, H, T, C) mixed for each query, in the fastest way that there is for them here."""
        dropout = self.dropout if self.training else 0.0
        causal_on_cpu = self.causal and v.device.type == "cpu"
        alone = mask is None and not dropout and q.shape == v.shape
        if causal_on_cpu and alone and is_ready(v.shape[-1], v.dtype):
            slopes = self.log_slopes.float().exp() if self.positions == "alibi" else None
            return attend_native(q.to(v.dtype), k.to(v.dtype), v, slopes)
        bias = self.bias(q.shape[2], k.shape[2], mask, v.device)
        blockwise = causal_on_cpu and k.shape[2] <= PLAIN_UP_TO
        return (attend_blockwise if blockwise else attend_fused)(q, k, v, bias, dropout)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (scaled), keys and values of (B, T, D), each (B, H, T, C)."""
        q, k, v_code = self.queries_and_keys(x)
        return q, k, self.values(v_code)

    def queries_and_keys(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (scaled) and keys of (B, T, D), each (B, H, T, C), and the code of the values, (B, T, K)."""
        q_code, k_code, v_code = encode_together((self.query, self.key, self.value), x)
        q, k = self.queries(q_code, start=0), self.keys(k_code, start=0)
        if self.positions == "decoupled":
            q_rotary, k_rotary = self.rotary_parts(x, start=0)
            q, k = torch.cat([q, q_rotary], dim=-1), torch.cat([k, k_rotary.expand_as(q_rotary)], dim=-1)
        return q, k, v_code

    def absorbed_output(self) -> Tensor | None:
        """The decoders of the values and `output` as one matrix, (D, H K): heads mix codes, which are decoded as
        they are put out, so a product of weights stands for one of every character. Its slow twin is `merge` of
        mixed values. None where values have no decoder, or codes are not as wide as values are in a head: mixing
        them would cost more, or find no kernel, which wants queries, keys and values of one width."""
        decoders = self.value.head_decoders(self.n_heads)
        if self.output is None or decoders is None or decoders.shape[-1] != self.d_head:
            return None
        by_head = self.output.weight.view(-1, self.n_heads, self.d_head).transpose(0, 1)
        absorbed: Tensor = (by_head @ decoders).transpose(0, 1).flatten(1)
        return absorbed

    def queries(self, code: Tensor, start: int) -> Tensor:
        """Scaled queries (B, H, T, C) of their code (B, T, K), without the decoupled rotary part."""
        q = self.split(self.query.decode(code))
        if self.query_gain is not None:
            q = F.rms_norm(q, (self.d_head,)) * self.query_gain.to(q.dtype)
        return (rotate(q, start) if self.positions == "rotary" else q) * self.scale

    def keys(self, code: Tensor, start: int) -> Tensor:
        """Keys (B, H, T, C) of their code (B, T, K), without the decoupled rotary part."""
        k = self.split(self.key.decode(code))
        if self.query_gain is not None:
            k = F.rms_norm(k, (self.d_head,))
        return rotate(k, start) if self.positions == "rotary" else k

    def values(self, code: Tensor) -> Tensor:
        """Values (B, H, T, C) of their code (B, T, K)."""
        return self.split(self.value.decode(code))

    def rotary_parts(self, x: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """The decoupled rotary part of queries (B, H, T, R), scaled, and of keys (B, 1, T, R), for all heads."""
        q = rotate(self.split(self.query_rotary(x)), start)
        return q * self.scale, rotate(self.key_rotary(x).unsqueeze(1), start)

    def bias(self, n_queries: int, n_keys: int, mask: Tensor | None, device: torch.device) -> Tensor | None:
        """Everything that is added to the scores, broadcastable to (B, H, Tq, Tk), or None for nothing."""
        bias = mask
        if self.positions == "alibi":
            alibi = alibi_bias(self.log_slopes.exp(), n_queries, n_keys)
            bias = alibi if bias is None else bias + alibi
        if self.causal and n_queries > 1:
            future = distances(n_queries, n_keys, device) < 0
            zeros = torch.zeros((), device=device) if bias is None else bias
            bias = torch.where(future, float("-inf"), zeros)
        return bias

    def merge(self, mixed_BHTC: Tensor) -> Tensor:
        """Heads (B, H, T, C) back to the residual stream (B, T, D)."""
        if self.output is None:
            return mixed_BHTC.sum(dim=1)
        merged: Tensor = self.output(_side_by_side(mixed_BHTC))
        return merged

    def split(self, x: Tensor) -> Tensor:
        """(B, T, H C) -> (B, H, T, C)."""
        return x.view(*x.shape[:-1], self.n_heads, -1).transpose(1, 2)


def _side_by_side(x_BHTC: Tensor) -> Tensor:
    """(B, H, T, C) -> (B, T, H C)."""
    return x_BHTC.transpose(1, 2).flatten(2)
