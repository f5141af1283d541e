"""Statistics against SciPy, tables in books, and simulations whose answer is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aeattn.compare import intervals as statistics
from aeattn.compare.intervals import (
    estimate,
    holm,
    percent_perplexity,
    pooled,
    resolvable,
    two_level_bootstrap,
    two_way,
)


def test_the_paired_interval_is_that_of_the_paired_t_test() -> None:
    a, b = [1.31, 1.29, 1.33, 1.30, 1.32, 1.28], [1.33, 1.30, 1.35, 1.33, 1.32, 1.31]
    found = estimate([x - y for x, y in zip(a, b, strict=True)])
    wanted = stats.ttest_rel(a, b)
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.interval == pytest.approx(tuple(wanted.confidence_interval(0.95)))


def test_a_hand_made_interval() -> None:
    # mean 2, standard deviation 1, n = 3; the table gives t(0.975, 2) = 4.303
    found = estimate([1.0, 2.0, 3.0])
    assert (found.n, found.mean, found.sd) == (3, 2.0, 1.0)
    half = 4.303 / math.sqrt(3)
    assert found.interval == pytest.approx((2 - half, 2 + half), abs=1e-3)
    assert found.p == pytest.approx(0.0742, abs=1e-4)


def test_one_seed_allows_no_interval() -> None:
    assert estimate([0.5]) == statistics.Estimate(1, 0.5, None, None, None)
    with pytest.raises(ValueError, match="no finite numbers"):
        estimate([])
    with pytest.raises(ValueError, match="no finite numbers"):
        estimate([1.0, float("nan")])


def test_differences_that_are_all_the_same() -> None:
    assert estimate([0.0, 0.0, 0.0]).interval == (0.0, 0.0)
    assert estimate([0.0, 0.0]).p == 1.0
    assert estimate([-2.0, -2.0]).interval == (-2.0, -2.0)
    assert estimate([-2.0, -2.0]).p == 0.0
    assert estimate([0.3, 0.1 + 0.2]).sd == 0.0  # but for rounding


def test_the_interval_of_identical_arms_holds_zero_95_times_in_100() -> None:
    rng = np.random.default_rng(5)
    rounds, seeds = 3000, 6
    shared = rng.normal(0, 0.02, (rounds, seeds))  # what a seed does to both arms alike
    arms = [1.3 + shared + rng.normal(0, 0.004, (rounds, seeds)) for _ in range(2)]
    intervals = [estimate(list(row)).interval for row in arms[0] - arms[1]]
    held = np.mean([low <= 0 <= high for low, high in intervals if low is not None])  # type: ignore[misc]
    assert held == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / rounds))


def test_the_bootstrap_knows_both_sources_of_variation() -> None:
    rng = np.random.default_rng(0)
    chars = np.array([1000.0, 3000.0, 2000.0, 1500.0, 2500.0])
    by_book = rng.normal(0, 0.02, 5)
    over_books = np.tile(by_book * chars, (6, 1))  # every seed alike: all variation is between books
    over_seeds = rng.normal(0, 0.02, (6, 1)) * chars  # every book alike
    for nats, spread in ((over_books, by_book), (over_seeds, over_seeds[:, 0] / chars[0])):
        interval = two_level_bootstrap(nats, chars)
        assert interval is not None
        low, high = interval
        assert low < nats.sum() / (6 * chars.sum()) < high
        assert spread.min() <= low
        assert high <= spread.max()
        assert high - low > 0.5 * spread.std()


def test_the_bootstrap_agrees_with_the_t_interval_where_books_are_alike_and_seeds_many() -> None:
    rng = np.random.default_rng(1)
    chars = np.array([100.0, 300.0])
    differences = rng.normal(0.01, 0.01, 60)
    interval = two_level_bootstrap(differences[:, None] * chars, chars)
    assert interval == pytest.approx(estimate(list(differences)).interval, abs=4e-4)


def test_the_bootstrap_weighs_books_by_their_characters() -> None:
    nats = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])  # 1 nat over 1 character, 0 over 9
    interval = two_level_bootstrap(nats, np.array([1.0, 9.0]))
    assert interval == (0.0, 1.0)
    assert two_level_bootstrap(nats[:, :1], np.ones(1)) is None
    assert two_level_bootstrap(nats[:1], np.ones(2)) is None
    assert two_level_bootstrap(np.zeros((2, 2)), np.ones(2)) == (0.0, 0.0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_uncorrected_and_bonferroni_and_keeps_the_order(ps: list[float]) -> None:
    corrected = holm(ps)
    for p, c in zip(ps, corrected, strict=True):
        assert c is not None
        assert p <= c <= min(1.0, p * len(ps)) + 1e-12
    assert [c for _, c in sorted(zip(ps, corrected, strict=True))] == sorted(corrected)  # type: ignore[type-var]


def test_the_noise_floor_is_where_the_unpaired_t_test_turns() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=6)
    x = (x - x.mean()) / x.std(ddof=1)  # standard deviation 1, mean 0
    least = resolvable(1.0, 6, 5)
    assert stats.ttest_ind(x, x + 1.001 * least).pvalue < 0.05
    assert stats.ttest_ind(x, x + 0.999 * least).pvalue > 0.05


def test_perplexity() -> None:
    assert percent_perplexity(math.log(1.1)) == pytest.approx(10)
    assert percent_perplexity(-0.012) == pytest.approx(-1.193, abs=1e-3)


def _losses(random: np.random.Generator, arms: int, seeds: int, books: int) -> Any:
    """Arms without any difference: seeds and books do something to all arms, and something to each."""
    shared = random.normal(0, 0.02, (1, seeds, 1)) + random.normal(0, 0.05, (1, 1, books))
    own = random.normal(0, 0.003, (arms, seeds, 1)) + random.normal(0, 0.004, (arms, 1, books))
    return 1.3 + shared + own + random.normal(0, 0.002, (arms, seeds, books))


def test_a_two_way_model_by_hand() -> None:
    # two seeds with means 1 and 3, three books with 1, 2 and 3, nothing left: squares 3 * 2 = 6 and 2 * 1 = 2
    found = two_way(np.array([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]))
    assert found is not None
    assert found.mean == 2.0
    assert found.error == pytest.approx(math.sqrt((6 + 2) / 6))
    assert found.df == pytest.approx((6 + 2) ** 2 / (6**2 / 1 + 2**2 / 2))
    assert (found.sd_seeds, found.sd_books, found.sd_rest) == pytest.approx((math.sqrt(2), 1.0, 0.0), abs=1e-7)
    high = found.interval(0.9)[1]
    assert stats.t.cdf((high - 2.0) / found.error, found.df) == pytest.approx(0.95)
    assert found.p == pytest.approx(2 * stats.t.sf(2.0 / found.error, found.df))
    assert two_way(np.zeros((1, 3))) is None
    nothing = two_way(np.zeros((2, 2)))
    assert nothing is not None
    assert (nothing.mean, nothing.error, nothing.p) == (0.0, 0.0, 1.0)


def test_mean_squares_over_two_arms_are_those_of_their_difference() -> None:
    losses = _losses(np.random.default_rng(3), 2, 5, 16)
    arms, difference = pooled(losses), losses[0] - losses[1]
    assert arms is not None
    assert (arms.seeds_df, arms.error_df) == (4, 60)
    ours, alone = two_way(difference, arms), two_way(difference)
    assert ours is not None
    assert alone is not None
    assert vars(ours) == pytest.approx(vars(alone))


def test_a_family_of_two_way_intervals_holds_what_it_promises() -> None:
    """Eight arms without any difference, five seeds, sixteen books, 300 times: each interval holds 0 in 95 of 100,
    and of five primary contrasts Holm's correction finds one in at most 5 of 100, up to the simulation error."""
    random = np.random.default_rng(11)
    times, held, found = 300, 0, 0
    pairs = ((4, 2), (4, 5), (6, 0), (6, 2), (6, 7))
    for _ in range(times):
        losses = _losses(random, 8, 5, 16)
        arms = pooled(losses)
        models = [model for a, b in pairs if (model := two_way(losses[a] - losses[b], arms))]
        low, high = models[0].interval()
        held += low <= 0 <= high
        found += min(p for p in holm([model.p for model in models]) if p is not None) < 0.05
    spread = math.sqrt(0.05 * 0.95 / times)
    assert held / times == pytest.approx(0.95, abs=3 * spread)
    assert found / times <= 0.05 + 2 * spread
