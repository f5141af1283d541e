"""Alternating measurement: everyone has a turn in every round, and a ratio pairs rounds."""

from __future__ import annotations

import pytest

from aeattn.bench.timing import Rates, alternate, ratio, spread


def test_everyone_has_one_turn_a_round_and_the_first_turn_rotates() -> None:
    turns: list[str] = []

    def contender(name: str, units: float) -> float:
        turns.append(name)
        return units

    said: list[str] = []
    rates = alternate({"a": lambda: contender("a", 1), "b": lambda: contender("b", 1e9)}, 3, said.append)
    assert turns == ["a", "b", "a", "b", "b", "a", "a", "b"]  # warm-up, then three rounds
    assert rates["b"].median > rates["a"].median
    assert len(rates["a"].rounds) == len(said) == 3
    assert set(rates["a"].to_dict()) == {"median", "low", "high", "rounds", "warm_up_seconds"}


def test_ratios_are_those_of_rounds() -> None:
    ours, theirs = Rates((10.0, 30.0, 20.0), 0.0), Rates((5.0, 5.0, 1.0), 0.0)
    assert ratio(ours, theirs) == {"median": 6.0, "low": 2.0, "high": 20.0}
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "low": 1.0, "high": 3.0}


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        alternate({})
    with pytest.raises(ValueError, match="at least one"):
        alternate({"a": lambda: 1.0}, rounds=0)
