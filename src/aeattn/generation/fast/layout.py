"""A model's weights absorbed and laid out for the compiled engine: one array, and where what lies in it.

Absorbed (`nn/absorbed.py`): query decoder, gain, scale and key decoder of a head become one matrix from the
query's code to what reads the cache; value decoder and output projection become one matrix from mixed codes to the
residual stream. Products are made in float64.

A matrix lies in *panels* of 32 output columns (the last may have 16), each panel row after row, so that a
product reads it from front to back. A cache lies likewise, so that keys and values are multiplied as weights are.

Widths: D model, H heads, C head, K what is kept of a key, V of a value, T context. `at` is a place in an array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aeattn.config.model import ModelConfig
from aeattn.config.projections import Role

Array = npt.NDArray[np.float32]
Wide = npt.NDArray[np.floating[Any]]
Weights = Mapping[str, Array]

LANES, PANEL = 16, 32
ROWS = 32  # characters that one pass takes at most
NOWHERE = -1
ROTARY_BASE = 10_000.0

MODEL = np.dtype([(name, np.int64) for name in (
    "width", "heads", "head_width", "vocabulary", "context", "hidden", "layer_norm", "gelu", "conv", "qk_norm",
    "embedding", "positions", "gain", "head", "cosines", "sines", "rotated", "cache_numbers",
    # work space of a pass: places of arrays, and numbers a row
    "x", "seen", "encoded", "encoded_row", "reading", "decoded", "decoded_row", "mixed", "mixed_row", "hidden_x",
    "hidden_row", "out", "scores", "rotary_scores", "scores_row", "middle", "logits", "logits_row", "sparse",
    "reading_row", "row", "work_numbers",
)])  # fmt: skip

LAYER = np.dtype([(name, np.int64) for name in (
    "attention_gain", "taps", "encoders", "n_encoded", "slopes",
    "query", "query_width", "query_blocks", "query_gelu", "query_middle",
    "key", "key_width", "key_blocks", "key_gelu", "key_middle",
    "value", "value_width", "value_blocks", "value_gelu", "value_middle",
    "query_decoder", "key_decoder", "value_decoder", "read", "output", "rotate",
    "decoupled_query", "decoupled_key", "decoupled_width",
    "key_groups", "key_kept", "key_stride", "key_decoded", "key_norms",
    "value_groups", "value_kept", "value_stride", "value_decoded", "value_shared",
    "cache_keys", "cache_norms", "cache_values", "cache_rotary", "cache_inputs",
    "hidden_gain", "up", "down",
)])  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """`model` is one record, `layers` one a layer; both hold places in `weights`, in a sequence's cache and in the
    work space of a pass."""

    weights: Array
    model: npt.NDArray[Any]
    layers: npt.NDArray[Any]

    @property
    def cache_numbers(self) -> int:
        """float32 numbers that the cache of one sequence takes."""
        return int(self.model[0]["cache_numbers"])

    @property
    def work_numbers(self) -> int:
        return int(self.model[0]["work_numbers"])


def lay_out(config: ModelConfig, weights: Weights, latent: bool) -> Layout:
    """Absorb and lay out a model. `weights` are those of `LanguageModel(config)` by name, in float32."""
    blob = _Blob()
    layers = np.zeros(config.n_layers, LAYER)
    cache = 0
    for i in range(config.n_layers):
        values = _Layer(config, weights, i, latent, blob).fields
        cache = _place_cache(config, values, cache)
        for name, value in values.items():
            layers[i][name] = value
    model = _model_fields(config, weights, blob) | {"cache_numbers": _round(cache, LANES)}
    model |= _work_space(config, layers)
    record = np.zeros(1, MODEL)
    for name, value in model.items():
        record[0][name] = value
    return Layout(blob.join(), record, layers)


def _round(number: int, to: int) -> int:
    return -(-number // to) * to


class _Blob:
    """Arrays end to end, each on a boundary of 64 bytes."""

    def __init__(self) -> None:
        self.parts: list[Array] = []
        self.size = 0

    def add(self, values: npt.NDArray[Any]) -> int:
        """Where the values have been put."""
        at, flat = self.size, np.ascontiguousarray(values, np.float32).reshape(-1)
        self.parts += [flat, np.zeros(_round(flat.size, LANES) - flat.size, np.float32)]
        self.size += _round(flat.size, LANES)
        return at

    def add_matrices(self, blocks: list[Wide]) -> int:
        """Matrices (in, out) one after another, in panels; all of one shape."""
        return self.add(np.concatenate([panels(block) for block in blocks]))

    def join(self) -> Array:
        whole = np.concatenate(self.parts)
        values = aligned(whole.size)
        values[:] = whole
        return values


def aligned(size: int) -> Array:
    """Zeros that begin on a boundary of 64 bytes."""
    raw = np.zeros(size + LANES, np.float32)
    shift = (-raw.ctypes.data % 64) // 4
    return raw[shift : shift + size]


def panels(matrix: npt.NDArray[Any]) -> Wide:
    """A matrix (in, out) in panels of columns, row after row; columns filled up with zeros to a multiple of 16."""
    width = _round(matrix.shape[1], LANES)
    padded = np.zeros((matrix.shape[0], width))
    padded[:, : matrix.shape[1]] = matrix
    return np.concatenate([padded[:, at : at + PANEL].ravel() for at in range(0, width, PANEL)])


@dataclass(frozen=True)
class _Projection:
    """One projection's weights. `decoders` (H, C, code) is None where the code is the result; `blocks` is H where
    each head has its own part of the code, else 1."""

    encoder: Array | None
    middle: list[Wide]
    decoders: Wide | None
    blocks: int
    gelu: bool

    @property
    def width(self) -> int:
        assert self.encoder is not None
        return int(self.encoder.shape[0])

    def decoder_blocks(self, stride: int) -> list[Wide]:
        """Matrices from code to decoded vectors, each head's filled up to `stride` columns."""
        assert self.decoders is not None
        return _beside([d.T for d in self.decoders], stride, self.blocks)


