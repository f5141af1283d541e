"""What is concluded of a comparison, as `summary.json` holds it.

Intervals are (low, high), None where there can be none; a difference is `arm` minus `than`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aeattn.compare.convert import Saved
from aeattn.compare.declaration import ResolvedContrast
from aeattn.compare.records import Failure, TrialSettings

Interval = tuple[float, float]
Verdict = Literal[
    "better", "worse", "more", "less", "equivalent", "no difference found", "one seed", "no runs", "not measured",
    "not comparable",
]  # fmt: skip


@dataclass(frozen=True)
class RunCounts:
    wanted: int
    done: int
    failed: int
    missing: int


@dataclass(frozen=True)
class FailedRun:
    name: str
    arm: str
    seed: int
    failure: Failure | None
    reason: str | None


@dataclass(frozen=True)
class MeanCost:
    """The fields of `Cost`, as means over the final runs of an arm that have them."""

    seconds: float | None = None
    chars: float | None = None
    chars_per_second: float | None = None
    train_flops: float | None = None
    train_flops_per_char: float | None = None
    parameters: float | None = None
    cache_bytes: float | None = None
    latent_cache_bytes: float | None = None
    peak_memory_bytes: float | None = None


@dataclass(frozen=True)
class ArmSummary:
    """An arm's validation loss in nats a character: over its `n` final runs, and by seed."""

    id: str
    label: str
    n: int
    mean: float | None
    interval: Interval | None
    sd: float | None
    perplexity: float | None
    losses: dict[int, float]
    rate: float | None
    settings: TrialSettings
    cost: MeanCost


@dataclass(frozen=True)
class TriedRate:
    """A rate (or trial) that an arm was tuned with: losses by seed, their mean where all were trained."""

    rate: float
    settings: TrialSettings
    mean: float | None
    losses: dict[int, float | None]
    failed: int


@dataclass(frozen=True)
class TuningResult:
    """What tuning came to for an arm. `sensitivity`: nats lost, on average, one step of the grid off `chosen`."""

    id: str
    rates: tuple[TriedRate, ...]
    chosen: float | None
    at_edge: bool
    extended: bool
    sensitivity: float | None


@dataclass(frozen=True)
class Noise:
    """How much `arm` varies over seeds, and the smallest difference that as many unpaired seeds would show."""

    arm: str
    n: int
    sd: float | None
    resolvable: float | None


@dataclass(frozen=True)
class Bootstrap:
    """The two-level bootstrap over seeds and validation books."""

    interval: Interval | None
    seeds: int
    books: int


@dataclass(frozen=True)
class PerplexityChange:
    """A difference in percent of perplexity."""

    mean: float
    interval: Interval | None


@dataclass(frozen=True)
class ContrastResult(ResolvedContrast):
    """What came of a contrast.

    `interval` is Student's 95 % interval of this one difference, the primary contrast's answer. The others are
    exploratory: their `simultaneous` intervals hold all at once at 95 %; verdict and sentence follow from these.
    `lost`: seeds of which one of the two runs failed or is missing. `baseline`: the mean of `than`.
    """

    labels: tuple[str, str]
    unit: str
    n: int
    seeds: tuple[int, ...]
    lost: int
    differences: dict[int, float]
    mean: float | None
    interval: Interval | None
    p: float | None
    baseline: float | None
    bootstrap: Bootstrap | None
    percent_perplexity: PerplexityChange | None
    paired_batches: bool
    verdict: Verdict
    p_holm: float | None = None
    sentence: str = ""
    simultaneous: Interval | None = None

    @property
    def shown(self) -> Interval | None:
        """The interval to show beside the mean."""
        return self.interval if self.primary else self.simultaneous


@dataclass(frozen=True)
class Summary(Saved):
    """Everything that follows from the records. `answer` is the primary contrast's sentence, which
    holds under these `conditions`."""

    spec: str
    answer: str
    runs: RunCounts
    failed: tuple[FailedRun, ...]
    arms: tuple[ArmSummary, ...]
    tuning: tuple[TuningResult, ...]
    noise: Noise
    contrasts: tuple[ContrastResult, ...]
    notes: tuple[str, ...]
    conditions: str = ""

    @property
    def primary(self) -> ContrastResult:
        return next(contrast for contrast in self.contrasts if contrast.primary)
