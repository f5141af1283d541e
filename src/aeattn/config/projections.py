"""The kinds of projection and what each is made of, as data: sizes, checks, caches and the choice of an engine
follow from it, without building a model or loading PyTorch.

The modules are in `nn/projection.py`, as is `register_projection`, by which users add kinds of their own.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from aeattn.errors import meant

Role = Literal["query", "key", "value"]
ROLES: tuple[Role, ...] = ("query", "key", "value")
EPSILON, NARROW_EPSILON = 2.0**-23, 1e-4
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Widths:
    """How many features go in, out, and through the bottleneck of a projection; `middle` asks for a further
    matrix inside the bottleneck, or a further hidden layer of a deep encoder, whose hidden layers are `d_hidden`
    wide, or as wide as what goes in."""

    d_in: int
    d_out: int
    bottleneck: int
    middle: bool = False
    d_hidden: int | None = None

    @property
    def hidden(self) -> int:
        """Width of the hidden layers."""
        return self.d_hidden or self.d_in


@dataclass(frozen=True)
class Kind:
    """One kind of projection.

    name: what configs call it.
    help: one line about it.
    make: its class, or "module:Class", called with `d_in, d_out, bottleneck, middle`, and with `d_hidden` where it
        takes that.
    shapes: of its weights, by name; all with two axes are counted as matrices that multiply each character once.
    code: how wide its code is; as wide as what it puts out where it has no decoder.
    has_decoder: whether a matrix decodes the code; without one, the code is the result.
    shares_code: whether it decodes the code of the keys and has no encoder; only values can.
    not_absorbable: why its codes cannot stand for keys and values in a cache, or None where they can.
    is_deep: whether a hidden layer of `d_hidden` features comes before the code.
    compiled: what follows the first product in the compiled engine: nothing (`linear`) or `gelu`, also after the
        matrix `middle.weight`. Then come `narrow.weight`, a further matrix, and `gain`, a norm of the code, where
        there are any; None where that engine cannot make it.
    """

    name: str
    help: str
    make: str | Callable[..., Any]
    shapes: Callable[[Widths], Shapes]
    code: Callable[[Widths], int]
    has_decoder: bool = True
    shares_code: bool = False
    not_absorbable: str | None = None
    is_deep: bool = False
    compiled: Literal["linear", "gelu"] | None = None

    @property
    def has_narrow_code(self) -> bool:
        """Whether a cache can keep its codes, and values decode those of keys."""
        return self.has_decoder and self.not_absorbable is None

    @property
    def roles(self) -> tuple[Role, ...]:
        """What it can make."""
        return ("value",) if self.shares_code else ROLES

    def module(self, widths: Widths) -> Any:
        """A fresh `Projection` of this kind."""
        made = self.make
        if isinstance(made, str):
            home, _, name = made.partition(":")
            made = getattr(importlib.import_module(home), name)
        return make(made, widths)

    @property
    def home(self) -> str:
        """The module and class that make it."""
        return self.make if isinstance(self.make, str) else f"{self.make.__module__}:{self.make.__qualname__}"


def takes_hidden(made: Callable[..., Any]) -> bool:
    """Whether a class asks for the width of hidden layers."""
    return "d_hidden" in inspect.signature(made).parameters


def make(made: Callable[..., Any], widths: Widths) -> Any:
    """An instance of a class of projections for these widths."""
    deep = {"d_hidden": widths.hidden} if takes_hidden(made) else {}
    return made(widths.d_in, widths.d_out, widths.bottleneck, middle=widths.middle, **deep)


_KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Let configs name a kind. A class may be registered again, as notebooks do; a name that another has is
    refused with ValueError."""
    taken = _KINDS.get(kind.name)
    if taken is not None and taken.home != kind.home:
        raise ValueError(f"projection {kind.name!r} is there already, in {taken.home}: choose another name")
    if not kind.name.replace("-", "_").isidentifier():
        raise ValueError(f"projection {kind.name!r}: choose a name of letters, digits, - and _")
    _KINDS[kind.name] = kind


def kinds_of(role: Role | None = None) -> tuple[Kind, ...]:
    """All kinds, or those that can make queries, keys or values."""
    return tuple(kind for kind in _KINDS.values() if role is None or role in kind.roles)


