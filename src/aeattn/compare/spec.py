"""What a comparison declares. `parse.py` makes it from TOML; docs/experiments.md has an example."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import ClassVar, Literal, get_args

from aeattn.compare.metrics import ANALYSED, check_measure
from aeattn.config.convert import check_choice, overlay
from aeattn.config.presets import SETTINGS_PRESET, preset
from aeattn.errors import InputError
from aeattn.files import Json
from aeattn.host import cache_dir

BudgetKind = Literal["chars", "flops", "minutes"]
MatchKind = Literal["width", "parameters", "flops", "wall-clock"]
Search = Literal["grid", "optuna"]
WAYS = list(get_args(MatchKind))
SETTINGS = ("preset", "model", "training", "data")  # of runs, in a spec's base, sizes and arms


def _require_positive(value: float, where: str) -> None:
    if not 0 < value < float("inf"):
        raise InputError(f"{where} is {value:g}: give a number of more than 0")


@dataclass(frozen=True)
class Budget:
    """What every run may spend: characters of the text, training FLOPs, or minutes of training."""

    kind: BudgetKind
    amount: float

    def __post_init__(self) -> None:
        _require_positive(self.amount, f"budget.{self.kind}")


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

    def __post_init__(self) -> None:
        if not self.by:
            raise InputError(f"matching.by is empty: choose from {', '.join(WAYS)}")
        for way in self.by:
            check_choice(way, WAYS, "matching.by")
        check_choice(self.vary, ["d_ff", "bottleneck"], "matching.vary")
        _require_positive(self.tolerance, "matching.tolerance")
        if self.target is not None:
            _require_positive(self.target, "matching.target")


@dataclass(frozen=True)
class Tuning:
    """The search for each arm's learning rate, the same for every arm, on seeds that are used for nothing else.

    On a `grid`, `rates` are factors on both learning rates of the base. While any arm does best on an edge, the
    grid grows there for all arms, by the ratio of its last two rates, up to `extend` times. With `optuna`, each
    arm gets `trials` draws from `space`, {setting: [low, high]}, on a logarithmic scale. A run takes the fraction
    `share` of the budget.

    `apart` tunes Muon's and AdamW's rate one after the other: first Muon's over `rates`, with AdamW's as in the
    base, then AdamW's with the best of Muon's. Three rates are five runs; all pairs were nine, and say little
    more, because each rate suits parameters of its own.
    """

    ADDED: ClassVar[tuple[str, ...]] = ("apart",)

    seeds: tuple[int, ...]
    rates: tuple[int | float, ...] = (0.5, 1.0, 2.0)
    search: Search = "grid"
    share: float = 1.0
    extend: int = 2
    trials: int = 12
    space: dict[str, list[int | float]] = field(default_factory=dict)
    apart: bool = False

    def __post_init__(self) -> None:
        if self.search not in get_args(Search):
            raise InputError(f"tuning.search is {self.search!r}: choose {' or '.join(get_args(Search))}")
        if self.search == "optuna":
            _check_space(self.space)
        else:
            _check_rates(self.rates)
        if not 0 < self.share <= 1:
            raise InputError(
                f"tuning.share is {self.share}: choose a fraction of the budget, more than 0, up to 1"
            )
        if self.extend < 0 or self.trials < 1:
            raise InputError("tuning: extend must be 0 or more, trials 1 or more")
        if self.apart and (self.search != "grid" or 1.0 not in self.rates):
            raise InputError("tuning.apart needs a grid with the rate 1.0: each is tuned with the other at that")


@dataclass(frozen=True)
class Judged:
    """Texts that final runs are evaluated on when they have ended, and no other ones: nothing is chosen by them.

    `test` names corpora, files or folders, of each file the first `test_chars` characters. `beyond_chars`: so many
    characters of each training text right behind those that are trained on, and as many of its first ones.
    """

    test: tuple[str, ...] = ()
    test_chars: int | None = None
    beyond_chars: int = 0

    def __post_init__(self) -> None:
        if not self.test and not self.beyond_chars:
            raise InputError('judged: give test = ["books/test"], or beyond_chars, or both')
        for name, least in (("test_chars", 2), ("beyond_chars", 0)):
            value = getattr(self, name)
            if value is not None and not least <= value < 2**53:
                raise InputError(f"judged.{name} is {value}: choose at least {least}, below 2^53")


def _check_rates(rates: Sequence[float]) -> None:
    for rate in rates:
        _require_positive(rate, "tuning.rates")
    if len(rates) < 2 or list(rates) != sorted(set(rates)):
        raise InputError("tuning.rates: give two or more different factors, in rising order")


def _check_space(space: Mapping[str, list[int | float]]) -> None:
    if not space:
        raise InputError('tuning.space: say what to search, as `"training.learning_rate" = [1e-3, 1e-2]`')
    for name, ends in space.items():
        if len(ends) != 2 or not 0 < ends[0] < ends[1]:
            raise InputError(f"tuning.space.{name} is {ends!r}: give [low, high], both more than 0")
        section, _, key = name.partition(".")
        if section not in ("model", "training") or not key:
            raise InputError(f"tuning.space.{name}: name a setting, such as training.learning_rate")


@dataclass(frozen=True)
class Arm:
    """One side of the comparison. `match` names the ways in which its width is solved for; in all others its size
    is left alone."""

    name: str
    label: str
    about: str = ""
    match: tuple[MatchKind, ...] = get_args(MatchKind)

    def __post_init__(self) -> None:
        for way in self.match:
            check_choice(way, WAYS, f"arms.{self.name}.match")


@dataclass(frozen=True)
class Contrast:
    """A difference that the comparison is to measure: `arm` minus `than`, in `measure`.

    `matching` and `size` name one of several ways; None means all of them. `claim` is the sentence that is tested.
    `measure` is the loss on the test text where one is declared, else on the validation text.
    """

    arm: str = ""
    than: str = ""
    measure: str = "valid_nats"
    matching: MatchKind | None = None
    size: str | None = None
    primary: bool = False
    claim: str | None = None

    def __post_init__(self) -> None:
        for side in ("arm", "than"):
            if not getattr(self, side):
                raise InputError(f"contrasts: one of them lacks {side!r}: name an arm")
        if self.arm == self.than:
            raise InputError(f"contrasts: {self.arm} is compared with itself: name two arms")
        check_measure(self.measure)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a spec says, and its declaration repeats.

    A `screening` says where to dig: it has no contrasts, and no claims are made from it. `family` is how many
    primary contrasts Holm's correction counts, those of other parts of a study among them; 0 for one alone, which
    needs none. `two_way` takes intervals of losses from a model of seeds and books (`intervals.two_way`).
    """

    ADDED: ClassVar[tuple[str, ...]] = ("judged", "screening", "family", "two_way")

    name: str
    title: str
    question: str = ""
    smallest_effect: float = 0.005
    budget: Budget
    matching: Matching = Matching()
    tuning: Tuning | None = None
    attention: bool = False
    judged: Judged | None = None
    screening: bool = False
    family: int = 0
    two_way: bool = False

    @property
    def loss(self) -> str:
        """What arms are compared in, and contrasts that name no measure."""
        return "test_nats" if self.judged and self.judged.test else "valid_nats"


