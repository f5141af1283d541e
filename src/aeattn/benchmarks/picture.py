"""What a training benchmark found, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OWN, PEER = "#0b6e99", "#9aa5b1"
PALETTE = ("#0b6e99", "#56a3c2", "#c2410c", "#e8a15a", "#6b7280", "#111827", "#d1d5db")


def draw_training(result: dict[str, Any], path: Path) -> None:
    """Characters a second of every contender at every context, and where our steps' time goes, as a PNG."""
    from matplotlib.figure import Figure  # here: matplotlib takes half a second to import

    contexts = result["contexts"]
    figure = Figure(figsize=(10, 3.6 * len(contexts) + 0.6), layout="constrained")
    axes = figure.subplots(len(contexts), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), found in zip(axes, contexts.values(), strict=True):
        _draw_rates(left, found)
        _draw_parts(right, found["parts"])
    figure.savefig(path, dpi=150)


def _draw_rates(axes: Any, found: dict[str, Any]) -> None:
    rows = [(name, facts["chars_per_second"], color) for side, color in (("ours", OWN), ("peers", PEER))
            for name, facts in found[side].items()]  # fmt: skip
    names = [name for name, _, _ in rows]
    medians = [rate["median"] for _, rate, _ in rows]
    below = [rate["median"] - rate["low"] for _, rate, _ in rows]
    above = [rate["high"] - rate["median"] for _, rate, _ in rows]
    axes.barh(names, medians, color=[color for _, _, color in rows], xerr=(below, above), ecolor="#374151")
    for place, median in enumerate(medians):
        axes.text(median / 50, place, f"{median:,.0f}", va="center", color="white", fontsize=9)
    axes.invert_yaxis()
    shape = found["shape"]
    axes.set_title(f"characters a second, {shape['batch']} x {shape['context']} a step", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_parts(axes: Any, parts: dict[str, dict[str, float]]) -> None:
    names = list(parts)
    left = [0.0] * len(names)
    for part, color in zip(parts[names[0]], PALETTE, strict=True):
        shares = [100 * parts[name][part] for name in names]
        axes.barh(names, shares, left=left, label=part, color=color)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_title("where a step's time goes, %", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    axes.spines[["top", "right"]].set_visible(False)
