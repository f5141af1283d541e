"""A spec from TOML: what it says in short is written out here, what it may say is declared in `spec.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import get_args

from aeattn.compare.spec import SETTINGS, Arm, Budget, BudgetKind, Contrast, Judged, MatchKind, Spec, Tuning
from aeattn.config.convert import build, check_choice, check_keys, overlay
from aeattn.config.fields import settings
from aeattn.config.run import RunConfig
from aeattn.config.sources import located, read_toml, with_plugins
from aeattn.errors import InputError
from aeattn.files import Json

RAW = ("base", "without_books")  # settings of runs: `Spec.given` holds them, and `RunConfig` checks them
KNOWN = [each.name for each in settings(Spec) if each.name not in ("name", "given", "chosen_budget")]
KNOWN += [*RAW, "budgets"]
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
        check_choice(name, shipped(), "SPEC")
    return path


def read_spec(path: Path, budget: str | None = None, plugins: Sequence[str] = ()) -> Spec:
    """A spec from a TOML file, with one of its named budgets. Raises InputError for what cannot be."""
    try:
        return parse(with_plugins(located(read_toml(path), path), plugins), path.stem, budget)
    except InputError as error:
        where = str(path)
        raise InputError(str(error) if where in str(error) else f"{path.name}: {error}") from error


def parse(values: Mapping[str, object], name: str, budget: str | None = None) -> Spec:
    """A spec from nested dictionaries. Raises InputError."""
    check_keys(values, KNOWN, "spec")
    given = _with_budget(values, budget)
    given["base"] = _run_settings(given, "base")
    arms = [_arm(given["arms"], each) for each in _table(given, "arms")]
    for size in _table(given, "sizes"):
        _run_settings(given["sizes"], size, "sizes.")
    seeds = _seeds(given.get("seeds", 3), "seeds")
    read = {
        "name": name,
        "seeds": seeds,
        "budget": _budget(_table(given, "budget")),
        "tuning": _tuning(given, seeds),
        "arms": arms,
        "sizes": list(_table(given, "sizes")),
        "judged": _judged(given),
        "contrasts": _contrasts(given, arms),
        "given": given,
    }
    plain = {key: value for key, value in given.items() if key not in RAW}
    spec = build(Spec, {"title": name, **plain, **read}, "spec")
    _check_runs(spec)
    return spec


def _with_budget(values: Mapping[str, object], wanted: str | None) -> Json:
    """The spec with one of its `budgets` laid over it: the first, unless another is named."""
    budgets = _table(values, "budgets")
    rest = {key: value for key, value in values.items() if key != "budgets"}
    if wanted is None and not budgets:
        return rest
    name = wanted or next(iter(budgets))
    if not budgets:
        raise InputError(f"this spec has no budget {name!r} to choose: leave --budget out")
    check_choice(name, budgets, "--budget")
    changes = _table(budgets, name, "budgets.")
    check_keys(changes, [*(key for key in KNOWN if key != "budgets"), "only"], f"budgets.{name}")
    merged = overlay(rest, changes) | {"chosen_budget": name}
    if "budget" in changes:  # minutes do not come on top of characters
        merged["budget"] = changes["budget"]
    ways = _table(merged, "matching").get("by") or ["width"]
    if "by" in _table(changes, "matching") and "contrasts" in merged and isinstance(ways, list):
        merged["contrasts"] = [c for c in _contrast_tables(merged) if c.get("matching", ways[0]) in ways]
    return _only(merged, f"budgets.{name}.only")


def _only(values: Json, where: str) -> Json:
    """The spec with the arms of `only` alone, if that is given, and the contrasts between them."""
    names = values.pop("only", None)
    if names is None:
        return values
    arms = _table(values, "arms")
    if not isinstance(names, list):
        raise InputError(f"{where} is {names!r}: give a list of arms")
    for name in names:
        check_choice(name, arms, where)
    there = [c for c in _contrast_tables(values) if c.get("arm") in names and c.get("than") in names]
    return {**values, "arms": {name: arms[name] for name in arms if name in names}, "contrasts": there}


def _arm(arms: Mapping[str, object], name: str) -> Arm:
    values = _run_settings(arms, name, "arms.", [each.name for each in settings(Arm) if each.name != "name"])
    own = {key: value for key, value in values.items() if key not in SETTINGS}
    match = own.get("match", True)
    if isinstance(match, bool):
        own["match"] = get_args(MatchKind) if match else ()
    elif not isinstance(match, list):
        raise InputError(f"arms.{name}.match is {match!r}: write true or false, or a list of ways")
    return build(Arm, {"label": name, **own, "name": name}, f"arms.{name}")


def _run_settings(
    tables: Mapping[str, object], name: str, inside: str = "", more: Sequence[str] = ()
) -> Mapping[str, object]:
    """A table of settings of runs, which may hold `more`."""
    where = f"{inside}{name}"
    if not _NAME.fullmatch(name):
        raise InputError(f"{where}: choose a name of letters, digits, '-', '_' and '.'")
    values = _table(tables, name, inside)
    check_keys(values, [*SETTINGS, *more], where)
    for key in _table(values, "training", f"{where}."):
        if key in RESERVED:
            raise InputError(f"{where}: training.{key} comes from {RESERVED[key]}: leave it out")
    return values


def _table(values: Mapping[str, object], name: str, inside: str = "") -> Json:
    value = values.get(name, {})
    if not isinstance(value, dict):
        raise InputError(f"{inside}{name} is {value!r}: write a table of settings there")
    return value


def _budget(values: Mapping[str, object]) -> Budget:
    check_keys(values, list(get_args(BudgetKind)), "budget")
    if len(values) != 1:
        raise InputError("budget: give one of chars, flops and minutes, as in `[budget] chars = 20_000_000`")
    [(kind, amount)] = values.items()
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise InputError(f"budget.{kind} is {amount!r}: give a number of more than 0")
    return build(Budget, {"kind": kind, "amount": amount}, "budget")


def _tuning(given: Mapping[str, object], seeds: Sequence[int]) -> Tuning | None:
    """By default, on the first seed from 1001 on that is used for nothing else."""
    if given.get("tuning") is None or given["tuning"] is False:
        return None
    values = _table(given, "tuning")
    free = next(seed for seed in range(1001, 1001 + len(seeds) + 1) if seed not in seeds)
    return build(Tuning, {**values, "seeds": _seeds(values.get("seeds", [free]), "tuning.seeds")}, "tuning")


def _judged(given: Mapping[str, object]) -> Judged | None:
    return build(Judged, _table(given, "judged"), "judged") if given.get("judged") is not None else None


def _contrasts(given: Mapping[str, object], arms: Sequence[Arm]) -> list[Contrast]:
    """As declared; without any, every arm against the first one. The first is primary unless another is."""
    tables = _contrast_tables(given)
    if not tables and not given.get("screening"):
        tables = [{"arm": arm.name, "than": arms[0].name} for arm in arms[1:]]
    loss = {"measure": "test_nats"} if _table(given, "judged").get("test") else {}
    contrasts = [build(Contrast, {**loss, **table}, "contrasts") for table in tables]
    if contrasts and not any(contrast.primary for contrast in contrasts):
        contrasts[0] = replace(contrasts[0], primary=True)
    return contrasts


def _contrast_tables(given: Mapping[str, object]) -> list[Mapping[str, object]]:
    tables = given.get("contrasts", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError("contrasts: write tables [[contrasts]] with arm and than")
    return tables


def _check_runs(spec: Spec) -> None:
    for size in spec.each_size:
        for arm in spec.arms:
            try:
                config = RunConfig.from_settings(spec.settings(arm, size))
            except InputError as error:
                raise InputError(f"arms.{arm.name}: {error}") from error
            if spec.tuning and spec.tuning.apart and config.training.optimizer != "muon":
                raise InputError(
                    f"arms.{arm.name}: tuning.apart tunes Muon's rate and AdamW's, all arms alike, and this one "
                    "is trained with AdamW alone: leave `apart` out"
                )


def _seeds(values: object, where: str) -> tuple[int, ...]:
    """A list of seeds, or so many of them from 1 on."""
    if type(values) is int and 1 <= values <= 1000:
        return tuple(range(1, values + 1))
    whole = isinstance(values, list) and all(type(seed) is int and seed >= 0 for seed in values)
    if not isinstance(values, list) or not whole or not values or len(set(values)) < len(values):
        raise InputError(f"{where} is {values!r}: give a list of different whole numbers, such as [1, 2, 3]")
    return tuple(values)
