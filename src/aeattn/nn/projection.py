"""How a token becomes a query, a key or a value: the idea of this project, on one screen.

    linear        k = x W                                   (d -> d)
    bottleneck    k = x E D                                 (d -> b -> d, the control: no nonlinearity)
    autoencoder   k = gelu(x E) D                           (d -> b -> d)
                  k = gelu(gelu(x E) M) D                   (d -> b -> b -> d, with a middle matrix)
    residual      k = x W + gelu(x E) D                     (d -> d, a control: the standard one, corrected)
    shared        v = z D, with z the code of the keys      (one code for keys and values)

`kinds.py` has more: deeper encoders, codes without a decoder, and the code of latent attention.

Every projection is `decode(encode(x))`. What `encode` returns is the *code*; `decode` is linear, so a
decoder can be absorbed into the attention that follows, and a cache need hold only codes. `register_projection`
adds a kind of your own to these.

Shapes: B batch, T time, D width in, K code width, O width out, H heads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.config.projections import Kind, Shapes, Widths, find, make, register, takes_hidden
from aeattn.kernels.available import transformed
from aeattn.kernels.gelu import gelu_parts, is_ready
from aeattn.nn.layers import gelu


class Projection(nn.Module):
    """(B, T, D) -> (B, T, O), as `decode(code(x E))`: the standard projection where there is no decoder.

    A subclass is made as `(d_in, d_out, bottleneck, middle)`, and may ignore what it does not need.
    """

    d_code: int
    encoder: nn.Linear
    kind = ""  # what configs call it
    shares_code = False  # true where the code is that of the projection before it
    begins_with_gelu = False  # true where `code` is GELU, then `after_gelu`

    @property
    def encoder_weight(self) -> Tensor:
        """The matrix E, what is applied to the input first: (E, D), as a rule that of `encoder`, (K, D)."""
        return self.encoder.weight

    def code(self, encoded: Tensor) -> Tensor:
        """From the first product `x E` to the code of each character: (B, T, E) -> (B, T, K)."""
        return encoded

    def after_gelu(self, activated: Tensor) -> Tensor:
        """What is left of `code` where it begins with GELU: (B, T, E) -> (B, T, K)."""
        return activated

    def before_gelu(self, encoded: Tensor) -> Tensor | None:
        """What enters the GELU whose result is the code, (B, T, K), or None where there is none."""
        return None

    def decode(self, code: Tensor) -> Tensor:
        """The code (B, T, K) -> (B, T, O), always linear."""
        return code

    def split_code(self, code: Tensor, n_heads: int) -> Tensor:
        """The code (B, T, K) by heads: (B, H, T, K / H), or (B, 1, T, K) where all heads read the same."""
        return code.view(*code.shape[:-1], n_heads, self.d_code // n_heads).transpose(1, 2)

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

    kind = "linear"

    def __init__(self, d_in: int, d_out: int, bottleneck: int = 0, middle: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Linear(d_in, d_out, bias=False)
        self.d_code = d_out


class Shared(Projection):
    """A decoder alone, `z D`: what it decodes is the code of the projection before it."""

    kind = "shared"
    shares_code = True

    def __init__(self, d_in: int, d_out: int, bottleneck: int, middle: bool = False) -> None:
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

    kind = "bottleneck"
    shares_code = False

    def __init__(self, d_in: int, d_out: int, bottleneck: int, middle: bool = False) -> None:
        nn.Module.__init__(self)
        self.encoder = nn.Linear(d_in, bottleneck, bias=False)
        self.decoder = nn.Linear(bottleneck, d_out, bias=False)
        self.d_code = bottleneck


class Autoencoder(Bottleneck):
    """The idea, `gelu(x E) D`, or `gelu(gelu(x E) M) D` with `middle`."""

    kind = "autoencoder"

    def __init__(self, d_in: int, d_out: int, bottleneck: int, middle: bool = False) -> None:
        super().__init__(d_in, d_out, bottleneck)
        self.middle = nn.Linear(bottleneck, bottleneck, bias=False) if middle else None
        self.begins_with_gelu = not middle and type(self).code is Autoencoder.code

    def before_gelu(self, encoded: Tensor) -> Tensor | None:
        return encoded if self.middle is None else self.middle(gelu(encoded))

    def code(self, encoded: Tensor) -> Tensor:
        code = gelu(encoded)
        return code if self.middle is None else gelu(self.middle(code))


class Residual(Projection):
    """A control, `x W + autoencoder(x)`: does the nonlinearity help where nothing is squeezed? Its code is as wide
    as both parts together, so a cache gains nothing from it."""

    kind = "residual"

    def __init__(self, d_in: int, d_out: int, bottleneck: int, middle: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(d_in, d_out, bias=False)
        self.correction = Autoencoder(d_in, d_out, bottleneck, middle)
        self.widths = [d_out, bottleneck]
        self.d_code = sum(self.widths)

    @property
    def encoder_weight(self) -> Tensor:
        return torch.cat([self.linear.weight, self.correction.encoder_weight])

    def code(self, encoded: Tensor) -> Tensor:
        whole, squeezed = torch.split(encoded, self.widths, dim=-1)
        return torch.cat([whole, self.correction.code(squeezed)], dim=-1)

    def before_gelu(self, encoded: Tensor) -> Tensor | None:
        return self.correction.before_gelu(encoded[..., self.widths[0] :])

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
        self.encoded = [] if self.shares_code else [len(head.encoder_weight) for head in heads]  # widths

    def _each(self) -> list[Projection]:
        return [head for head in self.heads if isinstance(head, Projection)]

    @property
    def encoder_weight(self) -> Tensor:
        return torch.cat([head.encoder_weight for head in self._each()])

    def _parts(self, x: Tensor, widths: list[int]) -> Iterator[tuple[Projection, Tensor]]:
        return zip(self._each(), torch.split(x, widths, dim=-1), strict=True)

    def code(self, encoded: Tensor) -> Tensor:
        return torch.cat([head.code(part) for head, part in self._parts(encoded, self.encoded)], dim=-1)

    def decode(self, code: Tensor) -> Tensor:
        widths = [head.d_code for head in self._each()]
        return torch.cat([head.decode(part) for head, part in self._parts(code, widths)], dim=-1)

    def head_decoders(self, n_heads: int) -> Tensor | None:
        decoders = [d for head in self._each() if (d := head.head_decoders(1)) is not None]
        return torch.cat(decoders) if decoders else None


def make_projection(
    kind: str, d_in: int, d_out: int, bottleneck: int, *, middle: bool = False, d_hidden: int | None = None
) -> Projection:
    """The projection called `kind`. Raises ValueError for a kind or a bottleneck that cannot be."""
    found = find(kind)
    if not 0 < bottleneck <= d_in:
        raise ValueError(f"bottleneck is {bottleneck}: choose a number from 1 to the width, {d_in}")
    made: Projection = found.module(Widths(d_in, d_out, bottleneck, middle, d_hidden))
    return made


def encode_together(projections: Sequence[Projection], x: Tensor) -> list[Tensor]:
    """The codes of several projections of one input: `[p.encode(x) for p in projections]` as one product.

    The encoders stay separate parameters; only the multiplication is shared, because one wide product
    is faster than several narrow ones. A projection without an encoder gets the code of the one before it.
    """
    own = [p for p in projections if not p.shares_code]
    matrices = [p.encoder_weight for p in own]
    widths = [len(matrix) for matrix in matrices]
    own_codes = iter(_cut(own, F.linear(x, torch.cat(matrices)), widths))
    codes: list[Tensor] = []
    for projection in projections:
        codes.append(codes[-1] if projection.shares_code else next(own_codes))
    return codes


def _cut(projections: Sequence[Projection], encoded: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """The code of each projection from their first products side by side, (B, T, sum of their widths)."""
    others = len(projections)
    while others and projections[others - 1].begins_with_gelu:
        others -= 1
    rest = tuple(widths[others:])
    if encoded.device.type == "cpu" and rest and not transformed() and is_ready(rest, encoded.dtype):
        before, after = torch.split(encoded, [sum(widths[:others]), sum(rest)], dim=-1)
        codes = [p.after_gelu(x) for p, x in zip(projections[others:], gelu_parts(after, rest), strict=True)]
        return [*_codes(projections[:others], before, widths[:others]), *codes]
    return _codes(projections, encoded, widths)


def _codes(projections: Sequence[Projection], encoded: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """`_cut` without a kernel of its own: its slow twin."""
    parts = torch.split(encoded, list(widths), dim=-1) if projections else ()
    return [p.code(part) for p, part in zip(projections, parts, strict=True)]


Made = TypeVar("Made", bound=Projection)


def register_projection(name: str, help: str = "") -> Callable[[type[Made]], type[Made]]:
    """A decorator: let configs name a subclass of `Projection` as `name`, with one line of help.

        @register_projection("tanh", "an autoencoder with a hyperbolic tangent")
        class Tanh(Bottleneck):
            def code(self, encoded):
                return torch.tanh(encoded)

    Its shapes, sizes and cache are found by building it.

    Args:
        name: Letters, digits, - and _.
        help: A line for `--help` and the reference, the first of the class's docstring if not given.

    Returns:
        A function that takes the class and returns it.

    Raises:
        ValueError: A class that does not keep the promises of `Projection`, and a name that is taken.

    Stable: all of this, and of `Projection` what docs/extending.md names.
    """

    def add(made: type[Made]) -> type[Made]:

        @functools.cache
        def build(widths: Widths) -> Projection:
            with torch.device("meta"):
                built: Projection = make(made, widths)
            return built

        _check(name, made)
        no_decoder = made.head_decoders is Projection.head_decoders
        wide = f"{name} projections have no decoder to absorb: give them `head_decoders`"
        kind = Kind(
            name,
            help or (made.__doc__ or name).strip().splitlines()[0],
            made,
            shapes=lambda widths: _shapes(build(widths)),
            code=lambda widths: build(widths).d_code,
            has_decoder=not no_decoder,
            shares_code=made.shares_code,
            not_absorbable=wide if no_decoder and made.decode is not Projection.decode else None,
            is_deep=takes_hidden(made),
        )
        register(kind)
        made.kind = name
        return made

    return add


def _shapes(module: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _check(name: str, made: type[Projection]) -> None:
    """Hold a class to what attention, caches and sizes rely on, by a small one."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            small = made(8, 12, 4, middle=False).eval()
        except TypeError as error:
            mend = "__init__ takes d_in, d_out, bottleneck and middle"
            raise ValueError(f"projection {name!r}: {mend} ({error})") from error
        x = torch.randn(2, 3, 8)
        code = torch.randn(2, 3, small.d_code) if small.shares_code else small.encode(x)
        for what, kept in _promises(small, x, code):
            if not kept:
                raise ValueError(f"projection {name!r}: {what}")


def _promises(small: Projection, x: Tensor, code: Tensor) -> Iterator[tuple[str, bool]]:
    yield "d_code must be the width of what `code` returns", code.shape == (2, 3, small.d_code)
    alone = code[:, -1:] if small.shares_code else small.encode(x[:, -1:])
    yield "the code of a character must not depend on others", torch.allclose(alone, code[:, -1:], atol=1e-5)
    out, other = small.decode(code), torch.randn_like(code)
    yield "`decode` must return d_out features", out.shape == (2, 3, 12)
    twice = small.decode(code + 2 * other) - 2 * small.decode(other)
    yield "`decode` must be linear, without a bias", torch.allclose(twice, out, atol=1e-4)
    decoders = small.head_decoders(2)
    if decoders is not None:
        by_head = torch.einsum("btk,hck->bthc", code, decoders).flatten(2)
        yield "`head_decoders` must be what `decode` multiplies with", torch.allclose(by_head, out, atol=1e-4)
    yield "it must have no buffers: use parameters", not list(small.buffers())
