"""What a comparison declares. `parse.py` makes it from TOML; docs/experiments.md has an example."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from aeattn.config.convert import overlay
from aeattn.config.presets import DEFAULT_PRESET, preset
from aeattn.files import Json
from aeattn.host import cache_dir

BudgetKind = Literal["chars", "flops", "minutes"]
MatchKind = Literal["width", "parameters", "flops", "wall-clock"]
Search = Literal["grid", "optuna"]
Settings = Json


@dataclass(frozen=True)
class Budget:
    """What every run may spend: characters, training FLOPs, or minutes of training."""

    kind: BudgetKind
    amount: float


@dataclass(frozen=True)
class Matching:
    """How arms are made comparable: each way of `by` makes runs of its own.

    `width`: as declared. Otherwise the width `vary` of each arm is solved for, so that parameters, training FLOPs
    or seconds a character come to those of the `reference` arm, or to `target`, up to the fraction `tolerance`
    (seconds are measured, so a tenth off is near enough, and reported).
    """

    by: tuple[MatchKind, ...] = ("width",)
    reference: str | None = None
    target: float | None = None
    vary: str = "d_ff"
    tolerance: float = 0.005


@dataclass(frozen=True)
class Tuning:
    """The search for each arm's learning rate, the same for every arm, on seeds that are used for nothing else.

    On a `grid`, `rates` are factors on both learning rates of the base. While any arm does best on an edge, the
    grid grows there for all arms, by the ratio of its last two rates, up to `extend` times. With `optuna`, each
    arm gets `trials` draws from `space`, {setting: [low, high]}, on a logarithmic scale. A run takes the fraction
    `share` of the budget.
    """

    seeds: tuple[int, ...]
    rates: tuple[int | float, ...] = (0.5, 1.0, 2.0)
    search: Search = "grid"
    share: float = 1.0
    extend: int = 2
    trials: int = 12
    space: dict[str, list[int | float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """One side of the comparison: settings that differ from the base. `match` names the ways in which its width is
    solved for; in all others its size is left alone."""

    name: str
    label: str
    about: str
    settings: Settings
    match: tuple[MatchKind, ...]


@dataclass(frozen=True)
class Contrast:
    """A difference that the comparison is to measure: `arm` minus `than`, in `measure`.

    `matching` and `size` name one of several ways; None means all of them. `claim` is the sentence that is tested.
    """

    arm: str
    than: str
    measure: str = "valid_nats"
    matching: MatchKind | None = None
    size: str | None = None
    primary: bool = False
    claim: str | None = None


@dataclass(frozen=True)
class Spec:
    """A comparison as declared; `given` is what it was read from, for the hash. `jobs` is how many runs at a time
    suit it."""

    name: str
    title: str
    question: str
    smallest_effect: float
    seeds: tuple[int, ...]
    budget: Budget
    matching: Matching
    tuning: Tuning | None
    attention: bool
    jobs: int
    arms: tuple[Arm, ...]
    sizes: dict[str, Settings]
    contrasts: tuple[Contrast, ...]
    given: Json

    def with_texts_at_hand(self) -> Spec:
        """With the settings of `without_books` for the base's text, where the books are not on this machine."""
        instead = self.given.get("without_books")
        if instead is None or books_are_here():
            return self
        return replace(self, given={**self.given, "base": {**self.given["base"], "data": instead}})

    def settings(self, arm: Arm, size: str | None) -> Settings:
        """Everything that is set for an arm: its preset, then base, size and arm laid over one another."""
        changes = overlay(overlay(self.given["base"], self.sizes.get(size or "", {})), arm.settings)
        name = str(changes.get("preset") or DEFAULT_PRESET)
        known = {"preset": name, "plugins": self.given.get("plugins", [])}
        return overlay({**preset(name), "data": {"seed": 0}}, {**changes, **known})


def books_are_here() -> bool:
    """Whether the books can be read without fetching them."""
    named = os.environ.get("AEATTN_CORPORA")
    places = [cache_dir() / "corpora", *([Path(named)] if named else [])]
    return any(any((place / "books" / "train").glob("*.txt")) for place in places)


def all_settings(spec: Spec) -> Iterable[tuple[Arm, str | None, Settings]]:
    """Arm, size and settings of everything that is to be trained, before it is matched."""
    for size in spec.sizes or (None,):
        for arm in spec.arms:
            yield arm, size, spec.settings(arm, size)
