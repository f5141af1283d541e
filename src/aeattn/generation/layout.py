"""A model's weights absorbed and laid out for the compiled engine: one array, and where what lies in it.

Absorbed (`nn/attention.py`): query decoder, gain, scale and key decoder of a head become one matrix from the
query's code to what reads the cache; value decoder and output projection become one matrix from mixed codes to the
residual stream. Products are made in float64.

A matrix lies in *panels* of 16 or 32 output columns, each panel row after row, so that a
product reads it from front to back. A cache lies likewise, so that keys and values are multiplied as weights are.
What lies where is told to the engine by the records that `kernels/decode_layout.h` declares.

Widths: D model, H heads, G heads of keys and values, C head, K what is kept of a key, V of a value, T context.
`at` is a place in an array.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aeattn.config.model import ModelConfig
from aeattn.config.projections import ROLES, epsilon_of
from aeattn.generation.codes import Array, ProjectionWeights, Wide, read
from aeattn.kernels.decode import LAYOUT, panel_width
from aeattn.nn.size import norm_epsilon

Weights = Mapping[str, Array]
Fields = dict[str, "int | float | Fields"]

FILL = 16
NOWHERE = -1
ROTARY_BASE = 10_000.0


def _records(declarations: str) -> dict[str, np.dtype[Any]]:
    """The C structures as NumPy has them: lines of numbers, or of a structure before."""
    types: dict[str, Any] = {"int64_t": np.int64, "double": np.float64}
    for name, body in re.findall(r"^struct (\w+) {(.*?)^};", declarations, re.MULTILINE | re.DOTALL):
        fields = re.findall(r"^ +(\w+) ([\w, ]+);", body, re.MULTILINE)
        types[name] = np.dtype([(field, types[kind]) for kind, names in fields for field in names.split(", ")])
    return types


RECORDS = _records(LAYOUT.read_text(encoding="utf-8"))


def _fill(record: Any, values: Fields) -> None:
    """Put every field into a record. Raises KeyError for one that is missing."""
    for name in record.dtype.names:
        value = values[name]
        if isinstance(value, dict):
            _fill(record[name], value)
        else:
            record[name] = value


@dataclass(frozen=True)
class Layout:
    """`model` is one record, `layers` one a layer; both hold places in `weights` and in a sequence's cache."""

    weights: Array
    model: npt.NDArray[Any]
    layers: npt.NDArray[Any]

    @property
    def cache_numbers(self) -> int:
        """float32 numbers that the cache of one sequence takes."""
        return int(self.model[0]["cache_numbers"])


def lay_out(config: ModelConfig, weights: Weights, latent: bool) -> Layout:
    """Absorb and lay out a model. `weights` are those of `LanguageModel(config)` by name, in float32."""
    blob = _Blob()
    layers = np.zeros(config.n_layers, RECORDS["Layer"])
    cache = 0
    for i in range(config.n_layers):
        layer = _Layer(config, weights, i, latent, blob, cache)
        _fill(layers[i], layer.fields)
        cache = layer.cache_end
    model = np.zeros(1, RECORDS["Model"])
    _fill(model[0], _model_fields(config, weights, blob) | {"cache_numbers": _round(cache, FILL)})
    return Layout(blob.join(), model, layers)


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
        self.parts += [flat, np.zeros(_round(flat.size, FILL) - flat.size, np.float32)]
        self.size += _round(flat.size, FILL)
        return at

    def add_matrices(self, blocks: list[Wide]) -> int:
        """Matrices (in, out) one after another, in panels; all of one shape."""
        return self.add(np.concatenate([panels(block) for block in blocks]))

    def join(self) -> Array:
        return np.concatenate(self.parts, out=aligned(self.size))


def aligned(size: int) -> Array:
    """Zeros that begin on a boundary of 64 bytes."""
    raw = np.zeros(size + FILL, np.float32)
    shift = (-raw.ctypes.data % 64) // 4
    return raw[shift : shift + size]


def panels(matrix: npt.NDArray[Any]) -> Wide:
    """A matrix (in, out) in panels of columns, row after row; columns filled up with zeros to a multiple of 16."""
    width, panel = _round(matrix.shape[1], FILL), panel_width()
    padded = np.zeros((matrix.shape[0], width))
    padded[:, : matrix.shape[1]] = matrix
    return np.concatenate([padded[:, at : at + panel].ravel() for at in range(0, width, panel)])


def _beside(heads: list[Wide], stride: int, blocks: int) -> list[Wide]:
    """Each head's matrix (in, out) with out filled up to `stride`: apart, or side by side as one."""
    wide = [np.pad(h, ((0, 0), (0, stride - h.shape[1]))) for h in heads]
    return wide if blocks > 1 else [np.concatenate(wide, axis=1)]


