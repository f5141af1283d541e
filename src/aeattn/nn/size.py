"""Weights, parameters, floating-point operations and cache bytes of a model, without building it or loading
PyTorch: sums over the shapes that kinds of projection and the other layers declare.

One multiplication with its addition counts as two operations (FLOPs). Counted are matrix products, those of
attention included; normalisation, activations and the softmax are not. Every decoder counts for every character,
also where training absorbs it. Training is three times the forward pass (Kaplan et al. 2020, section 2.1).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from aeattn.config.model import CacheKind, ModelConfig, Placement
from aeattn.config.projections import ROLES, Kind, Role, Shapes, Widths, epsilon_of
from aeattn.config.shown import rows_html

TAPS, TAPS_FF, TABLE = "conv.taps", "conv_ff.taps", "attention.value_table.weight"
NO_MATRICES = (TAPS, TAPS_FF, TABLE)  # two axes, but nothing that multiplies each token


@dataclass(frozen=True)
class Kept:
    """Numbers kept of a character of the past, over all layers: keys and values or their codes, inverse norms of
    decoded keys, and the rotary part that all heads share. A code for both counts with the keys."""

    keys: int
    values: int
    norms: int
    rotary: int

    @property
    def total(self) -> int:
        return self.keys + self.values + self.norms + self.rotary


@dataclass(frozen=True)
class Size:
    """What a model costs.

    Attributes:
        parameters: How many numbers are learned.
        train_flops: Operations (FLOPs) a token of training, averaged over a window of training.
        generate_flops: Operations for one new token with a full cache of the whole context.
        cache_bytes: Kept for each token of the past with the full cache, over all layers, at `bytes_per_number`.
        latent_cache_bytes: The same with a cache of codes alone, or None where that is not exact.
        not_absorbable: Why it is not, or None.
        kept: What the cheaper of the two keeps.
    """

    parameters: int
    train_flops: int
    generate_flops: int
    cache_bytes: int
    latent_cache_bytes: int | None
    not_absorbable: str | None
    kept: Kept

    def _repr_html_(self) -> str:
        latent = "none" if self.latent_cache_bytes is None else f"{self.latent_cache_bytes:,} bytes a token"
        rows = {
            "parameters": f"{self.parameters:,}",
            "training": f"{self.train_flops:,} FLOPs a token",
            "generating": f"{self.generate_flops:,} FLOPs a token, with a full context",
            "KV cache": f"{self.cache_bytes:,} bytes a token",
            "latent cache": latent if self.not_absorbable is None else f"none: {self.not_absorbable}",
        }
        return rows_html("Size", rows.items())


def size(config: ModelConfig, bytes_per_number: int = 4, *, window: int | None = None) -> Size:
    """What the model that a config describes costs, without building it.

    Args:
        config: The model.
        bytes_per_number: Of what a cache keeps: 4 for float32, 2 for bfloat16.
        window: Tokens of a training window, if not the context.

    Returns:
        Parameters, FLOPs and cache bytes.

    Stable: all of this.
    """
    reason = not_absorbable(config)
    latent = None if reason else bytes_per_number * latent_cache_numbers(config)
    return Size(
        parameters=parameters(config),
        train_flops=3 * forward_flops(config, mean_keys=((window or config.context) + 1) / 2),
        generate_flops=forward_flops(config, mean_keys=config.context),
        cache_bytes=bytes_per_number * cache_numbers(config),
        latent_cache_bytes=latent,
        not_absorbable=reason,
        kept=kept(config, use_latent_cache(config)),
    )


def weight_shapes(config: ModelConfig) -> Shapes:
    """The shapes of all weights by name, as `LanguageModel(config).state_dict()` has them."""
    shapes = _outer(config)
    for layer in range(config.n_layers):
        block = _layer(config, _kinds(config, layer))
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in block.items()}
    return shapes


def _outer(config: ModelConfig) -> Shapes:
    d = config.d_model
    shapes: Shapes = {"embedding.weight": (config.vocab_size, d), "norm.weight": (d,)}
    if not config.tied:
        shapes["head.weight"] = (config.vocab_size, d)
    if config.positions == "learned":
        shapes["position.weight"] = (config.context, d)
    return shapes


Kinds = tuple[Kind, ...]


def _kinds(config: ModelConfig, layer: int) -> Kinds:
    """Of queries, keys and values."""
    return tuple(config.projection(role, layer) for role in ROLES)


def _layer(config: ModelConfig, kinds: Kinds) -> Shapes:
    d, heads = config.d_model, config.n_heads
    shapes: Shapes = {
        "attention_norm.weight": (d,),
        "feed_forward_norm.weight": (d,),
        "feed_forward.up.weight": (config.d_ff, d),
        "feed_forward.down.weight": (d, config.d_ff),
    }
    if config.conv:
        shapes[TAPS] = (config.conv, d)
    if config.conv_ff:
        shapes[TAPS_FF] = (config.conv_ff, d)
    if not config.per_head:
        shapes["attention.output.weight"] = (d, heads * config.d_head)
    if config.gate:
        shapes["attention.gate.encoder.weight"] = (heads, d)
    if config.value_embedding:
        shapes |= {
            TABLE: (config.vocab_size, config.heads("value") * config.d_head),
            "attention.value_weight": (1,),
        }
    if config.qk_norm:
        shapes["attention.query_gain"] = (heads, 1, config.d_head)
    if config.positions == "alibi":
        shapes["attention.log_slopes"] = (heads,)
    if config.positions == "decoupled":
        shapes["attention.query_rotary.weight"] = (heads * config.d_rotary, d)
        shapes["attention.key_rotary.weight"] = (config.d_rotary, d)
    for role, kind in zip(ROLES, kinds, strict=True):
        shapes |= {f"attention.{role}.{name}": shape for name, shape in _projection(config, role, kind).items()}
    return shapes


def _projection(config: ModelConfig, role: Role, kind: Kind) -> Shapes:
    one = kind.shapes(widths(config, role))
    if not config.per_head:
        return one
    heads = range(config.heads(role))
    return {f"heads.{head}.{name}": shape for head in heads for name, shape in one.items()}


def widths(config: ModelConfig, role: Role) -> Widths:
    """What a projection is made for: all heads together, or one where each has its own."""
    out = config.d_head * (1 if config.per_head else config.heads(role))
    bottleneck = config.query_bottleneck if role == "query" else None
    return Widths(config.d_model, out, bottleneck or config.bottleneck, config.middle, config.d_hidden)


def norm_epsilon(config: ModelConfig, role: Role, layer: int) -> float:
    """What is added to the mean square of queries or keys where they are normalised: by the narrowest layer that
    they have come through."""
    kind, w = config.projection(role, layer), widths(config, role)
    hidden = w.hidden if kind.is_deep else config.d_head
    return epsilon_of(min(kind.code(w), config.d_head, hidden))


def _layers(config: ModelConfig) -> Iterable[tuple[Kinds, int]]:
    """The kinds of layers, and how many there are of each."""
    if all(isinstance(getattr(config, role), str) for role in ROLES):
        return [(_kinds(config, 0), config.n_layers)]
    return Counter(_kinds(config, layer) for layer in range(config.n_layers)).items()


def _numbers(shapes: Iterable[tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes)


def parameters(config: ModelConfig) -> int:
    """Number of parameters, all embeddings included."""
    layers = sum(n * _numbers(_layer(config, kinds).values()) for kinds, n in _layers(config))
    return _numbers(_outer(config).values()) + layers


def unread(config: ModelConfig) -> list[str]:
    """A sentence on each width that was chosen and that nothing in the model has, as a bottleneck of standard
    attention."""
    said = []
    for name in ("bottleneck", "query_bottleneck", "d_hidden"):
        chosen = getattr(config, name)
        change: dict[str, Any] = {name: 1 if chosen != 1 else 2}
        other = replace(config, **change)
        if chosen != getattr(ModelConfig, name) and parameters(other) == parameters(config):
            kinds = ", ".join(f"{role} = {_named(getattr(config, role))}" for role in ROLES)
            said.append(f"{name} is {chosen}, which changes nothing: no projection has one here ({kinds})")
    return said


def _named(placement: Placement) -> str:
    return placement if isinstance(placement, str) else ",".join(placement)


def _matrices(config: ModelConfig, kinds: Kinds) -> int:
    """Weights of one layer that multiply each character once."""
    return _numbers(
        shape for name, shape in _layer(config, kinds).items() if len(shape) == 2 and name not in NO_MATRICES
    )


def forward_flops(config: ModelConfig, mean_keys: float) -> int:
    """Operations for one character that attends to `mean_keys` characters."""
    matrices = sum(n * _matrices(config, kinds) for kinds, n in _layers(config))
    rotary = config.d_rotary if config.positions == "decoupled" else 0
    attention = config.n_layers * mean_keys * config.n_heads * (2 * config.d_head + rotary)
    return round(2 * (matrices + config.vocab_size * config.d_model + attention))


def cache_numbers(config: ModelConfig) -> int:
    """Numbers kept a character by the full cache."""
    return kept(config, latent=False).total


def latent_cache_numbers(config: ModelConfig) -> int:
    """Numbers kept a character by the latent cache."""
    return kept(config, latent=True).total


def kept(config: ModelConfig, latent: bool) -> Kept:
    """What a cache keeps of a character. Full: keys and values. Latent: their codes (the vectors themselves where
    there is no decoder), one norm a head of decoded keys with query-key norm. Both: the shared rotary part."""
    rotary = config.d_rotary if config.positions == "decoupled" else 0
    keys = values = norms = 0
    for (_, key, value), n in _layers(config):
        keys += n * _of_a_role(config, "key", key, latent)
        values += n * _of_a_role(config, "value", value, latent)
        norms += n * config.heads("key") * (latent and config.qk_norm and key.has_decoder)
    return Kept(keys, values, norms, config.n_layers * rotary)


def _of_a_role(config: ModelConfig, role: Role, kind: Kind, latent: bool) -> int:
    if not latent:
        return config.heads(role) * config.d_head
    codes = config.heads(role) if config.per_head else 1
    return 0 if kind.shares_code else codes * kind.code(widths(config, role))


def not_absorbable(config: ModelConfig) -> str | None:
    """Why the decoders cannot be absorbed exactly, or None where they can."""
    layers = [kinds for kinds, _ in _layers(config)]
    kept = [kind for kinds in layers for kind in kinds[1:]]
    if wide := next((kind.not_absorbable for kind in kept if kind.not_absorbable), None):
        return wide
    if not any(kind.has_decoder for kind in kept):
        names = " or ".join(dict.fromkeys(kind.name for kind in kept))
        return (
            f"keys and values are {names}: no decoder to absorb, a latent cache would keep what the full one does"
        )
    if config.value_embedding:
        return "value_embedding adds to decoded values, which a cache of codes does not have"
    if config.positions == "rotary" and any(key.has_decoder for _, key, _ in layers):
        return "rotary positions turn decoded keys: use `alibi`, `decoupled` or `learned`"
    return None


def not_compiled(config: ModelConfig) -> str | None:
    """Why only PyTorch can generate with such a model, or None where the compiled engine can too."""
    kinds = (kind for layer, _ in _layers(config) for kind in layer)
    other = next((kind.name for kind in kinds if kind.compiled is None), None)
    return None if other is None else f"{other} projections need the simple one"


def use_latent_cache(config: ModelConfig, wanted: CacheKind = "auto") -> bool:
    """Whether to keep codes instead of keys and values: `auto` does wherever that is exact and keeps no more.

    Raises ValueError, with the reason, for `latent` where it is not.
    """
    reason = not_absorbable(config)
    if wanted == "latent" and reason is not None:
        raise ValueError(f"no latent cache: {reason}; choose the full cache")
    if wanted == "full" or reason is not None:
        return False
    return wanted == "latent" or latent_cache_numbers(config) <= cache_numbers(config)


def solve_width(
    config: ModelConfig, budget: float, cost: Callable[[ModelConfig], float] = parameters, field: str = "d_ff"
) -> ModelConfig:
    """The config whose `field`, any whole-number width, brings its cost nearest to the budget.

    `cost` must grow with the field: `parameters`, or `lambda c: size(c).train_flops`. Raises ValueError if
    even the smallest width costs more.
    """

    def widened(width: int) -> ModelConfig:
        return replace(config, **{field: width})  # type: ignore[arg-type]

    if cost(widened(1)) > budget:
        raise ValueError(f"even {field} = 1 costs more than {budget:,.0f}: choose a larger budget")
    return widened(nearest(lambda width: cost(widened(width)), budget))


def nearest(cost: Callable[[int], float], budget: float) -> int:
    """The whole number, of at least 1, whose cost, which must grow with it, comes nearest to the budget."""
    low, high = 1, 2
    while cost(high) <= budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= budget else (low, middle)
    return min((low, high), key=lambda number: abs(cost(number) - budget))
