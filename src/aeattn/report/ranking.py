"""Many variants in one picture, by name: the loss of every seed and their mean, best first."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from aeattn.report.blocks import Figure
from aeattn.report.charts import LOWER, NATS
from aeattn.report.data import Comparison
from aeattn.report.frontier import BYTES
from aeattn.report.svg import Scale, cut, marker, picture, short, spread, words


@dataclass(frozen=True)
class Row:
    """A variant: its losses by seed, their mean, KV-cache bytes a token."""

    name: str
    losses: dict[int, float]
    mean: float
    kept: float | None
    marked: bool

    @property
    def shown(self) -> str:
        return f"{self.mean:.4f}" + (f" | {self.kept:,.0f} bytes" if self.kept is not None else "")


def ranking_figure(comparison: Comparison) -> Figure | None:
    """For a comparison with one way of matching and one size; None where fewer than two variants have runs."""
    rows = []
    for arm in comparison.arms:
        losses = {r.seed: nats for r in comparison.finals(arm.id) if (nats := comparison.loss(r)) is not None}
        if losses:
            kept, mean = comparison.mean_kept_bytes(arm.id), sum(losses.values()) / len(losses)
            rows.append(Row(arm.label, losses, mean, kept, arm.id in comparison.on_frontier))
    if len(rows) < 2 or len(comparison.groups) > 1:
        return None
    first, rows = rows[0], sorted(rows, key=lambda row: row.mean)
    title = "Loss of every variant"
    about = (
        f"Small: each seed. Large: their mean, whose figure stands beside it, on wide screens with {BYTES}; in "
        f"colour where no other variant has both a lower loss and fewer bytes. Upright line: {first.name}."
    )
    wide, narrow = (_picture(title, rows, first.mean, wide) for wide in (True, False))
    return Figure(wide, about, narrow, title, "report-ranking")


def _picture(title: str, rows: list[Row], line: float, wide: bool) -> Markup:
    """On a phone, names and means stand above each row."""
    left = 12 + max(150.0, *(7.4 * len(row.name) for row in rows))
    width, top, pitch = (left + 470, 8.0, 21.0) if wide else (360.0, 4.0, 40.0)
    x0, x1 = (left + 14, left + 314) if wide else (14.0, 346.0)
    x = Scale(*spread(nats for row in rows for nats in row.losses.values()), x0, x1)
    bottom = top + pitch * len(rows)
    parts = [
        Markup('<path class="zero" d="M{:.1f} {:g}V{:g}"/>').format(x(line), top, bottom),
        Markup('<path class="axis" d="M{:g} {:g}H{:g}"/>').format(x0, bottom, x1),
    ]
    for i, row in enumerate(rows):
        upper = top + pitch * i
        middle, color = upper + (12 if wide else 31), "c1" if row.marked else "cn"
        for seed, nats in row.losses.items():
            tip = f"{row.name}, seed {seed}: {nats:.4f} {NATS}"
            parts.append(marker(x(nats), middle, 0, f"{color} hollow small", tip, 2.6))
        parts.append(marker(x(row.mean), middle, 2, color, f"{row.name}: {row.mean:.4f} {NATS}"))
        weight = "name strong" if row.marked else "name"
        if wide:
            parts.append(words(left, middle + 4, row.name, weight, "end"))
            parts.append(words(width - 4, middle + 4, row.shown, "figure", "end"))
        else:
            parts.append(words(14, upper + 16, cut(row.name, 34), weight, "start"))
            parts.append(words(346, upper + 16, f"{row.mean:.4f}", "figure", "end"))
    parts += [words(x(value), bottom + 17, short(value), "tick", "middle") for value in x.ticks(4)]
    parts.append(words(x1, bottom + 37, LOWER, "label", "end"))
    alt = "; ".join(f"{row.name}: {row.shown}" for row in rows)
    return picture(title, f"{alt}.", width, bottom + 44, parts)
