"""Everything that a report is made from, read from a comparison's folder; what is missing or damaged is noted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aeattn.compare.folder import Folder
from aeattn.compare.intervals import estimate
from aeattn.compare.records import Record
from aeattn.compare.sentences import MATCHED
from aeattn.errors import InputError
from aeattn.files import read_json

Group = tuple[str | None, str | None]


@dataclass
class Material:
    """Files of a comparison. `summary` is {} where nothing has been concluded yet, `analysis` holds what there is
    by name of the record, and `problems` says what could not be read."""

    path: Path
    spec: dict[str, Any]
    toml: str
    summary: dict[str, Any]
    records: list[Record]
    analysis: dict[str, dict[str, Any]]
    problems: list[str] = field(default_factory=list)

    @property
    def arms(self) -> list[dict[str, Any]]:
        return list(self.spec["arms"])

    @property
    def contrasts(self) -> list[dict[str, Any]]:
        """What was concluded of each contrast."""
        found = self.summary.get("contrasts", [])
        return [c for c in found if isinstance(c, dict) and {"arm", "than", "measure"} <= set(c)]

    @property
    def groups(self) -> list[Group]:
        """Ways of matching and sizes, which are never put into one picture."""
        return list(dict.fromkeys((arm.get("matching"), arm.get("size")) for arm in self.arms))

    def in_group(self, group: Group) -> list[dict[str, Any]]:
        return [arm for arm in self.arms if (arm.get("matching"), arm.get("size")) == group]

    def series(self, arm: dict[str, Any]) -> int:
        """The style of an arm: the same one in every group."""
        return list(dict.fromkeys(a["arm"] for a in self.arms)).index(arm["arm"])

    def finals(self, arm_id: str) -> list[Record]:
        """Final runs of an arm that have succeeded, by seed."""
        found = [r for r in self.records if r.arm == arm_id and r.phase == "final" and r.status == "done"]
        return sorted(found, key=lambda r: r.seed)

    def full_name(self, arm: dict[str, Any]) -> str:
        """The label, with the way of matching and the size where there are several."""
        more = group_name((arm.get("matching"), arm.get("size"))) if len(self.groups) > 1 else ""
        return str(arm["label"]) + (f", {more}" if more else "")


def group_name(group: Group) -> str:
    matching, size = group
    named = MATCHED.get(str(matching), str(matching)) if matching else ""
    return ", ".join(part for part in (named, str(size or "")) if part)


def load(path: Path) -> Material:
    """Raises InputError where this is no comparison."""
    folder, problems = Folder(path), list[str]()
    spec = folder.read_spec()
    if not isinstance(spec.get("arms"), list) or not all(_is_arm(arm) for arm in spec["arms"]):
        raise InputError(f"{folder.spec} is damaged: it names no arms; run `aeattn compare` again")
    records = folder.read_records(lambda _, error: problems.append(str(error)))
    return Material(
        path=path,
        spec=spec,
        toml=folder.toml.read_text(encoding="utf-8", errors="replace") if folder.toml.exists() else "",
        summary=_summary(folder, spec, problems),
        records=_current(records, spec, problems),
        analysis=_analysis(folder, records, problems),
        problems=problems,
    )


def _is_arm(arm: Any) -> bool:
    return isinstance(arm, dict) and all(isinstance(arm.get(name), str) for name in ("id", "arm", "label"))


def _summary(folder: Folder, spec: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    try:
        summary = read_json(folder.summary, "Nothing has been concluded yet, run `aeattn compare`")
    except InputError as error:
        problems.append(str(error))
        return {}
    if summary.get("spec") != spec.get("hash"):
        problems.append("The conclusions are of another declaration: run `aeattn compare` again.")
    return summary


def _current(records: Sequence[Record], spec: dict[str, Any], problems: list[str]) -> list[Record]:
    ours = {arm["id"] for arm in spec["arms"]}
    kept = [record for record in records if record.arm in ours]
    if len(kept) < len(records):
        problems.append(f"{len(records) - len(kept)} records are of arms that are not declared, and left out.")
    return kept


def _analysis(folder: Folder, records: Sequence[Record], problems: list[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for record in records:
        try:
            read = folder.read_analysis(record.name)
            analysis = None if read is None else read.to_dict()
        except InputError as error:
            problems.append(str(error))
            continue
        looks = analysis.get("at") if analysis else None
        whole = [_with_places(x) for x in looks if _is_look(x)] if isinstance(looks, list) else []
        if whole:
            found[record.name] = {**(analysis or {}), "at": whole}
    return found


def _is_look(look: Any) -> bool:
    return isinstance(look, dict) and isinstance(look.get("measured"), dict) and isinstance(look.get("step"), int)


def _with_places(look: dict[str, Any]) -> dict[str, Any]:
    """A look with `measured.places`: every head under `layer/head`, every projection under `layer/its name`."""
    measured = look["measured"]
    heads = {
        f"{i}/{j}": head
        for i, layer in enumerate(_list(measured.get("layers")), start=1)
        for j, head in enumerate(_list(layer.get("heads")) if isinstance(layer, dict) else [], start=1)
    }
    projections = {_place(p): p for p in _list(measured.get("projections")) if isinstance(p, dict)}
    return {**look, "measured": {**measured, "places": {"heads": heads, "projections": projections}}}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _place(projection: dict[str, Any]) -> str:
    """`layer/projection`, and `/head` where each head has its own, from 1."""
    layer, head = projection.get("layer"), projection.get("head")
    numbers = [str(n + 1) if isinstance(n, int) else "" for n in (layer, head)]
    return "/".join(part for part in (numbers[0], str(projection.get("projection")), numbers[1]) if part)


# -- figures over seeds --------------------------------------------------------------------------------------


def look_up(values: Any, path: str) -> float | None:
    """The number under dotted keys, None where there is none."""
    for key in path.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    is_number = isinstance(values, int | float) and not isinstance(values, bool) and math.isfinite(values)
    return float(values) if is_number else None


def over_seeds(values: Iterable[float | None]) -> tuple[float | None, tuple[float, float] | None]:
    """Mean and 95 % interval of what is there; None where there is nothing, or one seed."""
    there = [value for value in values if value is not None]
    if not there:
        return None, None
    try:
        found = estimate(there)
    except InputError:  # SciPy is not installed
        return sum(there) / len(there), None
    return found.mean, found.interval
