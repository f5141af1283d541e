"""How a token becomes a query, a key or a value: the idea of this project, on one screen.

    linear        k = x W                                   (d -> d)
    bottleneck    k = x E D                                 (d -> b -> d, the control: no nonlinearity)
    autoencoder   k = gelu(x E) D                           (d -> b -> d)
                  k = gelu(gelu(x E) M) D                   (d -> b -> b -> d, with a middle matrix)
    residual      k = x W + gelu(x E) D                     (d -> d, a control: the standard one, corrected)
    shared        v = z D, with z the code of the keys      (one code for keys and values)

Every projection is `decode(encode(x))`. What `encode` returns is the *code*; `decode` is linear, so a
decoder can be absorbed into the attention that follows, and a cache need hold only codes.

Shapes: B batch, T time, D width in, K code width, O width out, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.config.model import VALUE_KINDS, ValueKind
from aeattn.kernels.gelu import gelu_parts, is_ready
from aeattn.nn.activations import gelu


class Projection(nn.Module):
    """(B, T, D) -> (B, T, O), as `decode(code(x E))`: the standard projection where there is no decoder."""

    d_code: int
    shares_code = False  # true where the code is that of the projection before it
    code_is_gelu = False  # true where `code` is GELU and nothing else

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

    def split_code(self, code: Tensor, n_heads: int) -> Tensor:
        """The code (B, T, K) by heads: (B, H, T, K / H), or (B, 1, T, K) where all heads read the same."""
        return code.view(*code.shape[:-1], n_heads, -1).transpose(1, 2)

    def head_decoders(self, n_heads: int) -> Tensor | None:
        """Each head's part of the decoder, (H, O / H, K of its code), or None where the code is the result."""
        return None

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


class Shared(Projection):
    """A decoder alone, `z D`: what it decodes is the code of the projection before it."""

    shares_code = True

    def __init__(self, d_out: int, bottleneck: int) -> None:
        super().__init__()
        self.decoder = nn.Linear(bottleneck, d_out, bias=False)
        self.d_code = bottleneck

    def decode(self, code: Tensor) -> Tensor:
        decoded: Tensor = self.decoder(code)
        return decoded

    def split_code(self, code: Tensor, n_heads: int) -> Tensor:
        return code.unsqueeze(1)

    def head_decoders(self, n_heads: int) -> Tensor | None:
        return self.decoder.weight.view(n_heads, -1, self.d_code)


class Bottleneck(Shared):
    """The control, `x E D`: a product of two matrices of rank at most `bottleneck`, no nonlinearity."""

    shares_code = False

    def __init__(self, d_in: int, d_out: int, bottleneck: int) -> None:
        nn.Module.__init__(self)
        self.encoder = nn.Linear(d_in, bottleneck, bias=False)
        self.decoder = nn.Linear(bottleneck, d_out, bias=False)
        self.d_code = bottleneck

    @property
    def encoder_weight(self) -> Tensor:
        return self.encoder.weight


class Autoencoder(Bottleneck):
    """The idea, `gelu(x E) D`, or `gelu(gelu(x E) M) D` with `middle`."""

    def __init__(self, d_in: int, d_out: int, bottleneck: int, *, middle: bool = False) -> None:
        super().__init__(d_in, d_out, bottleneck)
        self.middle = nn.Linear(bottleneck, bottleneck, bias=False) if middle else None
        self.code_is_gelu = not middle

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
        self.shares_code = heads[0].shares_code

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

    def head_decoders(self, n_heads: int) -> Tensor | None:
        decoders = [d for head in self._each() if (d := head.head_decoders(1)) is not None]
        return torch.cat(decoders) if decoders else None


def make_projection(
    kind: ValueKind, d_in: int, d_out: int, bottleneck: int, *, middle: bool = False
) -> Projection:
    """The projection called `kind`. Raises ValueError for a kind or a bottleneck that cannot be."""
    if kind not in VALUE_KINDS:
        raise ValueError(f"projection {kind!r} is unknown: choose one of {', '.join(VALUE_KINDS)}")
    if kind == "linear":
        return Linear(d_in, d_out)
    if not 0 < bottleneck <= d_in:
        raise ValueError(f"bottleneck is {bottleneck}: choose a number from 1 to the width, {d_in}")
    if kind == "shared":
        return Shared(d_out, bottleneck)
    if kind == "bottleneck":
        return Bottleneck(d_in, d_out, bottleneck)
    if kind == "residual":
        return Residual(d_in, d_out, bottleneck, middle=middle)
    return Autoencoder(d_in, d_out, bottleneck, middle=middle)


def make_heads(
    kind: ValueKind,
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
    is faster than several narrow ones. A projection without an encoder gets the code of the one before it.
    """
    own = [p for p in projections if not p.shares_code]
    own_codes = iter(_cut(own, F.linear(x, torch.cat([p.encoder_weight for p in own]))))
    codes: list[Tensor] = []
    for projection in projections:
        codes.append(codes[-1] if projection.shares_code else next(own_codes))
    return codes


def _cut(projections: Sequence[Projection], encoded: Tensor) -> list[Tensor]:
    """The code of each projection from their first products side by side, (B, T, sum of K)."""
    widths = tuple(p.d_code for p in projections)
    others = len(projections)
    while others and projections[others - 1].code_is_gelu:
        others -= 1
    if encoded.device.type == "cpu" and widths[others:] and is_ready(widths[others:], encoded.dtype):
        at = sum(widths[:others])
        return [*_codes(projections[:others], encoded[..., :at]), *gelu_parts(encoded[..., at:], widths[others:])]
    return _codes(projections, encoded)


def _codes(projections: Sequence[Projection], encoded: Tensor) -> list[Tensor]:
    """`_cut` without a kernel of its own: its slow twin."""
    if not projections:
        return []
    parts = torch.split(encoded, [p.d_code for p in projections], dim=-1)
    return [p.code(part) for p, part in zip(projections, parts, strict=True)]