class _Layer:
    """The fields of one layer, its matrices put into the blob, its part of a sequence's cache from `cache` on."""

    def __init__(
        self, config: ModelConfig, weights: Weights, layer: int, latent: bool, blob: _Blob, cache: int
    ) -> None:
        self.config, self.weights, self.blob, self.layer = config, weights, blob, layer
        self.prefix, self.latent, self.cache_end = f"blocks.{layer}.", latent, cache
        self.fields: Fields = {}
        self._scale = 1 / math.sqrt(config.d_head + (config.d_rotary if config.positions == "decoupled" else 0))
        query, key, value = (read(config, self._get, layer, role) for role in ROLES)
        self._encoders({"query": query, "key": key, "value": value})
        self._attention(query, key, value)
        self._vectors_and_feed_forward()

    def _get(self, name: str) -> Array:
        return np.asarray(self.weights[self.prefix + name])

    def _keep(self, numbers: int) -> int:
        """A place for so many numbers in the cache."""
        at, self.cache_end = self.cache_end, self.cache_end + numbers
        return at

    def _encoders(self, projections: dict[str, ProjectionWeights]) -> None:
        """All that is multiplied with the layer's input, as one matrix, and where each part of the product is."""
        parts: list[Wide] = []
        for name, projection in projections.items():
            code: Fields
            if not projection.encoders:
                code = {**self.fields["key"]}  # type: ignore[dict-item]
            else:
                code = {"at": sum(map(len, parts)), **self._code(projection)}
                parts.append(projection.encoder())
            self.fields[name] = code
        self._rotary(parts)
        self.fields["gate"] = NOWHERE
        if self.config.gate:
            self.fields["gate"] = sum(map(len, parts))
            parts.append(self._get("attention.gate.encoder.weight"))
        matrix = np.concatenate(parts).T
        self.fields |= {"encoders": self.blob.add_matrices([matrix]), "n_encoded": matrix.shape[1]}

    def _code(self, projection: ProjectionWeights) -> Fields:
        """How the code is made, and its matrices put into the blob."""
        middle, narrow = (
            self.blob.add_matrices(matrices) if matrices else NOWHERE
            for matrices in (projection.middle, projection.narrow)
        )  # fmt: skip
        number, gain = len(projection.encoders), projection.gain
        return {
            "width": number * projection.width, "blocks": projection.blocks, "parts": number,
            "stride": projection.stride, "hidden": projection.hidden, "gelu": int(projection.gelu),
            "middle": middle, "narrow": narrow,
            "gain": self.blob.add(np.concatenate(gain)) if gain else NOWHERE,
            "epsilon": epsilon_of(projection.width),
        }  # fmt: skip

    def _rotary(self, parts: list[Wide]) -> None:
        """The decoupled rotary part: two more encoders, and one vector a character in the cache."""
        names, width = ("rotary_query", "rotary_key", "rotary_cache"), self.config.d_rotary
        self.fields |= {"rotary_width": 0, **dict.fromkeys(names, NOWHERE)}
        if self.config.positions == "decoupled":
            query = self._get("attention.query_rotary.weight") * self._scale
            at = sum(map(len, parts))
            places = (at, at + len(query), self._keep(width * self._time))
            self.fields |= {"rotary_width": width, **dict(zip(names, places, strict=True))}
            parts += [query, self._get("attention.key_rotary.weight")]

    @property
    def _time(self) -> int:
        return _round(self.config.context, panel_width())

    def _attention(self, query: ProjectionWeights, key: ProjectionWeights, value: ProjectionWeights) -> None:
        config, norms = self.config, self.latent and key.decoders is not None and self.config.qk_norm
        shared = self.latent and not value.encoders
        kept_key, kept_value = (p.decoders if self.latent else None for p in (key, value))
        self.fields |= {
            "keys": self._kept(key, self._time),
            "values": self._kept(value, 0 if shared else config.context, filled=True),
            "norms": self._keep(config.heads("key") * self._time) if norms else NOWHERE,
            "query_epsilon": norm_epsilon(config, "query", self.layer),
            "key_epsilon": norm_epsilon(config, "key", self.layer),
            "value_shared": int(shared), "rotate": int(config.positions == "rotary"),
        }  # fmt: skip
        self.fields["value_table"] = NOWHERE
        if config.value_embedding:
            table = self._get("attention.value_table.weight") * self._get("attention.value_weight")
            self.fields["value_table"] = self.blob.add(table)
        self._decoder("query", query, wanted=config.qk_norm)
        self._decoder("key", key, wanted=not self.latent or config.qk_norm)
        self._decoder("value", value, wanted=not self.latent)
        reading = self._reading(query, kept_key)
        self.fields["read"] = self.blob.add_matrices(
            _beside(reading, _round(reading[0].shape[1], FILL), query.blocks)
        )
        self.fields["output"] = self.blob.add_matrices([self._output(kept_value)])

    def _kept(self, projection: ProjectionWeights, time: int, filled: bool = False) -> Fields:
        """What the cache keeps of keys or values: codes, or decoded vectors. Values are filled up to whole
        rows."""
        latent = self.latent and projection.decoders is not None
        groups = projection.blocks if latent else self.config.heads("key")
        width = projection.decoders.shape[-1] if latent and projection.decoders is not None else self.config.d_head
        stride = _round(width, FILL)
        decoded = projection.decoders is not None and not latent
        cache = self._keep(groups * (stride if filled else width) * time)
        return {"groups": groups, "width": width, "stride": stride, "decoded": int(decoded), "cache": cache}

    def _decoder(self, name: str, projection: ProjectionWeights, wanted: bool) -> None:
        """Matrices from code to decoded vectors, each head's filled up."""
        place = NOWHERE
        if wanted and projection.decoders is not None:
            heads = [decoder.T for decoder in projection.decoders]
            place = self.blob.add_matrices(_beside(heads, _round(self.config.d_head, FILL), projection.blocks))
        self.fields[name] = {**self.fields[name], "decoder": place}  # type: ignore[dict-item]

    def _shared_by(self, h: int) -> int:
        """Which head of keys and values a head of queries reads."""
        return h // (self.config.n_heads // self.config.heads("key"))

    def _reading(self, query: ProjectionWeights, key_decoders: Wide | None) -> list[Wide]:
        """For each head, from the query's code to what is multiplied with kept keys."""
        c = self.config.d_head
        gains = np.ones((self.config.n_heads, c))
        if self.config.qk_norm:
            gains = self._get("attention.query_gain").astype(np.float64).reshape(-1, c)
        matrices = []
        for h, gain in enumerate(gains * self._scale):
            left = np.eye(c) if query.decoders is None else query.decoders[h].T
            matrices.append(
                (left * gain) @ (np.eye(c) if key_decoders is None else key_decoders[self._shared_by(h)])
            )
        return matrices

    def _output(self, value_decoders: Wide | None) -> Wide:
        """From mixed values of all heads, each filled up to a multiple of 16, to the residual stream."""
        c, d = self.config.d_head, self.config.d_model
        output = None if self.config.per_head else self._get("attention.output.weight").astype(np.float64)
        rows = []
        for h in range(self.config.n_heads):
            head = np.eye(d) if output is None else output[:, h * c : (h + 1) * c]
            matrix = head.T if value_decoders is None else (head @ value_decoders[self._shared_by(h)]).T
            rows.append(np.pad(matrix, ((0, -len(matrix) % FILL), (0, 0))))
        return np.concatenate(rows)

    def _vectors_and_feed_forward(self) -> None:
        config, blob = self.config, self.blob
        alibi = config.positions == "alibi"
        self.fields |= {
            "attention_gain": blob.add(self._get("attention_norm.weight")),
            "conv": self._conv("conv", config.conv),
            "conv_ff": self._conv("conv_ff", config.conv_ff),
            "slopes": blob.add(np.exp(self._get("attention.log_slopes"))) if alibi else NOWHERE,
            "hidden_gain": blob.add(self._get("feed_forward_norm.weight")),
            "up": blob.add_matrices([self._get("feed_forward.up.weight").T]),
            "down": blob.add_matrices([self._get("feed_forward.down.weight").T]),
        }

    def _conv(self, name: str, width: int) -> Fields:
        taps = self.blob.add(self._get(f"{name}.taps")) if width else NOWHERE
        return {"width": width, "taps": taps, "inputs": self._keep(max(0, width - 1) * self.config.d_model)}


def _model_fields(config: ModelConfig, weights: Weights, blob: _Blob) -> Fields:
    embedding = np.asarray(weights["embedding.weight"])
    head = embedding if config.tied else np.asarray(weights["head.weight"])
    rotated = {"rotary": config.d_head, "decoupled": config.d_rotary}.get(config.positions, 0)
    half = rotated // 2
    angles = np.arange(config.context)[:, None] * (ROTARY_BASE ** (-np.arange(half) / max(1, half)))[None]
    return {
        "layers": config.n_layers, "width": config.d_model, "heads": config.n_heads,
        "kv_heads": config.heads("key"), "head_width": config.d_head,
        "vocabulary": config.vocab_size, "context": config.context, "hidden": config.d_ff,
        "layer_norm": int(config.norm == "layer"), "gelu": int(config.activation == "gelu"),
        "qk_norm": int(config.qk_norm), "rotated": rotated,
        "embedding": blob.add(embedding), "head": blob.add_matrices([head.T]),
        "positions": blob.add(weights["position.weight"]) if config.positions == "learned" else NOWHERE,
        "gain": blob.add(weights["norm.weight"]),
        "cosines": blob.add(np.cos(angles)), "sines": blob.add(np.sin(angles)),
    }  # fmt: skip
