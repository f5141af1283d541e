"""Loss against what attention costs when a text is generated: KV-cache bytes a token, and characters a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aeattn.compare.records import CACHED_CHARS
from aeattn.report.blocks import Figure, Figures
from aeattn.report.charts import LOWER, NATS, OTHERS, Spot, legend, named, spots, told_apart_last
from aeattn.report.data import Comparison, Group, on_frontier
from aeattn.report.svg import RIGHT, Chart, spread

AT_LENGTH = f"at {CACHED_CHARS:,} characters of context"
BYTES, SPEED = "KV-cache bytes a token", "chars/s generated"
WIDE = 744.0  # where the axis of a wide picture ends
NEAR = 9.0  # pixels: markers that would lie closer than that are moved apart


def frontier_figures(comparison: Comparison) -> Figures | None:
    """Loss against KV-cache bytes, and against the speed of generation where that was measured, for each way of
    matching in which variants differ in it."""
    kinds = [(kept(comparison), BYTES), (speeds(comparison), SPEED)]
    figures = [
        figure
        for group in comparison.groups
        for at, label in kinds
        if (figure := _figure(comparison, group, at, label))
    ]
    return Figures(figures) if figures else None


def kept(comparison: Comparison) -> dict[str, float | None]:
    """KV-cache bytes a token of each variant."""
    return {arm.id: comparison.mean_kept_bytes(arm.id) for arm in comparison.arms}


def speeds(comparison: Comparison) -> dict[str, float | None]:
    """Characters a second of each variant, with a long text behind it; nothing where that was not measured."""
    writing = comparison.writing
    return {} if writing is None else {id: speed.chars_per_second for id, speed in writing.arms.items()}


def _figure(comparison: Comparison, group: Group, at: Mapping[str, float | None], label: str) -> Figure | None:
    here: Sequence[Spot] = [spot for spot in spots(comparison, at) if spot[0] in comparison.in_group(group)]
    if len({mean.at for _, mean in here}) < 2:
        return None
    least, index = label == BYTES, comparison.groups.index(group)
    title = named(f"Loss against {label}" + ("" if least else f" {AT_LENGTH}"), group, len(comparison.groups) > 1)
    side, many = "left" if least else "right", comparison.many
    about = f"Lower and to the {side} is better. Dashed: variants that no other beats in both."
    about += f" {OTHERS} Intervals stand in the table." if many else ""
    plots = [_chart(comparison, here, title, label, right) for right in ((WIDE, RIGHT) if many else (RIGHT,))]
    name = f"report-loss-{'bytes' if least else 'speed'}{index or ''}"
    narrow = plots[1].render() if many else None
    return Figure(plots[0].render(), about, narrow, title, name, legend(comparison))


def _chart(comparison: Comparison, here: Sequence[Spot], title: str, label: str, right: float) -> Chart:
    points, least, many = {arm.id: (mean.at, mean.nats) for arm, mean in here}, label == BYTES, comparison.many
    best, labels = on_frontier(points, least), {arm.id: arm.label for arm, _ in here}
    alt = "; ".join(f"{arm.label}: {mean.nats:.4f} {NATS} at {mean.at:,.0f}" for arm, mean in here)
    ends = [end for _, mean in here for end in ((mean.nats,) if many else mean.ends)]
    plot = Chart(
        title, f"{alt}. On the frontier: {', '.join(labels[id] for id in best)}.",
        spread([mean.at for _, mean in here], 0.08, log=True), spread(ends, 0.12),
        f"{label}, {'fewer' if least else 'more'} is better", LOWER, log_x=True, right=right,
    )  # fmt: skip
    plot.frontier([points[id] for id in best])
    shifts = _shifts(plot, here)
    means = {arm.id: mean for arm, mean in here}
    for arm in told_apart_last(comparison, [arm for arm, _ in here]):
        mean = means[arm.id]
        series, shift = comparison.series(arm), shifts[arm.id]
        if not many:
            plot.whisker(mean.at, *mean.ends, series, shift)
        tip = f"{arm.label}: {mean.nats:.4f} {NATS}, {mean.at:,.0f} {label}"
        plot.dot((mean.at, mean.nats), series, tip, shift=shift)
    return plot


def _shifts(plot: Chart, spots: Sequence[Spot]) -> dict[str, float]:
    """How far markers are moved to the right, so that those of one cost and one loss do not hide each other."""
    places = {arm.id: (plot.x(mean.at), plot.y(mean.nats)) for arm, mean in spots}
    found: dict[str, float] = {}
    for id, (x, y) in places.items():
        near = [a for a in places if abs(places[a][0] - x) < NEAR / 2 and abs(places[a][1] - y) < 2 * NEAR]
        found[id] = min(NEAR, 4 * NEAR / len(near)) * (near.index(id) - (len(near) - 1) / 2)
    return found
