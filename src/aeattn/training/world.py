"""The processes that train one model together, and what each of them loads. Today there is one process: all that
depends on their number asks here.

Shapes: B windows in a process's share of a batch, T characters of context, N characters of text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from aeattn.data.batches import TrainBatches
from aeattn.data.tokenizer import Ids
from aeattn.errors import InputError

MOST_RESIDENT = 4 << 30  # bytes of a text that are kept on a GPU

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


class Loader:
    """This process's share of `TrainBatches`, on a device. A GPU keeps the whole text, if there is room, and only
    the positions of the windows travel to it; the CPU reads them from where the text is."""

    def __init__(
        self, batches: TrainBatches, device: torch.device, world: World = ALONE, *, resident: bool | None = None
    ) -> None:
        self.batches, self.device, self.world = batches, device, world
        if resident is None:
            resident = device.type == "cuda" and batches.ids.nbytes <= MOST_RESIDENT
        self._text = _resident(batches.ids, device) if resident else None
        self._window = torch.arange(batches.context + 1, device=device)

    def at(self, step: int) -> Tensor:
        """Batch number `step`, counted from 0: (B, T + 1), int64."""
        if self._text is None:
            rows = self.batches.shard(step, self.world.rank, self.world.size)
            return torch.from_numpy(rows).to(self.device)
        starts = torch.from_numpy(self.world.share(self.batches.starts(step)))
        return self._text[starts.to(self.device, non_blocking=True)[:, None] + self._window].long()


def _resident(ids: Ids, device: torch.device) -> Tensor:
    kept = np.uint8 if ids.dtype == np.uint8 else np.int32  # types that can be indexed everywhere
    return torch.from_numpy(np.array(ids, kept)).to(device)
