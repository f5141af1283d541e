"""The language model: a decoder-only Transformer whose attention takes its projections from a config.

Shapes: B batch, T time, D width, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.nn.attention import Attention
from aeattn.nn.cache import Cache, LayerCache, past_inputs
from aeattn.nn.dropout import Dropout
from aeattn.nn.positions import POSITION_KINDS, PositionKind
from aeattn.nn.projection import PROJECTION_KINDS, Projection, ProjectionKind, make_heads

NormKind = Literal["layer", "rms"]
ActivationKind = Literal["gelu", "relu2"]
Placement = ProjectionKind | tuple[ProjectionKind, ...]


def relu2(x: Tensor) -> Tensor:
    """Squared ReLU (So et al. 2021, Primer)."""
    return F.relu(x).square()


def gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


ACTIVATIONS = {"gelu": gelu, "relu2": relu2}


@dataclass(frozen=True)
class ModelConfig:
    """Everything that determines a model. Widths are numbers of features, `context` of characters.

    `query`, `key` and `value` each name a projection, for all layers or one a layer. Raises ValueError,
    with a mend, for values that cannot be.
    """

    vocab_size: int
    context: int = 256
    d_model: int = 128
    n_layers: int = 3
    n_heads: int = 4
    d_ff: int = 416
    query: Placement = "autoencoder"
    key: Placement = "autoencoder"
    value: Placement = "autoencoder"
    bottleneck: int = 32
    middle: bool = False
    per_head: bool = False
    positions: PositionKind = "alibi"
    d_rotary: int = 16
    norm: NormKind = "rms"
    activation: ActivationKind = "relu2"
    qk_norm: bool = True
    conv: int = 4
    tied: bool = False
    zero_init: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("query", "key", "value"):
            object.__setattr__(self, name, _placement(getattr(self, name), self.n_layers))
        self._check_sizes()
        self._check_choices()

    def _check_sizes(self) -> None:
        positive = (
            "vocab_size",
            "context",
            "d_model",
            "n_layers",
            "n_heads",
            "d_ff",
            "bottleneck",
            "d_rotary",
        )
        for name in positive:
            number = getattr(self, name)
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise ValueError(f"{name} is {number!r}: choose a whole number of at least 1")
        if not isinstance(self.conv, int) or not 0 <= self.conv <= self.context:
            raise ValueError(f"conv is {self.conv!r}: choose a width from 0 (none) to the context")
        if not self.per_head and self.d_model % self.n_heads:
            raise ValueError(
                f"{self.n_heads} heads do not divide the width {self.d_model}: choose "
                f"{_nearest_divisor(self.d_model, self.n_heads)} heads, or another width"
            )
        if self.bottleneck > self.d_model:
            raise ValueError(
                f"bottleneck is {self.bottleneck}, wider than the width {self.d_model}: choose at most that"
            )
        if self.positions in ("rotary", "decoupled") and self._rotated_width() % 2:
            raise ValueError(
                f"rotary positions turn pairs of features, {self._rotated_width()} is odd: choose an even width"
            )

    def _check_choices(self) -> None:
        for name, choices in (
            ("positions", POSITION_KINDS),
            ("norm", get_args(NormKind)),
            ("activation", get_args(ActivationKind)),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}: choose one of {', '.join(map(str, choices))}"
                )
        for name in ("query", "key", "value"):
            self._check_placement(name, getattr(self, name))
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}: choose a number from 0 to below 1")

    def _check_placement(self, name: str, placement: Placement) -> None:
        kinds = (placement,) if isinstance(placement, str) else placement
        for kind in kinds:
            if kind not in PROJECTION_KINDS:
                raise ValueError(
                    f"{name} projection {kind!r} is unknown: choose one of {', '.join(PROJECTION_KINDS)}"
                )
        if not isinstance(placement, str) and len(placement) != self.n_layers:
            raise ValueError(
                f"{name} names {len(placement)} projections for {self.n_layers} layers: name one, or one a layer"
            )

    def _rotated_width(self) -> int:
        return self.d_rotary if self.positions == "decoupled" else self.d_head

    @property
    def d_head(self) -> int:
        """Width of one head: the full width where every head has projections of its own."""
        return self.d_model if self.per_head else self.d_model // self.n_heads

    def kind(self, name: Literal["query", "key", "value"], layer: int) -> ProjectionKind:
        """The projection of `query`, `key` or `value` in a layer, counted from 0."""
        placement: Placement = getattr(self, name)
        return placement if isinstance(placement, str) else placement[layer]

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON; `ModelConfig(**d)` is its inverse."""
        return asdict(self)


