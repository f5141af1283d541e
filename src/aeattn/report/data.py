"""Everything that a report is made from, read from a comparison's folder; what is missing or damaged is noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from aeattn.analysis.results import RunAnalysis
from aeattn.compare.convert import Saved
from aeattn.compare.declaration import Declaration, ResolvedArm, ResolvedContrast, read_declaration
from aeattn.compare.folder import Folder
from aeattn.compare.intervals import Interval, estimate
from aeattn.compare.metrics import allocated_bytes, read_measure
from aeattn.compare.records import Record
from aeattn.compare.results import ContrastResult, StepSpeeds, Summary, Writing
from aeattn.compare.sentences import MATCHED
from aeattn.compare.summary import sharing_the_machine
from aeattn.errors import InputError
from aeattn.files import read_json
from aeattn.report.blocks import Cell, with_interval

T = TypeVar("T", bound=Saved)
Group = tuple[str, str | None]
"""A way of matching and a size: arms of two groups are never put into one picture."""

MANY = 12  # variants: where there are more, pictures tell a few of them apart

COSTS = {
    "chars": ("characters", ",.0f"),
    "train_flops": ("training FLOPs", ".3g"),
    "train_flops_per_char": ("training FLOPs/char", ",.0f"),
    "seconds": ("training seconds", ",.1f"),
    "chars_per_second": ("training chars/s", ",.0f"),
    "peak_memory_bytes": ("peak memory, bytes", ",.0f"),
    "parameters": ("parameters", ",.0f"),
    "cache_bytes": ("full KV cache, bytes a token", ",.0f"),
    "latent_cache_bytes": ("latent KV cache, bytes a token", ",.0f"),
}
"""The figures of `Cost`: heading and form."""


@dataclass(frozen=True)
class Comparison:
    """What is in a comparison's folder. `summary` is None where nothing has been concluded yet, `analyses` are by
    name of the record, and `problems` says what could not be read."""

    path: Path
    declaration: Declaration
    toml: str
    summary: Summary | None
    records: Sequence[Record]
    analyses: Mapping[str, RunAnalysis]
    problems: Sequence[str]
    writing: Writing | None = None
    steps: StepSpeeds | None = None

    def loss(self, record: Record) -> float | None:
        """What arms are compared in: the loss on the test text where one is declared, else the validation loss."""
        return read_measure(self.declaration.loss, record, None)

    @property
    def arms(self) -> Sequence[ResolvedArm]:
        return self.declaration.arms

    @property
    def contrasts(self) -> Sequence[ContrastResult]:
        return self.summary.contrasts if self.summary else ()

    @property
    def groups(self) -> list[Group]:
        return list(dict.fromkeys(map(group_of, self.arms)))

    @property
    def slowed(self) -> set[str]:
        """Names of runs that shared the machine: how fast they were says nothing of their arms."""
        return sharing_the_machine(self.records)

    def in_group(self, group: Group) -> list[ResolvedArm]:
        return [arm for arm in self.arms if group_of(arm) == group]

    @cached_property
    def many(self) -> bool:
        """Whether there are more variants than pictures tell apart."""
        return len({arm.arm for arm in self.arms}) > MANY

    @cached_property
    def told_apart(self) -> list[str]:
        """Names of the arms that pictures tell apart: all of them, or where they are many, the first and those on
        the frontier."""
        names = list(dict.fromkeys(arm.arm for arm in self.arms))
        if not self.many:
            return names
        best = {arm.arm for arm in self.arms if arm.id in self.on_frontier}
        return [name for name in names if name in best or name == names[0]]

    def series(self, arm: ResolvedArm) -> int | None:
        """The style of an arm: the same one in every group; None where pictures do not tell it apart."""
        return self.told_apart.index(arm.arm) if arm.arm in self.told_apart else None

    @cached_property
    def on_frontier(self) -> list[str]:
        """Ids of the arms that no other beats in both loss and KV-cache bytes a token, by bytes."""
        points = {}
        for arm in self.arms:
            nats, at = over_seeds(map(self.loss, self.finals(arm.id)))[0], self.mean_kept_bytes(arm.id)
            if nats is not None and at is not None:
                points[arm.id] = (at, nats)
        return on_frontier(points, least=True)

    def finals(self, arm: str) -> list[Record]:
        """Final runs of an arm that have succeeded, by seed."""
        found = [r for r in self.records if r.arm == arm and r.phase == "final" and r.status == "done"]
        return sorted(found, key=lambda r: r.seed)

    def analysed(self, arm: str) -> dict[int, RunAnalysis]:
        """What was measured of an arm's final runs, by seed."""
        return {r.seed: found for r in self.finals(arm) if (found := self.analyses.get(r.name))}

    def kept_bytes(self, record: Record) -> float | None:
        """KV-cache bytes a token of a run: as allocated, where every final run has that, else as counted."""
        if self._allocated:
            return allocated_bytes(record)
        counted = (cost_of(record, name) for name in ("latent_cache_bytes", "cache_bytes"))
        return next((cost for cost in counted if cost), None)

    def mean_kept_bytes(self, arm: str) -> float | None:
        """The mean of `kept_bytes` over the final runs of an arm."""
        return over_seeds(map(self.kept_bytes, self.finals(arm)))[0]

    @property
    def _allocated(self) -> bool:
        finals = [record for arm in self.arms for record in self.finals(arm.id)]
        return bool(finals) and all(allocated_bytes(record) for record in finals)

    def full_name(self, arm: ResolvedArm) -> str:
        """The label, with the way of matching and the size where there are several."""
        return arm.label + (f", {group_name(group_of(arm))}" if len(self.groups) > 1 else "")


