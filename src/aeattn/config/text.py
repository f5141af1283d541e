"""How a text is normalised, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from aeattn.errors import InputError


@dataclass(frozen=True)
class TextOptions:
    """How text is normalised before it becomes characters of a vocabulary.

    Attributes:
        ascii: fold to ASCII: quotes, dashes and ligatures are spelled out, accents are dropped.
        lower: lower-case, character by character.
        unwrap: one paragraph a line: line breaks inside a paragraph become spaces.
        keep: the characters to keep; the others are dropped, and counted. `None` keeps all.
    """

    ascii: bool = False
    lower: bool = False
    unwrap: bool = False
    keep: str | None = None

    def __post_init__(self) -> None:
        for name in ("ascii", "lower", "unwrap"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"text option {name!r} must be true or false, not {getattr(self, name)!r}")
        if self.keep is not None and (not isinstance(self.keep, str) or not self.keep):
            raise InputError(f"text option 'keep' must be a string of characters or null, not {self.keep!r}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TextOptions:
        """Inverse of `to_dict`; raises InputError on a key it does not know."""
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise InputError(f"unknown text option {key!r}; the options are {', '.join(known)}")
        return cls(**values)
