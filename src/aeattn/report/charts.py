"""The pictures of a comparison, but for those of attention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aeattn.compare.declaration import ResolvedArm
from aeattn.compare.intervals import Interval
from aeattn.compare.records import Record
from aeattn.report.blocks import Figure, Figures, Key
from aeattn.report.data import Comparison, Group, cost_of, group_name, over_seeds
from aeattn.report.svg import Chart, short, spread

NATS = "nats/char"
LOWER = f"{NATS}, lower is better"
OTHERS = "Grey: the other variants, by name in the table."
WHOLE = "on the whole validation text, after training"


def legend(comparison: Comparison) -> list[Key]:
    """Label and style of each arm that has runs and is told apart, whatever it is matched by."""
    shown = [arm for arm in comparison.arms if comparison.finals(arm.id)] or comparison.arms
    keys = {series: (arm.label, series) for arm in shown if (series := comparison.series(arm)) is not None}
    return list(keys.values())


def told_apart_last(comparison: Comparison, arms: Sequence[ResolvedArm]) -> list[ResolvedArm]:
    """The order to draw arms in, so that those that are told apart lie above the others."""
    return sorted(arms, key=lambda arm: comparison.series(arm) is not None)


def gathered(comparison: Comparison, figures: Iterable[Figure | None], keys: Sequence[Key] = ()) -> Figures | None:
    """The figures that there are, side by side, under the arms' legend and what `keys` add to it."""
    there = [figure for figure in figures if figure]
    return Figures(there, [*legend(comparison), *keys]) if there else None


def named(what: str, group: Group, several: bool) -> str:
    """With the way of matching and the size, where there are several."""
    return f"{what}, {group_name(group)}" if several else what


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
    drawn = [means for means in curves.values() if len(means) > half]
    if len(drawn) < (min(2, len(arms)) if half else 1):  # runs that ended before the half have no line to compare
        return None
    low, high = spread([nats for mean in every for nats in (mean.ends if half else (mean.nats,))])
    name = "second half" if half else "whole training"
    ends = [f"{arm.label} ends at {means[-1].nats:.4f}" for arm in arms if (means := curves[arm.id])]
    plot = Chart(
        named(f"Learning curves, {name}", group, len(comparison.groups) > 1),
        f"Validation loss in {NATS}, falling with training: {'; '.join(ends)}.",
        spread([mean.at / 1e6 for mean in every], 0.02), (low, high if half else min(high, low + 1.2)),
        "million characters trained on", LOWER,
    )  # fmt: skip
    for arm in told_apart_last(comparison, arms):
        _draw_curve(plot, curves[arm.id], wholes.get(arm.id), comparison.series(arm), arm.label)
    at = comparison.groups.index(group) or ""
    return Figure(plot.render(), title=plot.title, name=f"report-curves{at}-{name.split()[-1]}")


def _draw_curve(plot: Chart, means: Sequence[Mean], whole: Mean | None, series: int | None, label: str) -> None:
    points = [(mean.at / 1e6, mean.nats) for mean in means]
    if series is None:
        plot.line(points, series)
        return
    bands = [(mean.at / 1e6, *mean.interval) for mean in means if mean.interval]
    if len(bands) > 1:
        plot.band(bands, series)
    plot.dots(points, series, label, "{1:.4f} nats/char after {0:.3g} million characters", small=True)
    if whole:
        tip = f"{label}: {whole.nats:.4f} nats/char {WHOLE}"
        plot.dot((whole.at / 1e6, whole.nats), series, tip, hollow=True)


# -- one point an arm ----------------------------------------------------------------------------------------


Spot = tuple[ResolvedArm, Mean]


def cost_figures(comparison: Comparison) -> Figures | None:
    """Loss against what training cost, for each way of matching, where variants differ in it; seconds only where
    no run shared the machine."""
    kinds = [("training FLOPs", "train_flops")]
    kinds += [] if comparison.slowed else [("training seconds", "seconds")]
    figures = (_cost_figure(comparison, group, *kind) for group in comparison.groups for kind in kinds)
    return gathered(comparison, figures)


def _cost_figure(comparison: Comparison, group: Group, label: str, name: str) -> Figure | None:
    finals = {arm.id: comparison.finals(arm.id) for arm in comparison.in_group(group)}
    costs = {id: over_seeds(cost_of(record, name) for record in runs)[0] for id, runs in finals.items()}
    there = spots(comparison, costs)
    if len({mean.at for _, mean in there}) < 2:
        return None
    return _spots_figure(comparison, there, f"Loss against {label}", label, group)


def size_figures(comparison: Comparison) -> Figures | None:
    """Loss over the number of parameters, where an arm comes in several sizes."""
    by_matching = dict.fromkeys(matching for matching, _ in comparison.groups)
    return gathered(comparison, (_size_figure(comparison, matching) for matching in by_matching))


def _size_figure(comparison: Comparison, matching: str) -> Figure | None:
    sizes = {arm.id: arm.parameters for arm in comparison.arms if arm.matching == matching}
    there, group = spots(comparison, sizes), (matching, None)
    several = len({(arm.arm, mean.at) for arm, mean in there}) > len({arm.arm for arm, _ in there})
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
        named(title, group, len(comparison.groups) > 1),
        "; ".join(f"{arm.label}: {mean.nats:.4f} {NATS} at {short(mean.at)}" for arm, mean in there),
        spread([mean.at for _, mean in there], 0.06 if log else 0.12, log),
        spread([end for _, mean in there for end in mean.ends], 0.15), label, LOWER, log_x=log,
    )  # fmt: skip
    lines: dict[int | None, list[tuple[float, float]]] = {}
    for arm, mean in there:
        series, at = comparison.series(arm), (mean.at, mean.nats)
        lines.setdefault(series, []).append(at)
        if series is not None:
            plot.whisker(mean.at, *mean.ends, series)
        plot.dot(at, series, f"{arm.label}: {mean.nats:.4f} {NATS}, {short(mean.at)} {label}")
    for series, points in lines.items():
        if len(points) > 1 and series is not None:
            plot.line(sorted(points), series)
    return Figure(plot.render(), title=plot.title)


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
        named("Loss against the learning-rate multiplier", group, len(comparison.groups) > 1),
        f"Filled: the multiplier that was chosen. {best}.",
        spread(rates, 0.08, log=True), (min(means) - 0.02, min(max(means), min(means) + 0.6) + 0.02),
        "learning-rate multiplier", LOWER, log_x=True, x_ticks=rates,
    )  # fmt: skip
    for arm, of in arms:
        plot.line(tried[arm.id], comparison.series(arm))
        for rate, mean in tried[arm.id]:
            tip = f"{arm.label}: {mean:.4f} {NATS} at {rate:g}"
            plot.dot((rate, mean), comparison.series(arm), tip, hollow=rate != of.chosen)
    return Figure(plot.render(), title=plot.title)
