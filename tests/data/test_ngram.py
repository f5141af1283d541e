"""The n-gram baseline."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeattn.data import ngram
from aeattn.data.ngram import ngram_baseline, ngram_nats

VOCABULARY = 4
texts = st.lists(st.integers(0, VOCABULARY - 1), max_size=60).map(np.array)
some_text = st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=30).map(np.array)


def slow_probability(train: list[int], context: list[int], character: int, order: int) -> float:
    """p_n(character | the last n - 1 of context), straight from the formula."""
    if order == 0:
        return 1 / VOCABULARY
    below = slow_probability(train, context, character, order - 1)
    if len(context) < order - 1:
        return below
    seen = context[len(context) - order + 1 :]
    ends = range(order - 1, len(train))
    following = Counter(train[end] for end in ends if train[end - order + 1 : end] == seen)
    kinds, total = len(following), following.total()
    return (following[character] + kinds * below) / (total + kinds) if total else below


@settings(deadline=None)
@given(texts, some_text)
def test_losses_equal_their_slow_twin(train: np.ndarray, valid: np.ndarray) -> None:
    train = train.astype(np.uint8)
    losses = ngram_nats(train, valid, VOCABULARY, 4)
    for order, found in enumerate(losses, start=1):
        slow = [
            -math.log(slow_probability(train.tolist(), valid[:place].tolist(), int(valid[place]), order))
            for place in range(1, len(valid))
        ]
        np.testing.assert_allclose(found, slow)


@settings(deadline=None)
@given(texts, some_text)
def test_distributions_sum_to_one(train: np.ndarray, context: np.ndarray) -> None:
    sums = np.zeros(4)
    for character in range(VOCABULARY):
        losses = ngram_nats(train, np.append(context, character), VOCABULARY, 4)
        sums += np.exp([-nats[-1] for nats in losses])
    np.testing.assert_allclose(sums, 1.0)


def test_counting_by_sorting_equals_counting_into_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    train, valid = random.integers(0, 5, 3000), random.integers(0, 5, 400)
    dense = ngram_baseline(train, valid, 5)
    monkeypatch.setattr(ngram, "_DENSE_CODES", 0)
    assert ngram_baseline(train, valid, 5) == dense


def test_more_context_helps_where_there_is_something_to_learn() -> None:
    text = np.frombuffer(b"the cat sat on the mat and the rat sat on the cat. " * 40, np.uint8)
    losses = ngram_baseline(text, text, 128)
    assert list(losses) == [1, 2, 3, 4, 5]
    assert sorted(losses.values(), reverse=True) == list(losses.values())
    assert losses[5] < 0.2


def test_a_random_text_costs_what_it_must() -> None:
    random = np.random.default_rng(0)
    losses = ngram_baseline(random.integers(0, 8, 50_000), random.integers(0, 8, 5_000), 8, orders=(1, 2))
    np.testing.assert_allclose(list(losses.values()), math.log(8), atol=0.01)


def test_limits() -> None:
    train, valid = np.arange(100) % 7, np.arange(50) % 7
    assert ngram_baseline(train, valid, 7, (2,), train_chars=20) == ngram_baseline(train[:20], valid, 7, (2,))
    assert list(ngram_baseline(train, valid, 1 << 20)) == [1, 2, 3]  # 80-bit codes do not fit
    for wrong in (valid[:1], valid[:0]):
        with pytest.raises(ValueError, match="two characters"):
            ngram_baseline(train, wrong, 7)
    with pytest.raises(ValueError, match="orders"):
        ngram_baseline(train, valid, 7, (0,))
