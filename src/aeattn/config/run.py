"""Everything that determines a run, as frozen dataclasses that round-trip through JSON and TOML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from aeattn.config.convert import build, check_keys
from aeattn.config.model import ModelConfig
from aeattn.config.text import TextOptions
from aeattn.errors import InputError

OptimizerKind = Literal["muon", "adamw"]
ScheduleKind = Literal["linear", "cosine", "wsd", "constant"]
Precision = Literal["auto", "fp32", "bf16"]
CompileMode = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained. Raises ValueError, with a mend, for values that cannot be.

    `batch` is windows a micro-batch, `accumulate` micro-batches an update. `learning_rate` is AdamW's,
    `matrix_learning_rate` Muon's (for the matrices inside blocks). `clip` is the largest norm of AdamW's
    gradients, 0 for any. `warmup` and `decay` are fractions of
    all steps; `final_rate` is the fraction of the peak rate that is left at the end. Intervals count
    updates; 0 means never, and None a tenth of the run.

    `minutes`, until it is replaced by them, asks for as many steps as fit into that time. Checkpoints come every
    `checkpoint_every` steps, every `checkpoint_minutes`, or whichever is first; where neither is given, every
    minute. With a `spike_factor`, a loss of more than so many times the smoothed one is passed over: training goes
    back to the last checkpoint of a step that `spike_every` divides, and on behind the batch that did it, at most
    `spike_rollbacks` times.
    """

    steps: int = 5000
    batch: int = 16
    accumulate: int = 1
    optimizer: OptimizerKind = "muon"
    learning_rate: float = 5e-3
    matrix_learning_rate: float = 2e-2
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    momentum: float = 0.95
    clip: float = 1.0
    schedule: ScheduleKind = "linear"
    warmup: float = 0.02
    decay: float = 1.0
    final_rate: float = 0.0
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    compile: CompileMode = "auto"
    eval_every: int | None = None
    eval_chars: int = 100_000
    sample_every: int | None = None
    sample_chars: int = 200
    minutes: float | None = None
    checkpoint_every: int | None = None
    checkpoint_minutes: float | None = None
    keep_checkpoints: int = 2
    spike_factor: float = 0.0
    spike_every: int = 100
    spike_rollbacks: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "keep_checkpoints", "eval_chars", "spike_every"):
            _require(1 <= getattr(self, name) < 2**53, name, getattr(self, name), "at least 1, below 2^53")
        for name in (
            "eval_every",
            "sample_every",
            "sample_chars",
            "checkpoint_every",
            "checkpoint_minutes",
            "weight_decay",
            "clip",
            "spike_rollbacks",
        ):
            value = getattr(self, name)
            _require(value is None or 0 <= value < float("inf"), name, value, "0 or more")
        factor, minutes = self.spike_factor, self.minutes
        _require(factor == 0 or 1 < factor < float("inf"), "spike_factor", factor, "0 (off), or more than 1")
        _require(minutes is None or 0 < minutes < float("inf"), "minutes", minutes, "more than 0")
        for name in ("learning_rate", "matrix_learning_rate"):
            _require(0 < getattr(self, name) < float("inf"), name, getattr(self, name), "more than 0")
        for name in ("warmup", "decay", "final_rate"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")
        for name in ("beta1", "beta2", "momentum"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "from 0 to below 1")
        _require(0 <= self.seed < 2**63, "seed", self.seed, "from 0 to below 2^63")
        for name, kind in (
            ("optimizer", OptimizerKind),
            ("schedule", ScheduleKind),
            ("precision", Precision),
            ("compile", CompileMode),
        ):
            choices = get_args(kind)
            _require(getattr(self, name) in choices, name, getattr(self, name), f"one of {', '.join(choices)}")


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}: choose {wanted}")


@dataclass(frozen=True)
class DataConfig:
    """Which text a run reads: names or paths as `corpora.resolve` takes them.

    No corpus means that of the recipe, or else `tales`. `seed` draws tales and what is split off to validate on;
    the training's seed does where there is none. `limit_valid_chars` keeps only so many characters of each text to
    validate on."""

    corpus: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    recipe: str | None = None
    limit_chars: int | None = None
    text: TextOptions = field(default_factory=TextOptions)
    seed: int | None = None
    limit_valid_chars: int | None = None


@dataclass(frozen=True)
class RunConfig:
    """A whole run. `preset` is the name it started from, for the reader; the values are all here."""

    model: ModelConfig
    training: TrainingConfig
    data: DataConfig
    preset: str | None = None

    @property
    def text_seed(self) -> int:
        """What tales, and texts split off to validate on, are drawn with."""
        return self.training.seed if self.data.seed is None else self.data.seed

    @property
    def chars_per_step(self) -> int:
        """Characters that one update trains on."""
        return self.training.batch * self.training.accumulate * self.model.context

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON; `RunConfig.from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """Raises InputError for unknown keys, wrong types and impossible values."""
        check_keys(values, [f.name for f in dataclasses.fields(cls)], "config")
        data = dict(_section(values, "data"))
        if "text" in data:
            data["text"] = build(TextOptions, data["text"], "data.text")
        return cls(
            model=build(ModelConfig, _section(values, "model"), "model"),
            training=build(TrainingConfig, _section(values, "training"), "training"),
            data=build(DataConfig, data, "data"),
            preset=values.get("preset"),
        )


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    section = values.get(name, {})
    if not isinstance(section, dict):
        raise InputError(f"config: {name} is {section!r}: write a table of settings there")
    return section
