"""From JSON values to dataclasses and back: the border behind which there are types alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, Self, TypeVar

import msgspec

from aeattn import files
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
    """As JSON gives it back: dataclasses as objects, tuples as lists, keys as strings. A dataclass may name fields
    in `ADDED` that came later: they are left out where empty, so that older files and hashes stay as they were."""
    return json.loads(json.dumps(_plain(value)))


def _plain(value: Any) -> Any:
    if value is None or type(value) in (str, int, float, bool):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        added = getattr(value, "ADDED", ())
        known = {f.name: getattr(value, f.name) for f in fields(value)}
        return {name: _plain(x) for name, x in known.items() if x or name not in added}
    if isinstance(value, Mapping):
        return {str(key): _plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(x) for x in value]
    return msgspec.to_builtins(value, str_keys=True)


def digest(value: object) -> str:
    """A hash over what JSON makes of a value; the order of keys does not matter."""
    return files.digest(to_json(value))


class Saved:
    """A dataclass that a file holds."""

    ADDED: ClassVar[tuple[str, ...]] = ()

    def to_dict(self) -> Json:
        return {"format": FORMAT, **to_json(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object], where: str) -> Self:
        """Raises InputError for what is none, or of a later version."""
        check_format(values.get("format"), where)
        return from_json(cls, values, where)


def check_format(found: object, where: str) -> None:
    """Raise InputError for a file of a later version."""
    if not isinstance(found, int) or found > FORMAT:
        raise InputError(f"{where} has format {found!r}, this version reads up to {FORMAT}: update aeattn")
