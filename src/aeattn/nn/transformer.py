"""The language model: a decoder-only Transformer whose attention takes its projections from a config.

Shapes: B batch, T time, D width, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.config.model import CacheKind, ModelConfig
from aeattn.config.projections import ROLES, Role
from aeattn.nn.attention import Attention
from aeattn.nn.cache import Cache, LayerCache, past_inputs
from aeattn.nn.layers import ACTIVATIONS, Dropout, Embedding
from aeattn.nn.positions import wide
from aeattn.nn.projection import Linear, PerHead, Projection, make_projection
from aeattn.nn.size import norm_epsilon, use_latent_cache, widths


def make_attention(
    config: ModelConfig, layer: int = 0, *, causal: bool = True, dropout: float = 0.0, bias: bool = False
) -> Attention:
    """The attention of a layer, with the projections that the config names for it, and dropout of its weights."""
    query, key, value = (make_heads(config, role, layer) for role in ROLES)
    return Attention(
        query, key, value, n_heads=config.n_heads, n_kv_heads=config.heads("key"), d_head=config.d_head,
        d_model=config.d_model,
        output=None if config.per_head else nn.Linear(config.n_heads * config.d_head, config.d_model, bias=False),
        gate=Linear(config.d_model, config.n_heads) if config.gate else None,
        value_table=Embedding(config.vocab_size, config.heads("value") * config.d_head)
        if config.value_embedding else None,
        positions=config.positions, d_rotary=config.d_rotary, qk_norm=config.qk_norm,
        query_epsilon=norm_epsilon(config, "query", layer), key_epsilon=norm_epsilon(config, "key", layer),
        causal=causal, dropout=dropout, bias=bias,
    )  # fmt: skip


def make_heads(config: ModelConfig, role: Role, layer: int) -> Projection:
    """What makes queries, keys or values, (B, T, D) -> (B, T, O): one for all heads, or one for each."""
    w, number = widths(config, role), config.heads(role) if config.per_head else 1
    each = [make_projection(config.kind(role, layer), w.d_in, w.d_out, w.bottleneck, middle=w.middle,
                            d_hidden=w.d_hidden) for _ in range(number)]  # fmt: skip
    return PerHead(each) if config.per_head else each[0]


class ShortConv(nn.Module):
    """A causal depthwise convolution added to its input: x_t + sum_i w_i * x_(t-i), (B, T, D) -> the same.

    It lets attention look at character groups without spending heads on it (Primer, So et al. 2021), and the
    feed-forward look at them at all (Canon layers, Allen-Zhu 2025). `name` is its place in the cache.
    """

    def __init__(self, name: str, d_model: int, width: int) -> None:
        super().__init__()
        self.name, self.width = name, width
        self.taps = nn.Parameter(torch.zeros(width, d_model))

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        joined, time = past_inputs(cache, self.name, x, self.width), x.shape[1]
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
        self.conv = ShortConv("attention", config.d_model, config.conv) if config.conv else None
        self.attention = make_attention(config, layer)
        self.conv_ff = ShortConv("feed_forward", config.d_model, config.conv_ff) if config.conv_ff else None
        self.feed_forward = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, x: Tensor, ids: Tensor | None = None, cache: LayerCache | None = None, padding: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """`ids` (B, T) are the tokens themselves; `padding` (B, T, 1) is true where there is no character, `mask`
        keeps attention from looking there."""
        seen = _convolved(self.conv, self.attention_norm(x), cache, padding)
        x = x + self.dropout(self.attention(seen, ids, cache=cache, mask=mask))
        seen = _convolved(self.conv_ff, self.feed_forward_norm(x), cache, padding)
        out: Tensor = x + self.dropout(self.feed_forward(seen), 1)
        return out


def _convolved(conv: nn.Module | None, x: Tensor, cache: LayerCache | None, padding: Tensor | None) -> Tensor:
    if conv is None:
        return x
    out: Tensor = conv(x if padding is None else x.masked_fill(padding, 0.0), cache)
    return out


class LanguageModel(nn.Module):
    """A decoder-only Transformer: ids (B, T) to logits (B, T, V); position t sees tokens up to t alone.

        model = aeattn.LanguageModel(aeattn.ModelConfig(vocab_size=49))
        logits = model(torch.zeros(2, 10, dtype=torch.int64))        # (2, 10, 49)

    Stable: the constructor, `forward`, `new_cache` and `config`. The names of weights may change before version
    1.0; run folders say which version wrote them.

    Args:
        config: What determines the model; `vocab_size` is at least 1.

    Attributes:
        config: The same.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.d_model)
        learned = config.positions == "learned"
        self.position = Embedding(config.context, config.d_model) if learned else None
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.norm = make_norm(config)
        self.head = None if config.tied else nn.Linear(config.d_model, config.vocab_size, bias=False)
        initialise(self)

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits of the token after each.

        Args:
            ids: Tokens (B, T), whole numbers below the size of the vocabulary; T at most the context.
            cache: What is kept of earlier tokens (`new_cache`): `ids` are only those that come after them.

        Returns:
            Logits (B, T, V), float32 or wider.

        Raises:
            ValueError: Ids of another shape, or more tokens in all than the context.
        """
        self._check(ids, 0 if cache is None else cache.length)
        if cache is None:
            positions, padding, mask = torch.arange(ids.shape[1], device=ids.device), None, None
        else:
            positions, padding, mask = cache.begin(ids.shape[1], ids.device)
        x = self.embedding(ids)
        if self.position is not None:
            x = x + self.position(positions)
        x = self.dropout(x)
        for i, block in enumerate(self.blocks):
            x = block(x, ids, None if cache is None else cache.layers[i], padding, mask)
        weight = self.embedding.weight if self.head is None else self.head.weight
        return wide(F.linear(self.norm(x), weight))

    def new_cache(self, kind: CacheKind = "auto", padding: Tensor | None = None) -> Cache:
        """An empty cache for as many tokens as the context, to be given to `forward` again and again.

        Args:
            kind: `latent` keeps codes, `full` keys and values; `auto` codes wherever that gives the same result.
            padding: How many places at the start of each row are no tokens, (B,).

        Returns:
            The cache; `length` says how many places it holds, `bytes` what they take, over all layers.

        Raises:
            ValueError: A `latent` cache that is not exact.
        """
        latent = use_latent_cache(self.config, kind)
        return Cache(self.config.n_layers, self.config.context, latent, padding)

    def _check(self, ids: Tensor, start: int) -> None:
        if ids.dim() != 2:
            raise ValueError(f"ids have shape {tuple(ids.shape)}: (batch, time) is expected")
        if (end := start + ids.shape[1]) > self.config.context:
            raise ValueError(f"{end} characters are more than the context of {self.config.context}")


def initialise(model: LanguageModel) -> None:
    """The one place where weights get their first values.

    With `zero_init`: matrices normal with standard deviation 1/sqrt(fan-in), embeddings with 0.5, and zero for
    every matrix of gates and every matrix that writes to the residual stream or to the logits (Yang et al. 2022).
    Without: PyTorch's defaults, which the published experiment used, but for gates. Where the embedding is the
    output's matrix, too, the last norm begins with gains of zero instead. So the first loss is ln V; where
    PyTorch's defaults fill a matrix of the output's own, it is about 1/6 more.
    """
    if model.head is None:
        nn.init.zeros_(model.get_parameter("norm.weight"))
    if not model.config.zero_init:
        return
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)
    outputs = [m.down if isinstance(m, FeedForward) else m.output
               for m in model.modules() if isinstance(m, FeedForward | Attention)]  # fmt: skip
    for matrix in (*outputs, model.head):
        if matrix is not None:
            nn.init.zeros_(matrix.weight)
    for attention in model.modules():
        if isinstance(attention, Attention):
            attention.open_gates()
