"""Forest plots: differences with their intervals, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from aeattn.compare.intervals import Interval
from aeattn.compare.metrics import LOSSES, Better, describe_measure
from aeattn.compare.results import ContrastResult
from aeattn.report.blocks import Figure
from aeattn.report.charts import NATS, named
from aeattn.report.data import Comparison, Group, group_of
from aeattn.report.svg import Scale, cut, marker, picture, short, spread, words

PERCENT = "% of the variant compared with"


@dataclass(frozen=True)
class Row:
    """A contrast in a forest plot: the arm, `under` it what it is compared with, and the figures as text."""

    name: str
    under: str
    mean: float
    interval: Interval | None
    primary: bool
    shown: str


@dataclass(frozen=True)
class Kind:
    """Differences that share an axis: those of losses apart from all else, those in nats apart from those in
    percent, and what is better when it is less apart from what is better when it is more."""

    losses: bool
    nats: bool
    better: Better

    @classmethod
    def of(cls, contrast: ContrastResult) -> Kind:
        measure = describe_measure(contrast.measure)
        return cls(contrast.measure in LOSSES, measure.unit == NATS, measure.better)


def contrast_row(contrast: ContrastResult, alone: bool = False) -> Row:
    """A contrast as a row: what is in nats as it is, all else in percent of the arm compared with. `alone`: its
    measure stands in the title of the plot."""
    nats, measure = Kind.of(contrast).nats, describe_measure(contrast.measure)
    scale, form = (1.0, f"+.{measure.digits}f") if nats else (100 / abs(contrast.baseline or 1.0), "+.1f")
    mean = scale * (contrast.center or 0.0)
    interval = contrast.shown and (scale * contrast.shown[0], scale * contrast.shown[1])
    ends = ", one seed" if contrast.n == 1 else ""
    if interval:
        ends = f" [{interval[0]:{form}}, {interval[1]:{form}}]"
    of = "" if alone or contrast.measure in LOSSES[:2] else f": {measure.text}"
    figures = f"{mean:{form}}{ends}".replace("-", "\u2212")
    ours, theirs = contrast.labels
    return Row(ours, f"minus {theirs}{of}", mean, interval, contrast.primary, figures)


ENDS = {
    "less": ("\u2190 better", "worse \u2192"),
    "more": ("\u2190 worse", "better \u2192"),
    None: ("\u2190 less", "more \u2192"),
}
"""What stands at the ends of an axis of differences, by which way is better."""


def forest_figures(comparison: Comparison, contrasts: Sequence[ContrastResult], group: Group) -> list[Figure]:
    """Forest plots of the contrasts of one group, one for each kind, so that each has one unit and a better and a
    worse end."""
    there = [c for c in contrasts if group_of(c) == group and c.mean is not None]
    drawn = [c for c in there if Kind.of(c).nats or c.baseline]  # there is something to take a percentage of
    kinds = sorted(dict.fromkeys(map(Kind.of, drawn)), key=lambda kind: (not kind.losses, not kind.nats))
    several = len(comparison.groups) > 1
    return [_forest_figure(comparison, [c for c in drawn if Kind.of(c) == kind], kind, several) for kind in kinds]


def _forest_figure(comparison: Comparison, drawn: Sequence[ContrastResult], kind: Kind, several: bool) -> Figure:
    """Contrasts of one kind, those of losses with the region where a difference does not matter."""
    measures = {describe_measure(c.measure).text for c in drawn}
    alone = len(measures) == 1 and not kind.losses
    what = "Differences" if kind.losses else f"Differences in {min(measures)}" if alone else "Other differences"
    title, unit = named(what, group_of(drawn[0]), several), NATS if kind.nats else PERCENT
    smallest = comparison.declaration.smallest_effect if kind.losses else 0.0
    rows, ends = [contrast_row(c, alone) for c in drawn], ENDS[kind.better]
    wide, narrow = (_forest(title, rows, unit, ends, smallest, w) for w in (True, False))
    kinds = "Diamond: the primary difference, 95 % confidence. " if any(c.primary for c in drawn) else ""
    if any(c.family for c in drawn):
        kinds = "Diamonds: primary differences, whose intervals hold all at once at 95 %. "
    if not all(c.primary for c in drawn):
        kinds += "Circles: exploratory ones, whose intervals hold all at once at 95 %. "
    shaded = f"Shaded: less than {smallest:g} {NATS}, pre-registered as too little to matter." if smallest else ""
    return Figure(wide, f"Means over seeds, paired by seed. {kinds}{shaded}", narrow, title)


def _forest(
    title: str, rows: Sequence[Row], unit: str, ends: tuple[str, str], smallest: float, wide: bool
) -> Markup:
    """Differences with their intervals, one a row; on a phone, names and figures stand above each."""
    names = max(max(7.6 * len(row.name), 6.7 * len(row.under)) for row in rows)
    left = min(max(names, 150.0), 440.0) + 12
    width, top, pitch = (left + 462, 16.0, 44.0) if wide else (360.0, 4.0, 88.0)
    x0, x1 = (left + 14, left + 274) if wide else (14.0, 346.0)
    reach = [end for row in rows for end in (row.interval or (row.mean, row.mean))]
    x = Scale(*spread([*reach, 0.0, smallest, -smallest], 0.08), x0, x1)
    bottom = top + pitch * len(rows)
    spans = (
        [(top - 6, bottom)] if wide else [(top + pitch * i + 56, top + pitch * i + 78) for i in range(len(rows))]
    )
    parts = []
    for upper, lower in spans:
        if smallest:
            region = f"M{x(-smallest):.1f} {upper:g}H{x(smallest):.1f}V{lower:g}H{x(-smallest):.1f}z"
            parts.append(Markup('<path class="region" d="{}"/>').format(region))
        parts.append(Markup('<path class="zero" d="M{:.1f} {:g}V{:g}"/>').format(x(0), upper, lower))
    for i, row in enumerate(rows):
        parts += _forest_row(row, x, top + pitch * i, left if wide else None)
    parts += [words(x(value), bottom + 17, short(value), "tick", "middle") for value in x.ticks(4 if wide else 3)]
    parts.append(Markup('<path class="axis" d="M{:g} {:g}H{:g}"/>').format(x0, bottom, x1))
    parts += [words(x0, bottom + 37, ends[0], "name strong", "start"),
              words(x1, bottom + 37, ends[1], "name strong", "end"),
              words((x0 + x1) / 2, bottom + 55, unit, "label", "middle")]  # fmt: skip
    alt = "; ".join(f"{row.name} {row.under}: {row.shown}" for row in rows)
    sides = f"Left is {ends[0][2:]}, right is {ends[1][:-2]}. "
    return picture(title, f"{sides}{alt} {unit}.", width, bottom + 62, parts)


def _forest_row(row: Row, x: Scale, top: float, left: float | None) -> list[Markup]:
    """With the names left of `left`, or above the interval where that is None."""
    color, middle = "c1" if row.primary else "cn", top + (18 if left else 67)
    parts = []
    if row.interval:
        span = f"M{x(row.interval[0]):.1f} {middle:g}H{x(row.interval[1]):.1f}"
        parts.append(Markup('<path class="whisker {}" d="{}"/>').format(color, span))
    tip = f"{row.name} {row.under}: {row.shown}"
    parts.append(marker(x(row.mean), middle, 2 if row.primary else 0, color, tip, 5))
    anchor, at, most = ("end", left, 62) if left else ("start", 14.0, 47)
    weight = "name strong" if row.primary else "name"
    parts.append(words(at, top + (14 if left else 15), cut(row.name, most - 4), weight, anchor))
    parts.append(words(at, top + 31, cut(row.under, most + 4), "under", anchor))
    figures = (
        (left + 454, middle + 4, row.shown, "figure", "end")
        if left
        else (14, top + 47, row.shown, "figure", "start")
    )
    return [*parts, words(*figures)]
