"""One declaration of a setting: its type and default stand in a dataclass, its help beside them.

TOML, JSON, options of the command line, `--set`, `--help` and docs/reference.md all follow from that.
"""

from __future__ import annotations

import dataclasses
import functools
import numbers
import typing
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

from aeattn.files import Json

T = TypeVar("T")
_KEY = "aeattn"
_PLAIN: dict[type, tuple[type, str]] = {
    bool: (bool, "True or False"),
    int: (int, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "a string"),
}
_MANY = tuple[str, ...]
_NAMES: dict[Any, str] = {_MANY: "a tuple of strings", str | _MANY: "a string, or a tuple of strings"}


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
    hashable: Any = cls
    return _settings(hashable)


@functools.cache  # configs are checked and written many times a second, and resolving types is slow
def _settings(cls: Any) -> tuple[Setting, ...]:
    types, plain = typing.get_type_hints(cls), ("", None, False, True)
    return tuple(Setting(f.name, types[f.name], f.default, *f.metadata.get(_KEY, plain))
                 for f in dataclasses.fields(cls))  # fmt: skip


def require(holds: bool, name: str, value: object, wanted: str) -> None:
    """Raise ValueError, with a mend, for a value that cannot be."""
    if not holds:
        raise ValueError(f"{name} is {value!r}: choose {wanted}")


def require_types(config: Any) -> None:
    """Hold the fields of a dataclass to their declared types, whoever made it. Raises ValueError, with a mend."""
    for each in settings(type(config)):
        value, declared = getattr(config, each.name), get_args(each.type) or (each.type,)
        if get_origin(each.type) is Literal:
            require(value in declared, each.name, value, f"one of {', '.join(declared)}")
        elif each.type in _NAMES:
            one = isinstance(value, str) and each.type != _MANY
            many = isinstance(value, tuple | list) and all(isinstance(item, str) for item in value)
            require(one or many, each.name, value, _NAMES[each.type])
        elif value is not None or type(None) not in declared:
            for accepted, wanted in (_PLAIN[type_] for type_ in declared if type_ in _PLAIN):
                fits = isinstance(value, accepted) and (accepted is bool or not isinstance(value, bool))
                require(fits, each.name, value, wanted)


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


def to_dict(config: Any) -> Json:
    """A dictionary for JSON, table by table; `convert.build` is its inverse."""
    fields = ((each, getattr(config, each.name)) for each in settings(type(config)))
    return {each.name: to_dict(value) if dataclasses.is_dataclass(value) else value
            for each, value in fields if each.saved or value != each.default}  # fmt: skip
