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

from aeattn.errors import InputError

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]
LEVEL = 0.95
RESAMPLES = 9999
ROUNDING = 1e-14  # values that differ by less of their mean are the same


def _scipy() -> Any:
    """scipy.stats. Raises InputError where it is not installed."""
    try:
        from scipy import stats
    except ImportError:
        raise InputError(
            "intervals need SciPy, which is not installed: pip install 'autoencoder-attention[compare]'"
        ) from None
    return stats


def check_installed() -> None:
    """Raise InputError where SciPy is missing: before hours of training, not after."""
    _scipy()


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


def resolvable(sd: float, n: int) -> float:
    """The smallest difference whose 95 % interval excludes 0 when two groups of n seeds, unpaired, each vary with
    this standard deviation: the noise floor of a comparison without pairing."""
    t = float(_scipy().t.ppf(0.5 + LEVEL / 2, 2 * (n - 1)))
    return t * sd * math.sqrt(2 / n)


def percent_perplexity(nats: float) -> float:
    """What a difference in nats a character does to the perplexity, exp(loss), in percent."""
    return 100 * math.expm1(nats)
