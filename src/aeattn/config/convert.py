"""From TOML and JSON to dataclasses, strict about keys and types."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from aeattn.errors import InputError
from aeattn.files import read_bytes

T = TypeVar("T")


def build(cls: type[T], values: dict[str, Any], where: str) -> T:
    """The dataclass `cls` from a dictionary, strict about keys and types. Raises InputError."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    check_keys(values, list(fields), where)
    try:
        return cls(**{name: _typed(fields[name], value, where) for name, value in values.items()})
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {error}") from error


def check_keys(values: dict[str, Any], known: list[str], where: str) -> None:
    """Raise InputError for the first key that is not known, naming the nearest one that is."""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:100], known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise InputError(f"{where}: unknown key {str(key)[:100]!r}; {hint}")


_BASIC: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "bool": (bool,),
    "str": (str,),
    "str | None": (str, type(None)),
}
_CONFIG_BYTES = 1 << 20
_DEEP = re.compile(
    r"""(?:[\w"'-]+\s*\.\s*){20}"""
)  # tables in tables, each a step of the parser through all above it

_LISTS: dict[str, tuple[type, ...]] = {"tuple[int, ...]": (int,), "tuple[int | float, ...]": (int, float)}


def _typed(field_: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """The value, with lists as tuples, refused where a plain number, flag or string is declared otherwise."""
    if isinstance(value, list):
        items = _LISTS.get(str(field_.type), (str,))
        if not all(isinstance(item, items) and not isinstance(item, bool) for item in value):
            named = "strings" if items == (str,) else "numbers"
            raise InputError(f"{where}.{field_.name} is {repr(value)[:100]}: give a list of {named}")
        return tuple(value)
    wanted = _BASIC.get(str(field_.type))
    wrong = wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted))
    if wrong:
        raise InputError(f"{where}.{field_.name} is {repr(value)[:100]}: give a value of type {field_.type}")
    return float(value) if float in (wanted or ()) and value is not None else value


def read_toml(path: Path) -> dict[str, Any]:
    """A config file as nested dictionaries. Raises InputError where it cannot be read."""
    try:
        text = read_bytes(path, _CONFIG_BYTES).decode("utf-8")
        if len(text) > _CONFIG_BYTES or _DEEP.search(text):
            raise ValueError("more than a mebibyte, or tables deep in tables: no settings need that")
        return tomllib.loads(text)
    except FileNotFoundError:
        raise InputError(f"config file {path} is not there: check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"config file {path} cannot be read: {' '.join(str(error).split())[:200]}") from error


def overlay(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, table by table."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = overlay(below, value) if both and below is not None else value
    return merged
