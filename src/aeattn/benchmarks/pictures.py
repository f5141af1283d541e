"""What benchmarks found, as pictures: no axes without figures, bars that begin at 0, lines on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aeattn.benchmarks.results import GenerationBench, LongContext, Speed, TrainingBench

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import Locator

OWN, PEER, INK = "#0b6e99", "#9aa5b1", "#374151"
PARTS = ("#0b6e99", "#56a3c2", "#c2410c", "#e8a15a", "#6b7280", "#111827", "#d1d5db")
CURVES = (OWN, "#c2410c", "#6b7280", "#56a3c2")
CLOSE, LINE = 1.2, 10.0  # a ratio of values whose labels would overlap; the height of a label in points
ROUNDS = "Median over rounds; lines reach from the slowest to the fastest round."


def draw_training(found: TrainingBench, path: Path) -> None:
    """Characters a second of every contender at every context, and where our steps' time goes, as a PNG."""
    from matplotlib.figure import Figure  # here: matplotlib takes half a second to import

    speeds = list(found.contexts.values())
    with_parts = any(speed.parts for speed in speeds)
    rows = [0.4 * len(speed.everyone) + 0.9 for speed in speeds]
    figure = Figure(figsize=(10 if with_parts else 6.5, sum(rows) + 0.7), layout="constrained")
    ratios = (3, 2) if with_parts else (1,)
    axes = figure.subplots(len(speeds), len(ratios), squeeze=False, width_ratios=ratios, height_ratios=rows)
    for row, speed in zip(axes, speeds, strict=True):
        _draw_rates(row[0], speed, f"training steps of {speed.shape['batch']} x {speed.shape['context']}")
        if with_parts and speed.parts:
            _draw_parts(row[1], speed.parts, legend=speed is speeds[-1])
        elif with_parts:
            row[1].remove()
    figure.supxlabel(ROUNDS, fontsize=8, x=0.01, ha="left")
    figure.savefig(path, dpi=150)


def draw_generation(found: GenerationBench, path: Path) -> None:
    """Characters a second of every contender for each number of sequences, and curves over length, as a PNG."""
    from matplotlib.figure import Figure

    long = found.long_context
    heights = [0.4 * max(len(speed.everyone) for speed in found.batches.values()) + 1.0]
    heights += [3.8] if len(long.lengths) > 1 else []
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    figures = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    panels = figures[0].subplots(1, len(found.batches), squeeze=False)[0]
    for axes, speed in zip(panels, found.batches.values(), strict=True):
        at_once = speed.shape["batch"]
        _draw_rates(axes, speed, f"{at_once} generated at once")
    figures[0].supxlabel(ROUNDS, fontsize=8, x=0.01, ha="left")
    if len(heights) > 1:
        left, right = figures[1].subplots(1, 2)
        _draw_curves(left, long, "chars_per_second", "chars/s of one sequence, more is better")
        _draw_curves(right, long, "cache_bytes", "bytes of the KV cache, fewer is better")
    figure.savefig(path, dpi=150)


def _draw_rates(axes: Axes, speed: Speed, what: str) -> None:
    """A bar each, from 0, with its figure; so no scale is needed."""
    names, timed = list(speed.everyone), list(speed.everyone.values())
    spreads = [facts.chars_per_second.spread for facts in timed]
    colors = [OWN] * len(speed.ours) + [PEER] * len(speed.peers)
    medians = [s.median for s in spreads]
    sides = [s.median - s.low for s in spreads], [s.high - s.median for s in spreads]
    axes.barh(names, medians, color=colors, xerr=sides, ecolor=INK)
    room = max(s.high for s in spreads)
    axes.set_xlim(0, 1.25 * room)
    for at, spread in enumerate(spreads):
        axes.text(spread.high + room / 60, at, f"{spread.median:,.0f}", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(labelsize=9, length=0)
    _finish(axes, f"chars/s, {what}; more is better")


def _draw_parts(axes: Axes, parts: dict[str, dict[str, float]], legend: bool) -> None:
    names, left = list(parts), [0.0] * len(parts)
    for part, color in zip(parts[names[0]], PARTS, strict=True):
        shares = [100 * parts[name][part] for name in names]
        axes.barh(names, shares, left=left, label=part, color=color, height=0.5)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.tick_params(labelsize=9)
    if legend:
        axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    _finish(axes, "where a step's time goes, %")


def apart(ends: Sequence[float]) -> list[float]:
    """How many points the label of each end of a curve stands above it, so that those of near ones can be read."""
    near = ([other for other in sorted(ends) if 1 / CLOSE < other / end < CLOSE] for end in ends)
    return [LINE * (at.index(end) - (len(at) - 1) / 2) for end, at in zip(ends, near, strict=True)]


def _draw_curves(axes: Axes, found: LongContext, figure: str, title: str) -> None:
    """A line for each course; those that coincide are one, with all of their names."""
    courses = _courses(found, figure)
    above = apart([values[-1] for values, _ in courses])
    for (values, names), color, points in zip(courses, CURVES * 3, above, strict=False):
        axes.plot(found.lengths, values, marker="o", label=" and ".join(names), color=color)
        axes.annotate(f"{values[-1]:,.0f}", (found.lengths[-1], values[-1]), (6, points),
                      textcoords="offset points", va="center", fontsize=8, color=color)  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(found.lengths, [f"{length:,}" for length in found.lengths], fontsize=8)
    axes.set_xlim(found.lengths[0] / 1.2, found.lengths[-1] * 2)
    axes.yaxis.set_major_locator(_locator())
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.minorticks_off()
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.set_xlabel("characters of context, all of them read", fontsize=8)
    axes.legend(frameon=False, fontsize=8)
    _finish(axes, title)


def _locator() -> Locator:
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0, 2.0, 5.0))


def _courses(found: LongContext, figure: str) -> list[tuple[Sequence[float], list[str]]]:
    courses: list[tuple[Sequence[float], list[str]]] = []
    for name, curve in found.curves.items():
        values = getattr(curve, figure)
        same = next((names for known, names in courses if known == values), None)
        if same is None:
            courses.append((values, [name]))
        else:
            same.append(name)
    return courses


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
