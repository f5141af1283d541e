"""Measuring speed honestly: both sides alternate in one run, warm-up apart, medians with their spread.

Whatever slows the machine down then slows both sides down, so a ratio means more than either rate.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from aeattn.benchmarks.results import Rates

Work = Callable[[], float]  # does some work and returns how much it was, in units such as characters
Say = Callable[[str], None]


def alternate(contenders: Mapping[str, Work], rounds: int = 5, say: Say = lambda _: None) -> dict[str, Rates]:
    """Time every contender once a round, after one call each to warm up, every round in another order: whoever
    always came after the same one would find its caches and its memory.

    Raises ValueError where there is nothing to measure.
    """
    if not contenders or rounds < 1:
        raise ValueError(f"{len(contenders)} contenders, {rounds} rounds: give at least one of each")
    warm = {name: _seconds(work)[0] for name, work in contenders.items()}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    names, shuffle = list(contenders), random.Random(0).shuffle
    for number in range(rounds):
        shuffle(names)
        for name in names:
            seconds, units = _seconds(contenders[name])
            rates[name].append(units / seconds)
        say(f"round {number + 1} of {rounds}: " + ", ".join(f"{n} {r[-1]:,.0f}/s" for n, r in rates.items()))
    return {name: Rates(tuple(values), warm[name]) for name, values in rates.items()}


def _seconds(work: Work) -> tuple[float, float]:
    start = time.perf_counter()
    units = work()
    return time.perf_counter() - start, units
