"""A text that is kept on the device gives the batches that are read from it elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeattn.data.batches import TrainBatches
from aeattn.training.loader import Feed


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@given(chars=st.integers(5, 90), batch=st.integers(1, 7), step=st.integers(0, 40))
def test_both_ways_give_the_same_batches(dtype: type, chars: int, batch: int, step: int) -> None:
    ids = np.random.default_rng(0).integers(0, 250, chars).astype(dtype)
    ids.flags.writeable = False  # as a memory map is
    batches = TrainBatches(ids, batch=batch, context=4, seed=1)
    cpu = torch.device("cpu")
    expected = torch.from_numpy(batches.at(step))
    for resident in (False, True, None):
        found = Feed(batches, cpu, resident).at(step)
        assert found.dtype == torch.int64
        assert torch.equal(found, expected)
