"""The same seed gives the same batches, for any number of workers and of processes that share them."""

from __future__ import annotations

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from tests.faults.conftest import Tally
from tests.faults.sharing import ROWS, STEPS, batches_of, shards_of, sum_of


@pytest.fixture(scope="module")
def alone() -> list[np.ndarray]:
    batches = batches_of(7)
    return [batches.at(step) for step in range(STEPS)]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_gives_the_samebatches_of(
    workers: int, alone: list[np.ndarray], tally: Tally
) -> None:
    spawn = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        sums = list(pool.map(sum_of, [7] * STEPS, reversed(range(STEPS))))
    right = sums[::-1] == [hashlib.sha256(batch.tobytes()).hexdigest() for batch in alone]
    assert tally.count("batch orders right", right)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_any_number_of_processes_shares_the_same_globalbatches_of(
    world: int, alone: list[np.ndarray], tally: Tally
) -> None:
    spawn = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(world, mp_context=spawn) as pool:
        shards = list(pool.map(shards_of, [7] * world, range(world), [world] * world))
    joined = [np.empty((ROWS, 17), np.int64) for _ in range(STEPS)]
    for rank, rows in enumerate(shards):
        for step in range(STEPS):
            joined[step][rank::world] = rows[step]
    assert tally.count("batch orders right", all(map(np.array_equal, joined, alone)))


def test_another_seed_gives_otherbatches_of(alone: list[np.ndarray]) -> None:
    assert not all(map(np.array_equal, [batches_of(8).at(step) for step in range(STEPS)], alone))
