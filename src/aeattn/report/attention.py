"""What attention does in each arm: side by side, with intervals over seeds, at equal steps and at equal loss."""

from __future__ import annotations

from collections.abc import Mapping

from aeattn.analysis.results import MEASURES, TOP, Maps
from aeattn.compare.declaration import ResolvedArm
from aeattn.report.blocks import Block, Cell, Figure, Figures, Table, Text, shown
from aeattn.report.charts import gathered, named
from aeattn.report.data import Comparison, Group, mean_cell, over_seeds
from aeattn.report.maps import HOW_TO_READ, map_figure
from aeattn.report.per_head import per_head
from aeattn.report.snapshots import at_end, common_loss, differences, pairs
from aeattn.report.svg import Chart, Scale, spread

NAMES = {
    "entropy_share": "entropy / ln n",
    "effective_chars": "exp(entropy), tokens",
    "gini": "Gini index",
    "top1": "top 1",
    "top4": "top 4",
    "top16": "top 16",
    "mean_distance": "mean distance, tokens",
    "first_share": "on the first",
}
REST = {f"without_first.{measure}": NAMES[measure] for measure in MEASURES}
ADDED = {
    **{f"loss.added.top{k}": f"top {k} kept" for k in TOP},
    **{f"loss.added.nearest{k}": f"nearest {k} kept" for k in TOP},
    "loss.added.without_first": "all but the first kept",
}
CODES = {
    "effective_rank": "effective rank, dimensions",
    "effective_rank_share": "of its width",
    "dead_share": "dead, share of units",
    "saturated_below_share": "switched off, share",
    "saturated_above_share": "linear, share",
    "readout_r2": "read-out R\u00b2",
    "pca_r2": "PCA R\u00b2",
}
UNITS = {
    "effective_rank": "effective rank, dimensions",
    "dead": "dead units",
    "saturated_below": "switched off",
    "saturated_above": "linear",
    "readout_r2": "read-out R\u00b2",
    "pca_r2": "PCA R\u00b2",
}


SIDE_BY_SIDE = 6  # variants at most that are columns of a table


def _under(section: str, names: Mapping[str, str]) -> dict[str, str]:
    return {f"{section}.{name}": heading for name, heading in names.items()}


def attention_blocks(comparison: Comparison) -> list[Block]:
    """Everything about attention; one sentence where nothing was measured."""
    if not comparison.analyses:
        return [Text("What attention does was not measured in these runs.")]
    tables = (
        _table(comparison, "Attention at the end of training (equal steps)", _under("attention", NAMES)),
        _table(comparison, "The same without the first position", _under("attention", REST), folded=True),
        _table(comparison, "Nats/char added when only some weights are kept", ADDED, "+.4f", folded=True),
        _table(comparison, "Codes: what projections keep of their input", _under("codes", CODES), folded=True),
    )
    return [
        Text("On identical text at matched positions: queries in the second half of each window. Means over "
             "layers and heads, then over seeds, with 95 % intervals. n: tokens that a query sees. Entropies "
             "are in nats, Gini indices from 0 (all weigh the same) to 1 - 1/n."),
        *([] if _same_text(comparison) else [
            Text("Not all runs were measured on the same text: their figures do not compare.", role="note")]),
        *(table for table in tables if table),
        *_differences(comparison),
        *_figures(comparison),
        *per_head(comparison, "Every head", "by_head", NAMES, ".3f"),
        *per_head(comparison, "Every head without the first position", "by_head", REST, ".3f"),
        *per_head(comparison, "Every code", "by_projection", UNITS, ".4g"),
    ]  # fmt: skip


def _same_text(comparison: Comparison) -> bool:
    """Whether all runs read the same text at the end, and the same (perhaps a shorter one) before it."""
    runs = comparison.analyses.values()
    before = {snapshot.measured.text.digest for run in runs for snapshot in run.at[:-1]}
    return len({run.end.text.digest for run in runs}) <= 1 and len(before) <= 1


def _table(
    comparison: Comparison, title: str, paths: Mapping[str, str], form: str = ".3f", folded: bool = False
) -> Table | None:
    """A row a variant, or, where there are few of them, a row a measure."""
    rows = []
    for arm in comparison.arms:
        found = [list(at_end(comparison, arm.id, path).values()) for path in paths]
        if seeds := max(map(len, found)):
            cells = [mean_cell(values, form) for values in found]
            rows.append([Cell(comparison.full_name(arm)), Cell(str(seeds), seeds), *cells])
    columns = ["variant", "#seeds", *(f"#{name}" for name in paths.values())]
    if not rows or len(rows) > SIDE_BY_SIDE:
        return Table(title, columns, rows, folded).filled if rows else None
    turned = [[Cell(columns[i].removeprefix("#")), *(row[i] for row in rows)] for i in range(1, len(columns))]
    return Table(title, ["measure", *(f"#{row[0].text}" for row in rows)], turned, folded)


def _differences(comparison: Comparison) -> list[Block]:
    """Variant against variant, paired by seed, for every pair that a contrast declares."""
    rows = [row for pair in pairs(comparison) for row in _pair(comparison, *pair)]
    columns = ["variant", "minus", "measure", "#at equal steps", "#at equal loss", "#at nats/char"]
    return [Table("Variant minus variant, paired by seed", columns, rows, folded=True)] if rows else []


