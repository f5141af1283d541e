"""The published curves stand beside runs of their task alone, and as they were reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aeattn.compare.records import Point
from aeattn.config.run import RunConfig
from aeattn.config.sources import resolve
from aeattn.nn.size import parameters
from aeattn.report.blocks import Figures, Table
from aeattn.report.data import load
from aeattn.report.published import beside, nearest, published, section

POINTS = [Point(step, step * 100, step / 10, 2.0, 1.9 - step / 1000, 99) for step in (100, 200)]


def _run(preset: str, recipe: str | None = "books10m") -> RunConfig:
    config = resolve({"preset": preset})
    return replace(config, data=replace(config.data, recipe=recipe)).with_vocabulary(config.data.vocabulary or 49)


@pytest.mark.parametrize(
    ("preset", "size"),
    [("460k", 460_496), ("1m", 1_076_897), ("10m", 2_653_421), ("7m-published", 7_255_889), ("7m", 7_255_889)],
)
def test_the_curve_of_the_nearest_size_is_taken(preset: str, size: int) -> None:
    found = nearest(_run(preset))
    assert found is not None
    assert found.parameters == size


def test_a_run_of_another_task_has_none() -> None:
    assert nearest(_run("460k", recipe=None)) is None
    assert section(_run("460k", recipe=None), POINTS) == []
    assert section(_run("460k"), []) == []


def test_they_are_drawn_and_listed() -> None:
    (found,) = section(_run("7m-published"), POINTS)
    table = found.blocks[-1]
    assert isinstance(table, Table)
    assert table.rows[-1][1].text == "5,000"
    assert table.rows[-1][2].value == pytest.approx(5.3182 * 9.39 / 41, rel=1e-3)


def test_they_stand_beside_a_comparison_of_their_task() -> None:
    first = load(Path(__file__).parents[2] / "results" / "first")
    figures, _, table = beside(first)
    assert isinstance(figures, Figures)
    names = [name for name, _ in figures.legend]
    assert names == [*(arm.label for arm in first.arms), "published, 460,496 parameters"]
    assert len({series for _, series in figures.legend}) == len(names)
    assert str(figures.figures[0].svg).count('class="line') == len(names)
    assert isinstance(table, Table)
    assert len(table.rows) == 4
    of_another = {"recipe": None, "corpus": ["tales"]}
    arms = [replace(a, config=a.config | {"data": a.config["data"] | of_another}) for a in first.arms]
    assert beside(replace(first, declaration=replace(first.declaration, arms=tuple(arms)))) == []


def test_the_published_preset_has_the_published_size() -> None:
    sizes = {curve.parameters for curve in published().curves}
    assert abs(parameters(_run("7m-published").model) - 7_255_889) < 1024 // 2  # a feature of all feed-forwards
    assert abs(parameters(_run("7m").model) / 7_255_889 - 1) < 0.005
    assert 7_255_889 in sizes
