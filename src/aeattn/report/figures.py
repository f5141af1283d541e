"""The pictures of a comparison, but for those of attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from aeattn.compare.metrics import describe_measure
from aeattn.compare.records import Record
from aeattn.report.blocks import Figure, Figures
from aeattn.report.data import Group, Material, group_name, look_up, over_seeds
from aeattn.report.svg import Chart, Scale, chart, marker, picture, short, spread, words

Point3 = tuple[float, float | None, tuple[float, float] | None]


def legend(material: Material) -> list[tuple[str, int]]:
    """Label and style of each arm that has runs, whatever it is matched by."""
    shown = [arm for arm in material.arms if material.finals(arm["id"])] or material.arms
    return list({material.series(arm): (str(arm["label"]), material.series(arm)) for arm in shown}.values())


# -- learning curves -----------------------------------------------------------------------------------------


def learning_curves(material: Material) -> Figures | None:
    """Validation loss over the characters trained on: means over seeds, with their intervals as bands; all of the
    training, and its second half again, where arms are nearer to each other."""
    parts = [(group, half) for group in material.groups for half in (False, True)]
    figures = [figure for part in parts if (figure := _curves_of(material, *part))]
    return Figures(figures, legend(material)) if figures else None


def _curves_of(material: Material, group: Group, half: bool) -> Figure | None:
    curves = {arm["id"]: curve(material.finals(arm["id"])) for arm in material.in_group(group)}
    end = max((x for points in curves.values() for x, _, _ in points), default=0.0)
    if half:
        curves = {id_: [point for point in points if point[0] >= end / 2] for id_, points in curves.items()}
    every = [point for points in curves.values() for point in points]
    if not every or (half and not any(len(points) > 1 for points in curves.values())):
        return None
    ends = [
        e for _, mean, interval in every for e in (interval if interval and half else (mean,)) if e is not None
    ]
    low, high = spread(ends)
    name = "second half" if half else "whole training"
    where = group_name(group)
    picture = chart(
        f"Learning curves, {name}, {where}",
        _alt_of_curves(material, group, curves),
        spread([x / 1e6 for x, _, _ in every], 0.02),
        (low, high if half else min(high, low + 1.2)),
        "million characters trained on",
        f"nats a character, {where or name}{', ' + name if where else ''}",
    )
    for arm in material.in_group(group):
        _draw_curve(picture, curves[arm["id"]], material.series(arm), str(arm["label"]))
    return Figure(picture.render())


def _draw_curve(picture: Chart, points: Sequence[Point3], series: int, label: str) -> None:
    there = [(x / 1e6, mean, interval) for x, mean, interval in points if mean is not None]
    bands = [(x, *interval) for x, _, interval in there if interval]
    if len(bands) > 1:
        picture.band(bands, series)
    picture.line([(x, mean) for x, mean, _ in there], series)
    for x, mean, _ in there:
        if mean <= picture.y.high:
            picture.dot((x, mean), series, f"{label}: {mean:.4f} at {x:.3g} M characters", small=True)


def curve(records: Sequence[Record]) -> list[Point3]:
    """Characters, mean validation loss and its interval at each evaluation that all runs have."""
    tables = [{point.chars: point.valid_nats for point in r.learning_curve} for r in records]
    common = sorted(set.intersection(*map(set, tables))) if tables else []
    return [(chars, *over_seeds(table[chars] for table in tables)) for chars in common]


def _alt_of_curves(material: Material, group: Group, curves: dict[str, list[Point3]]) -> str:
    ends = [
        f"{arm['label']} ends at {points[-1][1]:.4f}"
        for arm in material.in_group(group)
        if (points := curves[arm["id"]]) and points[-1][1] is not None
    ]
    return f"Validation loss in nats a character, falling with training: {'; '.join(ends)}."


# -- forest plots --------------------------------------------------------------------------------------------


def forest(title: str, rows: Sequence[dict[str, Any]], unit: str, smallest: float | None, wide: bool) -> Markup:
    """Differences with their intervals, one a row: `name`, `under`, `mean`, `interval`, `primary`, `shown`."""
    width, top, pitch = (760.0, 16.0, 44.0) if wide else (360.0, 16.0, 66.0)
    x0, x1 = (300.0, 560.0) if wide else (14.0, 346.0)
    ends = [end for row in rows for end in (row["interval"] or (row["mean"], row["mean"]))]
    x = Scale(*spread([*ends, 0.0, *([smallest, -smallest] if smallest else [])], 0.08), x0, x1)
    bottom = top + pitch * len(rows)
    parts = []
    if smallest:
        region = f"M{x(-smallest):.1f} {top - 6}H{x(smallest):.1f}V{bottom}H{x(-smallest):.1f}z"
        parts.append(Markup('<path class="region" d="{}"/>').format(region))
    parts.append(Markup('<path class="zero" d="M{:.1f} {}V{}"/>').format(x(0), top - 6, bottom))
    for i, row in enumerate(rows):
        parts += _forest_row(row, x, top + pitch * i, wide)
    for value in x.ticks(4 if wide else 3):
        parts.append(words(x(value), bottom + 17, short(value), "tick", "middle"))
    parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(x0, bottom, x1))
    parts.append(words(x1, bottom + 36, f"{unit}; left of 0 is less", "label", "end"))
    alt = "; ".join(f"{row['name']}, {row['under']}: {row['shown']}" for row in rows)
    return picture(title, alt, width, bottom + 44, parts)


def _forest_row(row: dict[str, Any], x: Scale, top: float, wide: bool) -> list[Markup]:
    looks = "c1" if row["primary"] else "cn"
    middle = top + (18 if wide else 50)
    parts = []
    if row["interval"]:
        low, high = row["interval"]
        parts.append(
            Markup('<path class="whisker {}" d="M{:.1f} {}H{:.1f}"/>').format(looks, x(low), middle, x(high))
        )
    parts.append(marker(x(row["mean"]), middle, 2 if row["primary"] else 0, looks, row["shown"], 5))
    weight = "name strong" if row["primary"] else "name"
    end, at = ("end", 288.0) if wide else ("start", 14.0)
    parts.append(words(at, top + (14 if wide else 15), _cut(row["name"], 40), weight, end))
    under = _cut(row["under"], 46) if wide else f"{_cut(row['under'], 27)}: {row['shown']}"
    parts.append(words(at, top + (31 if wide else 32), under, "under", end))
    if wide:
        parts.append(words(752, middle + 4, row["shown"], "figure", "end"))
    return parts


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "\u2026"


def forest_figure(
    material: Material, contrasts: Sequence[dict[str, Any]], group: Group, unit: str
) -> Figure | None:
    """A forest plot of the contrasts of one group, all of the loss (with the region where a difference does not
    matter) or all of something else."""
    title = f"Differences {group_name(group)}".strip()
    ours = [c for c in contrasts if (c.get("matching"), c.get("size")) == group]
    rows = [contrast_row(contrast) for contrast in ours if contrast.get("mean") is not None]
    if not rows:
        return None
    is_loss = all(contrast["measure"] == "valid_nats" for contrast in contrasts)
    smallest = look_up(material.spec, "smallest_effect") if is_loss else None
    wide, narrow = (forest(title, rows, unit, smallest, w) for w in (True, False))
    shaded = f" Shaded: less than {smallest:g} nats, declared as not mattering." if smallest else ""
    return Figure(wide, f"{title}. Means over seeds with 95 % intervals, paired by seed.{shaded}", narrow)


def contrast_row(contrast: dict[str, Any]) -> dict[str, Any]:
    """A contrast as a row: of losses in nats, of all else in percent of the arm compared with."""
    is_loss = contrast["measure"] == "valid_nats"
    scale = 1.0 if is_loss else 100 / abs(contrast["baseline"])
    ours, theirs = contrast.get("labels") or (contrast["arm"], contrast["than"])

    mean = scale * contrast["mean"]
    interval = [scale * end for end in contrast["interval"]] if contrast.get("interval") else None
    digits = 4 if is_loss else 1
    ends = f" [{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]" if interval else ", one seed"
    return {
        "name": ours,
        "under": f"{'' if is_loss else describe_measure(contrast['measure']).text + ', '}less {theirs}",
        "mean": mean,
        "interval": interval,
        "primary": bool(contrast.get("primary")),
        "shown": f"{mean:+.{digits}f}{ends}".replace("-", "\u2212"),
    }


# -- one point an arm ----------------------------------------------------------------------------------------


def cost_figures(material: Material) -> Figures | None:
    """Loss against what it cost, for each way of matching."""
    kinds: tuple[tuple[str, str, Callable[[Record], float | None]], ...] = (
        ("training FLOPs", "training FLOPs of a run", lambda r: cost_of(r, "train_flops")),
        ("seconds", "seconds of training", lambda r: cost_of(r, "seconds")),
        ("cache", "cache, bytes a character", _kept),
    )
    figures = [
        figure
        for group in material.groups
        for name, label, read in kinds
        if (figure := _cost_figure(material, group, name, label, read))
    ]
    return Figures(figures, legend(material)) if figures else None


def cost_of(record: Record, name: str) -> float | None:
    """One figure of what a run cost."""
    return None if record.cost is None else getattr(record.cost, name)


def _kept(record: Record) -> float | None:
    latent = cost_of(record, "latent_cache_bytes")
    return cost_of(record, "cache_bytes") if latent is None else latent


def _cost_figure(
    material: Material, group: Group, name: str, label: str, read: Callable[[Record], float | None]
) -> Figure | None:
    points = []
    for arm in material.in_group(group):
        finals = material.finals(arm["id"])
        cost, _ = over_seeds(read(record) for record in finals)
        loss, interval = over_seeds(record.nats_per_char for record in finals)
        if cost is not None and loss is not None:
            points.append((arm, cost, loss, interval or (loss, loss)))
    if not points:
        return None
    alt = "; ".join(f"{arm['label']}: {loss:.4f} nats at {short(cost)}" for arm, cost, loss, _ in points)
    plot = chart(
        f"Loss against {name}, {group_name(group)}", alt,
        spread([cost for _, cost, _, _ in points], 0.12), spread([e for *_, ends in points for e in ends], 0.15),
        label, f"nats a character, {group_name(group)}".rstrip(", "),
    )  # fmt: skip
    for arm, cost, loss, ends in points:
        plot.whisker(cost, *ends, material.series(arm))
        plot.dot((cost, loss), material.series(arm), f"{arm['label']}: {loss:.4f} nats, {short(cost)} {label}")
    return Figure(plot.render())


def size_figures(material: Material) -> Figures | None:
    """Loss over the number of parameters, where an arm comes in several sizes."""
    by_matching = dict.fromkeys(matching for matching, _ in material.groups)
    figures = [figure for matching in by_matching if (figure := _size_figure(material, matching))]
    return Figures(figures, legend(material)) if figures else None


def _size_figure(material: Material, matching: str | None) -> Figure | None:
    lines: dict[int, list[tuple[float, float, tuple[float, float], str]]] = {}
    for arm in material.arms:
        loss, interval = over_seeds(r.nats_per_char for r in material.finals(arm["id"]))
        size = look_up(arm, "parameters")
        if arm.get("matching") == matching and loss is not None and size:
            point = (size, loss, interval or (loss, loss), str(arm["label"]))
            lines.setdefault(material.series(arm), []).append(point)
    if not any(len({size for size, *_ in points}) > 1 for points in lines.values()):
        return None
    every = [point for points in lines.values() for point in points]
    name = group_name((matching, None))
    plot = chart(
        f"Loss over size, {name}",
        "; ".join(f"{label}: {loss:.4f} at {short(size)}" for size, loss, _, label in every),
        spread([point[0] for point in every], 0.06, log=True), spread([e for p in every for e in p[2]]),
        "parameters", f"nats a character, {name}".rstrip(", "), log_x=True,
    )  # fmt: skip
    for series, points in lines.items():
        plot.line([(size, loss) for size, loss, *_ in sorted(points)], series)
        for size, loss, ends, label in points:
            plot.whisker(size, *ends, series)
            plot.dot((size, loss), series, f"{label}: {loss:.4f} nats, {short(size)} parameters")
    return Figure(plot.render())


# -- learning rates ------------------------------------------------------------------------------------------


def rate_figures(material: Material) -> Figures | None:
    """What each rate of the grid came to, for each arm; the chosen one is filled."""
    if (material.spec.get("tuning") or {}).get("search") != "grid":
        return None
    figures = [figure for group in material.groups if (figure := _rate_figure(material, group))]
    return Figures(figures, legend(material)) if figures else None


def _rate_figure(material: Material, group: Group) -> Figure | None:
    tuned = {t["id"]: t for t in material.summary.get("tuning", [])}
    arms = [arm for arm in material.in_group(group) if arm["id"] in tuned]
    tried = {arm["id"]: [r for r in tuned[arm["id"]]["rates"] if r["mean"] is not None] for arm in arms}
    means = [r["mean"] for rates in tried.values() for r in rates]
    if not means:
        return None
    rates = sorted({r["rate"] for found in tried.values() for r in found})
    alt = "; ".join(f"{a['label']} does best at {tuned[a['id']]['chosen']}" for a in arms)
    low = min(means)
    plot = chart(
        f"Learning rates, {group_name(group)}", f"Loss over the factor on the learning rates: {alt}.",
        spread(rates, 0.08, log=True), (low - 0.02, min(max(means), low + 0.6) + 0.02),
        "factor on the learning rates",
        f"nats a character, {group_name(group)}".rstrip(", "), log_x=True, x_ticks=rates,
    )  # fmt: skip
    for arm in arms:
        series, found = material.series(arm), tried[arm["id"]]
        plot.line([(r["rate"], r["mean"]) for r in found], series)
        for r in found:
            if r["mean"] <= plot.y.high:
                tip = f"{arm['label']}: {r['mean']:.4f} at {r['rate']:g}"
                plot.dot((r["rate"], r["mean"]), series, tip, hollow=r["rate"] != tuned[arm["id"]]["chosen"])
    return Figure(plot.render())
