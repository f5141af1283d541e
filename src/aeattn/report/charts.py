"""The pictures of a comparison, but for those of attention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from aeattn.compare.declaration import ResolvedArm
from aeattn.compare.intervals import Interval
from aeattn.compare.metrics import LOSSES, describe_measure
from aeattn.compare.records import Record
from aeattn.compare.results import ContrastResult
from aeattn.report.blocks import Figure, Figures, Key
from aeattn.report.data import Comparison, Group, cost_of, group_name, group_of, over_seeds
from aeattn.report.svg import Chart, Scale, marker, picture, short, spread, words

NATS = "nats a character"
WHOLE = "on the whole validation text, after training"


def legend(comparison: Comparison) -> list[Key]:
    """Label and style of each arm that has runs, whatever it is matched by."""
    shown = [arm for arm in comparison.arms if comparison.finals(arm.id)] or comparison.arms
    return list({(series := comparison.series(arm)): (arm.label, series) for arm in shown}.values())


def gathered(comparison: Comparison, figures: Iterable[Figure | None], keys: Sequence[Key] = ()) -> Figures | None:
    """The figures that there are, side by side, under the arms' legend and what `keys` add to it."""
    there = [figure for figure in figures if figure]
    return Figures(there, [*legend(comparison), *keys]) if there else None


def named(what: str, group: Group) -> str:
    """With the way of matching and the size."""
    return f"{what}, {group_name(group)}"


# -- learning curves -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mean:
    """A mean validation loss over seeds with its interval, after so many characters, or at a cost or a size."""

    at: float
    nats: float
    interval: Interval | None

    @property
    def ends(self) -> Interval:
        return self.interval or (self.nats, self.nats)


def learning_curves(comparison: Comparison) -> Figures | None:
    """Validation loss over the characters trained on: means over seeds of one and the same part of the text, with
    their intervals as bands; all of the training, and its second half again, where arms are nearer to each other.
    The loss on the whole text at the end is another loss, and has a mark of its own."""
    parts = [(group, half) for group in comparison.groups for half in (False, True)]
    marked = any(whole_text(comparison.finals(arm.id)) for arm in comparison.arms)
    figures = [_curves_of(comparison, *part) for part in parts]
    return gathered(comparison, figures, [(WHOLE, None)] if marked else [])


def curve(records: Sequence[Record]) -> list[Mean]:
    """The mean loss at each evaluation that all runs have, on the same part of the validation text."""
    tables = [{point.chars: point.valid_nats for point in record.learning_curve} for record in records]
    common = sorted(set.intersection(*map(set, tables))) if tables else []
    found = [(chars, *over_seeds(table[chars] for table in tables)) for chars in common]
    return [Mean(chars, nats, interval) for chars, nats, interval in found if nats is not None]


def whole_text(records: Sequence[Record]) -> Mean | None:
    """The mean loss on the whole text at the end, where the curve is of a part of it."""
    with_both = [record for record in records if record.valid and record.learning_curve]
    apart = [r for r in with_both if r.valid and r.learning_curve[-1].valid_chars != r.valid.chars]
    nats, interval = over_seeds(record.nats_per_char for record in apart)
    return None if nats is None else Mean(max(r.curve[-1].chars for r in apart), nats, interval)