@dataclass(frozen=True, kw_only=True)
class Spec(Terms):
    """A comparison as declared. `jobs` is how many runs at a time suit it, `storage` where Optuna keeps its
    studies; `given` is what it was read from, for the hash, and for the settings of runs; `pinned` allows runs by
    the one commit alone that declared them."""

    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    contrasts: tuple[Contrast, ...]
    given: Json
    jobs: int = 1
    storage: str | None = None
    sizes: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    pinned: bool = False
    chosen_budget: str | None = None

    def __post_init__(self) -> None:
        """What can only be seen of the whole."""
        if len(self.arms) < 2:
            raise InputError("arms: a comparison needs two of them: add tables [arms.NAME]")
        _require_positive(self.smallest_effect, "smallest_effect")
        if self.jobs < 1:
            raise InputError(f"jobs is {self.jobs!r}: give the number of runs at a time")
        if self.tuning and (both := set(self.tuning.seeds) & set(self.seeds)):
            raise InputError(
                f"tuning.seeds and seeds share {min(both)}: tune on seeds that are used for nothing else"
            )
        self._check_matching()
        self._check_contrasts()

    def _check_matching(self) -> None:
        target, by = self.matching.target, self.matching.by
        if target is not None and (self.matching.reference or by not in (("parameters",), ("flops",))):
            raise InputError("matching.target goes with `by` either parameters or flops, and without a reference")
        if self.matching.reference is not None:
            check_choice(self.matching.reference, [arm.name for arm in self.arms], "matching.reference")
        if self.sizes and target is not None:
            raise InputError("matching.target is one size, sizes are several: name a reference instead")
        if "wall-clock" in by and self.budget.kind == "flops":
            raise InputError(
                "matching.by: with a budget of FLOPs arms differ in characters, so a character as fast in every "
                "arm is not yet an equal time: leave out wall-clock, or give budget.chars or budget.minutes"
            )

    def _check_contrasts(self) -> None:
        if self.screening and self.contrasts:
            raise InputError("contrasts: no claims are made from a screening: leave them out, or screening")
        arms = [arm.name for arm in self.arms]
        known: dict[str, list[str]] = {
            "arm": arms,
            "than": arms,
            "matching": [*self.matching.by],
            "size": [*self.sizes],
        }
        for contrast in self.contrasts:
            for name, names in known.items():
                if (value := getattr(contrast, name)) is not None:
                    check_choice(value, names, f"contrasts.{name}")
            if contrast.measure.split(".")[0] in ANALYSED and not self.attention:
                raise InputError(
                    f"contrasts: {contrast.measure} is not measured: write `attention = true` in the spec"
                )
        primary = sum(contrast.primary for contrast in self.contrasts)
        if primary > max(1, self.family):
            raise InputError(
                f"contrasts: {primary} are primary, of a family of {max(1, self.family)}: mark one, or say how "
                "many Holm's correction is to count, as family = 3"
            )
        keys = [(c.arm, c.than, c.measure, c.matching, c.size) for c in self.contrasts]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise InputError(f"contrasts: {twice[0][0]} against {twice[0][1]} in {twice[0][2]} is there twice")

    @property
    def each_size(self) -> tuple[str | None, ...]:
        """The sizes that arms are made in: None alone where none are declared."""
        return self.sizes or (None,)

    def with_texts_at_hand(self) -> Spec:
        """With the settings of `without_books` for the base's text, where the books are not on this machine."""
        instead = self.given.get("without_books")
        if instead is None or books_are_here():
            return self
        return replace(self, given={**self.given, "base": {**self.given["base"], "data": instead}})

    def settings(self, arm: Arm, size: str | None) -> Json:
        """Everything that is set for an arm: its preset, then base, size and arm laid over one another."""
        tables = self.given["base"], self.given["sizes"][size] if size else {}, self.given["arms"][arm.name]
        merged = reduce(overlay, tables)
        changes = {name: merged[name] for name in SETTINGS if name in merged}
        name = str(changes.get("preset") or SETTINGS_PRESET)
        known = {"preset": name, "plugins": list(self.plugins)}
        return overlay({**preset(name), "data": {"seed": 0}}, {**changes, **known})


def books_are_here() -> bool:
    """Whether the books can be read without fetching them."""
    named = os.environ.get("AEATTN_CORPORA")
    places = [cache_dir() / "corpora", *([Path(named)] if named else [])]
    return any(any((place / "books" / "train").glob("*.txt")) for place in places)
