"""A text that is kept on the device gives the batches that are read from it elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeattn.data.batches import TrainBatches
from aeattn.training.loader import Loader
from aeattn.training.world import World


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@given(chars=st.integers(5, 90), batch=st.integers(1, 7), step=st.integers(0, 40))
def test_both_ways_give_the_same_batches(dtype: type, chars: int, batch: int, step: int) -> None:
    ids = np.random.default_rng(0).integers(0, 250, chars).astype(dtype)
    ids.flags.writeable = False  # as a memory map is
    batches = TrainBatches(ids, batch=batch, context=4, seed=1)
    cpu = torch.device("cpu")
    expected = torch.from_numpy(batches.at(step))
    for resident in (False, True, None):
        found = Loader(batches, cpu, resident=resident).at(step)
        assert found.dtype == torch.int64
        assert torch.equal(found, expected)


@pytest.mark.parametrize("resident", [False, True])
def test_the_shares_of_all_processes_are_the_batch(resident: bool) -> None:
    ids = np.random.default_rng(0).integers(0, 250, 90).astype(np.uint8)
    batches, cpu = TrainBatches(ids, batch=7, context=4, seed=1), torch.device("cpu")
    whole = Loader(batches, cpu, World(), resident=resident).at(3)
    shares = [Loader(batches, cpu, World(rank, 2), resident=resident).at(3) for rank in (0, 1)]
    assert [len(share) for share in shares] == [4, 3]
    assert torch.equal(shares[0], whole[0::2])
    assert torch.equal(shares[1], whole[1::2])
