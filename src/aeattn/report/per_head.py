"""Every head and every projection by itself: variants with intervals over seeds, and variant minus variant.

Heads are named `layer/head`, such as `1/4`, projections `layer/projection`, such as `2/key`; seeds are paired.
"""

from __future__ import annotations

from collections.abc import Mapping

from aeattn.compare.declaration import ResolvedArm
from aeattn.report.blocks import Block, Cell, Table
from aeattn.report.data import Comparison, mean_cell
from aeattn.report.snapshots import at_end, common_loss, differences, pairs

Columns = Mapping[str, str]
"""A figure of a head or a projection, and its heading."""


def per_head(comparison: Comparison, title: str, part: str, columns: Columns, form: str) -> list[Block]:
    """Folded tables of all heads or projections (`part` is `by_head` or `by_projection`), where any were measured:
    each variant's, and variant minus variant at equal steps and at equal loss."""
    named = f"layer/{part.removeprefix('by_')}"
    headings = [f"#{name}" for name in columns.values()]
    tables = [
        Table(title, ["variant", named, *headings], _each(comparison, part, columns, form), folded=True),
        Table(
            f"{title}, variant minus variant, paired by seed",
            ["variant", "minus", named, "at equal", *headings],
            [row for pair in pairs(comparison) for row in _against(comparison, *pair, part, columns, f"+{form}")],
            folded=True,
        ),
    ]
    return [table for table in tables if table.rows]


def _names(comparison: Comparison, arm: ResolvedArm, part: str) -> list[str]:
    """The heads or projections that any run of an arm has."""
    runs = comparison.analysed(arm.id).values()
    return list(dict.fromkeys(name for run in runs for name in getattr(run.end, part)))


def _each(comparison: Comparison, part: str, columns: Columns, form: str) -> list[list[Cell]]:
    return [
        [Cell(comparison.full_name(arm)), Cell(name), *(
            mean_cell(at_end(comparison, arm.id, f"{part}.{name}.{key}").values(), form) for key in columns
        )]
        for arm in comparison.arms
        for name in _names(comparison, arm, part)
    ]  # fmt: skip


def _against(
    comparison: Comparison, ours: ResolvedArm, theirs: ResolvedArm, part: str, columns: Columns, form: str
) -> list[list[Cell]]:
    """At equal steps, and at equal loss where both arms have come to one."""
    level = common_loss(comparison, (ours.id, theirs.id))
    levels = {"steps": None, **({} if level is None else {"loss": level})}
    both = set(_names(comparison, theirs, part))
    arms = [Cell(comparison.full_name(arm)) for arm in (ours, theirs)]
    return [
        [*arms, Cell(name), Cell(at), *(
            mean_cell(differences(comparison, ours.id, theirs.id, f"{part}.{name}.{key}", nats), form)
            for key in columns
        )]
        for name in _names(comparison, ours, part) if name in both
        for at, nats in levels.items()
    ]  # fmt: skip
