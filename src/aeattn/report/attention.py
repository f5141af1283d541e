"""What attention does in each arm: side by side, with intervals over seeds, at equal steps and at equal loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from aeattn.analysis.maps import unpack
from aeattn.analysis.results import MEASURES
from aeattn.report.blocks import Block, Cell, Figure, Figures, Table, Text, shown, with_interval
from aeattn.report.data import Group, Material, group_name, look_up, over_seeds
from aeattn.report.figures import legend
from aeattn.report.per_head import place_blocks
from aeattn.report.snapshots import at_end, common_loss, differences, last, pairs
from aeattn.report.svg import chart, picture, spread

NAMES = {
    "entropy_share": "H/max",
    "effective_chars": "exp(H), characters",
    "gini": "Gini",
    "top1": "top 1",
    "top4": "top 4",
    "top16": "top 16",
    "mean_distance": "mean distance",
    "first_share": "on the first",
}
WHOLE = {f"attention.{m}": NAMES[m] for m in (*MEASURES, "first_share")}
REST = {f"attention.without_first.{m}": NAMES[m] for m in MEASURES}
CAUSAL = {
    **{f"loss.added.top{k}": f"top {k} kept" for k in (1, 4, 16)},
    **{f"loss.added.nearest{k}": f"nearest {k} kept" for k in (1, 4, 16)},
    "loss.added.without_first": "all but the first kept",
}
CODES = {
    "codes.effective_rank": "effective rank",
    "codes.effective_rank_share": "of its width",
    "codes.dead_share": "dead",
    "codes.saturated_below_share": "switched off",
    "codes.saturated_above_share": "linear",
    "codes.readout_r2": "read-out R\u00b2",
    "codes.pca_r2": "PCA R\u00b2",
}
PLACE_CODES = {
    "effective_rank": "effective rank",
    "dead": "dead units",
    "saturated_below": "switched off",
    "saturated_above": "linear",
    "readout_r2": "read-out R\u00b2",
    "pca_r2": "PCA R\u00b2",
}
LEVELS = 6  # of darkness in a map


def attention_blocks(material: Material) -> list[Block]:
    """Everything about attention; one sentence where nothing was measured."""
    if not material.analysis:
        return [Text("What attention does was not measured in these runs.")]
    blocks: list[Block] = [Text(
        "On identical text at matched positions: queries in the second half of each window. Means over layers and "
        "heads, then over seeds, with 95 % intervals."
    )]  # fmt: skip
    if not _same_text(material):
        blocks.append(
            Text("Not all runs were measured on the same text: their figures do not compare.", role="note")
        )
    for table in (
        _table(material, "Attention at the end of training (equal steps)", WHOLE),
        _table(material, "The same without the first position", REST),
        _table(material, "Nats a character lost when only some weights are kept", CAUSAL, "+.4f"),
        _table(material, "Codes: what projections keep of their input", CODES),
    ):
        blocks += [table] if table else []
    blocks += _differences(material)
    blocks += _figures(material)
    heads = {key.removeprefix("attention."): name for key, name in WHOLE.items()}
    rest = {key.removeprefix("attention."): name for key, name in REST.items()}
    return [
        *blocks,
        *place_blocks(material, "Every head", "heads", heads, ".3f"),
        *place_blocks(material, "Every head without the first position", "heads", rest, ".3f"),
        *place_blocks(material, "Every code", "projections", PLACE_CODES, ".4g"),
    ]


def _same_text(material: Material) -> bool:
    """Whether all runs read the same text at the end, and the same (perhaps a shorter one) before it."""
    ends = {look_digest(analysis["at"][-1]) for analysis in material.analysis.values()}
    before = {look_digest(look) for analysis in material.analysis.values() for look in analysis["at"][:-1]}
    return len(ends) <= 1 and len(before) <= 1


def look_digest(look: dict[str, Any]) -> str:
    """What identifies the text that was read."""
    text = look["measured"].get("text")
    return str(text.get("digest")) if isinstance(text, dict) else ""


def _table(material: Material, title: str, paths: dict[str, str], form: str = ".3f") -> Table | None:
    rows = []
    for arm in material.arms:
        found = {path: list(at_end(material, arm["id"], path).values()) for path in paths}
        if any(found.values()):
            seeds = max(map(len, found.values()))
            cells = [with_interval(*over_seeds(values), form=form) for values in found.values()]
            rows.append([Cell(material.full_name(arm)), Cell(str(seeds), seeds), *cells])
    columns = ["arm", "#seeds", *(f"#{name}" for name in paths.values())]
    return Table(title, columns, rows) if rows else None


def _differences(material: Material) -> list[Block]:
    """Arm against arm, paired by seed, for every pair that a contrast declares."""
    rows = [row for ours, theirs in pairs(material) for row in _pair(material, ours, theirs)]
    if not rows:
        return []
    columns = ["arm", "less arm", "measure", "#at equal steps", "#at equal loss", "#at nats a character"]
    return [Table("Arm against arm, paired by seed", columns, rows, folded=len(rows) > 30)]


def _pair(material: Material, ours: dict[str, Any], theirs: dict[str, Any]) -> list[list[Cell]]:
    level = common_loss(material, [ours["id"], theirs["id"]])
    rows = []
    for path, name in {
        **WHOLE,
        **{p: f"{n}, without the first" for p, n in REST.items()},
        **CAUSAL,
        **CODES,
    }.items():
        found = differences(material, ours["id"], theirs["id"], path)
        if found:
            equal = [] if level is None else differences(material, ours["id"], theirs["id"], path, level)
            rows.append([
                Cell(material.full_name(ours)), Cell(material.full_name(theirs)), Cell(name),
                with_interval(*over_seeds(found), form="+.4f"), with_interval(*over_seeds(equal), form="+.4f"),
                shown(level),
            ])  # fmt: skip
    return rows


# -- pictures ------------------------------------------------------------------------------------------------


def _figures(material: Material) -> list[Block]:
    blocks: list[Block] = []
    looks = [f for group in material.groups for f in _over_training(material, group) + _causal(material, group)]
    if looks:
        blocks.append(Figures(looks, legend(material)))
    maps = [f for arm in material.in_group(material.groups[0]) if (f := _maps(material, arm))]
    if maps:
        passage = _passage(material)
        blocks.append(Text(
            f"Attention maps of one passage, \u201c{passage}\u201d: a row a layer, a column a head; in each, "
            "queries go down and keys to the right; the stronger the colour, the larger the weight (its root)."
        ))  # fmt: skip
        blocks.append(Figures(maps))
    return blocks


def _over_training(material: Material, group: Group) -> list[Figure]:
    """Two measures over the validation loss: at equal loss stand arms above each other."""
    figures = []
    for path, label in (("attention.gini", "Gini"), ("attention.effective_chars", "exp(H), characters")):
        lines = {arm["id"]: _path_of(material, arm["id"], path) for arm in material.in_group(group)}
        every = [point for points in lines.values() for point in points]
        if not any(len(points) > 1 for points in lines.values()):
            continue
        low, high = spread([loss for loss, _ in every], 0.04)
        plot = chart(
            f"{label} as training goes on, {group_name(group)}",
            "; ".join(f"{a['label']}: {lines[a['id']][-1][1]:.3f} at the end" for a in material.in_group(group)
                      if lines[a["id"]]),
            (high, low), spread([value for _, value in every]), "validation loss, falling to the right",
            f"{label}, {group_name(group)}".rstrip(", "),
            x_ticks=[],
        )  # fmt: skip
        plot.x_ticks = [t for t in _ticks(low, high) if low <= t <= high]
        for arm in material.in_group(group):
            _draw_path(plot, lines[arm["id"]], material.series(arm), str(arm["label"]))
        figures.append(Figure(plot.render()))
    return figures


def _ticks(low: float, high: float) -> list[float]:
    from aeattn.report.svg import Scale

    return Scale(low, high, 0, 1).ticks()


def _draw_path(plot: Any, points: Sequence[tuple[float, float]], series: int, label: str) -> None:
    if points:
        plot.line(points, series)
    for loss, value in points:
        plot.dot((loss, value), series, f"{label}: {value:.3f} at {loss:.4f} nats", small=True)


def _path_of(material: Material, arm_id: str, path: str) -> list[tuple[float, float]]:
    """Mean validation loss and mean figure at each checkpoint that all runs of an arm have."""
    tables = [
        {look["step"]: (look.get("valid_nats"), look_up(look.get("measured"), path)) for look in analysis["at"]}
        for r in material.finals(arm_id)
        if (analysis := material.analysis.get(r.name))
    ]
    common = sorted(set.intersection(*map(set, tables))) if tables else []
    points = [tuple(over_seeds(table[step][i] for table in tables)[0] for i in (0, 1)) for step in common]
    return [(loss, value) for loss, value in points if loss is not None and value is not None]


def _causal(material: Material, group: Group) -> list[Figure]:
    """What it costs to keep only the k largest weights."""
    lines = {}
    for arm in material.in_group(group):
        means = [
            (k, over_seeds(at_end(material, arm["id"], f"loss.added.top{k}").values())[0]) for k in (1, 4, 16)
        ]
        lines[arm["id"]] = [(float(k), mean) for k, mean in means if mean is not None and mean > 0]
    every = [point for points in lines.values() for point in points]
    if not every:
        return []
    plot = chart(
        f"Loss with only the top k weights, {group_name(group)}",
        "; ".join(f"{a['label']}: " + ", ".join(f"{v:.4f} for {k:g}" for k, v in lines[a["id"]])
                  for a in material.in_group(group)),
        spread((1.0, 16.0), 0.08, log=True), spread([v for _, v in every], log=True),
        "weights kept of each query's", f"nats lost, {group_name(group)}".rstrip(", "),
        log_x=True, log_y=True, x_ticks=[1, 4, 16],
    )  # fmt: skip
    for arm in material.in_group(group):
        series = material.series(arm)
        if lines[arm["id"]]:
            plot.line(lines[arm["id"]], series)
        for k, value in lines[arm["id"]]:
            plot.dot((k, value), series, f"{arm['label']}: {value:+.4f} nats with the top {k:g}")
    return [Figure(plot.render())]


def _first_maps(material: Material, arm: dict[str, Any]) -> dict[str, Any] | None:
    for record in material.finals(arm["id"]):
        maps = (last(material, record) or {}).get("maps")
        if isinstance(maps, dict) and maps.get("weights"):
            return maps
    return None


def _passage(material: Material) -> str:
    found = [m for arm in material.arms if (m := _first_maps(material, arm))]
    return " ".join(str(found[0].get("text", "")).split()) if found else ""


def _maps(material: Material, arm: dict[str, Any]) -> Figure | None:
    maps = _first_maps(material, arm)
    if maps is None:
        return None
    try:
        grid = [[unpack(head) for head in layer] for layer in maps["weights"]]
    except (ValueError, TypeError):
        return None
    size = len(grid[0][0])
    cell, parts = size + 3, []
    margin = round(cell * len(grid[0]) / 24)
    for i, layer in enumerate(grid):
        parts.append(
            Markup('<text class="micro" text-anchor="middle" font-size="{:.1f}" x="{}" y="{}">{}</text>').format(
                cell * len(grid[0]) / 32, margin / 2, i * cell + cell / 2, i + 1
            )
        )
        for j, weights in enumerate(layer):
            parts.append(
                Markup('<g transform="translate({} {})"><path class="tile" d="M0 0V{}H{}z"/>{}</g>').format(
                    margin + j * cell, i * cell, size, size, _shade(weights)
                )
            )
    alt = f"Attention maps of {arm['label']}: {len(grid)} layers of {len(grid[0])} heads."
    svg = picture(f"Attention maps, {arm['label']}", alt, margin + cell * len(grid[0]), cell * len(grid), parts)
    return Figure(svg, str(arm["label"]))


def _shade(weights: Any) -> Markup:
    """Runs of equal darkness as one path a level."""
    levels = (LEVELS * weights**0.5 + 0.35).astype(int).clip(0, LEVELS)
    paths: dict[int, list[str]] = {}
    for y, row in enumerate(levels):
        x = 0
        while x <= y:
            run = next((n for n in range(x, y + 1) if row[n] != row[x]), y + 1) - x
            if row[x]:
                paths.setdefault(int(row[x]), []).append(f"M{x} {y}h{run}v1h-{run}z")
            x += run
    drawn = (Markup('<path class="m{}" d="{}"/>').format(level, "".join(d)) for level, d in sorted(paths.items()))
    return Markup("").join(drawn)
