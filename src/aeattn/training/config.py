"""Everything that determines a run, as frozen dataclasses that round-trip through JSON and TOML."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from aeattn.data.text import TextOptions
from aeattn.errors import InputError
from aeattn.nn.config import ModelConfig
from aeattn.training.durable import read_bytes

OptimizerKind = Literal["muon", "adamw"]
ScheduleKind = Literal["linear", "cosine", "wsd", "constant"]
Precision = Literal["auto", "fp32", "bf16"]
CompileMode = Literal["auto", "on", "off"]
T = TypeVar("T")


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


def build(cls: type[T], values: dict[str, Any], where: str) -> T:
    """The dataclass `cls` from a dictionary, strict about keys and types. Raises InputError."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    check_keys(values, list(fields), where)
    try:
        return cls(**{name: _typed(fields[name], value, where) for name, value in values.items()})
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {error}") from error


def check_keys(values: dict[str, Any], known: list[str], where: str) -> None:
    """Raise InputError for the first key that is not known, naming the nearest one that is."""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:100], known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise InputError(f"{where}: unknown key {str(key)[:100]!r}; {hint}")


_BASIC: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "bool": (bool,),
    "str": (str,),
    "str | None": (str, type(None)),
}
_CONFIG_BYTES = 1 << 20
_DEEP = re.compile(
    r"""(?:[\w"'-]+\s*\.\s*){20}"""
)  # tables in tables, each a step of the parser through all above it

_LISTS: dict[str, tuple[type, ...]] = {"tuple[int, ...]": (int,), "tuple[float, ...]": (int, float)}


def _typed(field_: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """The value, with lists as tuples, refused where a plain number, flag or string is declared otherwise."""
    if isinstance(value, list):
        items = _LISTS.get(str(field_.type), (str,))
        if not all(isinstance(item, items) and not isinstance(item, bool) for item in value):
            named = "strings" if items == (str,) else "numbers"
            raise InputError(f"{where}.{field_.name} is {repr(value)[:100]}: give a list of {named}")
        return tuple(value)
    wanted = _BASIC.get(str(field_.type))
    wrong = wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted))
    if wrong:
        raise InputError(f"{where}.{field_.name} is {repr(value)[:100]}: give a value of type {field_.type}")
    return float(value) if float in (wanted or ()) and value is not None else value


def read_toml(path: Path) -> dict[str, Any]:
    """A config file as nested dictionaries. Raises InputError where it cannot be read."""
    try:
        text = read_bytes(path, _CONFIG_BYTES).decode("utf-8")
        if len(text) > _CONFIG_BYTES or _DEEP.search(text):
            raise ValueError("more than a mebibyte, or tables deep in tables: no settings need that")
        return tomllib.loads(text)
    except FileNotFoundError:
        raise InputError(f"config file {path} is not there: check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"config file {path} cannot be read: {' '.join(str(error).split())[:200]}") from error


def overlay(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, table by table."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = overlay(below, value) if both and below is not None else value
    return merged
