"""From TOML and JSON to dataclasses, strict about keys and types."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from aeattn.config.fields import settings, type_name
from aeattn.errors import InputError, meant
from aeattn.files import Json

T = TypeVar("T")


def build(cls: type[T], values: Any, where: str) -> T:
    """The dataclass `cls` from nested dictionaries, strict about keys and types. Raises InputError."""
    if not isinstance(values, dict):
        raise InputError(f"{where} is {repr(values)[:100]}: write a table of settings there")
    types, above = (
        {each.name: each.type for each in settings(cls)},
        "" if where in ("config", "spec") else f"{where}.",
    )
    check_keys(values, list(types), where)
    converted = {name: _value(types[name], value, above + name) for name, value in values.items()}
    try:
        return cls(**converted)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {error}") from error


def _value(type_: Any, value: Any, where: str) -> Any:
    """The value as its type wants it: lists as tuples, whole numbers as floats, tables as dataclasses."""
    if dataclasses.is_dataclass(type_):
        return value if isinstance(value, type_) else build(type_, value, where)  # type: ignore[arg-type]
    import msgspec

    wanted = _without_choices(type_)
    if isinstance(value, str) and wanted == tuple[str, ...]:
        return (value,)  # one name needs no list
    try:
        return msgspec.convert(value, wanted)
    except (msgspec.ValidationError, ValueError) as error:
        mend = "write true or false" if wanted is bool else f"give a value of type {type_name(wanted)}"
        raise InputError(f"{where} is {repr(value)[:100]}: {mend}") from error


@cache
def _without_choices(type_: Any) -> Any:
    """The type with strings for literals: which words there are, each dataclass says itself."""
    origin, inner = get_origin(type_), get_args(type_)
    if origin is Literal:
        return str
    if origin is tuple:
        return tuple.__class_getitem__((_without_choices(inner[0]), ...))
    if origin in (Union, UnionType):
        return reduce(or_, map(_without_choices, inner))
    return type_


def check_keys(keys: Iterable[object], known: list[str], where: str) -> None:
    """Raise InputError for the first key that is not known, naming the nearest one that is."""
    for key in keys:
        if key not in known:
            raise InputError(f"{where}: unknown key {str(key)[:100]!r}; {meant(str(key), known)}")


def check_choice(value: object, known: Iterable[str], where: str) -> None:
    """Raise InputError for a value that is none of those that are known, naming the nearest one."""
    if value not in (names := list(known)):
        raise InputError(f"{where} is {str(value)[:100]!r}: {meant(str(value), names)}")


def nested(name: str, value: Any) -> Json:
    """`a.b` and a value as {"a": {"b": value}}."""
    for key in reversed(name.split(".")):
        value = {key: value}
    return dict(value)


def overlay(base: Json, changes: Json) -> Json:
    """`base` with `changes` laid over it, table by table."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = overlay(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged
