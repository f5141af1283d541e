"""What a grammar is made of: literals, picks of words, choices, and words that come back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

Entry: TypeAlias = Mapping[str, str]
"""One entry of a kind: what to write for each of its forms; the form named "" is the plain word."""


@dataclass(frozen=True, eq=False, slots=True)
class Literal:
    """A fixed text."""

    text: str


@dataclass(frozen=True, eq=False, slots=True)
class Recall:
    """A form of the entry that a slot remembers."""

    slot: str
    form: str


@dataclass(frozen=True, eq=False)
class Pick:
    """A uniform choice of an entry of a kind, written in one form, and remembered where a slot is named."""

    form: str
    entries: tuple[Entry, ...]
    slot: str | None = None

    def __post_init__(self) -> None:
        if len({entry[self.form] for entry in self.entries}) < len(self.entries):
            raise ValueError(f"entries share their form {self.form!r}: {self.entries[0]}...")

    @cached_property
    def nats(self) -> float:
        """What each entry costs, in nats."""
        return math.log(len(self.entries))


@dataclass(frozen=True, slots=True)
class Option:
    """A weighted alternative of a choice, as the sequence of its parts."""

    parts: "tuple[Node, ...]"
    weight: int = 1


@dataclass(frozen=True, eq=False)
class Choice:
    """A choice among weighted alternatives."""

    options: tuple[Option, ...]

    @cached_property
    def total(self) -> int:
        """The sum of the weights."""
        return sum(option.weight for option in self.options)

    def nats(self, option: Option) -> float:
        """What an alternative costs, in nats."""
        return math.log(self.total / option.weight)


Node: TypeAlias = Literal | Recall | Pick | Choice
