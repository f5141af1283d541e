"""What a writing benchmark found, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aeattn.benchmarks.picture import OWN, PEER

CURVES = (OWN, "#56a3c2", "#c2410c")


def draw_generation(result: dict[str, Any], path: Path) -> None:
    """Characters a second of every contender for each number of sequences, and curves over length, as a PNG."""
    from matplotlib.figure import Figure  # here: matplotlib takes half a second to import

    batches = result["batches"]
    figure = Figure(figsize=(11, 7), layout="constrained")
    top, bottom = figure.subfigures(2, 1, squeeze=False)[:, 0]
    for axes, found in zip(top.subplots(1, len(batches), squeeze=False)[0], batches.values(), strict=True):
        _draw_rates(axes, found)
    left, right = bottom.subplots(1, 2)
    _draw_curves(left, result["long_context"], "chars_per_second", "characters a second, one sequence")
    _draw_curves(right, result["long_context"], "cache_bytes", "bytes of the cache")
    figure.savefig(path, dpi=150)


def _draw_rates(axes: Any, found: dict[str, Any]) -> None:
    rows = [
        (name, facts["chars_per_second"], color)
        for side, color in (("ours", OWN), ("peers", PEER))
        for name, facts in found[side].items()
    ]
    names, medians = [name for name, _, _ in rows], [rate["median"] for _, rate, _ in rows]
    axes.barh(names, medians, color=[color for _, _, color in rows])
    axes.set_xscale("log")
    axes.set_xlim(min(medians) / 3, max(medians) * 3)
    for place, median in enumerate(medians):
        axes.text(median * 1.05, place, f"{median:,.0f}", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set_title(f"characters a second, {found['shape']['batch']} at once", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curves(axes: Any, found: dict[str, Any], key: str, title: str) -> None:
    for (name, curve), color in zip(found["curves"].items(), CURVES, strict=True):
        axes.plot(found["lengths"], curve[key], marker="o", label=name, color=color)
    if found["lengths"]:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    axes.set_xlabel("characters of context")
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
