"""The learning curve of one run: what is shown of it is decided once, for the page (SVG) and for a PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aeattn.compare.records import Point, comparable
from aeattn.config.run import weight_of_new
from aeattn.files import replacing
from aeattn.report.blocks import Figure, Figures, Key
from aeattn.report.charts import LOWER
from aeattn.report.svg import RIGHT, Chart, spread
from aeattn.runs.folder import RunFolder
from aeattn.terminal.escaping import printable

TRAIN, VALID, WHOLE = "training, mean since the point before", "validation", "whole validation text"
ALIKE = "training, measured as validation"  # without dropout, by the same weights: comparable
LEAST = "entropy of the corpus"
XLABEL, YLABEL = "million characters trained on", "nats/char"
POINTS = 40  # of the training loss at most
WIDE = 744.0  # where the axis of a wide picture ends
AFTER_THE_FALL = 1.6  # nats above the lowest loss that are shown: the first fall would fill the picture


@dataclass(frozen=True)
class Curve:
    """Losses in nats/char over millions of characters trained on. `train` is of a part of the training text,
    measured as `valid` is, or the mean of the updates since the point before (`train_name`); `valid` is of one and
    the same part of the validation text, `whole` has the last loss where that is of another, usually all of it."""

    train: Sequence[tuple[float, float]]
    valid: Sequence[tuple[float, float]]
    whole: Sequence[tuple[float, float]]
    floor_nats: float | None = None
    train_name: str = TRAIN

    @property
    def limits(self) -> tuple[float, float]:
        losses = [y for _, y in [*self.train, *self.valid, *self.whole]] or [0.0, 1.0]
        low = min([*losses, *([] if self.floor_nats is None else [self.floor_nats])])
        return low - 0.05, min(max(losses), low + AFTER_THE_FALL) + 0.05


def read_points(run: RunFolder) -> list[Point]:
    """The lines of metrics.jsonl that are whole."""
    found = []
    for line in run.read_metrics():
        try:
            found.append(msgspec.convert(line, Point))
        except msgspec.ValidationError:
            continue
    return found


def learning_curve(points: Sequence[Point], floor_nats: float | None = None) -> Curve:
    """What is shown of these points; the floor is the lowest possible loss."""
    part, scored = comparable(points), [point for point in points if point.valid_nats is not None]
    whole = [point for point in scored[-1:] if point not in part]
    alike = _xy(scored, "train_eval_nats")  # which earlier runs have not
    train, name = (alike, ALIKE) if alike else (recent(points), TRAIN)
    return Curve(train, _xy(part, "valid_nats"), _xy(whole, "valid_nats"), floor_nats, name)


def recent(points: Sequence[Point]) -> list[tuple[float, float]]:
    """The training loss since the point before, which the smoothed losses at both give exactly: a smoothed loss is
    of a long past, when the model was worse, and so lies above the validation loss."""
    known = [(p.step, p.chars / 1e6, p.train_nats) for p in points if p.train_nats is not None]
    spacing = known[-1][0] / POINTS if known else 0
    found: list[tuple[float, float]] = []
    before, smooth = 0, 0.0
    for step, chars, nats in known:
        if step - before >= spacing and step > before:
            kept = math.prod(1 - weight_of_new(i) for i in range(before, step))
            found.append((chars, (nats - kept * smooth) / (1 - kept)))
            before, smooth = step, nats
    return found


def _xy(points: Sequence[Point], name: str) -> list[tuple[float, float]]:
    return [(point.chars / 1e6, nats) for point in points if (nats := getattr(point, name)) is not None]


def figures(curve: Curve) -> Figures:
    """For a page."""
    legend = [(curve.train_name, 0), (VALID, 1), *((WHOLE, None) for _ in curve.whole)]
    wide, narrow = _chart(curve, legend, WIDE), _chart(curve, legend, RIGHT)
    return Figures([Figure(wide.render(), "", narrow.render(), wide.title, "report", legend)], wide=True)


def _chart(curve: Curve, legend: Sequence[Key], right: float) -> Chart:
    lines = {curve.train_name: curve.train, VALID: curve.valid, WHOLE: curve.whole}
    ends = ", ".join(f"{name} {points[-1][1]:.4f}" for name, points in lines.items() if points)
    xs = [x for points in lines.values() for x, _ in points]
    alt = f"Losses in {YLABEL}, falling with training. At the end: {ends}."
    plot = Chart("Learning curve", alt, spread(xs, 0.02), curve.limits, XLABEL, LOWER, right=right)
    for series, points in enumerate((curve.train, curve.valid)):
        plot.dots(points, series, legend[series][0], "{1:.4f} nats/char at {0:.3g} million characters", small=True)
    for at in curve.whole:
        plot.dot(at, 1, f"{WHOLE}: {at[1]:.4f} nats/char", hollow=True)
    return plot


def draw(curve: Curve, path: Path, title: str) -> None:
    """As a PNG."""
    from matplotlib.figure import Figure as Picture  # here: matplotlib takes half a second to import

    picture = Picture(figsize=(8, 4.5), layout="constrained")
    axes = picture.add_subplot()
    if curve.train:
        axes.plot(*zip(*curve.train, strict=True), label=curve.train_name, color="#9aa5b1", linewidth=1.2)
    if curve.valid:
        axes.plot(
            *zip(*curve.valid, strict=True), label=VALID, color="#0b6e99", linewidth=2, marker="o", markersize=4
        )
    if curve.whole:
        axes.plot(*curve.whole[0], "o", label=WHOLE, color="#0b6e99", fillstyle="none", markersize=8)
    if curve.floor_nats is not None:
        axes.axhline(curve.floor_nats, color="#c2410c", linestyle="--", linewidth=1.2, label=LEAST)
    ends = [*curve.valid, *curve.whole][-1:]
    named = printable(title) + "".join(f": {nats:.4f} nats/char" for _, nats in ends)
    axes.set_title(named, loc="left", parse_math=False)
    axes.set(xlabel=XLABEL, ylabel=YLABEL, ylim=curve.limits)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False)
    with replacing(path) as temporary:
        picture.savefig(temporary, dpi=150, format="png")
