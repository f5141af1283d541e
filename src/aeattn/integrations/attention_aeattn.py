"""Causal multi-head attention whose past is kept as codes in the cache classes of `transformers`.

A decoder D is linear, so attention reads codes as they are (DeepSeek-V2, 2024, section 2.1.2):

    q . k = q . (z D) = (q D') . z              queries read codes of keys
    sum_t w_t v_t = (sum_t w_t z_t) D           one decoding after the sum, none a token

What a layer keeps of each token lies in the last axis of two tensors of one head, (B, 1, T, width):

    keys      the code of the key, or the key itself where a code is not exact or not narrower; the inverse norm of
              each decoded key; the rotary part that all heads share
    values    the code of the value, or the value itself; nothing, a width of 0, where it decodes the key's code

The first tokens attend to each other decoded, and leave their codes; later ones read codes alone. This file
travels with every exported folder, beside `modeling_aeattn.py`.

Shapes: B batch, T time (q queries, k keys), D width, H heads, G heads of keys and values, C head width, K code.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.cache_utils import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_aeattn import NARROW, AeattnConfig
from .projections_aeattn import make_projection, norm_epsilon

ROTARY_BASE = 10_000.0
NO_BACKWARD = (
    "flex_attention has no backward pass on a CPU: call the model within torch.no_grad(), or choose another with "
    'attn_implementation="sdpa"'
)


def by_group(x_BHTC: Tensor, y_BGCS: Tensor) -> Tensor:
    """x y, (B, H, T, S): H / G heads of `x` beside each other share one head of `y`."""
    batch, heads, time, width = x_BHTC.shape
    groups = y_BGCS.shape[1]
    together = x_BHTC.reshape(batch, groups, heads // groups * time, width)
    return (together @ y_BGCS).reshape(batch, heads, time, y_BGCS.shape[3])


def for_each_head(x: Tensor, heads: int, dim: int = 1) -> Tensor:
    """What G heads have along `dim`, again for each of the H heads that share them."""
    return x if x.shape[dim] == heads else x.repeat_interleave(heads // x.shape[dim], dim)


def attend_eager(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    scaling: float = 1.0, dropout: float = 0.0, key_norms: Tensor | None = None, **_: Any,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Values mixed, (B, Tq, H, C), and weights (B, H, Tq, Tk). `key_norms` (B, G, Tk, 1) multiply the scores."""
    scores = by_group(query, key.mT).float() * scaling
    if key_norms is not None:
        scores = scores * for_each_head(key_norms.mT, query.shape[1])
    scores = scores if attention_mask is None else scores + attention_mask
    weights = scores.softmax(dim=-1).to(query.dtype)
    return by_group(weights, value).transpose(1, 2), weights


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Rotary embedding of (B, H, T, C), C even, at positions (B, T) (Su et al. 2021, eq. 34)."""
    width = x.shape[-1] // 2
    precise = torch.promote_types(x.dtype, torch.float32)
    frequencies = ROTARY_BASE ** (-torch.arange(width, device=x.device, dtype=precise) / width)
    angles = positions[:, None, :, None].to(precise) * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    left, right = x[..., :width], x[..., width:]
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)


class AeattnAttention(nn.Module):
    """Multi-head self-attention, (B, T, D) -> (B, T, D), and its weights where they are to be had."""

    is_causal = True

    def __init__(self, config: AeattnConfig, layer: int) -> None:
        super().__init__()
        self.config, self.layer = config, layer
        self.heads, self.groups, self.width = config.n_heads, config.groups("key"), config.head_dim
        self.query, self.key, self.value = (make_projection(config, r, layer) for r in ("query", "key", "value"))
        joined = self.heads * self.width
        self.output = None if config.per_head else nn.Linear(joined, config.d_model, bias=False)
        if self.output is not None:
            self.output.begins_at_zero = True  # type: ignore[assignment]
        self.gate = nn.ModuleDict() if config.gate else None
        if self.gate is not None:
            self.gate["encoder"] = nn.Linear(config.d_model, self.heads, bias=False)
            self.gate["encoder"].begins_at_zero = "always"  # type: ignore[assignment]
        table = config.value_embedding
        self.value_table = nn.Embedding(config.vocab_size, self.groups * self.width) if table else None
        self.value_weight = nn.Parameter(torch.zeros(1)) if table else None
        self.query_gain = nn.Parameter(torch.ones(self.heads, 1, self.width)) if config.qk_norm else None
        self.query_epsilon, self.key_epsilon = (norm_epsilon(config, role, layer) for role in ("query", "key"))
        self.rotary = config.d_rotary if config.positions == "decoupled" else 0
        if config.positions == "alibi":
            self.log_slopes = nn.Parameter(alibi_slopes(self.heads).log())
        if self.rotary:
            self.query_rotary = nn.Linear(config.d_model, self.heads * self.rotary, bias=False)
            self.key_rotary = nn.Linear(config.d_model, self.rotary, bias=False)
        self.scale = 1.0 / math.sqrt(self.width + self.rotary)
        self._choose_what_to_keep()

    def _choose_what_to_keep(self) -> None:
        """Codes wherever they are exact and no wider than what they are decoded to."""
        full, shared = self.groups * self.width, self.value.kind == "shared"
        norms = self.groups if self.config.qk_norm else 0
        saved = full if shared else 0  # a code that is kept anyway costs no more for values
        exact = self.key.kind in NARROW and self.config.positions != "rotary"
        self.keeps_key_codes = exact and self.key.d_code + norms <= full + saved
        exact = self.value.kind in NARROW and self.value_table is None
        self.keeps_value_codes = exact and (self.value.d_code <= full or (shared and self.keeps_key_codes))
        self.norms = norms if self.keeps_key_codes else 0
        self.reads_key_codes = shared and self.keeps_key_codes and self.keeps_value_codes
        self.key_width = self.key.d_code if self.keeps_key_codes else full
        value_width = self.value.d_code if self.keeps_value_codes else full
        self.value_width = 0 if self.reads_key_codes else value_width

    @property
    def kept_numbers(self) -> tuple[int, int]:
        """How many numbers a token leaves in the slots for keys and for values."""
        return self.key_width + self.norms + self.rotary, self.value_width

    def forward(
        self, x: Tensor, ids: Tensor | None, positions: Tensor, mask: Tensor, distances: Tensor,
        cache: Cache | None, begins: bool,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """ids (B, T) and positions (B, T) of the tokens; mask (B, 1, Tq, Tk) is added to the scores, distances
        (Tq, Tk) are from each query back to each key. `begins`: there is no past in the cache."""
        key_code = self.key.encode(x)
        value_code = key_code if self.value.kind == "shared" else self.value.encode(x)
        q = self._queries(x, positions)
        k, norms = self._keys(key_code, positions)
        q_rotary, k_rotary = self._rotary_parts(x, positions)
        kept_keys = key_code if self.keeps_key_codes else _flat(k)
        v = None if self.keeps_value_codes and not begins else self._values(value_code, ids)
        if cache is not None:
            more = [_flat(part) for part in (norms if self.norms else None, k_rotary) if part is not None]
            values = value_code if self.keeps_value_codes else _flat(v)
            values = values[..., :0] if self.reads_key_codes else values
            past = self._append(cache, torch.cat([kept_keys, *more], dim=-1).unsqueeze(1), values.unsqueeze(1))
        bias = self._bias(mask, distances, x.dtype)
        if cache is None or begins:
            assert v is not None
            mixed, weights = self._attend(_beside(q, q_rotary), _beside(k, k_rotary), v, bias)
        else:
            mixed, weights = self._attend_past(q, q_rotary, *past, bias)
        if self.gate is not None:
            mixed = mixed * self.gate["encoder"](x).sigmoid().unsqueeze(-1)
        out = mixed.sum(dim=2) if self.output is None else self.output(mixed.flatten(2))
        return out, weights

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, norms: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Mixed values (B, T, H, C) by the implementation that the config names, and weights or None."""
        chosen = self.config._attn_implementation
        if norms is not None or chosen in (None, "eager"):
            return attend_eager(self, q, k, v, bias, key_norms=norms)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(chosen, attend_eager)
        k, v = for_each_head(k, self.heads), for_each_head(v, self.heads)
        mask: Tensor | None = bias
        more: dict[str, Tensor] = {}
        if chosen == "flex_attention":  # a mask has no heads there
            if q.device.type == "cpu" and q.requires_grad:
                raise ValueError(NO_BACKWARD)
            mask, more = None, {"position_bias": bias.expand(len(q), self.heads, -1, -1).contiguous()}
            q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        found: tuple[Tensor, Any] = attend(self, q, k, v, mask, dropout=0.0, scaling=1.0, **more)
        return found

    def _attend_past(
        self, q: Tensor, q_rotary: Tensor | None, keys: Tensor, values: Tensor, bias: Tensor
    ) -> tuple[Tensor, Any]:
        """The same over what the cache keeps, (B, 1, Tk, width) of keys and values: codes stay codes."""
        stored, norms, k_rotary = keys.split([self.key_width, self.norms, self.rotary], dim=-1)
        k = self._by_heads(stored, self.keeps_key_codes)
        v = k if self.reads_key_codes else self._by_heads(values, self.keeps_value_codes)
        if self.keeps_key_codes:
            q = q @ for_each_head(self.key.decoders(self.groups, q), self.heads, dim=0)
        if (
            self.norms and q_rotary is not None
        ):  # the rotary part is not divided by the norm: an addition to the scores
            bias = bias + by_group(q_rotary, k_rotary.mT)
        elif self.rotary:
            q, k = _beside(q, q_rotary), _beside(k, k_rotary)
        inverse = norms[:, 0].mT.unsqueeze(-1) if self.norms else None  # (B, G, T, 1)
        mixed, weights = self._attend(q, k, v, bias, inverse)
        if self.keeps_value_codes:
            decoders = for_each_head(self.value.decoders(self.groups, q), self.heads, dim=0)
            mixed = (mixed.transpose(1, 2) @ decoders.mT).transpose(1, 2)
        return mixed, weights

    def _by_heads(self, kept: Tensor, is_code: bool) -> Tensor:
        """(B, 1, T, width) -> (B, G, T, C), or (B, 1, T, K) of a code that all heads read."""
        groups = 1 if is_code and not self.config.per_head else self.groups
        return kept[:, 0].unflatten(-1, (groups, -1)).transpose(1, 2)

    def _append(self, cache: Cache, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All that is kept, with the new. Raises ValueError for the cache of another model, or another batch."""
        layer = cache.layers[self.layer] if self.layer < len(cache.layers) else None
        for held, new in ((getattr(layer, "keys", None), keys), (getattr(layer, "values", None), values)):
            if held is None or held.dim() != 4:
                continue
            if (held.shape[0], held.shape[1], held.shape[3]) != (new.shape[0], 1, new.shape[3]):
                raise ValueError(
                    f"the cache holds {tuple(held.shape)} in layer {self.layer}, this model keeps "
                    f"({new.shape[0]}, 1, T, {new.shape[3]}): give each model and batch a cache of its own"
                )
        found: tuple[Tensor, Tensor] = cache.update(keys, values, self.layer)
        return found

    def _queries(self, x: Tensor, positions: Tensor) -> Tensor:
        q = self._split(self.query.decode(self.query.encode(x)), self.heads)
        if self.query_gain is not None:
            q = F.rms_norm(q, (self.width,), eps=self.query_epsilon) * self.query_gain.to(q.dtype)
        return (rotate(q, positions) if self.config.positions == "rotary" else q) * self.scale

    def _keys(self, code: Tensor, positions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Keys (B, G, T, C), and the inverse of their root mean squares, (B, G, T, 1), or None."""
        k, inverse = self._split(self.key.decode(code), self.groups), None
        if self.query_gain is not None:
            inverse = (k.float().square().mean(dim=-1, keepdim=True) + self.key_epsilon).rsqrt().to(k.dtype)
            k = F.rms_norm(k, (self.width,), eps=self.key_epsilon)
        return rotate(k, positions) if self.config.positions == "rotary" else k, inverse

    def _values(self, code: Tensor, ids: Tensor | None) -> Tensor:
        values = self.value.decode(code)
        if self.value_table is not None and self.value_weight is not None:
            values = values + (self.value_table(ids) * self.value_weight).to(values.dtype)
        return self._split(values, self.groups)

    def _rotary_parts(self, x: Tensor, positions: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Of queries (B, H, T, R), scaled, and of keys (B, 1, T, R)."""
        if not self.rotary:
            return None, None
        q = rotate(self._split(self.query_rotary(x), self.heads), positions) * self.scale
        return q, rotate(self.key_rotary(x).unsqueeze(1), positions)

    def _bias(self, mask: Tensor, distances: Tensor, dtype: torch.dtype) -> Tensor:
        """What is added to the scores, (B or 1, H or 1, Tq, Tk)."""
        if self.config.positions != "alibi":
            return mask.to(dtype)
        alibi = -self.log_slopes.float().exp()[:, None, None] * distances.abs()
        return (mask + alibi).to(dtype)

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def alibi_slopes(heads: int) -> Tensor:
    """Where the slopes start, (H,): geometric from 2^(-8/H) to 2^-8 (Press et al. 2022, section 3)."""
    return torch.exp2(-8.0 * torch.arange(1, heads + 1) / heads)


def _flat(x_BGTC: Tensor | None) -> Tensor:
    """(B, G, T, C) -> (B, T, G C)."""
    assert x_BGTC is not None
    return x_BGTC.transpose(1, 2).flatten(2)


def _beside(x: Tensor, rotary: Tensor | None) -> Tensor:
    """`x` (B, H, T, C) and a rotary part of as many heads, or of one, in a row."""
    return x if rotary is None else torch.cat([x, rotary.expand(-1, x.shape[1], -1, -1)], dim=-1)
