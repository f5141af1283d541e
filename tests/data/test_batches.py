"""Training batches and evaluation windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeattn.data import batches as module
from aeattn.data.batches import IGNORED, TrainBatches, eval_windows, permuted, sliding_windows
from aeattn.errors import InputError

sizes = st.tuples(st.integers(1, 12), st.integers(0, 300), st.integers(1, 9))  # context, extra text, batch


@settings(deadline=None)
@given(sizes, st.integers(0, 2**64 - 1), st.integers(0, 3), st.sampled_from([0, 1 << 22]))
def test_each_window_is_visited_once_an_epoch(
    size: tuple[int, int, int], seed: int, epoch: int, whole: int
) -> None:
    context, extra, batch = size
    ids = np.arange(context + 1 + extra)
    batches = TrainBatches(ids, batch=batch, context=context, seed=seed)
    first, last = epoch * batches.windows, (epoch + 1) * batches.windows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WHOLE_ORDER", whole)
        starts = np.concatenate([batches.starts(step) for step in range(first // batch, last // batch + 1)])
    offset = first - first // batch * batch
    visited = np.sort(starts[offset : offset + batches.windows])
    assert (np.diff(visited) == context).all()
    assert 0 <= visited[0] < context
    assert visited[-1] + context < len(ids)
    if len(ids) >= 2 * context:  # no room is left for another window, whatever the phase
        assert len(ids) - 1 - batches.windows * context < 2 * context


@settings(deadline=None)
@given(sizes, st.integers(0, 99), st.integers(0, 50))
def test_batches_are_a_function_of_seed_and_step(size: tuple[int, int, int], seed: int, step: int) -> None:
    context, extra, batch = size
    ids = np.arange(context + 1 + extra, dtype=np.uint16)
    travelled = TrainBatches(ids, batch=batch, context=context, seed=seed)
    for earlier in (0, 70, step // 2):
        travelled.at(earlier)
    fresh = TrainBatches(ids, batch=batch, context=context, seed=seed)
    rows = fresh.at(step)
    assert rows.shape == (batch, context + 1)
    assert rows.dtype == np.int64
    assert (np.diff(rows) == 1).all()
    np.testing.assert_array_equal(rows, travelled.at(step))


@settings(deadline=None)
@given(sizes, st.integers(1, 5), st.integers(0, 30))
def test_shards_together_are_the_batch(size: tuple[int, int, int], world: int, step: int) -> None:
    context, extra, batch = size
    batches = TrainBatches(np.arange(context + 1 + extra), batch=batch, context=context, seed=5)
    whole = batches.at(step)
    for rank in range(world):
        np.testing.assert_array_equal(batches.shard(step, rank, world), whole[rank::world])


def test_an_order_that_is_not_written_out_looks_random() -> None:
    count = 5000
    orders = [
        permuted(np.arange(count), count, np.random.Philox(key=np.array([key, 0], np.uint64)).random_raw(6))
        for key in range(2)
    ]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(count))
        for other in (np.arange(count), order[np.r_[1:count, 0]]):  # places and neighbours tell nothing
            assert abs(np.corrcoef(order, other)[0, 1]) < 0.06
    assert abs(np.corrcoef(*orders)[0, 1]) < 0.06
    far = permuted(np.array([0, 7, (1 << 40) - 1]), 1 << 40, np.arange(6, dtype=np.uint64))
    assert len(set(far.tolist())) == 3
    assert far.max() < 1 << 40


def test_the_bits_are_the_same_everywhere() -> None:
    """A change here changes every published run."""
    batches = TrainBatches(np.arange(100), batch=4, context=7, seed=3)
    assert batches.windows == 13
    assert [batches.starts(step).tolist() for step in (0, 3, 1000)] == [
        [39, 88, 4, 74],
        [81, 58, 44, 51],
        [6, 34, 83, 27],
    ]


def test_seeds_and_epochs_differ() -> None:
    ids = np.arange(10_000)
    one, other = (TrainBatches(ids, batch=8, context=16, seed=seed) for seed in (1, 2))
    assert (one.at(0) != other.at(0)).any()
    epochs = {tuple(one.starts(step)) for step in range(0, 10 * one.windows, one.windows)}
    assert len(epochs) == 10
    assert one.epoch(one.windows) == 8.0


def test_text_that_is_too_short_is_refused() -> None:
    TrainBatches(np.arange(9), batch=1, context=8, seed=0).at(3)
    with pytest.raises(InputError, match=r"text has 8 characters, a context of 8 needs at least 9: .*--context"):
        TrainBatches(np.arange(8), batch=1, context=8, seed=0)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"context": 0}, {"seed": -1}, {"seed": 2**64}])
def test_impossible_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        TrainBatches(np.arange(99), **{"batch": 1, "context": 2, "seed": 0, **wrong})
    with pytest.raises(ValueError, match="step"):
        TrainBatches(np.arange(99), batch=1, context=2, seed=0).at(-1)


def slow_windows(ids: np.ndarray, start: int, stop: int, context: int, stride: int) -> list[tuple]:
    """Inputs and targets of every window, one character at a time."""
    windows, scored, first = [], start, start
    while scored < stop - 1:
        inputs, targets = [], []
        for place in range(first, first + context):
            inside = place + 1 < stop
            inputs.append(int(ids[place]) if inside else 0)
            targets.append(int(ids[place + 1]) if inside and place >= scored else IGNORED)
        windows.append((inputs, targets))
        scored, first = first + context, first + stride
    return windows


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 60), st.integers(0, 20), st.integers(1, 7))
def test_windows_equal_their_slow_twin(context: int, stride: int, length: int, start: int, batch: int) -> None:
    stride = min(stride, context)
    ids = (np.arange(start + length + 5) % 251 + 1).astype(np.uint8)
    found = sliding_windows(ids, start, start + length, context, stride, batch)
    rows = [(i.tolist(), t.tolist()) for inputs, targets in found for i, t in zip(inputs, targets, strict=True)]
    assert rows == slow_windows(ids, start, start + length, context, stride)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 60), st.integers(0, 20), st.integers(1, 7))
def test_every_prediction_is_scored_once(context: int, stride: int, length: int, start: int, batch: int) -> None:
    stride = min(stride, context)
    ids, stop = np.arange(start + length + 5), start + length
    for windows in (
        sliding_windows(ids, start, stop, context, stride, batch),
        eval_windows(ids, start, stop, context, batch),
    ):
        scored = []
        for inputs, targets in windows:
            assert inputs.shape == targets.shape
            assert len(inputs) <= batch
            rows, columns = np.nonzero(targets != IGNORED)
            np.testing.assert_array_equal(inputs[rows, columns] + 1, targets[rows, columns])
            scored += targets[rows, columns].tolist()
        assert scored == list(range(start + 1, stop))


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 60))
def test_sliding_windows_give_enough_context(context: int, stride: int, length: int) -> None:
    stride = min(stride, context)
    for inputs, targets in sliding_windows(np.arange(length), 0, length, context, stride):
        rows, columns = np.nonzero(targets != IGNORED)
        seen = columns + 1  # characters that the prediction is made from
        assert (seen >= np.minimum(targets[rows, columns], context - stride + 1)).all()
        assert (inputs[:, 0] % stride == 0).all()


def test_documents_without_predictions_have_no_windows() -> None:
    assert list(eval_windows(np.arange(5), 2, 3, 4)) == list(eval_windows(np.arange(5), 5, 5, 4)) == []


@pytest.mark.parametrize("wrong", [(0, 9, 4, 0), (0, 9, 4, 5), (3, 2, 4, 4), (0, 11, 4, 4), (-1, 3, 4, 4)])
def test_impossible_windows_are_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="need"):
        next(sliding_windows(np.arange(10), *wrong))
