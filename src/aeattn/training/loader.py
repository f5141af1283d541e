"""Batches as tensors on the device: a process's share of each.

Shapes: B windows in a process's share of a batch, T characters of context, N characters of text.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aeattn.data.batches import TrainBatches
from aeattn.data.tokenizer import Ids
from aeattn.training.world import ALONE, World

MOST_RESIDENT = 4 << 30  # bytes of a text that are kept on a GPU


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
        self.rows = world.share(torch.arange(batches.batch, device=device))  # (B,), their numbers in the batch

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