def _curves_of(comparison: Comparison, group: Group, half: bool) -> Figure | None:
    arms = comparison.in_group(group)
    curves = {arm.id: curve(comparison.finals(arm.id)) for arm in arms}
    wholes = {arm.id: mean for arm in arms if (mean := whole_text(comparison.finals(arm.id)))}
    end = max((mean.at for means in curves.values() for mean in means), default=0)
    if half:
        curves = {id: [mean for mean in means if mean.at >= end / 2] for id, means in curves.items()}
    every = [*(mean for means in curves.values() for mean in means), *wholes.values()]
    if not any(len(means) > half for means in curves.values()):
        return None
    low, high = spread([nats for mean in every for nats in (mean.ends if half else (mean.nats,))])
    name = "second half" if half else "whole training"
    ends = [f"{arm.label} ends at {means[-1].nats:.4f}" for arm in arms if (means := curves[arm.id])]
    plot = Chart(
        f"Learning curves, {name}, {group_name(group)}",
        f"Validation loss in nats a character, falling with training: {'; '.join(ends)}.",
        spread([mean.at / 1e6 for mean in every], 0.02), (low, high if half else min(high, low + 1.2)),
        "million characters trained on", f"{named(NATS, group)}, {name}",
    )  # fmt: skip
    for arm in arms:
        _draw_curve(plot, curves[arm.id], wholes.get(arm.id), comparison.series(arm), arm.label)
    return Figure(plot.render())


def _draw_curve(plot: Chart, means: Sequence[Mean], whole: Mean | None, series: int, label: str) -> None:
    bands = [(mean.at / 1e6, *mean.interval) for mean in means if mean.interval]
    if len(bands) > 1:
        plot.band(bands, series)
    points = [(mean.at / 1e6, mean.nats) for mean in means]
    plot.dots(points, series, label, "{1:.4f} at {0:.3g} M characters", small=True)
    if whole:
        tip = f"{label}: {whole.nats:.4f} {WHOLE}"
        plot.dot((whole.at / 1e6, whole.nats), series, tip, hollow=True)


# -- forest plots --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A contrast in a forest plot: the arm, `under` it what it is compared with, and the figures as text."""

    name: str
    under: str
    mean: float
    interval: Interval | None
    primary: bool
    shown: str


def is_loss(contrast: ContrastResult) -> bool:
    return contrast.measure in LOSSES


def contrast_row(contrast: ContrastResult) -> Row:
    """A contrast as a row: of losses in nats, of all else in percent of the arm compared with."""
    scale = 1.0 if is_loss(contrast) else 100 / abs(contrast.baseline or 1.0)
    mean, form = scale * (contrast.center or 0.0), "+.4f" if is_loss(contrast) else "+.1f"
    interval = contrast.shown and (scale * contrast.shown[0], scale * contrast.shown[1])
    ends = ", one seed" if contrast.n == 1 else ""
    if interval:
        ends = f" [{interval[0]:{form}}, {interval[1]:{form}}]"
    of = "" if contrast.measure in LOSSES[:2] else f"{describe_measure(contrast.measure).text}, "
    figures = f"{mean:{form}}{ends}".replace("-", "\u2212")
    ours, theirs = contrast.labels
    return Row(ours, f"{of}less {theirs}", mean, interval, contrast.primary, figures)


def forest_figure(
    comparison: Comparison, contrasts: Sequence[ContrastResult], group: Group, unit: str
) -> Figure | None:
    """A forest plot of the contrasts of one group, all of the loss (with the region where a difference does not
    matter) or all of something else."""
    here = [c for c in contrasts if group_of(c) == group and c.mean is not None]
    drawn = [c for c in here if is_loss(c) or c.baseline]  # there is something to take a percentage of
    if not drawn:
        return None
    title = f"Differences {group_name(group)}"
    smallest = comparison.declaration.smallest_effect if all(map(is_loss, drawn)) else 0.0
    wide, narrow = (_forest(title, [contrast_row(c) for c in drawn], unit, smallest, w) for w in (True, False))
    kinds = "Diamond: the primary contrast, 95 %. " if any(c.primary for c in drawn) else ""
    if any(c.family for c in drawn):
        kinds = "Diamonds: primary contrasts, whose intervals hold all at once at 95 %. "
    if not all(c.primary for c in drawn):
        kinds += "Circles: exploratory contrasts, whose intervals hold all at once at 95 %. "
    shaded = f"Shaded: less than {smallest:g} nats, declared as not mattering." if smallest else ""
    return Figure(wide, f"{title}. Means over seeds with intervals, paired by seed. {kinds}{shaded}", narrow)


