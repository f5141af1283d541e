"""What contrasts are measured in: figures of a record, and of what its attention does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aeattn.analysis.results import RunAnalysis
from aeattn.compare.records import CACHED_CHARS, Record
from aeattn.config.convert import check_choice
from aeattn.errors import InputError

Better = Literal["less", "more", None]


@dataclass(frozen=True)
class Measure:
    """A figure of a run: what it is called in a sentence, its unit, which way is better, decimals to show."""

    text: str
    unit: str
    better: Better
    digits: int
    read: Callable[[Record], float | None]

    @property
    def unit_in_text(self) -> str:
        return self.unit if self.text.endswith(" loss") else f"{self.unit} of {self.text}".lstrip()

    def plain(self, value: float) -> str:
        """With as many decimals as the measure has, but never fewer than show what is not 0."""
        digits = self.digits
        while digits < 7 and value and abs(value) < 0.95 * 10**-digits:
            digits += 1
        return f"{value:,.{digits}f}"

    def signed(self, value: float) -> str:
        return ("+" if value > 0 else "") + self.plain(value)


def _cost(name: str) -> Callable[[Record], float | None]:
    return lambda record: None if record.cost is None else getattr(record.cost, name)


def allocated_bytes(record: Record) -> float | None:
    """Bytes a character that the cache took when it was allocated for `CACHED_CHARS`."""
    known = record.cost is not None and record.cost.allocated_cache_bytes
    return known / CACHED_CHARS if known else None


def _gap(record: Record) -> float | None:
    known = record.nats_per_char is not None and record.train_nats is not None
    return record.nats_per_char - record.train_nats if known else None  # type: ignore[operator]


def _judged(name: str) -> Callable[[Record], float | None]:
    return lambda record: record.judged[name].nats_per_char if name in record.judged else None


def _less(a: str, b: str) -> Callable[[Record], float | None]:
    """The difference of two losses of a record."""

    def read(record: Record) -> float | None:
        ours, theirs = (MEASURES[name].read(record) for name in (a, b))
        return None if ours is None or theirs is None else ours - theirs

    return read


def _last(record: Record) -> float | None:
    """The last loss on the part of the validation text that the curve is of."""
    curve = record.learning_curve
    return curve[-1].valid_nats if curve else None


MEASURES: dict[str, Measure] = {
    "valid_nats": Measure("validation loss", "nats/char", "less", 4, lambda record: record.nats_per_char),
    "test_nats": Measure("test loss", "nats/char", "less", 4, _judged("test")),
    "beyond_nats": Measure("same authors' loss", "nats/char", "less", 4, _judged("beyond")),
    "trained_nats": Measure("training text's loss", "nats/char", "less", 4, _judged("trained")),
    "beyond_gap": Measure(
        "gap between other text of the training authors and the training text",
        "nats/char",
        "less",
        4,
        _less("beyond_nats", "trained_nats"),
    ),
    "best_valid_nats": Measure(
        "best validation loss", "nats/char", "less", 4, lambda record: record.best_valid_nats
    ),
    "last_valid_nats": Measure("last validation loss", "nats/char", "less", 4, _last),
    "valid_rise": Measure(
        "rise of the validation loss after its best",
        "nats/char",
        "less",
        4,
        _less("last_valid_nats", "best_valid_nats"),
    ),
    "gap": Measure("validation minus training loss", "nats/char", "less", 4, _gap),
    "seconds": Measure("training time", "s", "less", 1, _cost("seconds")),
    "chars_per_second": Measure("training speed", "chars/s", "more", 0, _cost("chars_per_second")),
    "train_flops_per_char": Measure("training cost", "FLOPs/char", "less", 0, _cost("train_flops_per_char")),
    "parameters": Measure("size", "parameters", "less", 0, _cost("parameters")),
    "peak_memory_bytes": Measure("peak memory", "bytes", "less", 0, _cost("peak_memory_bytes")),
    "cache_bytes": Measure("KV cache", "bytes a token", "less", 0, _cost("cache_bytes")),
    "latent_cache_bytes": Measure("latent KV cache", "bytes a token", "less", 0, _cost("latent_cache_bytes")),
    "allocated_cache_bytes": Measure("KV cache as allocated", "bytes a token", "less", 0, allocated_bytes),
}
LOSSES = ("valid_nats", "test_nats", "beyond_nats", "trained_nats")
"""Losses at the end on one text, of which each book has its own."""
SPEED = "chars_per_second"
TIMED = ("seconds", SPEED)  # which other runs on the machine change
ANALYSED = ("attention", "codes", "loss")  # sections of an analysis, read by `section.name`


def check_measure(name: str) -> None:
    """Raise InputError for a measure that is not known."""
    section, _, rest = name.partition(".")
    if section in ANALYSED:
        if not rest:
            raise InputError(f"contrasts.measure is {name!r}: name one of its figures, as in attention.entropy")
        return
    check_choice(name, MEASURES, "contrasts.measure")


def describe_measure(name: str) -> Measure:
    """The measure of a name; figures of an analysis have no better side and no unit."""
    section, _, rest = name.partition(".")
    plain = {"codes": "code's ", "loss": "loss with ", "attention": "attention "}.get(section, "")
    text = plain + rest.replace("_", " ").replace("gini", "Gini index")
    return MEASURES.get(name) or Measure(text, "", None, 4, lambda _: None)


def read_measure(name: str, record: Record, analysis: RunAnalysis | None) -> float | None:
    """The figure of a run, None where it failed or lacks it."""
    if record.status != "done":
        return None
    if name in MEASURES:
        return MEASURES[name].read(record)
    return None if analysis is None else analysis.end.figure(name)