def on_frontier(points: Mapping[str, tuple[float, float]], least: bool) -> list[str]:
    """Ids of the points (cost, loss) that no other beats in both, by cost; with `least` less cost is better, else
    more."""
    sign = 1 if least else -1
    found: list[str] = []
    best = float("inf")
    for id, (_, loss) in sorted(points.items(), key=lambda item: (sign * item[1][0], item[1][1])):
        if loss < best:
            best = loss
            found.append(id)
    return found


def group_of(of: ResolvedArm | ResolvedContrast) -> Group:
    return of.matching, of.size


def group_name(group: Group) -> str:
    return ", ".join(filter(None, (MATCHED[group[0]], group[1])))


def load(path: Path) -> Comparison:
    """Raises InputError where this is no comparison."""
    folder, problems = Folder(path), list[str]()
    declaration = read_declaration(folder)
    records = folder.read_records(lambda _, error: problems.append(str(error)))
    kept = [record for record in records if record.arm in {arm.id for arm in declaration.arms}]
    if len(kept) < len(records):
        problems.append(f"{len(records) - len(kept)} records are of arms that are not declared, and left out.")
    return Comparison(
        path=path,
        declaration=declaration,
        toml=folder.toml.read_text(encoding="utf-8", errors="replace") if folder.toml.is_file() else "",
        summary=_summary(folder, declaration, problems),
        records=kept,
        analyses=_analyses(folder, kept, problems),
        problems=problems,
        writing=_measured(Writing, folder.writing, problems),
        steps=_measured(StepSpeeds, folder.steps, problems),
    )


def _measured(kind: type[T], path: Path, problems: list[str]) -> T | None:
    """What was measured besides the runs; None where it was not."""
    if not path.exists():
        return None
    try:
        return kind.from_dict(read_json(path, f"{path} is damaged: delete it"), str(path))
    except InputError as error:
        problems.append(str(error))
        return None


def _summary(folder: Folder, declaration: Declaration, problems: list[str]) -> Summary | None:
    if not folder.summary.exists():
        problems.append("Nothing has been concluded yet: run aeattn compare.")
        return None
    try:
        values = read_json(folder.summary, f"{folder.summary} is damaged: run aeattn compare again")
        summary = Summary.from_dict(values, str(folder.summary))
    except InputError as error:
        problems.append(str(error))
        return None
    if summary.spec != declaration.hash:
        problems.append("The conclusions are of another declaration: run `aeattn compare` again.")
    return summary


def _analyses(folder: Folder, records: Sequence[Record], problems: list[str]) -> dict[str, RunAnalysis]:
    found = {}
    for record in records:
        try:
            if analysis := folder.read_analysis(record.name):
                found[record.name] = _with_comparable_losses(analysis, record)
        except InputError as error:
            problems.append(str(error))
    return found


def _with_comparable_losses(analysis: RunAnalysis, record: Record) -> RunAnalysis:
    """Without the losses on another part of the validation text than the learning curve's."""
    steps = {point.step for point in record.learning_curve}
    at = (s if s.step in steps else replace(s, valid_nats=None) for s in analysis.at)
    return replace(analysis, at=tuple(at))


def cost_of(record: Record, name: str) -> float | None:
    """One figure of what a run cost."""
    return None if record.cost is None else getattr(record.cost, name)


def over_seeds(values: Iterable[float | None]) -> tuple[float | None, Interval | None]:
    """Mean and 95 % interval of what is there; None where there is nothing, or one seed."""
    there = [value for value in values if value is not None]
    if not there:
        return None, None
    found = estimate(there)
    return found.mean, found.interval


def mean_cell(values: Iterable[float | None], form: str = ".4f") -> Cell:
    """Mean and interval over seeds as a cell."""
    return with_interval(*over_seeds(values), form=form)