def names(role: Role | None = None) -> tuple[str, ...]:
    """Their names."""
    return tuple(kind.name for kind in kinds_of(role))


def find(name: object, role: Role | None = None) -> Kind:
    """The kind of that name. Raises ValueError, with the choices, where there is none for this role."""
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None or (role is not None and role not in kind.roles):
        what = "projection" if role is None else f"{role} projection"
        raise ValueError(f"{what} {name!r} is unknown: {meant(str(name), names(role))}")
    return kind


def _linear(w: Widths) -> Shapes:
    return {"encoder.weight": (w.d_out, w.d_in)}


def _decoder(w: Widths) -> Shapes:
    return {"decoder.weight": (w.d_out, w.bottleneck)}


def _squeezed(w: Widths) -> Shapes:
    return {"encoder.weight": (w.bottleneck, w.d_in), **_decoder(w)}


def _autoencoder(w: Widths) -> Shapes:
    middle: Shapes = {"middle.weight": (w.bottleneck, w.bottleneck)} if w.middle else {}
    return _squeezed(w) | middle


def _deep(w: Widths, out: int) -> Shapes:
    middle: Shapes = {"middle.weight": (w.hidden, w.hidden)} if w.middle else {}
    return {"encoder.weight": (w.hidden, w.d_in), "narrow.weight": (out, w.hidden), **middle}


def _latent(w: Widths) -> Shapes:
    return _squeezed(w) | {"gain": (w.bottleneck,)}


def _residual(w: Widths) -> Shapes:
    correction = {f"correction.{name}": shape for name, shape in _autoencoder(w).items()}
    return {"linear.weight": (w.d_out, w.d_in), **correction}


def _narrow(w: Widths) -> int:
    return w.bottleneck


def _whole(w: Widths) -> int:
    return w.d_out


def epsilon_of(width: int) -> float:
    """What is added to the mean square of so many numbers where they are divided by their root mean square.

    Near zero the norm makes any rounding 1 / sqrt(epsilon) times larger. Many numbers hardly ever lie there all
    together; one or two, of a code or of a head, do: with a larger epsilon all ways to compute agree all the same.
    """
    return EPSILON if width > 2 else NARROW_EPSILON


_FIRST, _MORE = "aeattn.nn.projection", "aeattn.nn.kinds"
for _kind in (
    Kind("linear", "one matrix, as in standard attention", f"{_FIRST}:Linear", _linear, _whole,
         has_decoder=False, compiled="linear"),
    Kind("bottleneck", "two matrices with a narrow code between", f"{_FIRST}:Bottleneck", _squeezed,
         _narrow, compiled="linear"),
    Kind("autoencoder", "the same with GELU: encoder, bottleneck, decoder", f"{_FIRST}:Autoencoder", _autoencoder,
         _narrow, compiled="gelu"),
    Kind("gelu", "one matrix, then GELU", f"{_MORE}:Gelu", _linear, _whole, has_decoder=False, compiled="gelu"),
    Kind("deep", "a hidden layer with GELU, then one matrix: a code without a decoder", f"{_MORE}:Deep",
         lambda w: _deep(w, w.d_out), _whole, has_decoder=False, is_deep=True, compiled="gelu"),
    Kind("deep-linear", "the same without GELU: its control", f"{_MORE}:DeepLinear",
         lambda w: _deep(w, w.d_out), _whole, has_decoder=False, is_deep=True, compiled="linear"),
    Kind("deep-autoencoder", "a hidden layer with GELU, a narrow code, a decoder", f"{_MORE}:DeepAutoencoder",
         lambda w: _deep(w, w.bottleneck) | _decoder(w), _narrow, is_deep=True, compiled="gelu"),
    Kind("latent", "a narrow code divided by its root mean square, as in multi-head latent attention",
         f"{_MORE}:Latent", _latent, _narrow, compiled="linear"),
    Kind("residual", "linear and autoencoder added up", f"{_FIRST}:Residual", _residual,
         lambda w: w.d_out + w.bottleneck,
         not_absorbable="residual projections have no narrow code: use `autoencoder`"),
    Kind("shared", "a decoder of the keys' codes", f"{_FIRST}:Shared", _decoder, _narrow, shares_code=True,
         compiled="linear"),
):  # fmt: skip
    register(_kind)
