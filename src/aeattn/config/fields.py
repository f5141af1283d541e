"""One declaration of a setting: its type and default stand in a dataclass, its help beside them.

TOML, JSON, options of the command line, `--set`, `--help` and docs/reference.md all follow from that.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

T = TypeVar("T")
_KEY = "aeattn"


@dataclass(frozen=True)
class Setting:
    """What is known of one field. `flag`: whether it has an option of its own, besides `--set`; `saved`: whether
    files hold its default, which those from before the field was there do not."""

    name: str
    type: Any
    default: Any
    help: str
    metavar: str | None
    flag: bool
    saved: bool

    @property
    def option(self) -> str:
        """Its option on the command line; one that can be repeated is in the singular."""
        name = {"plugins": "plugin"}.get(self.name, self.name)
        return f"--{name.replace('_', '-')}"


def setting(default: T, help: str, *, metavar: str | None = None, flag: bool = False, saved: bool = True) -> T:
    """A field of a frozen dataclass, with its help. Give `saved=False` to a field that is added to a format of
    files: they stay as they were where it has its default."""
    known: Any = {_KEY: (help, metavar, flag, saved)}
    return dataclasses.field(default=default, metadata=known)


def settings(cls: type[Any]) -> tuple[Setting, ...]:
    """The fields of a dataclass in order, with types that are resolved."""
    types = typing.get_type_hints(cls)
    return tuple(_setting(field, types[field.name]) for field in dataclasses.fields(cls))


def _setting(field: dataclasses.Field[Any], type_: Any) -> Setting:
    help, metavar, flag, saved = field.metadata.get(_KEY, ("", None, False, True))
    return Setting(field.name, type_, field.default, help, metavar, flag, saved)


def type_name(type_: Any) -> str:
    """As it is written in messages and in the reference: int, float | None, list[str], muon | adamw."""
    origin, inner = get_origin(type_), get_args(type_)
    if origin is tuple:
        return f"list[{type_name(inner[0])}]"
    if origin is Literal:
        return " | ".join(inner)
    if inner:
        return " | ".join(map(type_name, inner))
    return "None" if type_ is type(None) else str(getattr(type_, "__name__", type_))


def to_dict(config: Any) -> dict[str, Any]:
    """A dictionary for JSON, table by table; `convert.build` is its inverse."""
    return dict(_saved(config))


def _saved(config: Any) -> Iterator[tuple[str, Any]]:
    for each in settings(type(config)):
        value = getattr(config, each.name)
        if each.saved or value != each.default:
            yield each.name, to_dict(value) if dataclasses.is_dataclass(value) else value
