"""The formulae of docs/attention.md once more, in NumPy and in double precision: a witness that shares no
line with the package. One token at a time, one head at a time, nothing kept, nothing absorbed.

`config` is an exported config.json, `weights` are the tensors of its model.safetensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Weights = Mapping[str, Vector]


def gelu(x: Vector) -> Vector:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def rms(x: Vector, epsilon: float) -> Vector:
    return x / np.sqrt(np.mean(x * x) + epsilon)


def small(width: int) -> float:
    """What is added to a mean square of so many numbers."""
    return 2.0**-23 if width > 2 else 1e-4


def sigmoid(x: Vector) -> Vector:
    return 1 / (1 + np.exp(-x))


def softmax(x: Vector) -> Vector:
    shifted = np.exp(x - x.max())
    return shifted / shifted.sum()


def turned(x: Vector, position: int) -> Vector:
    half = len(x) // 2
    angles = position * 10_000.0 ** (-np.arange(half) / half)
    left, right = x[:half], x[half:]
    return np.concatenate(
        [left * np.cos(angles) - right * np.sin(angles), left * np.sin(angles) + right * np.cos(angles)]
    )


def kind_of(config: Mapping[str, Any], role: str, layer: int) -> str:
    named = config[role]
    return str(named if isinstance(named, str) else named[layer])


def projected(x: Vector, kind: str, w: Weights, at: str, code_of_key: Callable[[], Vector]) -> Vector:
    """What a projection of the kind makes of x; `code_of_key` is for values that share it."""

    def times(y: Vector, name: str) -> Vector:
        return w[f"{at}.{name}.weight"] @ y

    if kind == "residual":
        return times(x, "linear") + projected(x, "autoencoder", w, f"{at}.correction", code_of_key)
    code = code_of_key() if kind == "shared" else encoded(x, kind, w, at)
    return times(code, "decoder") if f"{at}.decoder.weight" in w else code


def encoded(x: Vector, kind: str, w: Weights, at: str) -> Vector:
    z = w[f"{at}.encoder.weight"] @ x
    if kind == "latent":
        return rms(z, small(len(z))) * w[f"{at}.gain"]
    if kind in ("linear", "bottleneck"):
        return z
    bend = (lambda y: y) if kind == "deep-linear" else gelu
    z = bend(z)
    if f"{at}.middle.weight" in w:
        z = bend(w[f"{at}.middle.weight"] @ z)
    return w[f"{at}.narrow.weight"] @ z if f"{at}.narrow.weight" in w else z


class Model:
    """Logits of an exported model."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
        self.config = config
        self.w = {name.removeprefix("model."): np.asarray(t, np.float64) for name, t in weights.items()}
        self.heads = config["n_heads"]
        self.groups = config["n_kv_heads"] or self.heads
        own = config["d_model"] if config["per_head"] else config["d_model"] // self.heads
        self.width = own if config["per_head"] else config["head_width"] or own

    def logits(self, ids: Sequence[int]) -> Vector:
        """(T, V)."""
        w = self.w
        stream = [w["embedding.weight"][i].copy() for i in ids]
        if "position.weight" in w:
            stream = [x + w["position.weight"][t] for t, x in enumerate(stream)]
        for layer in range(self.config["n_layers"]):
            stream = self._block(stream, ids, layer)
        head = w.get("lm_head.weight", w["embedding.weight"])
        return np.stack([head @ self._norm(x, "norm") for x in stream])

    def _norm(self, x: Vector, at: str) -> Vector:
        if self.config["norm"] == "layer":
            return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * self.w[f"{at}.weight"]
        return rms(x, 1e-6) * self.w[f"{at}.weight"]

    def _block(self, stream: list[Vector], ids: Sequence[int], layer: int) -> list[Vector]:
        at = f"blocks.{layer}"
        seen = self._convolved([self._norm(x, f"{at}.attention_norm") for x in stream], f"{at}.conv.taps")
        stream = [x + y for x, y in zip(stream, self._attention(seen, ids, layer), strict=True)]
        seen = self._convolved([self._norm(x, f"{at}.feed_forward_norm") for x in stream], f"{at}.conv_ff.taps")
        return [x + self._feed_forward(y, at) for x, y in zip(stream, seen, strict=True)]

    def _convolved(self, seen: list[Vector], name: str) -> list[Vector]:
        if name not in self.w:
            return seen
        taps = self.w[name]
        return [x + sum(taps[i] * seen[t - i] for i in range(len(taps)) if t >= i) for t, x in enumerate(seen)]

    def _feed_forward(self, x: Vector, at: str) -> Vector:
        hidden = self.w[f"{at}.feed_forward.up.weight"] @ x
        bent = np.maximum(hidden, 0) ** 2 if self.config["activation"] == "relu2" else gelu(hidden)
        return self.w[f"{at}.feed_forward.down.weight"] @ bent

    def _attention(self, seen: list[Vector], ids: Sequence[int], layer: int) -> list[Vector]:
        w, at, c = self.w, f"blocks.{layer}.attention", self.config
        rotary = c["d_rotary"] if c["positions"] == "decoupled" else 0
        queries, keys, values = ([self._role(x, role, layer) for x in seen] for role in ("query", "key", "value"))
        if c["value_embedding"]:
            table, number = w[f"{at}.value_table.weight"], w[f"{at}.value_weight"]
            values = [v + number * table[i].reshape(v.shape) for v, i in zip(values, ids, strict=True)]
        out = []
        for t, x in enumerate(seen):
            mixed = []
            for h in range(self.heads):
                g = h // (self.heads // self.groups)
                q = self._query(queries[t][h], h, t, layer)
                scores = np.array([q @ self._key(keys[s][g], s, layer) for s in range(t + 1)])
                if rotary:
                    turn = turned((w[f"{at}.query_rotary.weight"] @ x).reshape(self.heads, rotary)[h], t)
                    scores = scores + [
                        turn @ turned(w[f"{at}.key_rotary.weight"] @ seen[s], s) for s in range(t + 1)
                    ]
                scores = scores / math.sqrt(self.width + rotary)
                if c["positions"] == "alibi":
                    scores = scores - np.exp(w[f"{at}.log_slopes"][h]) * (t - np.arange(t + 1))
                mixed.append(softmax(scores) @ np.stack([values[s][g] for s in range(t + 1)]))
            if c["gate"]:
                gates = sigmoid(w[f"{at}.gate.encoder.weight"] @ x)
                mixed = [gates[h] * m for h, m in enumerate(mixed)]
            whole = np.sum(mixed, axis=0) if c["per_head"] else w[f"{at}.output.weight"] @ np.concatenate(mixed)
            out.append(whole)
        return out

    def _role(self, x: Vector, role: str, layer: int) -> Vector:
        """All heads of a token, (H or G, C)."""
        kind, at = kind_of(self.config, role, layer), f"blocks.{layer}.attention.{role}"
        key, key_kind = f"blocks.{layer}.attention.key", kind_of(self.config, "key", layer)
        number = self.heads if role == "query" else self.groups
        if not self.config["per_head"]:
            made = projected(x, kind, self.w, at, lambda: encoded(x, key_kind, self.w, key))
            return made.reshape(number, self.width)
        return np.stack([
            projected(x, kind, self.w, f"{at}.heads.{i}",
                      lambda i=i: encoded(x, key_kind, self.w, f"{key}.heads.{i}"))
            for i in range(number)
        ])  # fmt: skip

    def _epsilon(self, role: str, layer: int) -> float:
        """By the narrowest layer that queries or keys have come through."""
        c, kind = self.config, kind_of(self.config, role, layer)
        bottleneck = (role == "query" and c["query_bottleneck"]) or c["bottleneck"]
        widths = [self.width]
        if kind in ("bottleneck", "autoencoder", "deep-autoencoder", "latent"):
            widths.append(bottleneck)
        if kind.startswith("deep"):
            widths.append(c["d_hidden"] or c["d_model"])
        return small(min(widths))

    def _query(self, q: Vector, head: int, t: int, layer: int) -> Vector:
        if self.config["qk_norm"]:
            gain = self.w[f"blocks.{layer}.attention.query_gain"][head, 0]
            q = rms(q, self._epsilon("query", layer)) * gain
        return turned(q, t) if self.config["positions"] == "rotary" else q

    def _key(self, k: Vector, t: int, layer: int) -> Vector:
        if self.config["qk_norm"]:
            k = rms(k, self._epsilon("key", layer))
        return turned(k, t) if self.config["positions"] == "rotary" else k