def _beside(heads: list[Wide], stride: int, blocks: int) -> list[Wide]:
    """Each head's matrix (in, out) with out filled up to `stride`: apart, or side by side as one."""
    wide = [np.pad(h, ((0, 0), (0, stride - h.shape[1]))) for h in heads]
    return wide if blocks > 1 else [np.concatenate(wide, axis=1)]


class _Layer:
    """The fields of one layer, its matrices put into the blob."""

    def __init__(self, config: ModelConfig, weights: Weights, layer: int, latent: bool, blob: _Blob) -> None:
        self.config, self.weights, self.blob, self.layer = config, weights, blob, layer
        self.prefix = f"blocks.{layer}."
        self.fields: dict[str, int] = {}
        self.latent = latent
        query, key, value = (self._projection(name) for name in ("query", "key", "value"))
        self._encoders(query, key, value)
        self._attention(query, key, value)
        self._feed_forward()

    def _get(self, name: str) -> Array:
        return np.asarray(self.weights[self.prefix + name])

    def _projection(self, name: Role) -> _Projection:
        config = self.config
        kind, heads = config.projection(name, self.layer), config.n_heads
        own = config.per_head
        parts = [f"attention.{name}.heads.{h}." for h in range(heads)] if own else [f"attention.{name}."]
        encoder = None
        if not kind.shares_code:
            encoder = np.concatenate([self._get(part + "encoder.weight") for part in parts])
        if not kind.has_decoder:
            return _Projection(encoder, [], None, heads, False)
        gelu = kind.compiled == "gelu"
        middle = [self._get(p + "middle.weight").T for p in parts if config.middle and gelu]
        decoders = np.stack([self._get(part + "decoder.weight").astype(np.float64) for part in parts])
        shape = (heads, config.d_head, decoders.shape[-1])
        return _Projection(encoder, middle, decoders.reshape(shape), heads if own else 1, gelu)

    def _encoders(self, query: _Projection, key: _Projection, value: _Projection) -> None:
        """All that is multiplied with the layer's input, as one matrix, and where each part of the product is."""
        parts, at = [], 0
        for name, projection in (("query", query), ("key", key), ("value", value)):
            if projection.encoder is None:
                for field in ("", "_width", "_blocks", "_gelu", "_middle"):
                    self.fields[name + field] = self.fields["key" + field]
                continue
            middle = self.blob.add_matrices(projection.middle) if projection.middle else NOWHERE
            self.fields |= {
                name: at, f"{name}_width": projection.width, f"{name}_blocks": projection.blocks,
                f"{name}_gelu": int(projection.gelu), f"{name}_middle": middle,
            }  # fmt: skip
            parts.append(projection.encoder)
            at += projection.width
        self.fields |= {"decoupled_query": NOWHERE, "decoupled_key": NOWHERE, "decoupled_width": 0}
        if self.config.positions == "decoupled":
            rotary = self._get("attention.query_rotary.weight") * self._scale()
            self.fields |= {"decoupled_query": at, "decoupled_key": at + len(rotary)}
            self.fields["decoupled_width"] = self.config.d_rotary
            parts += [rotary, self._get("attention.key_rotary.weight")]
        matrix = np.concatenate(parts).T
        self.fields |= {"encoders": self.blob.add_matrices([matrix]), "n_encoded": matrix.shape[1]}

    def _scale(self) -> float:
        rotary = self.config.d_rotary if self.config.positions == "decoupled" else 0
        return 1 / math.sqrt(self.config.d_head + rotary)

    def _attention(self, query: _Projection, key: _Projection, value: _Projection) -> None:
        config, blob = self.config, self.blob
        c, heads = config.d_head, config.n_heads
        stride = _round(c, LANES)
        latent_key = self.latent and key.decoders is not None
        shared = self.latent and value.encoder is None
        kept_key = key.decoders if latent_key else None
        kept_value = value.decoders if self.latent else None
        decode_query = query.decoders is not None and config.qk_norm
        decode_key = key.decoders is not None and (not self.latent or config.qk_norm)
        decode_value = value.decoders is not None and not self.latent
        k = c if kept_key is None else kept_key.shape[-1]
        v = c if kept_value is None else kept_value.shape[-1]
        self.fields |= {
            "query_decoder": self._decoder(query, stride) if decode_query else NOWHERE,
            "key_decoder": self._decoder(key, stride) if decode_key else NOWHERE,
            "value_decoder": self._decoder(value, stride) if decode_value else NOWHERE,
            "read": blob.add_matrices(_beside(self._reading(query, kept_key), _round(k, LANES), query.blocks)),
            "output": blob.add_matrices([self._output(kept_value, v)]),
            "rotate": int(config.positions == "rotary"),
            "key_groups": key.blocks if latent_key else heads,
            "key_kept": k, "key_stride": _round(k, LANES), "key_decoded": int(decode_key and not latent_key),
            "key_norms": int(latent_key and config.qk_norm),
            "value_groups": value.blocks if kept_value is not None else heads,
            "value_kept": v, "value_stride": _round(v, LANES), "value_decoded": int(decode_value),
            "value_shared": int(shared),
            "slopes": NOWHERE,
            "attention_gain": blob.add(self._get("attention_norm.weight")),
            "taps": blob.add(self._get("conv.taps")) if config.conv else NOWHERE,
        }  # fmt: skip
        if config.positions == "alibi":
            self.fields["slopes"] = blob.add(np.exp(self._get("attention.log_slopes")))

    def _decoder(self, projection: _Projection, stride: int) -> int:
        return self.blob.add_matrices(projection.decoder_blocks(stride))

    def _reading(self, query: _Projection, key_decoders: Wide | None) -> list[Wide]:
        """For each head, from the query's code to what is multiplied with kept keys."""
        c = self.config.d_head
        gains = np.ones((self.config.n_heads, c))
        if self.config.qk_norm:
            gains = self._get("attention.query_gain").astype(np.float64).reshape(-1, c)
        matrices = []
        for h, gain in enumerate(gains * self._scale()):
            left = np.eye(c) if query.decoders is None else query.decoders[h].T
            matrices.append((left * gain) @ (np.eye(c) if key_decoders is None else key_decoders[h]))
        return matrices

    def _output(self, value_decoders: Wide | None, kept: int) -> Wide:
        """From mixed values of all heads, each filled up to a multiple of 16, to the residual stream."""
        heads, c, d = self.config.n_heads, self.config.d_head, self.config.d_model
        rows = []
        output = None if self.config.per_head else self._get("attention.output.weight").astype(np.float64)
        for h in range(heads):
            head = np.eye(d) if output is None else output[:, h * c : (h + 1) * c]
            matrix = head.T if value_decoders is None else (head @ value_decoders[h]).T
            rows.append(np.pad(matrix, ((0, _round(kept, LANES) - kept), (0, 0))))
        return np.concatenate(rows)

    def _feed_forward(self) -> None:
        self.fields |= {
            "hidden_gain": self.blob.add(self._get("feed_forward_norm.weight")),
            "up": self.blob.add_matrices([self._get("feed_forward.up.weight").T]),
            "down": self.blob.add_matrices([self._get("feed_forward.down.weight").T]),
        }


