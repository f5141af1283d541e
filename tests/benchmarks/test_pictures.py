"""Pictures of benchmarks: no axes without figures, no bars on logarithmic axes, what coincides is one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from matplotlib.figure import Figure

from aeattn.benchmarks.pictures import apart, draw_generation, draw_training
from aeattn.benchmarks.results import Curve, GenerationBench, LongContext, TrainingBench

SPEED = Path(__file__).parents[2] / "results" / "speed"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    found: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: found.append(self))
    return found


def _read(name: str, kind: Any) -> Any:
    return msgspec.convert(json.loads((SPEED / f"{name}.json").read_text()), kind)


def _check(figure: Figure) -> list[Any]:
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.patches or axes.lines, axes.get_title(loc="left")
        assert not (axes.patches and "log" in (axes.get_xscale(), axes.get_yscale()))
        if axes.patches:
            assert min(patch.get_x() for patch in axes.patches) == 0
    return list(figure.axes)


def test_training_with_and_without_peers_and_parts(drawn: list[Figure], tmp_path: Path) -> None:
    found: TrainingBench = _read("train", TrainingBench)
    plain = {name: replace(speed, peers={}, parts={}) for name, speed in found.contexts.items()}
    draw_training(found, tmp_path / "a.png")
    draw_training(replace(found, contexts=plain), tmp_path / "b.png")
    assert [len(_check(figure)) for figure in drawn] == [2 * len(found.contexts), len(found.contexts)]
    titles = [axes.get_title(loc="left") for axes in drawn[1].axes]
    assert all(title.startswith("chars/s, ") and title.endswith("more is better") for title in titles)


def test_generation_with_and_without_a_long_context(drawn: list[Figure], tmp_path: Path) -> None:
    found: GenerationBench = _read("generate", GenerationBench)
    same = {name: Curve([10, 20], [4.0, 2.0]) for name in ("one", "other")}
    for long in (found.long_context, LongContext([256, 512], same), LongContext([256], {}), LongContext([], {})):
        draw_generation(replace(found, long_context=long), tmp_path / "a.png")
    assert [len(_check(figure)) - len(found.batches) for figure in drawn] == [2, 2, 0, 0]
    speeds, kept = (axes for axes in drawn[1].axes if axes.lines)
    assert [line.get_label() for line in speeds.lines] == ["one and other"]
    assert [tick.get_text() for tick in kept.get_xticklabels()] == ["256", "512"]


def test_labels_of_curves_that_end_near_each_other_part() -> None:
    assert apart([2876.0, 968.0, 1010.0]) == [0.0, -5.0, 5.0]
    assert apart([100.0, 101.0, 99.0, 1000.0]) == [0.0, 10.0, -10.0, 0.0]
