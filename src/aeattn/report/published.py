"""The curves that the published experiment reported, beside runs of its task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from aeattn.compare.declaration import ResolvedArm
from aeattn.compare.records import Point, Record, comparable
from aeattn.config.convert import build
from aeattn.config.run import RunConfig
from aeattn.config.sources import read_toml
from aeattn.errors import InputError
from aeattn.nn.size import parameters
from aeattn.report.blocks import Block, Cell, Figure, Figures, Section, Table, Text, shown
from aeattn.report.charts import NATS, curve, named
from aeattn.report.data import Comparison
from aeattn.report.svg import Chart, spread

RECIPE, CORPORA = "books10m", (("bookcorpus",), ("books",))  # its task, or as near as can be had
OURS = "this run"


@dataclass(frozen=True)
class PublishedCurve:
    """Losses in nats a token after so many updates; a token is `chars_per_token` characters of text."""

    parameters: int
    tokens: str
    steps: tuple[int, ...]
    nats: tuple[float, ...]
    chars_per_token: float = 1.0

    @property
    def name(self) -> str:
        return f"published, {self.parameters:,} parameters"

    @property
    def points(self) -> list[tuple[float, float]]:
        """Updates, and nats a character."""
        return [(step, nats / self.chars_per_token) for step, nats in zip(self.steps, self.nats, strict=True)]


@dataclass(frozen=True)
class Published:
    """All curves, and where they are from."""

    source: str
    curves: tuple[PublishedCurve, ...]


def published() -> Published:
    values = read_toml(Path(str(resources.files("aeattn.report") / "published.toml")))
    curves = tuple(build(PublishedCurve, curve, "curves") for curve in values["curves"])
    return Published(values["source"], curves)


def nearest(config: RunConfig) -> PublishedCurve | None:
    """The curve of the model that is nearest in size, of characters or of subwords as the run is; None for a run
    of another task."""
    data = config.data
    if data.recipe != RECIPE and data.corpus not in CORPORA:
        return None
    of = "char" if data.tokenizer == "char" else "gpt2"
    size = parameters(config.model)
    curves = [curve for curve in published().curves if curve.tokens == of]
    return min(curves, key=lambda curve: abs(math.log(curve.parameters / size)))


def section(config: RunConfig, points: Sequence[Point]) -> list[Section]:
    """For the page of a run: nothing where its task is another, or nothing has been evaluated."""
    ours = [(float(p.step), p.valid_nats) for p in comparable(points) if p.valid_nats is not None]
    theirs = nearest(config)
    if theirs is None or not ours:
        return []
    figure = _figure("Beside the published curve", [(OURS, ours, 0)], [(theirs, 1)])
    named = [(OURS, 0), (theirs.name, 1)]
    return [Section("Beside the published curve", [Figures([figure], named), *_listed([theirs])])]


def beside(comparison: Comparison) -> list[Block]:
    """The variants of each size, and the published curves that are nearest in size and kind of token."""
    legend = {arm.label: at for arm in comparison.arms if (at := comparison.series(arm)) is not None}
    figures, series = [], dict[PublishedCurve, int]()
    for group in comparison.groups:
        courses = [(arm, _course(comparison.finals(arm.id))) for arm in comparison.in_group(group)]
        pairs = [(arm, points, near) for arm, points in courses if points and (near := _near(arm))]
        theirs = sorted({near for _, _, near in pairs}, key=lambda curve: curve.parameters)
        for each in theirs:
            series.setdefault(each, max(legend.values()) + 1 + len(series))
        if pairs:
            title = named("Beside the published curves", group, len(comparison.groups) > 1)
            ours = [(arm.label, points, comparison.series(arm)) for arm, points, _ in pairs]
            figures.append(_figure(title, ours, [(each, series[each]) for each in theirs]))
    if not figures:
        return []
    legend |= {each.name: at for each, at in series.items()}
    return [Figures(figures, list(legend.items())), *_listed(list(series))]


def _near(arm: ResolvedArm) -> PublishedCurve | None:
    with suppress(InputError):  # a model of a plug-in that is not here
        return nearest(arm.run_config)
    return None


def _course(records: Sequence[Record]) -> list[tuple[float, float]]:
    """Updates, and the mean loss over seeds."""
    steps: dict[float, int] = {
        point.chars: point.step for record in records[:1] for point in record.learning_curve
    }
    return [(steps[mean.at], mean.nats) for mean in curve(records) if mean.at in steps]


def _figure(
    title: str,
    ours: Sequence[tuple[str, Sequence[tuple[float, float]], int | None]],
    theirs: Sequence[tuple[PublishedCurve, int]],
) -> Figure:
    every = [*(at for _, points, _ in ours for at in points), *(at for each, _ in theirs for at in each.points)]
    names = [*(name for name, _, _ in ours), *(each.name for each, _ in theirs)]
    chart = Chart(title, " and ".join(names), spread([x for x, _ in every], 0.02),
                  spread([y for _, y in every]), "updates", NATS)  # fmt: skip
    for _, points, series in ours:
        chart.line(points, series)
    for each, series in theirs:
        chart.line(each.points, series)
        for at in each.points:
            chart.dot(at, series, f"{each.name}: {at[1]:.4f} after {at[0]:,.0f} updates")
    return Figure(chart.render(), title=title)


def _listed(curves: Sequence[PublishedCurve]) -> list[Block]:
    """What must be known of the published curves, and their figures."""
    rows = [
        [Cell(f"{each.parameters:,}"), shown(step, ",.0f"), shown(nats, ".4f")]
        for each in curves
        for step, nats in each.points
    ]
    columns = ["published, parameters", "#updates", f"#{NATS}"]
    return [Text(_caveat(curves)), Table("The published curves", columns, rows, folded=len(curves) > 1)]


def _caveat(curves: Sequence[PublishedCurve]) -> str:
    converted = "".join(
        f" Losses a token of that with {curve.parameters:,} parameters are divided by {curve.chars_per_token} "
        "characters a token, as in its text."
        for curve in curves
        if curve.chars_per_token != 1
    )
    return (
        f"From {published().source}. Its batch, context and learning rate are not known, nor are the texts the "
        f"same: equal updates are not equal text, and only the course can be compared.{converted}"
    )
