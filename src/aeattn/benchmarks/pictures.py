"""What benchmarks found, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aeattn.benchmarks.results import GenerationBench, LongContext, Speed, TrainingBench

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OWN, PEER = "#0b6e99", "#9aa5b1"
PARTS = ("#0b6e99", "#56a3c2", "#c2410c", "#e8a15a", "#6b7280", "#111827", "#d1d5db")
CURVES = (OWN, "#56a3c2", "#c2410c")


def draw_training(found: TrainingBench, path: Path) -> None:
    """Characters a second of every contender at every context, and where our steps' time goes, as a PNG."""
    from matplotlib.figure import Figure  # here: matplotlib takes half a second to import

    figure = Figure(figsize=(10, 3.6 * len(found.contexts) + 0.6), layout="constrained")
    axes = figure.subplots(len(found.contexts), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), speed in zip(axes, found.contexts.values(), strict=True):
        shape = speed.shape
        _draw_rates(left, speed, f"characters a second, {shape['batch']} x {shape['context']} a step")
        _draw_parts(right, speed.parts)
    figure.savefig(path, dpi=150)


def draw_generation(found: GenerationBench, path: Path) -> None:
    """Characters a second of every contender for each number of sequences, and curves over length, as a PNG."""
    from matplotlib.figure import Figure

    long, rows = found.long_context, 2 if found.long_context.lengths else 1
    figure = Figure(figsize=(11, 3.6 * rows), layout="constrained")
    figures = figure.subfigures(rows, 1, squeeze=False)[:, 0]
    panels = figures[0].subplots(1, len(found.batches), squeeze=False)[0]
    for axes, speed in zip(panels, found.batches.values(), strict=True):
        _draw_rates(axes, speed, f"characters a second, {speed.shape['batch']} at once")
    if long.lengths:
        left, right = figures[1].subplots(1, 2)
        _draw_curves(left, long, "chars_per_second", "characters a second, one sequence")
        _draw_curves(right, long, "cache_bytes", "bytes of the cache")
    figure.savefig(path, dpi=150)


def _draw_rates(axes: Axes, speed: Speed, title: str) -> None:
    names, timed = list(speed.everyone), list(speed.everyone.values())
    spreads = [facts.chars_per_second.spread for facts in timed]
    colors = [OWN] * len(speed.ours) + [PEER] * len(speed.peers)
    medians = [s.median for s in spreads]
    sides = [s.median - s.low for s in spreads], [s.high - s.median for s in spreads]
    axes.barh(names, medians, color=colors, xerr=sides, ecolor="#374151")
    room = max(s.high for s in spreads)
    axes.set_xlim(0, 1.2 * room)
    for at, spread in enumerate(spreads):
        axes.text(spread.high + room / 60, at, f"{spread.median:,.0f}", va="center", fontsize=9)
    axes.invert_yaxis()
    _finish(axes, title)


def _draw_parts(axes: Axes, parts: dict[str, dict[str, float]]) -> None:
    names, left = list(parts), [0.0] * len(parts)
    for part, color in zip(parts[names[0]], PARTS, strict=True):
        shares = [100 * parts[name][part] for name in names]
        axes.barh(names, shares, left=left, label=part, color=color)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    _finish(axes, "where a step's time goes, %")


def _draw_curves(axes: Axes, found: LongContext, figure: str, title: str) -> None:
    for (name, curve), color in zip(found.curves.items(), CURVES, strict=True):
        axes.plot(found.lengths, getattr(curve, figure), marker="o", label=name, color=color)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("characters of context")
    axes.legend(frameon=False, fontsize=8)
    _finish(axes, title)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
