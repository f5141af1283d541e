"""A language model as one graph for ONNX: a prompt, a piece of it and the next token are the same function.

The formulae are those of `aeattn.nn`, by plain operators that every exporter knows, and the weights are its own.
Decoders are absorbed for the prompt as well: what comes in as the past, and goes out with the new tokens behind
it, are codes, as the caches of `transformers` have them (docs/huggingface.md), wherever that is exact and keeps no
more:

    past_key_values.I.key     (B, 1, P, width)    the code of the key, or the key; the inverse norm of each decoded
                                                  key; the rotary part that all heads share
    past_key_values.I.value   (B, 1, P, width)    the code of the value, or the value; absent where the key's code
                                                  is decoded
    past_conv.I               (B, conv - 1, D)    the last inputs of the short convolution, zeros at first
    past_conv_ff.I            (B, conv_ff - 1, D) those of the one before the feed-forward

Shapes: B batch, T new tokens, P tokens of the past, S = P + T, D width, H heads, G heads of keys and values,
C head width, K code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.config.model import ModelConfig
from aeattn.config.projections import Role
from aeattn.nn.attention import Attention, by_group, for_each_head
from aeattn.nn.positions import ROTARY_BASE
from aeattn.nn.projection import PerHead
from aeattn.nn.size import widths
from aeattn.nn.transformer import Block, LanguageModel

Pair = tuple[Tensor, Tensor]
KEYS, VALUES, INPUTS = "past_key_values.{}.key", "past_key_values.{}.value", "past_conv.{}"
INPUTS_FF = "past_conv_ff.{}"


@dataclass(frozen=True)
class LayerKept:
    """How many numbers a token leaves in a layer: of the key or its code, of its inverse norms, of the shared
    rotary part, of the value or its code. The value's are 0 where it decodes the key's code."""

    key: int
    norms: int
    rotary: int
    value: int
    key_codes: bool
    value_codes: bool

    @property
    def keys(self) -> int:
        """The width of the first of the two arrays."""
        return self.key + self.norms + self.rotary

    @property
    def total(self) -> int:
        return self.keys + self.value


def layer_kept(config: ModelConfig, layer: int) -> LayerKept:
    """What a layer keeps: codes wherever they are exact and no wider than what they are decoded to."""
    key, value = config.projection("key", layer), config.projection("value", layer)
    full, norms = config.heads("key") * config.d_head, config.heads("key") if config.qk_norm else 0
    saved = full if value.shares_code else 0  # a code that is kept anyway costs no more for values
    exact = key.has_narrow_code and config.positions != "rotary"
    key_codes = exact and _code(config, "key", layer) + norms <= full + saved
    exact = value.has_narrow_code and not config.value_embedding
    value_code = _code(config, "value", layer)
    value_codes = exact and (value_code <= full or (value.shares_code and key_codes))
    return LayerKept(
        key=_code(config, "key", layer) if key_codes else full, norms=norms if key_codes else 0,
        rotary=config.d_rotary if config.positions == "decoupled" else 0,
        value=0 if value.shares_code and key_codes and value_codes else value_code if value_codes else full,
        key_codes=key_codes, value_codes=value_codes,
    )  # fmt: skip


@dataclass(frozen=True)
class Slot:
    """An array of the past: its names among inputs and outputs, its shape as an input, with names for what varies,
    and what lies in its last axis."""

    past: str
    present: str
    shape: tuple[str | int, ...]
    holds: dict[str, int]

    @property
    def is_conv(self) -> bool:
        return "past" not in self.shape

    def first(self, batch: int, past: int = 0) -> tuple[int, ...]:
        """Its shape for so many rows and tokens of the past: none, before the first call."""
        known = {"batch": batch, "past": past}
        return tuple(known[n] if isinstance(n, str) else n for n in self.shape)


def slots(config: ModelConfig) -> list[Slot]:
    """All that is kept of the past, in the order of inputs and outputs."""
    found = []
    for i in range(config.n_layers):
        kept = layer_kept(config, i)
        parts = {"code" if kept.key_codes else "key": kept.key, "inverse norms": kept.norms, "rotary": kept.rotary}
        holds = {name: width for name, width in parts.items() if width}
        found.append(_slot(KEYS, i, ("batch", 1, "past", kept.keys), holds))
        if kept.value:
            holds = {"code" if kept.value_codes else "value": kept.value}
            found.append(_slot(VALUES, i, ("batch", 1, "past", kept.value), holds))
        for inputs, taps in ((INPUTS, config.conv), (INPUTS_FF, config.conv_ff)):
            if taps > 1:
                found.append(_slot(inputs, i, ("batch", taps - 1, config.d_model), {"inputs": config.d_model}))
    return found


def _slot(name: str, layer: int, shape: tuple[str | int, ...], holds: dict[str, int]) -> Slot:
    past = name.format(layer)
    return Slot(
        past, past.replace("past_key_values", "present").replace("past_conv", "present_conv"), shape, holds
    )


def _code(config: ModelConfig, role: Role, layer: int) -> int:
    each = config.heads(role) if config.per_head else 1
    return each * config.projection(role, layer).code(widths(config, role))


class GraphAttention(nn.Module):
    """The attention of a layer over what is kept of the past."""

    def __init__(self, attention: Attention, kept: LayerKept) -> None:
        super().__init__()
        self.kept, self.heads, self.groups = kept, attention.n_heads, attention.n_kv_heads
        self.width, self.scale, self.positions = attention.d_head, attention.scale, attention.positions
        self.query_epsilon, self.key_epsilon = attention.query_epsilon, attention.key_epsilon
        self.query, self.key, self.value = attention.query, attention.key, attention.value
        own = [self.query, self.key, *([] if self.value.shares_code else [self.value])]
        self.encoded = [len(part.encoder_weight) for part in own]
        self.encoders = _weight(torch.cat([part.encoder_weight for part in own]).mT)
        self.gate = None if attention.gate is None else _weight(attention.gate.encoder_weight.mT)
        self.value_table = None if attention.value_table is None else _weight(attention.value_table.weight)
        self.value_weight = attention.value_weight
        self.query_gain = attention.query_gain
        self.output = None if attention.output is None else _weight(attention.output.weight.mT)
        self.key_decoders = self._decoders(attention.key.head_decoders(self.groups)) if kept.key_codes else None
        found = attention.value.head_decoders(self.groups) if kept.value_codes else None
        self.value_decoders = None if found is None else self._decoders(found.mT)
        if self.positions == "alibi":
            self.slopes = _weight(attention.log_slopes.float().exp()[:, None, None])
        if kept.rotary:
            both = (attention.query_rotary.weight, attention.key_rotary.weight)
            self.rotary_encoders = _weight(torch.cat(both).mT)

    def _decoders(self, by_group: Tensor | None) -> nn.Parameter:
        assert by_group is not None
        return _weight(for_each_head(by_group, self.heads, dim=0))

    def forward(
        self, x: Tensor, ids: Tensor, turn: Pair | None, mask: Tensor, distances: Tensor,
        past_keys: Tensor, past_values: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
        """(B, T, D) to the same, and both arrays of the cache, (B, 1, S, width). `turn` are cosines and sines,
        (T, width / 2); mask (B, 1, T, S) is added to the scores, distances (T, S) are back to each key."""
        parts = torch.split(x @ self.encoders, self.encoded, dim=-1)
        q_code, k_code = self.query.code(parts[0]), self.key.code(parts[1])
        v_code = k_code if self.value.shares_code else self.value.code(parts[2])
        q, q_rotary, k_rotary = self._queries(q_code, turn), None, None
        if self.kept.rotary:
            q_rotary, k_rotary = self._rotary_parts(x, turn)
        new_keys = [part for part in (*self._kept_keys(k_code, turn), k_rotary) if part is not None]
        keys = torch.cat([past_keys, torch.cat(new_keys, dim=-1).unsqueeze(1)], dim=2)
        new_values = v_code if self.kept.value_codes else self._values(v_code, ids)
        values = None if past_values is None else torch.cat([past_values, new_values.unsqueeze(1)], dim=2)
        scores = self._scores(q, q_rotary, keys) + mask
        if self.positions == "alibi":
            scores = scores - self.slopes * distances.abs().to(scores.dtype)
        mixed = by_group(scores.softmax(dim=-1), self._read_values(keys, values))
        if self.value_decoders is not None:
            mixed = mixed @ self.value_decoders
        if self.gate is not None:
            mixed = mixed * (x @ self.gate).sigmoid().transpose(1, 2).unsqueeze(-1)
        out = mixed.sum(dim=1) if self.output is None else mixed.transpose(1, 2).flatten(2) @ self.output
        return out, keys, values

    def _queries(self, code: Tensor, turn: Pair | None) -> Tensor:
        """Scaled, (B, H, T, C)."""
        q = self._split(self.query.decode(code), self.heads)
        if self.query_gain is not None:
            q = _normed(q, self.query_epsilon) * self.query_gain
        return (rotate(q, turn) if self.positions == "rotary" else q) * self.scale

    def _kept_keys(self, code: Tensor, turn: Pair | None) -> tuple[Tensor, Tensor | None]:
        """What new keys leave, (B, T, width), and their inverse norms, (B, T, G), where these are apart."""
        if not self.kept.key_codes:
            k = self._split(self.key.decode(code), self.groups)
            k = k if self.query_gain is None else _normed(k, self.key_epsilon)
            return _flat(rotate(k, turn) if self.positions == "rotary" else k), None
        if self.query_gain is None:
            return code, None
        decoded = self._split(self.key.decode(code), self.groups)
        return code, _flat((decoded.square().mean(dim=-1, keepdim=True) + self.key_epsilon).rsqrt())

    def _values(self, code: Tensor, ids: Tensor) -> Tensor:
        values = self.value.decode(code)
        if self.value_table is not None and self.value_weight is not None:
            values = values + F.embedding(ids, self.value_table) * self.value_weight
        return values

    def _rotary_parts(self, x: Tensor, turn: Pair | None) -> Pair:
        """Of queries, (B, H, T, R), scaled, and of keys, (B, T, R)."""
        width = self.kept.rotary
        q, k = torch.split(x @ self.rotary_encoders, [self.heads * width, width], dim=-1)
        return rotate(self._split(q, self.heads), turn) * self.scale, rotate(k.unsqueeze(1), turn).squeeze(1)

    def _scores(self, q: Tensor, q_rotary: Tensor | None, keys: Tensor) -> Tensor:
        """(B, H, T, S)."""
        stored, norms, rotary = keys.split([self.kept.key, self.kept.norms, self.kept.rotary], dim=-1)
        if self.key_decoders is not None:
            q = q @ self.key_decoders
        scores = by_group(q, self._by_heads(stored, self.kept.key_codes).mT)
        if self.kept.norms:
            scores = scores * for_each_head(norms.squeeze(1).mT.unsqueeze(2), self.heads)
        return scores if q_rotary is None else scores + q_rotary @ rotary.mT

    def _read_values(self, keys: Tensor, values: Tensor | None) -> Tensor:
        read = keys[..., : self.kept.key] if values is None else values
        return self._by_heads(read, self.kept.value_codes)

    def _by_heads(self, stored: Tensor, is_code: bool) -> Tensor:
        """(B, 1, S, width) -> (B, G, S, C), or a code that all heads read, as it is."""
        one_for_all = is_code and not isinstance(self.key, PerHead)
        return stored if one_for_all else self._split(stored.squeeze(1), self.groups)

    def _split(self, x: Tensor, heads: int) -> Tensor:
        """(B, T, heads C) -> (B, heads, T, C)."""
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class GraphBlock(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, block: Block, kept: LayerKept) -> None:
        super().__init__()
        self.attention_norm, self.feed_forward_norm = block.attention_norm, block.feed_forward_norm
        self.taps, self.taps_ff = (None if conv is None else conv.taps for conv in (block.conv, block.conv_ff))
        self.attention = GraphAttention(block.attention, kept)
        self.up, self.down = _weight(block.feed_forward.up.weight.mT), _weight(block.feed_forward.down.weight.mT)
        self.activation = block.feed_forward.activation

    def feed_forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(x @ self.up) @ self.down
        return out


def convolve(taps: Tensor | None, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """x_t + sum_i w_i x_(t-i), and the last inputs; `past` are those before the first, (B, taps - 1, D)."""
    if taps is None:
        return x, None
    if past is None:
        return x + taps[0] * x, None
    before, time, joined = past.shape[1], x.shape[1], torch.cat([past, x], dim=1)
    for i in range(before + 1):
        x = x + taps[i] * joined[:, before - i : before - i + time]
    return x, joined[:, time:]


class Graph(nn.Module):
    """ids (B, T), a mask (B, S) that is 0 for padding among all tokens so far, and the past: to logits (B, T, V),
    and the past of the next call. Beyond the context no position is found: an error of whatever runs it."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        config = model.config
        self.config, self.kept = config, [layer_kept(config, i) for i in range(config.n_layers)]
        self.slots = slots(config)
        self.embedding = _weight(model.embedding.weight)
        self.position = None if model.position is None else _weight(model.position.weight)
        self.blocks = nn.ModuleList(
            GraphBlock(block, kept)
            for block, kept in zip(model.blocks, self.kept, strict=True)
            if isinstance(block, Block)
        )
        self.norm = model.norm
        self.head = _weight((model.embedding if model.head is None else model.head).weight.mT)
        self.places = nn.Buffer(torch.arange(config.context))
        self.cosines, self.sines = map(nn.Buffer, angles(config))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, ...]:
        given = {slot.past: each for slot, each in zip(self.slots, past, strict=True)}
        before, time = given[KEYS.format(0)].shape[2], input_ids.shape[1]
        torch._check(attention_mask.shape[1] == before + time)
        every = self.places.index_select(0, torch.arange(before + time))
        new = self.places.index_select(0, torch.arange(before, before + time))
        distances = new[:, None] - every[None, :]
        absent = attention_mask == 0
        hidden = ((distances < 0)[None, None] | absent[:, None, None, :]) & (distances != 0)
        mask = torch.zeros_like(hidden, dtype=torch.float32).masked_fill(hidden, float("-inf"))
        padding = absent.index_select(1, new).unsqueeze(-1)
        x = F.embedding(input_ids, self.embedding)
        if self.position is not None:
            counted = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
            x = x + F.embedding(counted.index_select(1, new), self.position)
        turn = (self.cosines.index_select(0, new), self.sines.index_select(0, new)) if self.turns else None
        present = []
        for i, block in enumerate(self._blocks()):
            keys, values, inputs, inputs_ff = (
                given.get(name.format(i)) for name in (KEYS, VALUES, INPUTS, INPUTS_FF)
            )
            seen, inputs = convolve(block.taps, block.attention_norm(x).masked_fill(padding, 0.0), inputs)
            assert keys is not None
            out, keys, values = block.attention(seen, input_ids, turn, mask, distances, keys, values)
            x = x + out
            seen, inputs_ff = convolve(
                block.taps_ff, block.feed_forward_norm(x).masked_fill(padding, 0.0), inputs_ff
            )
            x = x + block.feed_forward(seen)
            present += [each for each in (keys, values, inputs, inputs_ff) if each is not None]
        return (self.norm(x) @ self.head, *present)

    @property
    def turns(self) -> bool:
        return self.config.positions in ("rotary", "decoupled")

    def _blocks(self) -> Iterator[GraphBlock]:
        return (block for block in self.blocks if isinstance(block, GraphBlock))


def angles(config: ModelConfig) -> Pair:
    """Cosines and sines by position, (context, C / 2), of what is rotated (Su et al. 2021, eq. 34)."""
    width = {"rotary": config.d_head, "decoupled": config.d_rotary}.get(config.positions, 0) // 2
    frequencies = ROTARY_BASE ** (-torch.arange(width, dtype=torch.float32) / max(1, width))
    found = torch.arange(config.context, dtype=torch.float32)[:, None] * frequencies
    return found.cos(), found.sin()


def rotate(x: Tensor, turn: Pair | None) -> Tensor:
    """(B, H, T, C), C even, by cosines and sines of (T, C / 2)."""
    assert turn is not None
    cos, sin = turn
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)


def _normed(x: Tensor, epsilon: float) -> Tensor:
    return x * (x.square().mean(dim=-1, keepdim=True) + epsilon).rsqrt()


def _flat(x: Tensor) -> Tensor:
    """(B, G, T, C) -> (B, T, G C)."""
    return x.transpose(1, 2).flatten(2)


def _weight(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().contiguous(), requires_grad=False)
