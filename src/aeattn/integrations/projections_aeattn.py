"""How a token becomes a query, a key or a value, in PyTorch alone: the kinds of aeattn, weights by the same names.

Every product is a call of an `nn.Linear`, so that adapters and quantised layers that stand in its place count.
This file travels with every exported folder, beside `modeling_aeattn.py`.

Shapes: B batch, T time, D width in, K code width, O width out, G heads of keys and values.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .configuration_aeattn import DEEP, NARROW, AeattnConfig

EPSILON, NARROW_EPSILON = 2.0**-23, 1e-4


def epsilon_of(width: int) -> float:
    """What is added to the mean square of so many numbers where they are divided by their root mean square."""
    return EPSILON if width > 2 else NARROW_EPSILON


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form (Hendrycks and Gimpel 2016)."""
    return F.gelu(x, approximate="tanh")


class Projection(nn.Module):
    """(B, T, D) -> the code (B, T, K) by `encode`, and to (B, T, O) by `decode`, which is linear."""

    def __init__(self, config: AeattnConfig, kind: str, d_out: int, bottleneck: int) -> None:
        super().__init__()
        self.kind, d_in = kind, config.d_model
        hidden = (config.d_hidden or d_in) if kind in DEEP else bottleneck
        self.d_code = bottleneck if kind in NARROW else d_out
        if kind == "residual":
            self.linear = nn.Linear(d_in, d_out, bias=False)
            self.correction = Projection(config, "autoencoder", d_out, bottleneck)
            self.d_code = d_out + bottleneck
            return
        if kind != "shared":
            first = hidden if kind in DEEP else self.d_code
            self.encoder = nn.Linear(d_in, first, bias=False)
        has_middle = config.middle and kind in ("autoencoder", *DEEP)
        self.middle = nn.Linear(hidden, hidden, bias=False) if has_middle else None
        if kind in DEEP:
            self.narrow = nn.Linear(hidden, self.d_code, bias=False)
        if kind == "latent":
            self.gain = nn.Parameter(torch.ones(bottleneck))
        if kind in NARROW:
            self.decoder = nn.Linear(bottleneck, d_out, bias=False)

    def encode(self, x: Tensor) -> Tensor:
        if self.kind == "residual":
            return torch.cat([self.linear(x), self.correction.encode(x)], dim=-1)
        code: Tensor = self.encoder(x)
        if self.kind == "latent":
            return F.rms_norm(code, (self.d_code,), self.gain.to(code.dtype), epsilon_of(self.d_code))
        if self.kind in ("linear", "bottleneck"):
            return code
        between = (lambda hidden: hidden) if self.kind == "deep-linear" else gelu
        code = between(code)
        if self.middle is not None:
            code = between(self.middle(code))
        return self.narrow(code) if self.kind in DEEP else code

    def decode(self, code: Tensor) -> Tensor:
        if self.kind == "residual":
            whole, narrow = code.split([self.d_code - self.correction.d_code, self.correction.d_code], dim=-1)
            return whole + self.correction.decode(narrow)
        return self.decoder(code) if self.kind in NARROW else code

    def decoders(self, groups: int, like: Tensor) -> Tensor:
        """The part of the decoder that is each head's, (G, O / G, K), of the device and type of `like`."""
        return decoder_weight(self.decoder, self.d_code, like).reshape(groups, -1, self.d_code)


def decoder_weight(decoder: nn.Module, width: int, like: Tensor) -> Tensor:
    """The matrix (O, K) that a layer multiplies with, K = `width`, whatever stands in the place of `nn.Linear`,
    and wherever its weight is kept until it is called."""
    own = type(decoder) is nn.Linear and type(decoder.weight) in (nn.Parameter, Tensor)
    if own and not hasattr(decoder, "_hf_hook"):  # of accelerate, which keeps weights elsewhere
        return decoder.weight  # type: ignore[return-value]
    ones: Tensor = decoder(torch.eye(width, dtype=like.dtype, device=like.device))
    return ones.mT


class PerHead(nn.Module):
    """One projection a head, each over the full width: their codes, and what they decode, in a row."""

    def __init__(self, heads: list[Projection]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.kind, self.d_code = heads[0].kind, sum(head.d_code for head in heads)

    def encode(self, x: Tensor) -> Tensor:
        return torch.cat([head.encode(x) for head in self._each()], dim=-1)

    def decode(self, code: Tensor) -> Tensor:
        parts = code.split([head.d_code for head in self._each()], dim=-1)
        return torch.cat([head.decode(part) for head, part in zip(self._each(), parts, strict=True)], dim=-1)

    def decoders(self, groups: int, like: Tensor) -> Tensor:
        return torch.cat([head.decoders(1, like) for head in self._each()])

    def _each(self) -> list[Projection]:
        return [head for head in self.heads if isinstance(head, Projection)]


def make_projection(config: AeattnConfig, role: str, layer: int) -> Projection | PerHead:
    """What makes queries, keys or values in a layer."""
    kind, groups = config.kind(role, layer), config.groups(role)
    bottleneck = (role == "query" and config.query_bottleneck) or config.bottleneck
    if config.per_head:
        return PerHead([Projection(config, kind, config.head_dim, bottleneck) for _ in range(groups)])
    return Projection(config, kind, groups * config.head_dim, bottleneck)


def norm_epsilon(config: AeattnConfig, role: str, layer: int) -> float:
    """What is added to the mean square of queries or keys: by the narrowest layer that they have come through."""
    kind = config.kind(role, layer)
    bottleneck = (role == "query" and config.query_bottleneck) or config.bottleneck
    out = config.head_dim * (1 if config.per_head else config.groups(role))
    code = bottleneck if kind in NARROW else out + (bottleneck if kind == "residual" else 0)
    hidden = (config.d_hidden or config.d_model) if kind in DEEP else config.head_dim
    return epsilon_of(min(code, config.head_dim, hidden))
