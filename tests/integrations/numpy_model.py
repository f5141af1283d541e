"""The whole model in NumPy, from the formulae alone: float64, one sequence, no cache, no code of the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = Any


def gelu(x: Array) -> Array:
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def rms(x: Array, epsilon: float) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)


def narrow_epsilon(width: int) -> float:
    return 2.0**-23 if width > 2 else 1e-4


def rotated(x: Array) -> Array:
    """(T, C) by position."""
    half = x.shape[1] // 2
    angles = np.arange(len(x))[:, None] * 10_000.0 ** (-np.arange(half) / half)
    a, b = x[:, :half], x[:, half:]
    return np.concatenate(
        [a * np.cos(angles) - b * np.sin(angles), a * np.sin(angles) + b * np.cos(angles)], axis=1
    )


class NumpyModel:
    """`config` as the dictionary of config.json, weights by name."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Array]) -> None:
        self.c, self.w = dict(config), {name: np.asarray(w, np.float64) for name, w in weights.items()}
        self.heads = self.c["n_heads"]
        self.groups = self.c.get("n_kv_heads") or self.heads
        self.width = self.c["d_model"] if self.c["per_head"] else (
            self.c.get("head_width") or self.c["d_model"] // self.heads)  # fmt: skip

    def logits(self, ids: Array) -> Array:
        """(T,) -> (T, V)."""
        x = self.w["embedding.weight"][ids]
        if self.c["positions"] == "learned":
            x = x + self.w["position.weight"][: len(ids)]
        for i in range(self.c["n_layers"]):
            name = f"blocks.{i}."
            x = x + self.attention(self.mixed(self.norm(x, name + "attention_norm"), name, "conv"), ids, i)
            seen = self.mixed(self.norm(x, name + "feed_forward_norm"), name, "conv_ff")
            up = seen @ self.w[name + "feed_forward.up.weight"].T
            active = np.maximum(up, 0) ** 2 if self.c["activation"] == "relu2" else gelu(up)
            x = x + active @ self.w[name + "feed_forward.down.weight"].T
        head = self.w["embedding.weight" if self.c["tied"] else "head.weight"]
        return self.norm(x, "norm") @ head.T

    def norm(self, x: Array, name: str) -> Array:
        if self.c["norm"] == "layer":
            x = x - x.mean(-1, keepdims=True)
            return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * self.w[name + ".weight"]
        return rms(x, 1e-6) * self.w[name + ".weight"]

    def mixed(self, x: Array, name: str, conv: str) -> Array:
        """A short convolution."""
        out = x.copy()
        for lag in range(self.c.get(conv, 0)):
            out[lag:] += self.w[f"{name}{conv}.taps"][lag] * x[: len(x) - lag]
        return out

    def kind(self, role: str, layer: int) -> str:
        kind = self.c[role]
        return kind if isinstance(kind, str) else kind[layer]

    def projected(self, role: str, layer: int, x: Array, key_codes: list[Array]) -> tuple[Array, list[Array]]:
        """What each projection makes of x, side by side, and their codes."""
        number = (self.heads if role == "query" else self.groups) if self.c["per_head"] else 1
        parts, codes = [], []
        for i in range(number):
            name = f"blocks.{layer}.attention.{role}." + (f"heads.{i}." if self.c["per_head"] else "")
            part, code = self.one(self.kind(role, layer), name, x, key_codes[i] if key_codes else None)
            parts.append(part)
            codes.append(code)
        return np.concatenate(parts, axis=1), codes

    def one(self, kind: str, name: str, x: Array, key_code: Array) -> tuple[Array, Array]:
        def times(value: Array, weight: str) -> Array:
            return value @ self.w[name + weight + ".weight"].T

        if kind == "residual":
            corrected, code = self.one("autoencoder", name + "correction.", x, None)
            return times(x, "linear") + corrected, code
        code = key_code if kind == "shared" else times(x, "encoder")
        bend = gelu if kind in ("autoencoder", "gelu", "deep", "deep-autoencoder") else (lambda value: value)
        if kind != "shared":
            code = bend(code)
        if kind in ("autoencoder", "deep", "deep-linear", "deep-autoencoder") and self.c["middle"]:
            code = bend(times(code, "middle"))
        if kind.startswith("deep"):
            code = times(code, "narrow")
        if kind == "latent":
            code = rms(code, narrow_epsilon(code.shape[1])) * self.w[name + "gain"]
        has_decoder = kind in ("bottleneck", "autoencoder", "deep-autoencoder", "latent", "shared")
        return (times(code, "decoder") if has_decoder else code), code

    def attention(self, x: Array, ids: Array, layer: int) -> Array:
        name, width = f"blocks.{layer}.attention.", self.width
        q, _ = self.projected("query", layer, x, [])
        k, codes = self.projected("key", layer, x, [])
        v, _ = self.projected("value", layer, x, codes)
        if self.c.get("value_embedding"):
            v = v + self.w[name + "value_weight"] * self.w[name + "value_table.weight"][ids]
        future = np.triu(np.full((len(x), len(x)), -np.inf), 1)
        lags = np.abs(np.arange(len(x))[:, None] - np.arange(len(x))[None, :])
        rotary = self.c["d_rotary"] if self.c["positions"] == "decoupled" else 0
        out = []
        for h in range(self.heads):
            g = h // (self.heads // self.groups)
            a, b, c = (m[:, i * width : (i + 1) * width] for m, i in ((q, h), (k, g), (v, g)))
            if self.c["qk_norm"]:
                a = rms(a, self.epsilon("query", layer)) * self.w[name + "query_gain"][h, 0]
                b = rms(b, self.epsilon("key", layer))
            if self.c["positions"] == "rotary":
                a, b = rotated(a), rotated(b)
            scores = a @ b.T
            if rotary:
                mine = (x @ self.w[name + "query_rotary.weight"].T)[:, h * rotary : (h + 1) * rotary]
                scores = scores + rotated(mine) @ rotated(x @ self.w[name + "key_rotary.weight"].T).T
            scores = scores / np.sqrt(width + rotary) + future
            if self.c["positions"] == "alibi":
                scores = scores - np.exp(self.w[name + "log_slopes"][h]) * lags
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = weights / weights.sum(-1, keepdims=True) @ c
            if self.c.get("gate"):
                mixed = mixed / (1 + np.exp(-x @ self.w[name + "gate.encoder.weight"][h]))[:, None]
            out.append(mixed)
        if self.c["per_head"]:
            return sum(out)
        return np.concatenate(out, axis=1) @ self.w[name + "output.weight"].T

    def epsilon(self, role: str, layer: int) -> float:
        """By the narrowest layer that queries or keys came through."""
        kind = self.kind(role, layer)
        narrow = (role == "query" and self.c.get("query_bottleneck")) or self.c["bottleneck"]
        found = [self.width]
        if kind in ("bottleneck", "autoencoder", "deep-autoencoder", "latent"):
            found.append(narrow)
        if kind.startswith("deep"):
            found.append(self.c.get("d_hidden") or self.c["d_model"])
        return narrow_epsilon(min(found))
