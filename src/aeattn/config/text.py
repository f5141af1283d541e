"""How a text is normalised, as data."""

from __future__ import annotations

from dataclasses import dataclass

from aeattn.config.fields import setting, to_dict
from aeattn.config.shown import Shown
from aeattn.errors import InputError
from aeattn.files import Json


@dataclass(frozen=True, repr=False)
class TextOptions(Shown):
    """How text is normalised before it becomes characters of a vocabulary. What is dropped is counted."""

    ascii: bool = setting(
        False, "fold to ASCII: quotes, dashes and ligatures are spelled out, accents dropped", flag=True
    )
    lower: bool = setting(False, "lower-case, character by character", flag=True)
    unwrap: bool = setting(False, "one paragraph a line: line breaks inside a paragraph become spaces", flag=True)
    keep: str | None = setting(None, "the characters to keep; all others are dropped", metavar="CHARS", flag=True)

    def __post_init__(self) -> None:
        for name in ("ascii", "lower", "unwrap"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"text option {name!r} must be true or false, not {getattr(self, name)!r}")
        if self.keep is not None and (not isinstance(self.keep, str) or not self.keep):
            raise InputError(f"text option 'keep' must be a string of characters or null, not {self.keep!r}")

    def to_dict(self) -> Json:
        return to_dict(self)
