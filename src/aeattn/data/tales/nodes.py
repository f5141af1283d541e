"""What a grammar is made of: literals, picks of words, choices, and words that come back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

Entry: TypeAlias = Mapping[str, str]
"""One entry of a kind: what to write for each of its forms; the form named "" is the plain word."""

Bound: TypeAlias = Mapping[str, Entry]
"""What the slots of a story remember."""


@dataclass(frozen=True, slots=True)
class Step:
    """One way to go on: its cost, what it writes, what remains to be expanded, and what it remembers."""

    nats: float
    text: str
    parts: "tuple[Node, ...]" = ()
    binding: tuple[str, Entry] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Literal:
    """A fixed text."""

    text: str

    def steps(self, bound: Bound) -> Sequence[Step]:
        """The only step: write the text."""
        return (Step(0.0, self.text),)


@dataclass(frozen=True, eq=False, slots=True)
class Recall:
    """A form of the entry that a slot remembers."""

    slot: str
    form: str

    def steps(self, bound: Bound) -> Sequence[Step]:
        """The only step: write the remembered form."""
        return (Step(0.0, bound[self.slot][self.form]),)


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

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(
            Step(self.nats, entry[self.form], (), (self.slot, entry) if self.slot else None)
            for entry in self.entries
        )

    @cached_property
    def _by_initial(self) -> dict[str, list[Step]]:
        groups: dict[str, list[Step]] = {}
        for step in self._steps:
            groups.setdefault(step.text[0], []).append(step)
        return groups

    def steps(self, bound: Bound) -> Sequence[Step]:
        """One step for each entry."""
        return self._steps

    def steps_at(self, initial: str) -> Sequence[Step]:
        """The steps whose text starts with a given character."""
        return self._by_initial.get(initial, ())


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

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(Step(self.nats(option), "", option.parts) for option in self.options)

    def steps(self, bound: Bound) -> Sequence[Step]:
        """One step for each alternative."""
        return self._steps


Node: TypeAlias = Literal | Recall | Pick | Choice
