"""The kinds of projection and what each is made of, as data: sizes, checks, caches and the choice of an engine
follow from it, without building a model or loading PyTorch.

The modules are in `nn/projection.py`, as is `register_projection`, by which users add kinds of their own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["query", "key", "value"]
ROLES: tuple[Role, ...] = ("query", "key", "value")
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Widths:
    """How many features go in, out, and through the bottleneck of a projection; `middle` asks for a further
    matrix inside the bottleneck."""

    d_in: int
    d_out: int
    bottleneck: int
    middle: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind of projection.

    name: what configs call it.
    help: one line about it.
    make: its class, or "module:Class", called with `d_in, d_out, bottleneck, middle`.
    shapes: of its weights, by name; all with two axes are counted as matrices that multiply each character once.
    code: how wide its code is; as wide as what it puts out where it has no decoder.
    has_decoder: whether a matrix decodes the code; without one, the code is the result.
    shares_code: whether it decodes the code of the keys and has no encoder; only values can.
    not_absorbable: why its codes cannot stand for keys and values in a cache, or None where they can.
    compiled: what makes the code of the first product in the compiled engine: nothing (`linear`) or `gelu`, also
        after the matrix `middle.weight`, if there is one; None where that engine cannot make it.
    """

    name: str
    help: str
    make: str | Callable[..., Any]
    shapes: Callable[[Widths], Shapes]
    code: Callable[[Widths], int]
    has_decoder: bool = True
    shares_code: bool = False
    not_absorbable: str | None = None
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
        make = self.make
        if isinstance(make, str):
            home, _, name = make.partition(":")
            make = getattr(importlib.import_module(home), name)
        return make(widths.d_in, widths.d_out, widths.bottleneck, middle=widths.middle)

    @property
    def home(self) -> str:
        """The module and class that make it."""
        return self.make if isinstance(self.make, str) else f"{self.make.__module__}:{self.make.__qualname__}"


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
        raise ValueError(f"{what} {name!r} is unknown: choose one of {', '.join(names(role))}")
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


def _residual(w: Widths) -> Shapes:
    correction = {f"correction.{name}": shape for name, shape in _autoencoder(w).items()}
    return {"linear.weight": (w.d_out, w.d_in), **correction}


def _narrow(w: Widths) -> int:
    return w.bottleneck


_HOME = "aeattn.nn.projection"
for _kind in (
    Kind("linear", "one matrix, as in standard attention", f"{_HOME}:Linear", _linear, lambda w: w.d_out,
         has_decoder=False, compiled="linear"),
    Kind("bottleneck", "two matrices with a narrow code between", f"{_HOME}:Bottleneck", _squeezed,
         _narrow, compiled="linear"),
    Kind("autoencoder", "the same with GELU: encoder, bottleneck, decoder", f"{_HOME}:Autoencoder", _autoencoder,
         _narrow, compiled="gelu"),
    Kind("residual", "linear and autoencoder added up", f"{_HOME}:Residual", _residual,
         lambda w: w.d_out + w.bottleneck,
         not_absorbable="residual projections have no narrow code: use `autoencoder`"),
    Kind("shared", "a decoder of the keys' codes", f"{_HOME}:Shared", _decoder, _narrow, shares_code=True,
         compiled="linear"),
):  # fmt: skip
    register(_kind)
