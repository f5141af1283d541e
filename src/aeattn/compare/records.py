"""One run of a comparison: what is to be done, and what came of it."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from msgspec import Struct

from aeattn.compare.convert import Saved
from aeattn.config.convert import check_keys
from aeattn.config.run import RunConfig
from aeattn.files import Json

Phase = Literal["tune", "final"]
Status = Literal["running", "done", "failed"]
Failure = Literal["diverged", "crashed"]
CACHED_CHARS = 8192  # for which a cache is allocated, to count its bytes
TrialSettings = dict[str, int | float]  # by their names, `training.learning_rate` and the like


class TextSide(Struct, frozen=True, omit_defaults=True):
    """One side of a text. `files` are the names of its documents, in a declaration's validation side alone."""

    chars: int
    sha256: str
    unknown: int | None = None
    files: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Text:
    """What runs are trained and validated on, and by name what final runs are judged on (`spec.Judged`)."""

    ADDED: ClassVar[tuple[str, ...]] = ("judged",)

    train: TextSide
    valid: TextSide
    judged: dict[str, TextSide] = field(default_factory=dict)


class Environment(Struct, frozen=True, omit_defaults=True):
    """Where a run was made: `aeattn.hardware.describe`. `dirty`: the source was changed after its commit."""

    python: str
    platform: str
    packages: dict[str, str]
    cpu: str
    threads: int
    gpu: str | None
    commit: str | None
    dirty: bool | None
    kernels: str | None = None


class Point(Struct, frozen=True, omit_defaults=True):
    """A line of metrics.jsonl: characters trained on, seconds of training, and the losses in nats a character.
    `valid_chars` is how much of the validation text the model was evaluated on; `train_eval_nats` is of a part of
    the training text, measured alike."""

    step: int
    chars: int
    seconds: float
    train_nats: float | None
    valid_nats: float | None = None
    valid_chars: int | None = None
    train_eval_nats: float | None = None


def comparable(points: Iterable[Point]) -> tuple[Point, ...]:
    """Those of them that were evaluated on the part of the validation text that most were evaluated on."""
    scored = [point for point in points if point.valid_nats is not None]
    parts = Counter(point.valid_chars for point in scored).most_common(1)
    return tuple(point for point in scored if point.valid_chars == parts[0][0])


@dataclass(frozen=True)
class Passage:
    """What the model generated after so many updates."""

    step: int
    text: str


@dataclass(frozen=True)
class FileScore:
    """The loss on one document; None where nothing was predicted."""

    name: str
    nats_per_char: float | None
    chars: int


@dataclass(frozen=True)
class Valid:
    """The loss on the whole of a text, and on each of its documents."""

    nats_per_char: float
    chars: int
    files: tuple[FileScore, ...]


@dataclass(frozen=True)
class Cost:
    """What a run cost. Operations are those of `nn/size.py`; seconds are those of training alone, without
    compiling and evaluation; `peak_memory_bytes` is the most that the process (or its GPU) held; cache bytes
    are kept for one character of the past in float32, the latent ones None where that is not exact;
    `allocated_cache_bytes` is what PyTorch's cache, a latent one where that is exact, took for `CACHED_CHARS`
    characters, counted after the first of them."""

    ADDED: ClassVar[tuple[str, ...]] = ("allocated_cache_bytes",)

    seconds: float
    chars: int
    chars_per_second: float
    train_flops: float
    train_flops_per_char: int
    parameters: int
    cache_bytes: int
    latent_cache_bytes: int | None
    peak_memory_bytes: int | None
    allocated_cache_bytes: int | None = None


@dataclass(frozen=True)
class Record(Saved):
    """One run of a comparison, as `records/<name>.json`.

    Attributes:
        name: of the record and of the run folder beside it:
            `<phase>-<arm>[-rate<factor>[-matrix<factor>]|-trial<n>]-seed<seed>`.
        hash: over everything that determines the run; another one means that the record is stale.
        spec: the hash of the declaration that it was run for.
        rate: the factor on both learning rates of the base, on AdamW's alone where there is a `matrix_rate`.
        matrix_rate: the factor on Muon's, where the two are tuned apart.
        trial: the number in a search by Optuna, and `settings` what it tried; None and {} on a grid.
        status, failure, reason: a failed run has no figures. `diverged` is a result, `crashed` is tried again.
        config: the whole resolved `RunConfig`, as JSON.
        batches: SHA-256 of where the first batches stand in the text: equal in runs that are paired.
        train_nats: the smoothed training loss at the end, in nats a character.
        curve: the lines of metrics.jsonl; `learning_curve` has those that can be compared.
        samples: what the model generated as training went on.
        floor_nats: the lowest possible loss, where the text's entropy is known.
        resumed: the steps at which an interrupted run went on.
        passes: how often the training text was read.
        best_valid_nats: the least loss of the `learning_curve`, on one part of the validation text.
        judged: losses at the end on texts that nothing is chosen by: `test`, other authors' books; `beyond`, what
            the training books hold behind the part that is trained on; `trained`, as much of that part.
    """

    ADDED: ClassVar[tuple[str, ...]] = ("resumed", "matrix_rate", "passes", "best_valid_nats", "judged")

    name: str
    hash: str
    spec: str
    phase: Phase
    arm: str
    seed: int
    rate: float
    status: Status
    config: Json
    trial: int | None = None
    settings: TrialSettings = field(default_factory=dict)
    failure: Failure | None = None
    reason: str | None = None
    started: str | None = None
    finished: str | None = None
    environment: Environment | None = None
    text: Text | None = None
    batches: str | None = None
    valid: Valid | None = None
    train_nats: float | None = None
    curve: tuple[Point, ...] = ()
    samples: tuple[Passage, ...] = ()
    floor_nats: float | None = None
    cost: Cost | None = None
    resumed: tuple[int, ...] = ()
    matrix_rate: float | None = None
    passes: float | None = None
    best_valid_nats: float | None = None
    judged: dict[str, Valid] = field(default_factory=dict)

    @property
    def nats_per_char(self) -> float | None:
        """The validation loss, None where the run has not succeeded."""
        return self.valid.nats_per_char if self.status == "done" and self.valid else None

    @property
    def run_config(self) -> RunConfig:
        return RunConfig.from_dict(self.config)

    @property
    def learning_curve(self) -> tuple[Point, ...]:
        """The evaluations of one and the same part of the validation text. The last one is usually of the whole
        text and not among them: on another text a loss is another."""
        return comparable(self.curve)

    @classmethod
    def from_dict(cls, values: Mapping[str, object], where: str) -> Record:
        check_keys(values, ["format", *cls.__dataclass_fields__], where)
        return super().from_dict(values, where)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
