"""Differences between arms, with intervals. The formulae are SciPy's.

Arrays: `differences` has one number a seed, arm minus arm, of runs with the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]
LEVEL = 0.95
RESAMPLES = 9999
ROUNDING = 1e-14  # values that differ by less of their mean are the same


def _scipy() -> Any:
    """scipy.stats, whose import takes a while."""
    from scipy import stats

    return stats


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, its standard deviation, interval and two-sided p; None where there is one seed."""

    n: int
    mean: float
    sd: float | None
    interval: Interval | None
    p: float | None


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Student's t interval of the mean at this level, and the p of its being 0 (`scipy.stats.ttest_1samp`).

    Of differences between paired runs, this is the paired t test. Values that are all the same have an interval of
    no width. Raises ValueError for no values, or values that are not finite.
    """
    x = np.asarray(values, float)
    if not x.size or not np.isfinite(x).all():
        raise ValueError(f"{list(values)} are no finite numbers")
    mean = float(x.mean())
    if x.size < 2:
        return Estimate(1, mean, None, None, None)
    if np.ptp(x) <= ROUNDING * abs(mean):
        return Estimate(x.size, mean, 0.0, (mean, mean), 1.0 if mean == 0 else 0.0)
    result = _scipy().ttest_1samp(x, 0.0)
    low, high = result.confidence_interval(level)
    return Estimate(x.size, mean, float(x.std(ddof=1)), (float(low), float(high)), float(result.pvalue))


def median_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Bounds of the median, from ranks (`scipy.stats.quantile_test`); the extremes where there are too few values
    for this level."""
    low, high = _scipy().quantile_test(values).confidence_interval(level)
    return (float(low), float(high)) if low == low and high == high else (min(values), max(values))


@dataclass(frozen=True)
class Pooled:
    """Mean squares of arms over seeds and books, with their degrees of freedom: what a seed does to one arm and
    not to another (`seeds`), and what is left when seeds and books are taken out (`error`). They are those of all
    arms together: one arm alone would know them from a handful of seeds."""

    seeds: float
    seeds_df: int
    error: float
    error_df: int


def pooled(losses: Floats) -> Pooled | None:
    """Of losses (arms, seeds, books); None with fewer than two of any of them."""
    arms, seeds, books = losses.shape
    if min(arms, seeds, books) < 2:
        return None
    by_seed = losses.mean(axis=2)
    with_seed = by_seed - by_seed.mean(axis=0) - by_seed.mean(axis=1, keepdims=True) + by_seed.mean()
    rest = losses - losses.mean(axis=0) - _over(losses, 1) - _over(losses, 2)
    rest += losses.mean(axis=(0, 1)) + losses.mean(axis=(0, 2))[:, None] + losses.mean(axis=(1, 2))[:, None, None]
    rest -= losses.mean()
    df, rest_df = (arms - 1) * (seeds - 1), (arms - 1) * (seeds - 1) * (books - 1)
    return Pooled(float(books * (with_seed**2).sum() / df), df, float((rest**2).sum() / rest_df), rest_df)


def _over(losses: Floats, axis: int) -> Floats:
    mean: Floats = losses.mean(axis=axis, keepdims=True)
    return mean


@dataclass(frozen=True)
class TwoWay:
    """A mean over seeds and books, its standard error with degrees of freedom, and the standard deviations that it
    is made of: of seeds, of books, and of what is left."""

    mean: float
    error: float
    df: float
    sd_seeds: float
    sd_books: float
    sd_rest: float

    def interval(self, level: float = LEVEL) -> Interval:
        """Student's, at this level."""
        return t_interval(self.mean, self.error, self.df, level)

    @property
    def p(self) -> float:
        """Two-sided, of the mean's being 0."""
        if self.error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * _scipy().t.sf(abs(self.mean) / self.error, self.df))


def t_interval(mean: float, error: float, df: float, level: float) -> Interval:
    """Student's interval of a mean with this standard error."""
    half = error * float(_scipy().t.ppf(0.5 + level / 2, df))
    return mean - half, mean + half