def _forest(title: str, rows: Sequence[Row], unit: str, smallest: float, wide: bool) -> Markup:
    """Differences with their intervals, one a row."""
    width, top, pitch = (760.0, 16.0, 44.0) if wide else (360.0, 16.0, 66.0)
    x0, x1 = (300.0, 560.0) if wide else (14.0, 346.0)
    ends = [end for row in rows for end in (row.interval or (row.mean, row.mean))]
    x = Scale(*spread([*ends, 0.0, smallest, -smallest], 0.08), x0, x1)
    bottom = top + pitch * len(rows)
    parts = []
    if smallest:
        region = f"M{x(-smallest):.1f} {top - 6}H{x(smallest):.1f}V{bottom}H{x(-smallest):.1f}z"
        parts.append(Markup('<path class="region" d="{}"/>').format(region))
    parts.append(Markup('<path class="zero" d="M{:.1f} {}V{}"/>').format(x(0), top - 6, bottom))
    for i, row in enumerate(rows):
        parts += _forest_row(row, x, top + pitch * i, wide)
    parts += [words(x(value), bottom + 17, short(value), "tick", "middle") for value in x.ticks(4 if wide else 3)]
    parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(x0, bottom, x1))
    parts.append(words(x1, bottom + 36, f"{unit}; left of 0 is less", "label", "end"))
    alt = "; ".join(f"{row.name}, {row.under}: {row.shown}" for row in rows)
    return picture(title, alt, width, bottom + 44, parts)


def _forest_row(row: Row, x: Scale, top: float, wide: bool) -> list[Markup]:
    color, middle = "c1" if row.primary else "cn", top + (18 if wide else 50)
    parts = []
    if row.interval:
        span = f"M{x(row.interval[0]):.1f} {middle}H{x(row.interval[1]):.1f}"
        parts.append(Markup('<path class="whisker {}" d="{}"/>').format(color, span))
    parts.append(marker(x(row.mean), middle, 2 if row.primary else 0, color, row.shown, 5))
    end, at = ("end", 288.0) if wide else ("start", 14.0)
    weight = "name strong" if row.primary else "name"
    parts.append(words(at, top + (14 if wide else 15), _cut(row.name, 40), weight, end))
    under = _cut(row.under, 46) if wide else f"{_cut(row.under, 27)}: {row.shown}"
    parts.append(words(at, top + (31 if wide else 32), under, "under", end))
    return [*parts, *([words(752, middle + 4, row.shown, "figure", "end")] if wide else [])]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "\u2026"


# -- one point an arm ----------------------------------------------------------------------------------------


Spot = tuple[ResolvedArm, Mean]


def cost_figures(comparison: Comparison) -> Figures | None:
    """Loss against what it cost, for each way of matching; seconds only where no run shared the machine."""
    kinds: list[tuple[str, str, Sequence[str]]] = [("training FLOPs", "training FLOPs of a run", ("train_flops",))]
    kinds += [] if comparison.slowed else [("seconds", "seconds of training", ("seconds",))]
    kinds += [("cache", "cache, bytes a character", ("latent_cache_bytes", "cache_bytes"))]
    figures = (_cost_figure(comparison, group, *kind) for group in comparison.groups for kind in kinds)
    return gathered(comparison, figures)


def _cost_figure(
    comparison: Comparison, group: Group, name: str, label: str, costs: Sequence[str]
) -> Figure | None:
    """Of the costs named, each run has the first that is known of it."""

    def read(record: Record) -> float | None:
        return next((cost for name in costs if (cost := cost_of(record, name)) is not None), None)

    found = {arm.id: over_seeds(map(read, comparison.finals(arm.id)))[0] for arm in comparison.in_group(group)}
    there = spots(comparison, found)
    return _spots_figure(comparison, there, f"Loss against {name}", label, group) if there else None