def _place_cache(config: ModelConfig, fields: dict[str, int], at: int) -> int:
    """Where a layer's part of a sequence's cache lies; returns its end. Keys lie in panels of 32 characters."""
    time = _round(config.context, PANEL)
    sizes = {
        "cache_keys": fields["key_groups"] * fields["key_kept"] * time,
        "cache_norms": config.n_heads * time * fields["key_norms"],
        "cache_values": 0
        if fields["value_shared"]
        else fields["value_groups"] * fields["value_stride"] * config.context,
        "cache_rotary": fields["decoupled_width"] * time,
        "cache_inputs": max(0, config.conv - 1) * config.d_model,
    }
    for name, size in sizes.items():
        fields[name] = at
        at += size
    return at


def _model_fields(config: ModelConfig, weights: Weights, blob: _Blob) -> dict[str, int]:
    embedding = np.asarray(weights["embedding.weight"])
    head = embedding if config.tied else np.asarray(weights["head.weight"])
    rotated = {"rotary": config.d_head, "decoupled": config.d_rotary}.get(config.positions, 0)
    half = rotated // 2
    angles = np.arange(config.context)[:, None] * (ROTARY_BASE ** (-np.arange(half) / max(1, half)))[None]
    return {
        "width": config.d_model, "heads": config.n_heads, "head_width": config.d_head,
        "vocabulary": config.vocab_size, "context": config.context, "hidden": config.d_ff,
        "layer_norm": int(config.norm == "layer"), "gelu": int(config.activation == "gelu"), "conv": config.conv,
        "qk_norm": int(config.qk_norm),
        "embedding": blob.add(embedding), "head": blob.add_matrices([head.T]),
        "positions": blob.add(weights["position.weight"]) if config.positions == "learned" else NOWHERE,
        "gain": blob.add(weights["norm.weight"]),
        "cosines": blob.add(np.cos(angles)), "sines": blob.add(np.sin(angles)), "rotated": rotated,
    }  # fmt: skip