def _pair(comparison: Comparison, ours: ResolvedArm, theirs: ResolvedArm) -> list[list[Cell]]:
    level = common_loss(comparison, [ours.id, theirs.id])
    rest = {path: f"{name}, without the first" for path, name in _under("attention", REST).items()}
    rows = []
    for path, name in {**_under("attention", NAMES), **rest, **ADDED, **_under("codes", CODES)}.items():
        found = differences(comparison, ours.id, theirs.id, path)
        if found:
            equal = [] if level is None else differences(comparison, ours.id, theirs.id, path, level)
            rows.append([
                *(Cell(comparison.full_name(arm)) for arm in (ours, theirs)), Cell(name),
                mean_cell(found, "+.4f"), mean_cell(equal, "+.4f"), shown(level),
            ])  # fmt: skip
    return rows


# -- pictures ------------------------------------------------------------------------------------------------


def _figures(comparison: Comparison) -> list[Block]:
    lines = [_over_training(comparison, group, path, label) for group in comparison.groups for path, label in (
        ("attention.gini", "Gini index"), ("attention.effective_chars", "exp(entropy), tokens"))]  # fmt: skip
    added = [_top_weights(comparison, group) for group in comparison.groups]
    drawn = gathered(comparison, [*lines, *added])
    return [*([drawn] if drawn else []), *_maps_blocks(comparison)]


def _maps_blocks(comparison: Comparison) -> list[Block]:
    """The maps of each variant, the first group's alone."""
    arms = [(arm, found) for arm in comparison.in_group(comparison.groups[0]) if (found := _maps(comparison, arm))]
    figures = [(arm, figure) for arm, maps in arms if (figure := map_figure(arm.label, maps))]
    if not figures:
        return []
    passage = " ".join(arms[0][1].text.split())
    about = Text(f"Attention maps of one passage, \u201c{passage}\u201d. {HOW_TO_READ}")
    return [about, *(
        Figures([figure], full=True, folded=f"Attention maps: {arm.label}", open=arm is figures[0][0])
        for arm, figure in figures
    )]  # fmt: skip


def _over_training(comparison: Comparison, group: Group, path: str, label: str) -> Figure | None:
    """A measure over the validation loss: at equal loss stand arms above each other."""
    arms = comparison.in_group(group)
    lines = {arm.id: _course(comparison, arm.id, path) for arm in arms}
    every = [point for points in lines.values() for point in points]
    if not any(len(points) > 1 for points in lines.values()):
        return None
    low, high = spread([loss for loss, _ in every], 0.04)
    plot = Chart(
        named(f"{label}, as training goes on", group, len(comparison.groups) > 1),
        "; ".join(f"{arm.label}: {lines[arm.id][-1][1]:.3f} at last" for arm in arms if lines[arm.id]),
        (high, low), spread([value for _, value in every]), "validation loss in nats/char, falling to the right",
        label, x_ticks=Scale(low, high, 0, 1).ticks(),
    )  # fmt: skip
    for arm in arms:
        plot.dots(lines[arm.id], comparison.series(arm), arm.label, "{1:.3f} at {0:.4f} nats/char", small=True)
    return Figure(plot.render(), title=plot.title)


def _course(comparison: Comparison, arm: str, path: str) -> list[tuple[float, float]]:
    """Mean validation loss and mean figure at each snapshot that all runs of an arm have."""
    runs = comparison.analysed(arm).values()
    tables = [{s.step: (s.valid_nats, s.measured.figure(path)) for s in run.at} for run in runs]
    common = sorted(set.intersection(*map(set, tables))) if tables else []
    points = [tuple(over_seeds(table[step][i] for table in tables)[0] for i in (0, 1)) for step in common]
    return [(loss, value) for loss, value in points if loss is not None and value is not None]


def _top_weights(comparison: Comparison, group: Group) -> Figure | None:
    """What it costs to keep only the k largest weights."""
    lines = []
    for arm in comparison.in_group(group):
        means = [(k, over_seeds(at_end(comparison, arm.id, f"loss.added.top{k}").values())[0]) for k in TOP]
        lines.append((arm, [(float(k), mean) for k, mean in means if mean is not None and mean > 0]))
    every = [point for _, points in lines for point in points]
    if not every:
        return None
    title = named("Loss added when only the top k weights are kept", group, len(comparison.groups) > 1)
    shares = (f"{arm.label}: " + ", ".join(f"{v:.4f} for {k:g}" for k, v in points) for arm, points in lines)
    plot = Chart(
        title, "; ".join(shares),
        spread((1.0, 16.0), 0.08, log=True), spread([v for _, v in every], log=True),
        "weights kept of each query's", "nats/char added", log_x=True, log_y=True, x_ticks=TOP,
    )  # fmt: skip
    for arm, points in lines:
        plot.dots(points, comparison.series(arm), arm.label, "{1:+.4f} nats/char with the top {0:g}")
    return Figure(plot.render(), title=plot.title)


def _maps(comparison: Comparison, arm: ResolvedArm) -> Maps | None:
    """Those of the first seed that has any."""
    runs = comparison.analysed(arm.id).values()
    return next((run.end.maps for run in runs if run.end.maps and run.end.maps.weights), None)
