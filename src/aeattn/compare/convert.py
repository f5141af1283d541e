"""From JSON values to dataclasses and back: the border behind which there are types alone."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

import msgspec

from aeattn.errors import Damaged, InputError
from aeattn.files import Json

FORMAT = 1  # of the files of a comparison; raised when older versions of this package could not read them
T = TypeVar("T")


def from_json(kind: type[T], values: object, where: str) -> T:
    """JSON values as a dataclass. Raises Damaged, naming the field, for what is none."""
    try:
        return msgspec.convert(values, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise Damaged(f"{where} is damaged ({error}): restore it") from error


def to_json(value: object) -> Any:
    """As JSON gives it back: dataclasses as objects, tuples as lists, keys as strings."""
    return json.loads(json.dumps(msgspec.to_builtins(value, str_keys=True)))


def digest(value: object) -> str:
    """A hash over what JSON makes of a value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(to_json(value), sort_keys=True).encode()).hexdigest()


def check_format(values: Json, where: str) -> None:
    """Raise InputError for a file of a later version."""
    found = values.get("format")
    if not isinstance(found, int) or found > FORMAT:
        raise InputError(f"{where} has format {found!r}, this version reads up to {FORMAT}: update aeattn")
