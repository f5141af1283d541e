"""The learning curve of one run: what is shown of it is decided once, for the page (SVG) and for a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aeattn.compare.records import Point, comparable
from aeattn.files import replacing
from aeattn.report.blocks import Figure, Figures
from aeattn.report.svg import Chart, spread
from aeattn.runs.folder import RunFolder
from aeattn.terminal.escaping import printable

TRAIN, VALID, WHOLE = "training, smoothed", "validation", "whole validation text"
LEAST = "lowest possible loss"
XLABEL, YLABEL = "million characters trained on", "nats a character"
AFTER_THE_FALL = 1.6  # nats above the lowest loss that are shown: the first fall would fill the picture


@dataclass(frozen=True)
class Curve:
    """Losses in nats a character over millions of characters trained on. `valid` is of one and the same part of
    the validation text, `whole` has the last loss where that is of another, usually the whole text."""

    train: Sequence[tuple[float, float]]
    valid: Sequence[tuple[float, float]]
    whole: Sequence[tuple[float, float]]
    floor_nats: float | None = None

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
    return Curve(_xy(points, "train_nats"), _xy(part, "valid_nats"), _xy(whole, "valid_nats"), floor_nats)


def _xy(points: Sequence[Point], name: str) -> list[tuple[float, float]]:
    return [(point.chars / 1e6, nats) for point in points if (nats := getattr(point, name)) is not None]


def figures(curve: Curve) -> Figures:
    """For a page."""
    lines = {TRAIN: curve.train, VALID: curve.valid, WHOLE: curve.whole}
    ends = ", ".join(f"{name} {points[-1][1]:.4f}" for name, points in lines.items() if points)
    xs = [x for points in lines.values() for x, _ in points]
    plot = Chart("Learning curve", f"At the end: {ends}.", spread(xs, 0.02), curve.limits, XLABEL, YLABEL)
    for series, points in enumerate((curve.train, curve.valid)):
        if points:
            plot.line(points, series)
    for at in curve.whole:
        plot.dot(at, 1, f"{WHOLE}: {at[1]:.4f}", hollow=True)
    legend = [(TRAIN, 0), (VALID, 1), *((WHOLE, None) for _ in curve.whole)]
    return Figures([Figure(plot.render(), title=plot.title, name="report")], legend)


def draw(curve: Curve, path: Path, title: str) -> None:
    """As a PNG."""
    from matplotlib.figure import Figure as Picture  # here: matplotlib takes half a second to import

    picture = Picture(figsize=(8, 4.5), layout="constrained")
    axes = picture.add_subplot()
    if curve.train:
        axes.plot(*zip(*curve.train, strict=True), label=TRAIN, color="#9aa5b1", linewidth=1.2)
    if curve.valid:
        axes.plot(
            *zip(*curve.valid, strict=True), label=VALID, color="#0b6e99", linewidth=2, marker="o", markersize=4
        )
    if curve.whole:
        axes.plot(*curve.whole[0], "o", label=WHOLE, color="#0b6e99", fillstyle="none", markersize=8)
    if curve.floor_nats is not None:
        axes.axhline(curve.floor_nats, color="#c2410c", linestyle="--", linewidth=1.2, label=LEAST)
    ends = [*curve.valid, *curve.whole][-1:]
    named = printable(title) + "".join(f": {nats:.4f} nats a character" for _, nats in ends)
    axes.set_title(named, loc="left", parse_math=False)
    axes.set(xlabel=XLABEL, ylabel=YLABEL, ylim=curve.limits)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False)
    with replacing(path) as temporary:
        picture.savefig(temporary, dpi=150, format="png")
