"""What benchmarks find, as types. As JSON, they are what `aeattn bench --json` prints and results/speed/ holds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from aeattn.config.presets import SETTINGS_PRESET
from aeattn.files import Json


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of some figures."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Rates:
    """Units a second of one contender, a figure a round. `warm_up_seconds` is what the first, unmeasured call
    took, compilation included."""

    rounds: tuple[float, ...]
    warm_up_seconds: float

    @property
    def median(self) -> float:
        return self.spread.median

    @property
    def spread(self) -> Spread:
        return Spread.of(self.rounds)

    def ratio(self, others: Rates) -> Spread:
        """How many times faster these are than the others: of the ratios of single rounds."""
        return Spread.of([a / b for a, b in zip(self.rounds, others.rounds, strict=True)])


@dataclass(frozen=True)
class Timed:
    """One contender. `gflops` are the matrix products that it does a second, `of_ceiling` their part of the most
    that the machine can do; `cache_bytes` are those really allocated by its cache, for all sequences."""

    chars_per_second: Rates
    parameters: int | None = None
    gflops: float | None = None
    of_ceiling: float | None = None
    cache: str | None = None
    cache_bytes: int | None = None


@dataclass(frozen=True)
class Ceilings:
    """The most that the machine does: `gflops` of products by precision and shape, memory copied, and what they
    come to in characters generated a second (None where that does not bound)."""

    gflops: dict[str, dict[str, float]]
    gigabytes_per_second: float
    threads: int
    weight_bytes: int | None = None
    chars_per_second: dict[str, float | None] = field(default_factory=dict)

    def best(self, precision: str) -> float:
        return max(self.gflops[precision].values())


@dataclass(frozen=True)
class Speed:
    """Contenders that did the same work in turn: ours, peers, ours as a multiple of each peer in its better mode,
    where our steps' time goes (`parts`), and why peers are missing. `shape` is the work: batch, and context or
    chars."""

    shape: dict[str, int]
    ours: dict[str, Timed]
    peers: dict[str, Timed]
    ceilings: Ceilings
    ratio: dict[str, Spread]
    skipped: dict[str, str]
    parts: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def everyone(self) -> dict[str, Timed]:
        return {**self.ours, **self.peers}


@dataclass(frozen=True)
class Curve:
    """Of one model and cache, a figure a length of the context."""

    cache_bytes: list[int] = field(default_factory=list)
    chars_per_second: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class LongContext:
    lengths: list[int]
    curves: dict[str, Curve]


@dataclass(frozen=True)
class TrainingBench:
    """What `aeattn bench train` finds: speed by context, and how many megabytes of text a second become ids."""

    contexts: dict[str, Speed]
    encoding: dict[str, float]
    environment: Json
    preset: str = SETTINGS_PRESET

    @property
    def command(self) -> str:
        """That times the same model on the same windows."""
        return f"aeattn bench train --preset {self.preset} --context {' '.join(self.contexts)}"

    def to_dict(self) -> Json:
        """For JSON, with the first context at the top level as well."""
        return {**to_json(next(iter(self.contexts.values()))), **to_json(self)}


@dataclass(frozen=True)
class Shared:
    """A step that so many processes share; `parts` are its milliseconds in process 0."""

    processes: int
    threads: int
    chars_per_second: Rates
    parts: dict[str, float]


@dataclass(frozen=True)
class ProcessesBench:
    """What `aeattn bench train --processes` finds: by number of processes and type of gradients, and as multiples
    of the first."""

    shape: dict[str, int]
    shared: dict[str, Shared]
    ratio: dict[str, Spread]
    environment: Json
    preset: str = SETTINGS_PRESET

    def to_dict(self) -> Json:
        values: Json = to_json(self)
        return values


@dataclass(frozen=True)
class GenerationBench:
    """What `aeattn bench generate` finds: speed by sequences at once, and by length of the context. `engine` says
    what the fast decoding loop is compiled from: None in records of the loop before the present one."""

    batches: dict[str, Speed]
    long_context: LongContext
    model: Json
    environment: Json
    engine: str | None = None

    @property
    def command(self) -> str:
        """That times the same model."""
        named = f"--preset {self.model.get('preset', SETTINGS_PRESET)}"
        return f"aeattn bench generate {self.model['run'] or named}"

    def to_dict(self) -> Json:
        """For JSON, with the first number of sequences at the top level as well."""
        return {**to_json(next(iter(self.batches.values()))), **to_json(self)}


def to_json(value: Any) -> Any:
    """Dataclasses as JSON values: fields that are None or empty left out, rates with their spread."""
    if isinstance(value, Rates):
        return {**asdict(value.spread), **asdict(value)}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        items = ((name, getattr(value, name)) for name in value.__dataclass_fields__)
        return {name: to_json(item) for name, item in items if (item is not None and item != {}) or name in _KEPT}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [to_json(item) for item in value]
    return value


_KEPT = ("peers", "ratio", "skipped", "curves")  # which may be empty
