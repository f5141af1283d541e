"""A spec from TOML, checked as far as it can be before a text is read: one line for each mistake."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from aeattn.compare.metrics import ANALYSED, check_measure
from aeattn.compare.spec import (
    Arm,
    Budget,
    BudgetKind,
    Contrast,
    Matching,
    MatchKind,
    Search,
    Settings,
    Spec,
    Tuning,
)
from aeattn.config.convert import build, check_keys, overlay
from aeattn.config.run import RunConfig
from aeattn.config.sources import located, read_toml, with_plugins
from aeattn.errors import InputError
from aeattn.files import Json

SETTINGS = ["preset", "model", "training", "data"]
RESERVED = {
    "steps": "the budget",
    "minutes": "the budget",
    "seed": "seeds",
}  # training settings that a comparison sets itself
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


def shipped() -> list[str]:
    """Names of the specs that come with the package."""
    folder = resources.files("aeattn.compare") / "specs"
    return sorted(path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml"))


def find_spec(name: str) -> Path:
    """The file of a shipped spec, or the file of that path. Raises InputError where neither is there."""
    if name in shipped():
        return Path(str(resources.files("aeattn.compare") / "specs" / f"{name}.toml"))
    path = Path(name)
    if path.suffix != ".toml" and not path.exists():
        check_keys({name: None}, shipped(), "spec")
    return path


def read_spec(path: Path, budget: str | None = None, plugins: Sequence[str] = ()) -> Spec:
    """A spec from a TOML file, with one of its named budgets. Raises InputError for what cannot be."""
    try:
        return parse(with_plugins(located(read_toml(path), path), plugins), path.stem, budget)
    except InputError as error:
        where = str(path)
        raise InputError(str(error) if where in str(error) else f"{path.name}: {error}") from error


KNOWN = ["title", "question", "smallest_effect", "seeds", "budget", "matching", "tuning", "attention", "base"]
KNOWN += ["arms", "sizes", "contrasts", "budgets", "without_books", "jobs", "plugins"]


def parse(values: Json, name: str, budget: str | None = None) -> Spec:
    """A spec from nested dictionaries. Raises InputError."""
    check_keys(values, KNOWN, "spec")
    given = _with_budget(values, budget)
    given["base"] = _table(given, "base")
    check_keys(given["base"], SETTINGS, "base")
    _refuse_reserved("base", given["base"])
    arms = tuple(_arm(key, each) for key, each in _table(given, "arms").items())
    if len(arms) < 2:
        raise InputError("arms: a comparison needs two of them: add tables [arms.NAME]")
    seeds = _seeds(given.get("seeds", [1, 2, 3]), "seeds")
    spec = Spec(
        name=name,
        title=_text(given, "title", name),
        question=_text(given, "question", ""),
        smallest_effect=_positive(given.get("smallest_effect", 0.005), "smallest_effect"),
        seeds=seeds,
        budget=_budget(_table(given, "budget")),
        matching=_matching(_table(given, "matching"), arms),
        tuning=_tuning(given, seeds),
        attention=_flag(given, "attention"),
        jobs=given.get("jobs", 1),
        arms=arms,
        sizes=_sizes(_table(given, "sizes")),
        contrasts=_contrasts(given, arms),
        given=given,
    )
    if not isinstance(spec.jobs, int) or isinstance(spec.jobs, bool) or spec.jobs < 1:
        raise InputError(f"jobs is {spec.jobs!r}: give the number of runs at a time")
    _check(spec)
    return spec


def _with_budget(values: Json, wanted: str | None) -> Json:
    """The spec with one of its `budgets` laid over it: the first, unless another is named."""
    budgets = _table(values, "budgets")
    rest = {key: value for key, value in values.items() if key != "budgets"}
    if wanted is None and not budgets:
        return rest
    name = wanted or next(iter(budgets))
    if not budgets:
        raise InputError(f"this spec has no budget {name!r} to choose: leave --budget out")
    check_keys({name: None}, list(budgets), "--budget")
    changes = _table(budgets, name)
    check_keys(changes, [*(key for key in KNOWN if key != "budgets"), "only"], f"budgets.{name}")
    merged = overlay(rest, changes)
    if "budget" in changes:  # minutes do not come on top of characters
        merged["budget"] = changes["budget"]
    ways = _table(merged, "matching").get("by", ["width"])
    if "by" in _table(changes, "matching") and isinstance(merged.get("contrasts"), list):
        merged["contrasts"] = [c for c in merged["contrasts"] if c.get("matching", ways[0]) in ways]
    return _only(merged, f"budgets.{name}") | {"chosen_budget": name}


def _only(values: Json, where: str) -> Json:
    """The spec with the arms of `only` alone, if that is given, and the contrasts between them."""
    names = values.pop("only", None)
    if names is None:
        return values
    arms = _table(values, "arms")
    if not isinstance(names, list):
        raise InputError(f"{where}.only is {names!r}: give a list of arms")
    check_keys(dict.fromkeys(names), list(arms), f"{where}.only")
    there = [c for c in values.get("contrasts", []) if {c.get("arm"), c.get("than")} <= set(names)]
    return {**values, "arms": {name: arms[name] for name in arms if name in names}, "contrasts": there}


def _arm(name: str, values: Any) -> Arm:
    where = f"arms.{name}"
    if not _NAME.fullmatch(name):
        raise InputError(f"{where}: choose a name of letters, digits, '-', '_' and '.'")
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r}: write a table of settings there")
    check_keys(values, [*SETTINGS, "label", "about", "match"], where)
    settings = {key: value for key, value in values.items() if key in SETTINGS}
    return Arm(name, _text(values, "label", name), _text(values, "about", ""), settings, _matched(values, where))


def _matched(values: Json, where: str) -> tuple[MatchKind, ...]:
    """The ways in which an arm is matched: all, none, or those that are listed."""
    match = values.get("match", True)
    if isinstance(match, bool):
        return get_args(MatchKind) if match else ()
    if not isinstance(match, list):
        raise InputError(f"{where}.match is {match!r}: write true or false, or a list of ways")
    check_keys(dict.fromkeys(map(str, match)), list(get_args(MatchKind)), f"{where}.match")
    return tuple(match)


def _sizes(values: Json) -> dict[str, Settings]:
    for name in values:
        if not _NAME.fullmatch(name):
            raise InputError(f"sizes.{name}: choose a name of letters, digits, '-', '_' and '.'")
        check_keys(_table(values, name), SETTINGS, f"sizes.{name}")
    return values


def _budget(values: Json) -> Budget:
    kinds = list(get_args(BudgetKind))
    check_keys(values, kinds, "budget")
    if len(values) != 1:
        raise InputError("budget: give one of chars, flops and minutes, as in `[budget] chars = 20_000_000`")
    [(kind, amount)] = values.items()
    return Budget(kind, _positive(amount, f"budget.{kind}"))  # type: ignore[arg-type]


def _matching(values: Json, arms: Sequence[Arm]) -> Matching:
    by = values.get("by", ["width"])
    matching = build(Matching, {**values, "by": [by] if isinstance(by, str) else by}, "matching")
    if not matching.by:
        raise InputError(f"matching.by is empty: choose from {', '.join(get_args(MatchKind))}")
    for kind in matching.by:
        check_keys({kind: None}, list(get_args(MatchKind)), "matching.by")
    if matching.reference is not None:
        check_keys({matching.reference: None}, [arm.name for arm in arms], "matching.reference")
    if matching.target is not None:
        _positive(matching.target, "matching.target")
        if matching.reference or matching.by[0] not in ("parameters", "flops") or len(matching.by) > 1:
            raise InputError("matching.target goes with `by` either parameters or flops, and without a reference")
    check_keys({matching.vary: None}, ["d_ff", "bottleneck"], "matching.vary")
    _positive(matching.tolerance, "matching.tolerance")
    return matching


def _tuning(given: Json, seeds: Sequence[int]) -> Tuning | None:
    values = given.get("tuning")
    if values is None or values is False:
        return None
    values = dict(_table(given, "tuning"))
    free = next(seed for seed in range(1001, 1001 + len(seeds) + 1) if seed not in seeds)
    values["seeds"] = _seeds(values.get("seeds", [free]), "tuning.seeds")
    tuning = build(Tuning, values, "tuning")
    if both := set(tuning.seeds) & set(seeds):
        raise InputError(f"tuning.seeds and seeds share {min(both)}: tune on seeds that are used for nothing else")
    if tuning.search not in get_args(Search):
        raise InputError(f"tuning.search is {tuning.search!r}: choose {' or '.join(get_args(Search))}")
    _check_rates(tuning)
    if not 0 < tuning.share <= 1:
        raise InputError(
            f"tuning.share is {tuning.share!r}: choose a fraction of the budget, more than 0, up to 1"
        )
    if tuning.extend < 0 or tuning.trials < 1:
        raise InputError("tuning: extend must be 0 or more, trials 1 or more")
    return tuning


def _check_rates(tuning: Tuning) -> None:
    if tuning.search == "optuna":
        _check_space(tuning.space)
        return
    for rate in tuning.rates:
        _positive(rate, "tuning.rates")
    if len(tuning.rates) < 2 or list(tuning.rates) != sorted(set(tuning.rates)):
        raise InputError("tuning.rates: give two or more different factors, in rising order")


def _check_space(space: Json) -> None:
    if not space:
        raise InputError('tuning.space: say what to search, as `"training.learning_rate" = [1e-3, 1e-2]`')
    for name, ends in space.items():
        fine = isinstance(ends, list) and len(ends) == 2 and all(_is_number(e) for e in ends)
        if not fine or not 0 < ends[0] < ends[1]:
            raise InputError(f"tuning.space.{name} is {ends!r}: give [low, high], both more than 0")
        section, _, key = name.partition(".")
        if section not in ("model", "training") or not key:
            raise InputError(f"tuning.space.{name}: name a setting, such as training.learning_rate")


def _contrasts(given: Json, arms: Sequence[Arm]) -> tuple[Contrast, ...]:
    """As declared; without any, every arm against the first one, and the first of these is the primary one."""
    names = [arm.name for arm in arms]
    tables = given.get("contrasts") or [{"arm": name, "than": names[0]} for name in names[1:]]
    if not isinstance(tables, list):
        raise InputError("contrasts: write tables [[contrasts]] with arm and than")
    contrasts = [_contrast(values, names) for values in tables]
    if sum(contrast.primary for contrast in contrasts) > 1:
        raise InputError("contrasts: mark one of them as primary, not several")
    keys = [(c.arm, c.than, c.measure, c.matching, c.size) for c in contrasts]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise InputError(f"contrasts: {twice[0][0]} against {twice[0][1]} in {twice[0][2]} is there twice")
    if not any(contrast.primary for contrast in contrasts):
        contrasts[0] = build(Contrast, {**vars(contrasts[0]), "primary": True}, "contrasts")
    return tuple(contrasts)


def _contrast(values: Any, names: list[str]) -> Contrast:
    if not isinstance(values, dict):
        raise InputError("contrasts: write tables [[contrasts]] with arm and than")
    check_keys(values, list(Contrast.__dataclass_fields__), "contrasts")
    for side in ("arm", "than"):
        if side not in values:
            raise InputError(f"contrasts: one of them lacks {side!r}: name an arm")
        check_keys({values[side]: None}, names, f"contrasts.{side}")
    contrast = build(Contrast, values, "contrasts")
    if contrast.arm == contrast.than:
        raise InputError(f"contrasts: {contrast.arm} is compared with itself: name two arms")
    check_measure(contrast.measure)
    return contrast


def _check(spec: Spec) -> None:
    """What can only be seen of the whole."""
    for contrast in spec.contrasts:
        if contrast.matching is not None:
            check_keys({contrast.matching: None}, list(spec.matching.by), "contrasts.matching")
        if contrast.size is not None:
            check_keys({contrast.size: None}, list(spec.sizes), "contrasts.size")
        if contrast.measure.split(".")[0] in ANALYSED and not spec.attention:
            raise InputError(
                f"contrasts: {contrast.measure} is not measured: write `attention = true` in the spec"
            )
    if spec.sizes and spec.matching.target is not None:
        raise InputError("matching.target is one size, sizes are several: name a reference instead")
    if "wall-clock" in spec.matching.by and spec.budget.kind == "flops":
        raise InputError(
            "matching.by: with a budget of FLOPs arms differ in characters, so a character as fast in every arm "
            "is not yet an equal time: leave out wall-clock, or give budget.chars or budget.minutes"
        )
    for arm in spec.arms:
        for size in spec.sizes or (None,):
            _check_arm(spec, arm, size)


def _check_arm(spec: Spec, arm: Arm, size: str | None) -> None:
    _refuse_reserved(f"arms.{arm.name}", arm.settings)
    try:
        RunConfig.from_settings(spec.settings(arm, size))
    except InputError as error:
        raise InputError(f"arms.{arm.name}: {error}") from error


def _refuse_reserved(where: str, settings: Settings) -> None:
    for name, source in RESERVED.items():
        if name in _table(settings, "training"):
            raise InputError(f"{where}: training.{name} comes from {source}: leave it out")


def _seeds(values: Any, where: str) -> tuple[int, ...]:
    """A list of seeds, or so many of them from 1 on."""
    if isinstance(values, int) and not isinstance(values, bool) and 1 <= values <= 1000:
        values = list(range(1, values + 1))
    plain = isinstance(values, list | tuple) and all(
        isinstance(s, int) and not isinstance(s, bool) for s in values
    )
    if not plain or not values or len(set(values)) < len(values) or min(values) < 0:
        raise InputError(f"{where} is {values!r}: give a list of different whole numbers, such as [1, 2, 3]")
    return tuple(values)


def _positive(value: Any, where: str) -> float:
    if not _is_number(value) or not 0 < value < math.inf:
        raise InputError(f"{where} is {value!r}: give a number of more than 0")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(values: Json, name: str, default: str) -> str:
    value = values.get(name, default)
    if not isinstance(value, str):
        raise InputError(f"{name} is {value!r}: write it in quotes")
    return value


def _flag(values: Json, name: str) -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{name} is {value!r}: write true or false")
    return value


def _table(values: Json, name: str) -> Json:
    value = values.get(name, {})
    if not isinstance(value, dict):
        raise InputError(f"{name} is {value!r}: write a table there")
    return dict(value)