def two_way(differences: Floats, arms: Pooled | None = None) -> TwoWay | None:
    """The mean difference where seeds and books are both drawn from many: d(s, b) = mean + seed + book + rest.

    Variance components are those of an analysis of variance (method of moments; Searle, Casella & McCulloch 1992,
    "Variance components", chapter 4), negative ones counted as 0. What seeds and the rest do is pooled over all
    arms, because two arms of five seeds know little of it; what books do is this difference's own, because arms
    that are alike agree in more books than others. Degrees of freedom by Satterthwaite (1946).

    Args:
        differences: nats a character, (seeds, books); every book counts the same.
        arms: mean squares of all arms; of the differences alone where they are not given.

    Returns:
        None with fewer than two seeds or two books.
    """
    seeds, books = differences.shape
    if min(seeds, books) < 2:
        return None
    mean = differences.mean()
    by_seed, by_book = differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - by_seed[:, None] - by_book + mean
    of_books = float(seeds * ((by_book - mean) ** 2).sum() / (books - 1)), books - 1
    if arms is None:
        df = (seeds - 1) * (books - 1)
        of_seeds = float(books * ((by_seed - mean) ** 2).sum() / (seeds - 1)), seeds - 1
        of_rest = float((rest**2).sum() / df), df
    else:  # a difference of two arms varies twice as much as one
        of_seeds, of_rest = (2 * arms.seeds, arms.seeds_df), (2 * arms.error, arms.error_df)
    error = of_rest[0]
    parts = [square for square in (of_seeds, of_books) if square[0] > error]
    signed = [*parts, (-(len(parts) - 1) * error, of_rest[1])]
    variance = sum(square for square, _ in signed)
    uncertain = sum(square**2 / df for square, df in signed)
    return TwoWay(
        mean=float(mean),
        error=math.sqrt(variance / (seeds * books)),
        df=variance**2 / uncertain if uncertain else float(of_rest[1]),
        sd_seeds=math.sqrt(max(0.0, of_seeds[0] - error) / books),
        sd_books=math.sqrt(max(0.0, of_books[0] - error) / seeds),
        sd_rest=math.sqrt(error),
    )


def two_level_bootstrap(nats: Floats, chars: Floats, resamples: int = RESAMPLES) -> Interval | None:
    """The 95 % percentile interval of the loss difference when seeds and books are both drawn anew, independently
    of each other and with replacement (Owen 2007, "The pigeonhole bootstrap"), by `scipy.stats.bootstrap`.

    Args:
        nats: the difference of the summed losses, (seeds, books).
        chars: predicted characters of each book, (books,).

    Returns:
        low and high in nats a character, None with fewer than two seeds or two books.
    """
    seeds, books = nats.shape
    if seeds < 2 or books < 2:
        return None
    if np.ptp(nats) == 0 and not nats.any():
        return 0.0, 0.0

    def ratio(s: npt.NDArray[np.int64], b: npt.NDArray[np.int64], axis: int = -1) -> Floats:
        drawn = nats[s[..., :, None], b[..., None, :]].sum(axis=(-2, -1))
        return np.asarray(drawn / (s.shape[-1] * chars[b].sum(axis=-1)), float)

    result = _scipy().bootstrap(
        (np.arange(seeds), np.arange(books)),
        ratio,
        n_resamples=resamples,
        confidence_level=LEVEL,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    low, high = result.confidence_interval
    return float(low), float(high)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p values corrected for there being several (Holm 1979, "A simple sequentially rejective multiple test
    procedure"): the smallest of m is multiplied by m, the next by m - 1, and none is less than one before it.
    None stays None and does not count."""
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    least = 0.0
    for rank, (p, i) in enumerate(order):
        least = max(least, min(1.0, p * (len(order) - rank)))
        corrected[i] = least
    return corrected


def within(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation within groups of two values or more, and its degrees of freedom."""
    degrees = sum(len(group) - 1 for group in groups)
    return math.sqrt(sum(float(np.var(group)) * len(group) for group in groups) / degrees), degrees


def resolvable(sd: float, n: int, degrees: int) -> float:
    """The smallest difference whose 95 % interval excludes 0 when two groups of n seeds, unpaired, each vary with
    this standard deviation, which has so many degrees of freedom: the noise floor of a comparison without pairing.
    Where one group's is taken for both, they are counted as 2 (n - 1)."""
    t = float(_scipy().t.ppf(0.5 + LEVEL / 2, max(degrees, 2 * (n - 1))))
    return t * sd * math.sqrt(2 / n)


def percent_perplexity(nats: float) -> float:
    """What a difference in nats a character does to the perplexity, exp(loss), in percent."""
    return 100 * math.expm1(nats)
