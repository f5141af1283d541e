"""The shapes of all weights of a model, by name, without building it or loading PyTorch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from aeattn.config.model import ModelConfig

Shapes = dict[str, tuple[int, ...]]


def weight_shapes(config: ModelConfig) -> Shapes:
    """As `LanguageModel(config).state_dict()` has them."""
    d = config.d_model
    shapes: Shapes = {"embedding.weight": (config.vocab_size, d), "norm.weight": (d,)}
    if not config.tied:
        shapes["head.weight"] = (config.vocab_size, d)
    if config.positions == "learned":
        shapes["position.weight"] = (config.context, d)
    for layer in range(config.n_layers):
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in _layer(config, layer).items()}
    return shapes


def _layer(config: ModelConfig, layer: int) -> Shapes:
    d, heads = config.d_model, config.n_heads
    shapes: Shapes = {
        "attention_norm.weight": (d,),
        "feed_forward_norm.weight": (d,),
        "feed_forward.up.weight": (config.d_ff, d),
        "feed_forward.down.weight": (d, config.d_ff),
    }
    if config.conv:
        shapes["conv.taps"] = (config.conv, d)
    if not config.per_head:
        shapes["attention.output.weight"] = (d, d)
    if config.qk_norm:
        shapes["attention.query_gain"] = (heads, 1, config.d_head)
    if config.positions == "alibi":
        shapes["attention.log_slopes"] = (heads,)
    if config.positions == "decoupled":
        shapes["attention.query_rotary.weight"] = (heads * config.d_rotary, d)
        shapes["attention.key_rotary.weight"] = (config.d_rotary, d)
    for name in ("query", "key", "value"):
        shapes |= _projection(config, name, layer)
    return shapes


def _projection(config: ModelConfig, name: Literal["query", "key", "value"], layer: int) -> Shapes:
    d, b, kind = config.d_model, config.bottleneck, config.kind(name, layer)
    one: Shapes = {}
    if kind == "residual":
        as_one: dict[str, Any] = {name: "autoencoder", "per_head": False, "n_heads": 1}
        squeezed = _projection(replace(config, **as_one), name, layer)
        start = f"attention.{name}."
        one = {f"correction.{full.removeprefix(start)}": shape for full, shape in squeezed.items()}
        one["linear.weight"] = (d, d)
    elif kind != "shared":
        one["encoder.weight"] = (d, d) if kind == "linear" else (b, d)
    if kind not in ("linear", "residual"):
        one["decoder.weight"] = (d, b)
    if kind == "autoencoder" and config.middle:
        one["middle.weight"] = (b, b)
    parts = [f"heads.{h}." for h in range(config.n_heads)] if config.per_head else [""]
    return {f"attention.{name}.{part}{weight}": shape for part in parts for weight, shape in one.items()}
