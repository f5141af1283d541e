"""The processes that train one model together. Today there is one: all that depends on their number asks here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from aeattn.errors import InputError

T_co = TypeVar("T_co", covariant=True)


class Sliced(Protocol[T_co]):
    """Whatever can be cut like a list: lists, arrays."""

    def __getitem__(self, rows: slice, /) -> T_co: ...


@dataclass(frozen=True)
class World:
    """Process number `rank` of `size`.

    Each takes its share of a batch's rows and of what is evaluated, and draws dropout of its own; `main` alone
    writes, locks and prints.
    """

    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise InputError(f"rank is {self.rank} of {self.size} processes: choose one from 0 to {self.size - 1}")

    @property
    def main(self) -> bool:
        return self.rank == 0

    def share(self, items: Sliced[T_co]) -> T_co:
        """This process's part: the shares of all ranks together are the whole."""
        return items[self.rank :: self.size]

    def seed(self, seed: int) -> int:
        """For random numbers that must differ between processes."""
        return (seed + self.rank) % (1 << 63)


ALONE = World()
