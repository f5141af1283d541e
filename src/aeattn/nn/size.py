"""Parameters, floating-point operations and cache bytes in closed form, without building a model.

One multiplication with its addition counts as two operations (FLOPs). Counted are matrix products, those of
attention included; normalisation, activations and the softmax are not. Every decoder counts for every character,
also where training absorbs it. Training is three times the forward pass (Kaplan et al. 2020, section 2.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from aeattn.config.model import CacheKind, ModelConfig

Name = Literal["query", "key", "value"]
NAMES: tuple[Name, ...] = ("query", "key", "value")
KEPT: tuple[Name, ...] = ("key", "value")


@dataclass(frozen=True)
class Size:
    """What a model costs.

    `train_flops`: operations a character of training, averaged over a window of the context. `generate_flops`:
    operations for one new character with a full cache of the whole context. `cache_bytes`: kept a character of
    the past with the full cache, `latent_cache_bytes` with a cache of codes alone, or None where that is not
    exact; both at `bytes_per_number`. `absorbable` says why not, or None.
    """

    parameters: int
    train_flops: int
    generate_flops: int
    cache_bytes: int
    latent_cache_bytes: int | None
    not_absorbable: str | None

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def size(config: ModelConfig, bytes_per_number: int = 4) -> Size:
    """The size of the model that a config describes."""
    reason = not_absorbable(config)
    latent = None if reason else bytes_per_number * latent_cache_numbers(config)
    return Size(
        parameters=parameters(config),
        train_flops=3 * forward_flops(config, mean_keys=(config.context + 1) / 2),
        generate_flops=forward_flops(config, mean_keys=config.context),
        cache_bytes=bytes_per_number * cache_numbers(config),
        latent_cache_bytes=latent,
        not_absorbable=reason,
    )


def _attention_width(config: ModelConfig) -> int:
    """All heads' values side by side."""
    return config.n_heads * config.d_head


def _key_width(config: ModelConfig) -> int:
    rotary = config.n_heads * config.d_rotary if config.positions == "decoupled" else 0
    return _attention_width(config) + rotary


def projection_weights(config: ModelConfig, name: Name, layer: int) -> int:
    """Weights of one projection: d d, or d b + b d (+ b b with a middle matrix), or both (residual), or b d where
    the code is shared; times the heads if each has its own."""
    d, b = config.d_model, config.bottleneck
    kind = config.kind(name, layer)
    middle = b * b if config.middle and kind in ("autoencoder", "residual") else 0
    squeezed = {"linear": 0, "shared": b * d}.get(kind, 2 * d * b + middle)
    one = squeezed + (d * d if kind in ("linear", "residual") else 0)
    return one * config.n_heads if config.per_head else one


def layer_matrices(config: ModelConfig, layer: int) -> int:
    """Weights of one layer that multiply each character once."""
    d = config.d_model
    projections = sum(projection_weights(config, name, layer) for name in NAMES)
    output = 0 if config.per_head else d * d
    rotary = d * config.d_rotary * (config.n_heads + 1) if config.positions == "decoupled" else 0
    return projections + output + rotary + 2 * d * config.d_ff


def _layer_vectors(config: ModelConfig) -> int:
    """Gains, taps and slopes of one layer."""
    gains = 2 * config.d_model + (_attention_width(config) if config.qk_norm else 0)
    slopes = config.n_heads if config.positions == "alibi" else 0
    return gains + config.conv * config.d_model + slopes


def parameters(config: ModelConfig) -> int:
    """Number of parameters, all embeddings included."""
    d = config.d_model
    embeddings = config.vocab_size * d * (1 if config.tied else 2)
    positions = config.context * d if config.positions == "learned" else 0
    layers = sum(layer_matrices(config, i) + _layer_vectors(config) for i in range(config.n_layers))
    return embeddings + positions + layers + d


def forward_flops(config: ModelConfig, mean_keys: float) -> int:
    """Operations for one character that attends to `mean_keys` characters."""
    matrices = sum(layer_matrices(config, i) for i in range(config.n_layers)) + config.vocab_size * config.d_model
    attention = config.n_layers * mean_keys * (_key_width(config) + _attention_width(config))
    return round(2 * (matrices + attention))


def cache_numbers(config: ModelConfig) -> int:
    """Numbers kept a character by the full cache: keys and values of every layer, and the shared rotary part."""
    rotary = config.d_rotary if config.positions == "decoupled" else 0
    return config.n_layers * (2 * _attention_width(config) + rotary)


def latent_cache_numbers(config: ModelConfig) -> int:
    """Numbers kept a character by the latent cache: the codes of keys and values (the vectors themselves where
    the projection is linear), one norm a head with query-key norm, and the shared rotary part."""
    return sum(_latent_layer(config, layer) for layer in range(config.n_layers))


def _latent_layer(config: ModelConfig, layer: int) -> int:
    heads = config.n_heads if config.per_head else 1
    numbers = config.d_rotary if config.positions == "decoupled" else 0
    for name in KEPT:
        widths = {"linear": config.d_model, "shared": 0}
        numbers += heads * widths.get(config.kind(name, layer), config.bottleneck)
    linear_key = config.kind("key", layer) == "linear"
    return numbers + (config.n_heads if config.qk_norm and not linear_key else 0)


def not_absorbable(config: ModelConfig) -> str | None:
    """Why the decoders cannot be absorbed exactly, or None where they can."""
    kinds = [config.kind(name, i) for name in KEPT for i in range(config.n_layers)]
    if all(kind == "linear" for kind in kinds):
        return "keys and values are linear: there is no decoder to absorb"
    if "residual" in kinds:
        return "residual projections have no narrow code: use `autoencoder`"
    key_kinds = [config.kind("key", i) for i in range(config.n_layers)]
    if config.positions == "rotary" and any(kind != "linear" for kind in key_kinds):
        return "rotary positions turn decoded keys: use `alibi`, `decoupled` or `learned`"
    return None


def use_latent_cache(config: ModelConfig, wanted: CacheKind = "auto") -> bool:
    """Whether to keep codes instead of keys and values: `auto` does wherever that is exact.

    Raises ValueError, with the reason, for `latent` where it is not.
    """
    reason = not_absorbable(config)
    if wanted == "latent" and reason is not None:
        raise ValueError(f"no latent cache: {reason}; choose the full cache")
    return wanted != "full" and reason is None


def solve_width(
    config: ModelConfig, budget: float, cost: Callable[[ModelConfig], float] = parameters, field: str = "d_ff"
) -> ModelConfig:
    """The config whose `field`, any whole-number width, brings its cost nearest to the budget.

    `cost` must grow with the field: `parameters`, or `lambda c: size(c).train_flops`. Raises ValueError if
    even the smallest width costs more.
    """

    def widened(width: int) -> ModelConfig:
        changes: dict[str, Any] = {field: width}
        return replace(config, **changes)

    low, high = 1, 2
    if cost(widened(low)) > budget:
        raise ValueError(f"even {field} = 1 costs more than {budget:,.0f}: choose a larger budget")
    while cost(widened(high)) <= budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(widened(middle)) <= budget else (low, middle)
    nearest = min((low, high), key=lambda width: abs(cost(widened(width)) - budget))
    return widened(nearest)
