"""What is concluded of a comparison, as `summary.json` holds it.

Intervals are (low, high), None where there can be none; a difference is `arm` minus `than`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from aeattn.compare.convert import Saved
from aeattn.compare.declaration import ResolvedContrast
from aeattn.compare.records import Environment, Failure, TrialSettings
from aeattn.errors import InputError

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

    ADDED: ClassVar[tuple[str, ...]] = ("allocated_cache_bytes",)

    seconds: float | None = None
    chars: float | None = None
    chars_per_second: float | None = None
    train_flops: float | None = None
    train_flops_per_char: float | None = None
    parameters: float | None = None
    cache_bytes: float | None = None
    latent_cache_bytes: float | None = None
    peak_memory_bytes: float | None = None
    allocated_cache_bytes: float | None = None


@dataclass(frozen=True)
class ArmSummary:
    """An arm's loss in nats a character, on the test text where one is declared, else on the validation text: over
    its `n` final runs, and by seed. `rate` is AdamW's alone where there is a `matrix_rate`."""

    ADDED: ClassVar[tuple[str, ...]] = ("matrix_rate",)

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
    matrix_rate: float | None = None


@dataclass(frozen=True)
class TriedRate:
    """A rate (or trial) that an arm was tuned with: losses by seed, their mean where all were trained."""

    ADDED: ClassVar[tuple[str, ...]] = ("matrix_rate",)

    rate: float
    settings: TrialSettings
    mean: float | None
    losses: dict[int, float | None]
    failed: int
    matrix_rate: float | None = None


@dataclass(frozen=True)
class TuningResult:
    """What tuning came to for an arm. `sensitivity`: nats lost, on average, one step of the grid off `chosen`."""

    ADDED: ClassVar[tuple[str, ...]] = ("chosen_matrix",)

    id: str
    rates: tuple[TriedRate, ...]
    chosen: float | None
    at_edge: bool
    extended: bool
    sensitivity: float | None
    chosen_matrix: float | None = None


@dataclass(frozen=True)
class Noise:
    """How much `arm` varies over n seeds, and the smallest difference that as many unpaired seeds would show. In a
    screening, how much all `variants` do."""

    ADDED: ClassVar[tuple[str, ...]] = ("variants",)

    arm: str
    n: int
    sd: float | None
    resolvable: float | None
    variants: int = 0


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
class TwoWayResult:
    """A difference by the model of seeds and books (`intervals.two_way`), each book counting the same. `error` is
    its standard error with `df` degrees of freedom, `sd` has the standard deviations of seeds, of books, and of
    the rest."""

    mean: float
    error: float
    df: float
    p: float
    interval: Interval
    simultaneous: Interval | None
    seeds: int
    books: int
    sd: dict[str, float]


@dataclass(frozen=True)
class ContrastResult(ResolvedContrast):
    """What came of a contrast.

    `interval` is Student's 95 % interval of this one difference, the primary contrast's answer. The others are
    exploratory: their `simultaneous` intervals hold all at once at 95 %; verdict and sentence follow from these.
    Where there is a `family` of primary contrasts, theirs do so, too, and `p_holm` is Holm's over the family.
    `two_way` replaces `interval`, `simultaneous` and `p` where it is there.
    `lost`: seeds of which one of the two runs failed or is missing. `baseline`: the mean of `than`.
    """

    ADDED: ClassVar[tuple[str, ...]] = ("two_way", "family")

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
    two_way: TwoWayResult | None = None
    family: int = 0

    @property
    def center(self) -> float | None:
        """The mean difference to show."""
        return self.two_way.mean if self.two_way else self.mean

    @property
    def shown(self) -> Interval | None:
        """The interval to show beside the mean."""
        of = self.two_way or self
        return of.interval if self.primary and not self.family else of.simultaneous

    @property
    def p_value(self) -> float | None:
        """That of the model which the interval comes from."""
        return self.two_way.p if self.two_way else self.p


@dataclass(frozen=True)
class WritingSpeed:
    """Characters a second of one arm: median, slowest and fastest round."""

    chars_per_second: float
    slowest: float
    fastest: float
    engine: str
    cache: str


@dataclass(frozen=True)
class Writing(Saved):
    """How fast arms write the last `chars` of `context` characters, as `writing.json` holds it."""

    context: int
    chars: int
    rounds: int
    arms: dict[str, WritingSpeed]
    environment: Environment


@dataclass(frozen=True)
class StepSpeeds(Saved):
    """Characters a second of training steps that arms took in turn, a figure a round, as `steps.json` has them."""

    arms: dict[str, tuple[float, ...]]
    environment: Environment

    @property
    def rounds(self) -> int:
        return max(map(len, self.arms.values()), default=0)

    @classmethod
    def from_dict(cls, values: Mapping[str, object], where: str) -> StepSpeeds:
        """Raises InputError, too, where arms did not take a step in each round."""
        speeds = super().from_dict(values, where)
        if any(len(rates) != speeds.rounds for rates in speeds.arms.values()):
            raise InputError(f"{where} has more rounds of some arms than of others: measure again")
        return speeds


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
    def primary(self) -> ContrastResult | None:
        """The first of the primary contrasts; a screening has none."""
        return next((contrast for contrast in self.contrasts if contrast.primary), None)
