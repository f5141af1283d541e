"""The same seed gives the same batches, for any number of workers and of processes that share them."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

from tests.faults.conftest import Tally
from tests.faults.harness import FULL
from tests.faults.sharing import ROWS, STEPS, batches_of, shards_of, sum_of

SPAWN = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module")
def alone() -> list[np.ndarray]:
    batches = batches_of(7)
    return [batches.at(step) for step in range(STEPS)]


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Three processes, since each takes a second to start; in the full suite others, too."""
    with ProcessPoolExecutor(3, mp_context=SPAWN) as pool:
        yield pool


@pytest.mark.parametrize("workers", [1, 2, 3] if FULL else [3])
def test_any_number_of_workers_gives_the_same_batches(
    workers: int, alone: list[np.ndarray], tally: Tally, pool: ProcessPoolExecutor
) -> None:
    with nullcontext(pool) if workers == 3 else ProcessPoolExecutor(workers, mp_context=SPAWN) as some:
        sums = list(some.map(sum_of, [7] * STEPS, reversed(range(STEPS))))
    right = sums[::-1] == [hashlib.sha256(batch.tobytes()).hexdigest() for batch in alone]
    assert tally.count("batch orders right", right)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_any_number_of_processes_shares_the_same_global_batches(
    world: int, alone: list[np.ndarray], tally: Tally, pool: ProcessPoolExecutor
) -> None:
    shards = list(pool.map(shards_of, [7] * world, range(world), [world] * world))
    joined = [np.empty((ROWS, 17), np.int64) for _ in range(STEPS)]
    for rank, rows in enumerate(shards):
        for step in range(STEPS):
            joined[step][rank::world] = rows[step]
    assert tally.count("batch orders right", all(map(np.array_equal, joined, alone)))


def test_another_seed_gives_other_batches(alone: list[np.ndarray]) -> None:
    assert not all(map(np.array_equal, [batches_of(8).at(step) for step in range(STEPS)], alone))
