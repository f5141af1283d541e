"""How a token becomes a query, a key or a value: the idea of this project, on one screen.

    linear        k = x W                                   (d -> d)
    bottleneck    k = x E D                                 (d -> b -> d, the control: no nonlinearity)
    autoencoder   k = gelu(x E) D                           (d -> b -> d)
                  k = gelu(gelu(x E) M) D                   (d -> b -> b -> d, with a middle matrix)
    residual      k = x W + gelu(x E) D                     (d -> d, a control: the standard one, corrected)

Every projection is `decode(encode(x))`. What `encode` returns is the *code*; `decode` is linear, so a
decoder can be absorbed into the attention that follows, and a cache need hold only codes.

Shapes: B batch, T time, D width in, K code width, O width out, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.nn.activations import gelu
from aeattn.nn.config import PROJECTION_KINDS, ProjectionKind


class Projection(nn.Module):
    """(B, T, D) -> (B, T, O), as `decode(code(x E))`: the standard projection where there is no decoder."""

    d_code: int

    @property
    def encoder_weight(self) -> Tensor:
        """The matrix E, (K, D): what is applied to the input first."""
        raise NotImplementedError

    def code(self, encoded: Tensor) -> Tensor:
        """From the first product `x E` to the code, (B, T, K) -> (B, T, K)."""
        return encoded

    def decode(self, code: Tensor) -> Tensor:
        """The code (B, T, K) -> (B, T, O), always linear."""
        return code

    def encode(self, x: Tensor) -> Tensor:
        """(B, T, D) -> the code (B, T, K)."""
        return self.code(F.linear(x, self.encoder_weight))

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class Linear(Projection):
    """The standard projection, `x W`. Its code is the result itself."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(d_in, d_out, bias=False)
        self.d_code = d_out

    @property
    def encoder_weight(self) -> Tensor:
        return self.encoder.weight


class Bottleneck(Projection):
    """The control, `x E D`: a product of two matrices of rank at most `bottleneck`, no nonlinearity."""

    def __init__(self, d_in: int, d_out: int, bottleneck: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(d_in, bottleneck, bias=False)
        self.decoder = nn.Linear(bottleneck, d_out, bias=False)
        self.d_code = bottleneck

    @property
    def encoder_weight(self) -> Tensor:
        return self.encoder.weight

    def decode(self, code: Tensor) -> Tensor:
        decoded: Tensor = self.decoder(code)
        return decoded


class Autoencoder(Bottleneck):
    """The idea, `gelu(x E) D`, or `gelu(gelu(x E) M) D` with `middle`."""

    def __init__(self, d_in: int, d_out: int, bottleneck: int, *, middle: bool = False) -> None:
        super().__init__(d_in, d_out, bottleneck)
        self.middle = nn.Linear(bottleneck, bottleneck, bias=False) if middle else None

    def code(self, encoded: Tensor) -> Tensor:
        code = gelu(encoded)
        return code if self.middle is None else gelu(self.middle(code))


class Residual(Projection):
    """A control, `x W + autoencoder(x)`: does the nonlinearity help where nothing is squeezed? Its code is as wide
    as both parts together, so a cache gains nothing from it."""

    def __init__(self, d_in: int, d_out: int, bottleneck: int, *, middle: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(d_in, d_out, bias=False)
        self.correction = Autoencoder(d_in, d_out, bottleneck, middle=middle)
        self.widths = [d_out, bottleneck]
        self.d_code = sum(self.widths)

    @property
    def encoder_weight(self) -> Tensor:
        return torch.cat([self.linear.weight, self.correction.encoder_weight])

    def code(self, encoded: Tensor) -> Tensor:
        whole, squeezed = torch.split(encoded, self.widths, dim=-1)
        return torch.cat([whole, self.correction.code(squeezed)], dim=-1)

    def decode(self, code: Tensor) -> Tensor:
        whole, squeezed = torch.split(code, self.widths, dim=-1)
        return whole + self.correction.decode(squeezed)


class PerHead(Projection):
    """One projection a head, each over the full width, side by side: O = H * (width of one).

    This is the form of the published experiment. Its code is the codes of all heads in a row.
    """

    def __init__(self, heads: Sequence[Projection]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.d_code = sum(head.d_code for head in heads)

    def _each(self) -> list[Projection]:
        return [head for head in self.heads if isinstance(head, Projection)]

    @property
    def encoder_weight(self) -> Tensor:
        return torch.cat([head.encoder_weight for head in self._each()])

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        return torch.split(x, [head.d_code for head in self._each()], dim=-1)

    def code(self, encoded: Tensor) -> Tensor:
        parts = zip(self._each(), self._split(encoded), strict=True)
        return torch.cat([head.code(part) for head, part in parts], dim=-1)

    def decode(self, code: Tensor) -> Tensor:
        parts = zip(self._each(), self._split(code), strict=True)
        return torch.cat([head.decode(part) for head, part in parts], dim=-1)


def make_projection(
    kind: ProjectionKind, d_in: int, d_out: int, bottleneck: int, *, middle: bool = False
) -> Projection:
    """The projection called `kind`. Raises ValueError for a kind or a bottleneck that cannot be."""
    if kind not in PROJECTION_KINDS:
        raise ValueError(f"projection {kind!r} is unknown: choose one of {', '.join(PROJECTION_KINDS)}")
    if kind == "linear":
        return Linear(d_in, d_out)
    if not 0 < bottleneck <= d_in:
        raise ValueError(f"bottleneck is {bottleneck}: choose a number from 1 to the width, {d_in}")
    if kind == "bottleneck":
        return Bottleneck(d_in, d_out, bottleneck)
    if kind == "residual":
        return Residual(d_in, d_out, bottleneck, middle=middle)
    return Autoencoder(d_in, d_out, bottleneck, middle=middle)


def make_heads(
    kind: ProjectionKind,
    d_model: int,
    bottleneck: int,
    *,
    middle: bool = False,
    own_for_each_of: int | None = None,
) -> Projection:
    """The projection of all heads, (B, T, D) -> (B, T, D); or one of its own over the full width for each of so
    many heads, (B, T, D) -> (B, T, H D)."""
    number = own_for_each_of or 1
    each = [make_projection(kind, d_model, d_model, bottleneck, middle=middle) for _ in range(number)]
    return each[0] if own_for_each_of is None else PerHead(each)


def encode_together(projections: Sequence[Projection], x: Tensor) -> list[Tensor]:
    """The codes of several projections of one input: `[p.encode(x) for p in projections]` as one product.

    The encoders stay separate parameters; only the multiplication is shared, because one wide product
    is faster than several narrow ones.
    """
    weights = torch.cat([p.encoder_weight for p in projections])
    parts = torch.split(F.linear(x, weights), [p.d_code for p in projections], dim=-1)
    return [p.code(part) for p, part in zip(projections, parts, strict=True)]
