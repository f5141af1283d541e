"""Every head and every projection by itself: arms with intervals over seeds, and arm against arm.

A place is `layer/head`, such as `1/4`, or `layer/projection`, such as `2/key`; seeds are paired place by place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aeattn.report.blocks import Block, Cell, Table, with_interval
from aeattn.report.data import Material, over_seeds
from aeattn.report.snapshots import at_end, common_loss, differences, last, pairs

Columns = Mapping[str, str]  # a figure's dotted keys within a place, and its heading


def place_blocks(material: Material, title: str, kind: str, columns: Columns, form: str) -> list[Block]:
    """Folded tables of the places of a kind, `heads` or `projections`, where any were measured: what each arm does
    there, and arm against arm at equal steps and at equal loss."""
    tables = [_each(material, title, kind, columns, form), _against(material, title, kind, columns, f"+{form}")]
    return [table for table in tables if table.rows]


def _places(material: Material, arm_id: str, kind: str) -> list[str]:
    """The places that any run of an arm was measured at."""
    runs = [measured for record in material.finals(arm_id) if (measured := last(material, record))]
    return list(dict.fromkeys(place for measured in runs for place in measured["places"].get(kind, {})))


def _each(material: Material, title: str, kind: str, columns: Columns, form: str) -> Table:
    rows: list[list[Cell]] = []
    for arm in material.arms:
        for place in _places(material, arm["id"], kind):
            found = [at_end(material, arm["id"], f"places.{kind}.{place}.{key}").values() for key in columns]
            rows.append([Cell(material.full_name(arm)), Cell(place),
                         *(with_interval(*over_seeds(values), form=form) for values in found)])  # fmt: skip
    return Table(title, ["arm", "place", *(f"#{name}" for name in columns.values())], rows, folded=True)


def _against(material: Material, title: str, kind: str, columns: Columns, form: str) -> Table:
    rows = [
        row
        for ours, theirs in pairs(material)
        for place in _places(material, ours["id"], kind)
        if place in _places(material, theirs["id"], kind)
        for row in _pair(material, ours, theirs, f"places.{kind}.{place}", list(columns), form)
    ]
    names = ["arm", "less arm", "place", "at equal", *(f"#{name}" for name in columns.values())]
    return Table(f"{title}, arm against arm, paired by seed", names, rows, folded=True)


def _pair(
    material: Material, ours: dict[str, Any], theirs: dict[str, Any], path: str, keys: Sequence[str], form: str
) -> list[list[Cell]]:
    """A place at equal steps, and at equal loss where both arms have come to one."""
    ids = (ours["id"], theirs["id"])
    levels = {"steps": None, "loss": common_loss(material, ids)}
    names = [material.full_name(ours), material.full_name(theirs), path.rpartition(".")[2]]
    return [
        [*map(Cell, [*names, at]), *(
            with_interval(*over_seeds(differences(material, *ids, f"{path}.{key}", level)), form=form)
            for key in keys
        )]
        for at, level in levels.items()
        if at == "steps" or level is not None
    ]  # fmt: skip