def size_figures(comparison: Comparison) -> Figures | None:
    """Loss over the number of parameters, where an arm comes in several sizes."""
    by_matching = dict.fromkeys(matching for matching, _ in comparison.groups)
    return gathered(comparison, (_size_figure(comparison, matching) for matching in by_matching))


def _size_figure(comparison: Comparison, matching: str) -> Figure | None:
    sizes = {arm.id: arm.parameters for arm in comparison.arms if arm.matching == matching}
    there, group = spots(comparison, sizes), (matching, None)
    several = len({(comparison.series(arm), mean.at) for arm, mean in there}) > len(
        {comparison.series(arm) for arm, _ in there}
    )
    return _spots_figure(comparison, there, "Loss over size", "parameters", group, log=True) if several else None


def spots(comparison: Comparison, at: Mapping[str, float | None]) -> list[Spot]:
    """Those arms that have a loss, each at its place on the x axis."""
    found = []
    for arm in comparison.arms:
        nats, interval = over_seeds(map(comparison.loss, comparison.finals(arm.id)))
        if (place := at.get(arm.id)) is not None and nats is not None:
            found.append((arm, Mean(place, nats, interval)))
    return found


def _spots_figure(
    comparison: Comparison, there: Sequence[Spot], title: str, label: str, group: Group, log: bool = False
) -> Figure:
    """Each arm's loss with its interval; a line through those of one style."""
    plot = Chart(
        named(title, group),
        "; ".join(f"{arm.label}: {mean.nats:.4f} nats at {short(mean.at)}" for arm, mean in there),
        spread([mean.at for _, mean in there], 0.06 if log else 0.12, log),
        spread([end for _, mean in there for end in mean.ends], 0.15), label, named(NATS, group), log_x=log,
    )  # fmt: skip
    lines: dict[int, list[tuple[float, float]]] = {}
    for arm, mean in there:
        series, at = comparison.series(arm), (mean.at, mean.nats)
        lines.setdefault(series, []).append(at)
        plot.whisker(mean.at, *mean.ends, series)
        plot.dot(at, series, f"{arm.label}: {mean.nats:.4f} nats, {short(mean.at)} {label}")
    for series, points in lines.items():
        if len(points) > 1:
            plot.line(sorted(points), series)
    return Figure(plot.render())


# -- learning rates ------------------------------------------------------------------------------------------


def rate_figures(comparison: Comparison) -> Figures | None:
    """What each rate of the grid came to, for each arm; the chosen one is filled."""
    tuning = comparison.declaration.tuning
    if comparison.summary is None or tuning is None or tuning.search != "grid" or tuning.apart:
        return None
    return gathered(comparison, (_rate_figure(comparison, group) for group in comparison.groups))


def _rate_figure(comparison: Comparison, group: Group) -> Figure | None:
    assert comparison.summary is not None
    tuned = {result.id: result for result in comparison.summary.tuning}
    arms = [(arm, tuned[arm.id]) for arm in comparison.in_group(group) if arm.id in tuned]
    tried = {arm.id: [(r.rate, r.mean) for r in of.rates if r.mean is not None] for arm, of in arms}
    means = [mean for points in tried.values() for _, mean in points]
    if not means:
        return None
    rates = sorted({rate for points in tried.values() for rate, _ in points})
    best = "; ".join(f"{arm.label} does best at {of.chosen}" for arm, of in arms)
    plot = Chart(
        named("Learning rates", group), f"Loss over the factor on the learning rates: {best}.",
        spread(rates, 0.08, log=True), (min(means) - 0.02, min(max(means), min(means) + 0.6) + 0.02),
        "factor on the learning rates", named(NATS, group), log_x=True, x_ticks=rates,
    )  # fmt: skip
    for arm, of in arms:
        plot.line(tried[arm.id], comparison.series(arm))
        for rate, mean in tried[arm.id]:
            tip = f"{arm.label}: {mean:.4f} at {rate:g}"
            plot.dot((rate, mean), comparison.series(arm), tip, hollow=rate != of.chosen)
    return Figure(plot.render())
