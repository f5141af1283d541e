"""Causal multi-head attention over projections that come from outside.

Nothing here knows what a projection is made of: it takes three modules that map (B, T, D) to (B, T, H C), or to
(B, T, G C) for keys and values, and the positions to use. H / G heads of queries share one head of keys and values
(Ainslie et al. 2023, grouped-query attention). Three ways to compute the same weights stand side by side:
`attend_plain`, whose products and softmax a compiler fuses, `attend_fused`, PyTorch's own kernel, and
`attend_native`, ours for CPUs.

With a cache, attention reads what the cache keeps: decoded keys and values, or the codes themselves. A decoder D
is linear, so it moves to the other side of the product (DeepSeek-V2, 2024, section 2.1.2):

    q . k = q . (z D) = (q D') . z              queries read codes of keys
    sum_t w_t v_t = (sum_t w_t z_t) D           one decoding after the sum, none a character

Where keys are divided by their root mean square, its inverse is kept beside the code, one number a head. A gate
multiplies all that a head has mixed by one number from the token, sigmoid(x W) (2505.06708, its headwise form): it
passes through a linear decoder as it is, and nothing of it is kept.

Shapes: B batch, T time (q queries, k keys), D width, H heads, G heads of keys and values, C head width, K code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.config.model import PositionKind
from aeattn.kernels.available import transformed
from aeattn.kernels.causal_attention import attend_native, is_ready
from aeattn.nn.cache import LayerCache
from aeattn.nn.positions import alibi_bias, alibi_slopes, distances, rotate, wide
from aeattn.nn.projection import Projection, encode_together

QUERY_BLOCK = 128
PLAIN_UP_TO = 512  # keys; beyond this PyTorch's kernel is faster on a CPU too


def by_group(x_BHTC: Tensor, y_BGCS: Tensor) -> Tensor:
    """x y, (B, H, T, S): H / G heads of `x` beside each other share one head of `y`, or all share the only one."""
    batch, heads, time, width = x_BHTC.shape
    groups = y_BGCS.shape[1]
    if groups in (1, heads):
        return x_BHTC @ y_BGCS
    together = x_BHTC.reshape(batch, groups, heads // groups * time, width)
    return (together @ y_BGCS).view(batch, heads, time, y_BGCS.shape[3])


def for_each_head(x: Tensor, heads: int, dim: int = 1) -> Tensor:
    """What G heads have along `dim`, again for each of the H heads that share them; one for all stays one."""
    groups = x.shape[dim]
    return x if groups in (1, heads) else x.repeat_interleave(heads // groups, dim)


def attend_plain(
    q_BHTC: Tensor, k_BGTC: Tensor, v_BGTC: Tensor, bias: Tensor | None, dropout: float = 0.0
) -> Tensor:
    """softmax(q k' + bias) v, step by step: (B, H, Tq, C). `q` is scaled already.

    The sum of a row divides the mixed values, C of them, and not its Tk weights; so the gradient of the softmax
    needs no sum over keys either, and a compiler has fewer passes over the scores to make (Dao et al. 2022).
    """
    scores = wide(by_group(q_BHTC, k_BGTC.transpose(-2, -1)))
    if bias is not None:
        scores = scores + bias
    weights = (scores - scores.detach().amax(dim=-1, keepdim=True)).exp()
    sums = weights.sum(dim=-1, keepdim=True)
    weights = F.dropout(weights, dropout) if dropout > 0 else weights
    mixed = by_group(weights.to(v_BGTC.dtype), v_BGTC)
    return (wide(mixed) / sums).to(v_BGTC.dtype)


def attend_blockwise(
    q_BHTC: Tensor, k_BGTC: Tensor, v_BGTC: Tensor, bias: Tensor | None, dropout: float = 0.0
) -> Tensor:
    """`attend_plain` of a causal pass, a block of queries at a time, each with the keys up to its end
    alone: what lies in the future is never computed. `bias` must forbid the future inside a block."""
    blocks = []
    for start in range(0, q_BHTC.shape[2], QUERY_BLOCK):
        end = min(start + QUERY_BLOCK, q_BHTC.shape[2])
        part = None if bias is None else bias[..., start:end, :end]
        q, k, v = q_BHTC[:, :, start:end], k_BGTC[:, :, :end], v_BGTC[:, :, :end]
        blocks.append(attend_plain(q, k, v, part, dropout))
    return torch.cat(blocks, dim=2)


def attend_fused(
    q_BHTC: Tensor, k_BGTC: Tensor, v_BGTC: Tensor, bias: Tensor | None, dropout: float = 0.0
) -> Tensor:
    """The same through `scaled_dot_product_attention`."""
    mask = None if bias is None else bias.to(q_BHTC.dtype)
    k, v = (for_each_head(x, q_BHTC.shape[1]).expand(-1, q_BHTC.shape[1], -1, -1) for x in (k_BGTC, v_BGTC))
    return F.scaled_dot_product_attention(q_BHTC, k, v, attn_mask=mask, dropout_p=dropout, scale=1.0)


class Attention(nn.Module):
    """Multi-head self-attention: (B, T, D) -> (B, T, D).

    `output` maps the heads in a row (H C) back to D; without it every head is D wide and they are added up.
    With `qk_norm`, queries and keys are divided by their root mean square (Henry et al. 2020), to whose square an
    epsilon is added; queries have a learned gain. `d_rotary` is the width of the decoupled rotary part. The
    sigmoid of what `gate` puts out, (B, T, H), is a gate a head; its weights begin at zero, the gates at one half.
    `value_table` has a vector (G C) for each token of a vocabulary, which is added to its value, times a learned
    number that begins at zero (value embeddings, as the nanoGPT speedrun has them). `bias` adds vectors that begin
    at zero to queries, before they are normalised, and to the output; others could say no
    more: one on keys adds the same to all scores of a query, one on values the same to every mixed value.
    """

    def __init__(
        self,
        query: Projection,
        key: Projection,
        value: Projection,
        *,
        n_heads: int,
        n_kv_heads: int,
        d_head: int,
        d_model: int,
        output: nn.Linear | None,
        gate: Projection | None = None,
        value_table: nn.Embedding | None = None,
        positions: PositionKind,
        d_rotary: int,
        qk_norm: bool,
        query_epsilon: float,
        key_epsilon: float,
        causal: bool = True,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = query, key, value, output
        self.gate = gate
        self.open_gates()
        self.value_table = value_table
        self.value_weight = None if value_table is None else nn.Parameter(torch.zeros(1))
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads or n_heads
        self.d_head, self.positions, self.causal, self.dropout = d_head, positions, causal, dropout
        self.query_epsilon, self.key_epsilon = query_epsilon, key_epsilon
        self.query_gain = nn.Parameter(torch.ones(n_heads, 1, d_head)) if qk_norm else None
        self.query_bias = nn.Parameter(torch.zeros(n_heads, 1, d_head)) if bias else None
        self.output_bias = nn.Parameter(torch.zeros(d_model)) if bias else None
        if positions == "alibi":
            self.log_slopes = nn.Parameter(alibi_slopes(n_heads).log())
        if positions == "decoupled":
            self.query_rotary = nn.Linear(d_model, n_heads * d_rotary, bias=False)
            self.key_rotary = nn.Linear(d_model, d_rotary, bias=False)
        self.scale = 1.0 / math.sqrt(d_head + (d_rotary if positions == "decoupled" else 0))

    def open_gates(self) -> None:
        """Set all gates to one half, whatever the token."""
        if self.gate is not None:
            nn.init.zeros_(self.gate.encoder_weight)

    def forward(
        self, x: Tensor, ids: Tensor | None = None, *, mask: Tensor | None = None,
        fully_masked: Tensor | None = None, cache: LayerCache | None = None,
    ) -> Tensor:  # fmt: skip
        """(B, T, D) -> (B, T, D); ids (B, T) of the tokens where there is a table of values.

        `mask` is added to the scores, broadcastable to (B, H, Tq, Tk); minus infinity forbids, but must leave
        every query a key. `fully_masked`, broadcastable to (B, H, Tq, 1), is true for queries that get zeros
        instead. With a cache, `x` holds only the new characters, and `mask` covers all keys.
        """
        if cache is not None:
            mixed, output = self._attend_cached(x, ids, cache, mask)[0], None
        else:
            q, k, v_code, gates = self.queries_and_keys(x)
            output = self.absorbed_output()
            v = self.values(v_code, ids) if output is None else self.value.split_code(v_code, self.n_kv_heads)
            mixed = self.attend(q, k, v.expand(-1, self.n_kv_heads, -1, -1), mask)
            mixed = mixed if gates is None else mixed * gates
        mixed = mixed if fully_masked is None else mixed.masked_fill(fully_masked, 0.0)
        if output is None:
            return self.merge(mixed)
        return F.linear(_side_by_side(mixed), output, self.output_bias)

    def with_weights(
        self, x: Tensor, ids: Tensor | None = None, *, mask: Tensor | None = None,
        fully_masked: Tensor | None = None, cache: LayerCache | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """`forward`, its slow twin, and the weights by which values are mixed, (B, H, Tq, Tk), after dropout."""
        if cache is not None:
            mixed, weights = self._attend_cached(x, ids, cache, mask)
        else:
            q, k, v_code, gates = self.queries_and_keys(x)
            scores, v = wide(by_group(q, k.mT)), self.values(v_code, ids)
            bias = self.bias(q.shape[2], k.shape[2], mask, x.device)
            weights = (scores if bias is None else scores + bias).softmax(dim=-1)
            weights = F.dropout(weights, self.dropout, self.training)
            mixed = by_group(weights.to(v.dtype), v)
            mixed = mixed if gates is None else mixed * gates
        if fully_masked is not None:
            mixed, weights = mixed.masked_fill(fully_masked, 0.0), weights.masked_fill(fully_masked, 0.0)
        return self.merge(mixed), weights

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Values (B, G, T, C) mixed for each query, in the fastest way that there is for them here."""
        dropout = self.dropout if self.training else 0.0
        on_cpu = v.device.type == "cpu"
        alone = mask is None and not dropout and q.shape[2:] == v.shape[2:] and not transformed()
        if self.causal and on_cpu and alone and is_ready(v.shape[-1], v.dtype):
            slopes = self.log_slopes.float().exp() if self.positions == "alibi" else None
            return attend_native(q.to(v.dtype), k.to(v.dtype), v, slopes)
        bias = self.bias(q.shape[2], k.shape[2], mask, v.device)
        if not transformed() and not (on_cpu and k.shape[2] <= PLAIN_UP_TO):
            return attend_fused(q, k, v, bias, dropout)
        return (attend_blockwise if self.causal else attend_plain)(q, k, v, bias, dropout)

    def _attend_cached(
        self, x: Tensor, ids: Tensor | None, cache: LayerCache, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What new characters (B, T, D) find among themselves and all before them, (B, H, Tq, C), and the weights
        of what they find, (B, H, Tq, Tk)."""
        start = cache.length
        q_code, k_code, v_code, gates = self.codes(x)
        new, reading = self._kept_keys(k_code, self.queries(q_code, start), start, cache.latent)
        value_decoders = self.value.head_decoders(self.n_kv_heads) if cache.latent else None
        if not cache.latent:
            new["values"] = self.values(v_code, ids)
        elif not self.value.shares_code:
            new["values"] = self.value.split_code(v_code, self.n_kv_heads)
        rotary_queries = None
        if self.positions == "decoupled":
            rotary_queries, new["rotary"] = self.rotary_parts(x, start)
        kept = cache.append(new)
        weights = self._cached_weights(reading, rotary_queries, kept, mask)
        mixed = by_group(weights, kept.get("values", kept["keys"]))
        mixed = mixed if gates is None else mixed * gates
        if value_decoders is not None:
            mixed = mixed @ for_each_head(value_decoders, self.n_heads, dim=0).mT
        return mixed, weights

    def _kept_keys(
        self, code: Tensor, queries: Tensor, start: int, latent: bool
    ) -> tuple[dict[str, Tensor], Tensor]:
        """What to keep of the keys, and the queries that read it: (B, H, T, C), or (B, H, T, K) for codes."""
        decoders = self.key.head_decoders(self.n_kv_heads) if latent else None
        if decoders is None:
            return {"keys": self.keys(code, start)}, queries
        new = {"keys": self.key.split_code(code, self.n_kv_heads)}
        if self.query_gain is not None:
            decoded = wide(self.split(self.key.decode(code), self.n_kv_heads))
            mean = decoded.square().mean(dim=-1, keepdim=True) + self.key_epsilon
            new["norms"] = mean.rsqrt().to(code.dtype)
        return new, queries @ for_each_head(decoders, self.n_heads, dim=0)

    def _cached_weights(
        self, queries: Tensor, rotary_queries: Tensor | None, kept: dict[str, Tensor], mask: Tensor | None
    ) -> Tensor:
        """The softmax over all kept characters, (B, H, Tq, Tk)."""
        scores = wide(by_group(queries, kept["keys"].mT))
        if "norms" in kept:
            scores = scores * for_each_head(kept["norms"].mT, self.n_heads)
        if rotary_queries is not None:
            scores = scores + rotary_queries @ kept["rotary"].mT
        bias = self.bias(scores.shape[2], scores.shape[3], mask, scores.device)
        return (scores if bias is None else scores + bias).softmax(dim=-1).to(queries.dtype)

    def heads(self, x: Tensor, ids: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (scaled) of (B, T, D), (B, H, T, C), and its keys and values, (B, G, T, C)."""
        q, k, v_code, _ = self.queries_and_keys(x)
        return q, k, self.values(v_code, ids)

    def codes(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """The codes of queries, keys and values of (B, T, D), (B, T, K), and the gates of the heads, (B, H, T, 1),
        or None where there are none."""
        parts = (self.query, self.key, self.value)
        if self.gate is None:
            query, key, value = encode_together(parts, x)
            return query, key, value, None
        gate, query, key, value = encode_together((self.gate, *parts), x)
        return query, key, value, gate.sigmoid().transpose(1, 2).unsqueeze(-1)

    def queries_and_keys(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries (scaled) of (B, T, D), (B, H, T, C), its keys, (B, G, T, C), the code of its values, (B, T, K),
        and its gates, (B, H, T, 1), or None."""
        q_code, k_code, v_code, gates = self.codes(x)
        q, k = self.queries(q_code, start=0), self.keys(k_code, start=0)
        if self.positions == "decoupled":
            q_rotary, k_rotary = self.rotary_parts(x, start=0)
            q = torch.cat([q, q_rotary], dim=-1)
            k = torch.cat([k, k_rotary.expand(-1, self.n_kv_heads, -1, -1)], dim=-1)
        return q, k, v_code, gates

    def absorbed_output(self) -> Tensor | None:
        """The decoders of the values and `output` as one matrix, (D, H K): heads mix codes, which are decoded as
        they are put out, so a product of weights stands for one of every character. Its slow twin is `merge` of
        mixed values. None where values have no decoder, or codes are not as wide as values are in a head: mixing
        them would cost more, or find no kernel, which wants queries, keys and values of one width; nor where a
        table adds to decoded values."""
        decoders = self.value.head_decoders(self.n_kv_heads)
        if self.output is None or self.value_table is not None:
            return None
        if decoders is None or decoders.shape[-1] != self.d_head:
            return None
        by_head = self.output.weight.view(-1, self.n_heads, self.d_head).transpose(0, 1)
        absorbed: Tensor = (by_head @ for_each_head(decoders, self.n_heads, dim=0)).transpose(0, 1).flatten(1)
        return absorbed

    def queries(self, code: Tensor, start: int) -> Tensor:
        """Scaled queries (B, H, T, C) of their code (B, T, K), without the decoupled rotary part."""
        q = self.split(self.query.decode(code), self.n_heads)
        q = q if self.query_bias is None else q + self.query_bias.to(q.dtype)
        if self.query_gain is not None:
            q = F.rms_norm(q, (self.d_head,), eps=self.query_epsilon) * self.query_gain.to(q.dtype)
        return (rotate(q, start) if self.positions == "rotary" else q) * self.scale

    def keys(self, code: Tensor, start: int) -> Tensor:
        """Keys (B, G, T, C) of their code (B, T, K), without the decoupled rotary part."""
        k = self.split(self.key.decode(code), self.n_kv_heads)
        if self.query_gain is not None:
            k = F.rms_norm(k, (self.d_head,), eps=self.key_epsilon)
        return rotate(k, start) if self.positions == "rotary" else k

    def values(self, code: Tensor, ids: Tensor | None = None) -> Tensor:
        """Values (B, G, T, C) of their code (B, T, K) and their tokens (B, T)."""
        values = self.value.decode(code)
        if self.value_table is not None and self.value_weight is not None:
            assert ids is not None, "values from the token's identity need ids"
            values = values + (self.value_table(ids) * self.value_weight).to(values.dtype)
        return self.split(values, self.n_kv_heads)

    def rotary_parts(self, x: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """The decoupled rotary part of queries (B, H, T, R), scaled, and of keys (B, 1, T, R), for all heads."""
        q = rotate(self.split(self.query_rotary(x), self.n_heads), start)
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
        merged = mixed_BHTC.sum(dim=1) if self.output is None else self.output(_side_by_side(mixed_BHTC))
        return merged if self.output_bias is None else merged + self.output_bias.to(merged.dtype)

    def split(self, x: Tensor, heads: int) -> Tensor:
        """(B, T, heads C) -> (B, heads, T, C)."""
        return x.view(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(1, 2)


def _side_by_side(x_BHTC: Tensor) -> Tensor:
    """(B, H, T, C) -> (B, T, H C)."""
    return x_BHTC.transpose(1, 2).flatten(2)
