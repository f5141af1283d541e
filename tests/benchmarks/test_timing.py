"""Alternating measurement: everyone has a turn in every round, and a ratio pairs rounds."""

from __future__ import annotations

import functools
import itertools

import pytest

from aeattn.benchmarks.results import Rates, Spread, to_json
from aeattn.benchmarks.timing import alternate


def test_everyone_has_one_turn_a_round_and_follows_everyone() -> None:
    turns: list[str] = []

    def contender(name: str, units: float) -> float:
        turns.append(name)
        return units

    said: list[str] = []
    units = {"a": 1.0, "b": 1e9, "c": 1.0}
    works = {name: functools.partial(contender, name, number) for name, number in units.items()}
    rates = alternate(works, 30, said.append)
    rounds = [turns[at : at + 3] for at in range(0, len(turns), 3)]  # the first to warm up
    assert len(rounds) == 31
    assert all(sorted(turn) == ["a", "b", "c"] for turn in rounds)
    assert set(itertools.pairwise(turns)) >= set(itertools.permutations("abc", 2))
    assert rates["b"].median > rates["a"].median
    assert len(rates["a"].rounds) == len(said) == 30
    assert set(to_json(rates["a"])) == {"median", "low", "high", "rounds", "warm_up_seconds"}


def test_ratios_are_those_of_rounds() -> None:
    ours, theirs = Rates((10.0, 30.0, 20.0), 0.0), Rates((5.0, 5.0, 1.0), 0.0)
    assert ours.ratio(theirs) == Spread(6.0, 2.0, 20.0)
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        alternate({})
    with pytest.raises(ValueError, match="at least one"):
        alternate({"a": lambda: 1.0}, rounds=0)
