"""The picture of a learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeattn.files import replacing


def draw(metrics: Sequence[dict[str, Any]], path: Path, title: str, floor_nats: float | None = None) -> None:
    """Training and validation loss over the characters trained on, as a PNG. The floor is a dashed line."""
    from matplotlib.figure import Figure  # here: matplotlib takes half a second to import

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    styles: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("train_nats", "training (smoothed)", {"color": "#9aa5b1", "linewidth": 1.2}),
        ("valid_nats", "validation", {"color": "#0b6e99", "linewidth": 2.0, "marker": "o", "markersize": 4}),
    )
    for name, label, style in styles:
        points = [(line["chars"] / 1e6, line[name]) for line in metrics if line.get(name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)
    if floor_nats is not None:
        axes.axhline(floor_nats, color="#c2410c", linestyle="--", linewidth=1.2, label="lowest possible loss")
    last = next((line["valid_nats"] for line in reversed(metrics) if line.get("valid_nats")), None)
    axes.set_title(title if last is None else f"{title}: {last:.4f} nats/char", loc="left")
    axes.set_xlabel("characters trained on, millions")
    axes.set_ylabel("loss, nats per character")
    _focus(axes, metrics, floor_nats)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _focus(axes: Any, metrics: Sequence[dict[str, Any]], floor_nats: float | None) -> None:
    """Leave room for what happens after the first fall, which would fill the picture."""
    losses = [line[k] for line in metrics for k in ("train_nats", "valid_nats") if line.get(k) is not None]
    if losses:
        low = min([*losses, *([] if floor_nats is None else [floor_nats])])
        axes.set_ylim(low - 0.05, min(max(losses), low + 1.6) + 0.05)
