"""Measures of attention: distributions with known answers, an independent formulation, and the laws they obey."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeattn.analysis.measures import measure, without_first
from aeattn.analysis.results import MEASURES, TOP

Row = list[float]


def _measured(row: Row, visible: int | None = None) -> dict[str, float]:
    weights = torch.tensor([row], dtype=torch.float64)
    values = measure(weights, torch.tensor([len(row) if visible is None else visible]))
    return {name: float(value) for name, value in values.items()}


def _independent(row: Row) -> dict[str, float]:
    """The same by other formulae: Gini as the mean absolute difference over twice the mean, distance by a loop."""
    n = len(row)
    h = -sum(p * math.log(p) for p in row if p > 0)
    differences = sum(abs(a - b) for a in row for b in row)
    tops = {f"top{k}": sum(sorted(row, reverse=True)[:k]) for k in TOP}
    return {
        "entropy_share": h / math.log(n) if n > 1 else math.nan,
        "effective_chars": math.exp(h),
        "gini": differences / (2 * n * sum(row)),
        **tops,
        "mean_distance": sum(p * (n - 1 - j) for j, p in enumerate(row)),
    }


def _normal(row: Row) -> Row:
    return [value / sum(row) for value in row]


rows = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=30).filter(lambda r: sum(r) > 1e-3).map(_normal)


@pytest.mark.parametrize("n", [2, 5, 40])
def test_equal_weights(n: int) -> None:
    found = _measured([1 / n] * n)
    expected = {
        "entropy_share": 1.0,
        "effective_chars": n,
        "gini": 0.0,
        "mean_distance": (n - 1) / 2,
        **{f"top{k}": min(1.0, k / n) for k in TOP},
    }
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("place", "distance"), [(0, 9), (9, 0), (4, 5)])
def test_all_weight_on_one(place: int, distance: int) -> None:
    found = _measured([float(i == place) for i in range(10)])
    expected = {"entropy_share": 0.0, "effective_chars": 1.0, "gini": 0.9, "mean_distance": distance}
    assert found == pytest.approx({**expected, "top1": 1.0, "top4": 1.0, "top16": 1.0})


def test_a_distribution_worked_out_by_hand() -> None:
    found = _measured([0.5, 0.25, 0.125, 0.125])
    assert found["effective_chars"] == pytest.approx(2**1.75)
    assert found["entropy_share"] == pytest.approx(1.75 / 2)
    assert found["gini"] == pytest.approx(1 - 2 * (0.125 * 3.5 + 0.125 * 2.5 + 0.25 * 1.5 + 0.5 * 0.5) / 4)
    assert found["mean_distance"] == pytest.approx(0.5 * 3 + 0.25 * 2 + 0.125)
    assert found["top1"] == 0.5


@given(rows)
def test_an_independent_formulation_agrees(row: Row) -> None:
    assert _measured(row) == pytest.approx(_independent(row), abs=1e-9)


@given(rows, st.integers(0, 20))
def test_what_cannot_be_seen_changes_nothing(row: Row, future: int) -> None:
    assert _measured(row + [0.0] * future, visible=len(row)) == pytest.approx(_measured(row), abs=1e-9)


@given(rows, st.randoms(use_true_random=False))
def test_only_distance_depends_on_the_order(row: Row, random: object) -> None:
    shuffled = list(row)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    ours, theirs = _measured(row), _measured(shuffled)
    del ours["mean_distance"], theirs["mean_distance"]
    assert ours == pytest.approx(theirs, abs=1e-9)


@given(rows, st.floats(0.05, 0.95))
def test_what_is_taken_from_the_rich_for_the_poor_makes_attention_less_sparse(row: Row, share: float) -> None:
    """Robin Hood, the first of the six properties of Hurley and Rickard 2009."""
    order = sorted(range(len(row)), key=row.__getitem__)
    poor, rich = order[0], order[-1]
    gift = share * (row[rich] - row[poor]) / 2
    fairer = list(row)
    fairer[poor], fairer[rich] = row[poor] + gift, row[rich] - gift
    before, after = _measured(row), _measured(fairer)
    assert after["gini"] <= before["gini"] + 1e-9
    assert after["effective_chars"] >= before["effective_chars"] - 1e-9
    assert after["top1"] <= before["top1"] + 1e-9


@given(rows)
def test_limits(row: Row) -> None:
    found = _measured(row)
    n = len(row)
    assert set(found) == set(MEASURES)
    assert -1e-9 <= found["entropy_share"] <= 1 + 1e-9
    assert 1 - 1e-9 <= found["effective_chars"] <= n + 1e-9
    assert -1e-9 <= found["gini"] <= 1 - 1 / n + 1e-9
    assert found["top1"] <= found["top4"] + 1e-9 <= found["top16"] + 2e-9 <= 1 + 1e-8
    assert 0 <= found["mean_distance"] <= n - 1


def test_without_the_first_is_the_rest_made_whole() -> None:
    weights, visible = torch.tensor([[0.6, 0.1, 0.3, 0.0], [0.25, 0.25, 0.25, 0.25]]), torch.tensor([3, 4])
    rest, left = without_first(weights, visible)
    assert torch.allclose(rest, torch.tensor([[0.25, 0.75, 0.0], [1 / 3, 1 / 3, 1 / 3]]))
    assert left.tolist() == [2, 3]
    expected = _measured([0.25, 0.75])
    assert {name: float(value[0]) for name, value in measure(rest, left).items()} == pytest.approx(expected)


def test_where_nothing_is_left_there_is_no_figure() -> None:
    values = measure(*without_first(torch.tensor([[1.0, 0.0]]), torch.tensor([1])))
    assert all(bool(value.isnan().all()) for name, value in values.items() if name != "entropy_share")
    single = measure(torch.tensor([[1.0]]), torch.tensor([1]))
    assert bool(single["entropy_share"].isnan().all())
    assert float(single["gini"]) == 0.0
