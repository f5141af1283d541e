"""Loss against what attention costs when a text is written: bytes of cache, and characters a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aeattn.compare.metrics import allocated_bytes
from aeattn.compare.records import CACHED_CHARS
from aeattn.report.blocks import Block, Cell, Figure, Figures, Table, Text, shown, with_interval
from aeattn.report.charts import NATS, Spot, legend, named, spots
from aeattn.report.data import Comparison, Group, cost_of, over_seeds
from aeattn.report.svg import Chart, short, spread

AT_LENGTH = f"at {CACHED_CHARS:,} characters of context"
NO_SPEED = (
    f"How fast each arm writes {AT_LENGTH} has not been measured: `python -m aeattn.benchmarks.writing DIR` does "
    "so, arms in turn."
)


def has_bytes(comparison: Comparison) -> bool:
    """Whether caches were counted as they were allocated."""
    return any(allocated_bytes(record) for record in comparison.records)


def frontier_figure(comparison: Comparison) -> Figures | None:
    """Loss against bytes of cache, the picture that answers for a whole comparison."""
    figures = [_figure(comparison, group, *_by_bytes(comparison), least=True) for group in comparison.groups]
    there = [figure for figure in figures if figure]
    return Figures(there, legend(comparison), wide=len(there) == 1) if there else None


def frontier_blocks(comparison: Comparison) -> list[Block]:
    """Both pictures with their frontiers, and one table in the order of the loss."""
    figure = frontier_figure(comparison)
    blocks: list[Block] = [
        Text(
            f"Bytes of cache are those that were allocated for {CACHED_CHARS:,} characters, divided by them: "
            "numbers in float32, codes where that is exact, and the last inputs of a short convolution. The "
            "dashed line joins arms that no other beats in both."
        )
    ]
    blocks += [figure] if figure else []
    speeds = _speeds(comparison)
    if speeds:
        label = f"characters a second of writing, {AT_LENGTH}"
        drawn = [_figure(comparison, group, speeds, label, least=False) for group in comparison.groups]
        blocks += [Figures([figure for figure in drawn if figure], legend(comparison))]
    else:
        blocks.append(Text(NO_SPEED, role="note"))
    return [*blocks, _table(comparison, speeds)]


def _by_bytes(comparison: Comparison) -> tuple[dict[str, float | None], str]:
    found = {arm.id: over_seeds(map(allocated_bytes, comparison.finals(arm.id)))[0] for arm in comparison.arms}
    return found, "bytes of cache a character, as allocated"


def _speeds(comparison: Comparison) -> dict[str, float | None]:
    writing = comparison.writing
    return {} if writing is None else {id: speed.chars_per_second for id, speed in writing.arms.items()}


def on_frontier(points: Mapping[str, tuple[float, float]], least: bool) -> list[str]:
    """Ids of the points (cost, loss) that no other beats in both, by cost; with `least` less cost is better, else
    more."""
    sign = 1 if least else -1
    found: list[str] = []
    best = float("inf")
    for id, (_, loss) in sorted(points.items(), key=lambda item: (sign * item[1][0], item[1][1])):
        if loss < best:
            best = loss
            found.append(id)
    return found


def _figure(
    comparison: Comparison, group: Group, at: Mapping[str, float | None], label: str, *, least: bool
) -> Figure | None:
    here: Sequence[Spot] = [spot for spot in spots(comparison, at) if spot[0] in comparison.in_group(group)]
    if not here:
        return None
    points = {arm.id: (mean.at, mean.nats) for arm, mean in here}
    best = on_frontier(points, least)
    titles = {arm.id: arm.label for arm, _ in here}
    title = named("Loss against " + ("bytes of cache" if least else "speed of writing"), group)
    plot = Chart(
        title,
        "; ".join(f"{arm.label}: {mean.nats:.4f} nats at {short(mean.at)}" for arm, mean in here)
        + f". On the frontier: {', '.join(titles[id] for id in best)}.",
        spread([mean.at for _, mean in here], 0.08, log=True),
        spread([end for _, mean in here for end in mean.ends], 0.12), label, named(NATS, group), log_x=True,
    )  # fmt: skip
    plot.frontier([points[id] for id in best])
    for arm, mean in here:
        plot.whisker(mean.at, *mean.ends, comparison.series(arm))
        plot.dot(
            (mean.at, mean.nats), comparison.series(arm), f"{arm.label}: {mean.nats:.4f} nats, {short(mean.at)}"
        )
    return Figure(plot.render(), "Dashed: the frontier, which no other arm beats in both.")


def _table(comparison: Comparison, speeds: Mapping[str, float | None]) -> Table:
    by_bytes = _by_bytes(comparison)[0]
    known = [(arm, *over_seeds(map(comparison.loss, comparison.finals(arm.id)))) for arm in comparison.arms]
    rows = []
    points = {a.id: (at, nats) for a, nats, _ in known if nats is not None and (at := by_bytes[a.id]) is not None}
    best = on_frontier(points, least=True)
    for arm, nats, interval in sorted(known, key=lambda each: (each[1] is None, each[1] or 0.0)):
        first, names = comparison.finals(arm.id)[:1], ("latent_cache_bytes", "cache_bytes")
        counted = [cost_of(record, name) for record in first for name in names]
        rows.append([
            Cell(comparison.full_name(arm)), Cell(str(len(comparison.finals(arm.id)))),
            with_interval(nats, interval),
            shown(by_bytes[arm.id], ",.1f"), shown(next((c for c in counted if c), None), ",.0f"),
            *([shown(speeds.get(arm.id), ",.0f")] if speeds else []),
            Cell("yes" if arm.id in best else ""), Cell(arm.about),
        ])  # fmt: skip
    columns = ["arm", "#runs", "#nats a character", "#bytes as allocated", "#bytes counted",
               *(["#characters/s written"] if speeds else []), "on the frontier", "what it is"]  # fmt: skip
    return Table("Loss, and what is kept of a character", columns, rows)