def _placement(value: Any, n_layers: int) -> Any:
    """One kind for all layers, or a tuple of one a layer; equal kinds for all layers become one."""
    if isinstance(value, list | tuple):
        return value[0] if len(value) == n_layers and len(set(value)) == 1 else tuple(value)
    return value


def _nearest_divisor(width: int, wanted: int) -> int:
    divisors = [n for n in range(1, width + 1) if width % n == 0]
    return min(divisors, key=lambda n: abs(n - wanted))


def make_attention(config: ModelConfig, layer: int) -> Attention:
    """The attention of a layer, with the projections that the config names for it."""
    d, heads = config.d_model, config.n_heads

    def projection(name: Literal["query", "key", "value"]) -> Projection:
        own = heads if config.per_head else None
        kind = config.kind(name, layer)
        return make_heads(kind, d, config.bottleneck, middle=config.middle, own_for_each_of=own)

    return Attention(
        projection("query"),
        projection("key"),
        projection("value"),
        n_heads=heads,
        d_head=config.d_head,
        d_model=d,
        output=None if config.per_head else nn.Linear(d, d, bias=False),
        positions=config.positions,
        d_rotary=config.d_rotary,
        qk_norm=config.qk_norm,
    )


class ShortConv(nn.Module):
    """A causal depthwise convolution added to its input: x_t + sum_i w_i * x_(t-i), (B, T, D) -> the same.

    It lets attention look at character groups without spending heads on it (Primer, So et al. 2021).
    """

    def __init__(self, d_model: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.taps = nn.Parameter(torch.zeros(width, d_model))

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        joined, time = past_inputs(cache, x, self.width), x.shape[1]
        taps = self.taps.to(x.dtype)
        for i in range(self.width):
            x = x + taps[i] * joined[:, self.width - 1 - i : self.width - 1 - i + time]
        return x


class FeedForward(nn.Module):
    """activation(x U) W, (B, T, D) -> (B, T, D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(self.activation(self.up(x)))
        return out


def make_norm(config: ModelConfig) -> nn.Module:
    """Layer or root-mean-square normalisation of the last axis, with a gain, without a bias."""
    if config.norm == "layer":
        return nn.LayerNorm(config.d_model, bias=False)
    return nn.RMSNorm(config.d_model, eps=1e-6)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)): (B, T, D) -> (B, T, D)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm, self.feed_forward_norm = make_norm(config), make_norm(config)
        self.conv = ShortConv(config.d_model, config.conv) if config.conv else None
        self.attention = make_attention(config, layer)
        self.feed_forward = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        seen = self.attention_norm(x)
        if self.conv is not None:
            seen = self.conv(seen, cache)
        x = x + self.dropout(self.attention(seen, cache=cache))
        out: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return out


class LanguageModel(nn.Module):
    """Character ids (B, T) to logits (B, T, V) in float32, position t seeing characters up to t alone."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        learned = config.positions == "learned"
        self.position = nn.Embedding(config.context, config.d_model) if learned else None
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.norm = make_norm(config)
        self.head = None if config.tied else nn.Linear(config.d_model, config.vocab_size, bias=False)
        initialise(self)

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """With a cache, `ids` are only the characters that come after those in the cache."""
        start = 0 if cache is None else cache.length
        self._check(ids, start)
        x = self.embedding(ids)
        if self.position is not None:
            x = x + self.position(torch.arange(start, start + ids.shape[1], device=ids.device))
        x = self.dropout(x)
        for i, block in enumerate(self.blocks):
            x = block(x, None if cache is None else cache.layers[i])
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(self.norm(x), weight).float()

    def new_cache(self) -> Cache:
        """An empty cache for as many characters as the context."""
        return Cache(self.config.n_layers, self.config.context)

    def _check(self, ids: Tensor, start: int) -> None:
        if ids.dim() != 2:
            raise ValueError(f"ids have shape {tuple(ids.shape)}: (batch, time) is expected")
        if start + ids.shape[1] > self.config.context:
            raise ValueError(
                f"{start + ids.shape[1]} characters are more than the context of {self.config.context}"
            )


def initialise(model: LanguageModel) -> None:
    """The one place where weights get their first values.

    With `zero_init`: matrices normal with standard deviation 1/sqrt(fan-in), embeddings with 0.5, and zero for
    every matrix that writes to the residual stream or to the logits (Yang et al. 2022). Without: PyTorch's
    defaults, which the published experiment used.
    """
    if not model.config.zero_init:
        return
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)
    for matrix in _outputs(model):
        nn.init.zeros_(matrix.weight)


def _outputs(model: LanguageModel) -> list[nn.Linear]:
    outputs = [block.feed_forward.down for block in model.blocks if isinstance(block, Block)]
    outputs += [m.output for m in model.modules() if isinstance(m, Attention) and m.output is not None]
    return outputs + ([model.head] if model.head is not None else [])
