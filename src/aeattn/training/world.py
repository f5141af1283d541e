"""The processes that train one model together: who does what. All that depends on their number asks here; how they
talk to each other is `processes.py`'s. Without PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from aeattn.errors import InputError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Sliced(Protocol[T_co]):
    """Whatever can be cut like a list: lists, arrays."""

    def __getitem__(self, rows: slice, /) -> T_co: ...


@dataclass(frozen=True)
class World:
    """Process number `rank` of `size`, which hears of no other: a process alone, or one of several in a test.

    Each takes its share of a batch's rows and of what is evaluated; `main` alone writes, locks and prints.
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

    def each(self, items: Iterable[T], first: int = 0) -> Iterator[T]:
        """The same of what cannot be cut, whose first item has number `first`."""
        return islice(items, (self.rank - first) % self.size, None, self.size)

    # -- what they tell each other -----------------------------------------------------------------------

    def gather(self, value: T) -> list[T]:
        """What each process gives, by rank."""
        return [value]

    def on_main(self, work: Callable[[], T]) -> T:
        """What the main process makes, in every process. Raises its InputError in all."""
        return work()

    def agreed(self, work: Callable[[], T]) -> T:
        """What this process makes, when all have made theirs. Raises the first InputError of any in all."""
        return work()


ALONE = World()


def check_batch(batch: int, world: World) -> None:
    """Raise InputError for windows that cannot be shared equally."""
    if batch % world.size:
        more = f"choose a --batch that {world.size} divides, such as {-(-batch // world.size) * world.size}"
        windows = "1 window" if batch == 1 else f"{batch} windows"
        raise InputError(f"{world.size} processes cannot share a batch of {windows} equally: {more}")
