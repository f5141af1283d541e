"""What worker processes compute of batches; without PyTorch, so that they start quickly."""

from __future__ import annotations

import hashlib

import numpy as np

from aeattn.data.batches import TrainBatches

STEPS, ROWS = 40, 6


def batches_of(seed: int) -> TrainBatches:
    ids = np.random.default_rng(0).integers(0, 50, 1000).astype(np.uint8)
    return TrainBatches(ids, batch=ROWS, context=16, seed=seed)


def sum_of(seed: int, step: int) -> str:
    return hashlib.sha256(batches_of(seed).at(step).tobytes()).hexdigest()


def shards_of(seed: int, rank: int, world: int) -> list[np.ndarray]:
    batches = batches_of(seed)
    return [batches.shard(step, rank, world) for step in range(STEPS)]