def _work_space(config: ModelConfig, layers: npt.NDArray[Any]) -> dict[str, int]:
    """Places of the arrays that one pass of at most `ROWS` characters needs. Products write whole panels, so every
    row has room for them."""
    heads = config.n_heads
    rows = {
        "row": _round(config.d_model, LANES),
        "encoded_row": _round(int(layers["n_encoded"].max()), LANES),
        "reading_row": heads * int(layers["key_stride"].max()),
        "decoded_row": heads * _round(config.d_head, LANES),
        "mixed_row": heads * int(layers["value_stride"].max()),
        "hidden_row": _round(config.d_ff, LANES),
        "logits_row": _round(config.vocab_size, LANES),
        "scores_row": _round(config.context, PANEL),
    }
    widest = max(int(layers[f"{name}_width"].max()) for name in ("query", "key", "value"))
    sizes = {
        "x": ROWS * rows["row"], "seen": ROWS * rows["row"], "out": ROWS * rows["row"],
        "encoded": ROWS * rows["encoded_row"], "reading": ROWS * rows["reading_row"],
        "decoded": ROWS * rows["decoded_row"], "mixed": ROWS * rows["mixed_row"],
        "hidden_x": ROWS * rows["hidden_row"], "logits": ROWS * rows["logits_row"],
        "scores": heads * rows["scores_row"], "rotary_scores": heads * rows["scores_row"],
        "middle": ROWS * (widest + LANES), "sparse": rows["hidden_row"],
    }  # fmt: skip
    at, places = 0, {}
    for name, size in sizes.items():
        places[name] = at
        at += _round(size + PANEL, LANES)
    return rows | places | {"work_numbers": at}
