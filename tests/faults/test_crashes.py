"""After SIGKILL at any moment, `resume` ends with what the uninterrupted run ends with, bit for bit."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.faults.harness import FULL, USUAL, Bench, Result, difference, leftovers

KIND = "crash points survived"
SPIKY = [*USUAL, "--spike-factor", "1.01", "--learning-rate", "0.1"]
WAYS: dict[str, list[str]] = {
    "usual": USUAL,
    "undecided": [*USUAL, "--compile", "auto"],
    "plain": ["--steps", "9", "--checkpoint-every", "2", "--optimizer", "adamw", "--accumulate", "2"],
    "spikes": SPIKY,
}


def _survives(
    bench: Bench, tally: Tally, out: Path, settings: list[str], kill: Callable[[], Result]
) -> str | None:
    """Kill, go on, compare; returns what is wrong."""
    killed = kill()
    result = bench.go_on(out, settings)
    distance = difference(out, bench.whole(settings)) if result.code == 0 else float("inf")
    right = tally.difference(KIND, distance) and not leftovers(out)
    shutil.rmtree(out)
    return None if right else f"{killed.events[-1:]} {killed.code}: {result.code} {result.errors} {distance}"


def _chosen(number: int, quick: int, seed: int, apart: int = 1) -> list[int]:
    """All numbers below, or every so many of them; in the quick suite a few, drawn by a seed."""
    everything = list(range(number))
    return (
        everything[seed % apart :: apart]
        if FULL
        else sorted(random.Random(seed).sample(everything, min(quick, number)))
    )


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_a_file_event(way: str, bench: Bench, tally: Tally, out: Path) -> None:
    settings = WAYS[way]
    number = len(bench.train(out.with_name("count"), settings).events)
    assert number > 60
    wrong = []
    for at in _chosen(number, 6 if way == "usual" else 1, seed=1, apart=1 if way == "usual" else 4):
        wrong.append(_survives(bench, tally, out, settings, lambda at=at: bench.train(out, settings, kill_at=at)))
    assert not [line for line in wrong if line]


@pytest.mark.parametrize("way", ["usual", "undecided", "spikes"])
def test_killed_in_the_middle_of_an_update(way: str, bench: Bench, tally: Tally, out: Path) -> None:
    settings, wrong = WAYS[way], []
    for at in _chosen(12, 1, seed=2, apart=2):
        wrong.append(
            _survives(bench, tally, out, settings, lambda at=at: bench.train(out, settings, kill_at_update=at))
        )
    assert not [line for line in wrong if line]


def test_killed_while_it_resumes(bench: Bench, tally: Tally, out: Path) -> None:
    def twice(at: int) -> Result:
        bench.train(out, kill_at=90)
        return bench.resume(out, kill_at=at)

    bench.train(out, kill_at=90)
    number = len(bench.resume(out).events)
    shutil.rmtree(out)
    wrong = [
        _survives(bench, tally, out, USUAL, lambda at=at: twice(at)) for at in _chosen(number, 2, seed=3, apart=2)
    ]
    assert not [line for line in wrong if line]


def test_killed_at_any_time(bench: Bench, tally: Tally, out: Path) -> None:
    """The picture and the passage at the end included."""
    moments, settings = random.Random(4), [*USUAL, "--learning-rate", "0.004"]
    assert bench.train(out, settings, brief=False).code == 0
    bench.finished[tuple(settings)] = Path(shutil.copytree(out, out.with_name("whole")))
    shutil.rmtree(out)
    wrong = []
    for _ in range(30 if FULL else 2):
        seconds = moments.uniform(0.0, 1.2)
        bench.train(out, settings, kill_after=seconds, brief=False)
        result = bench.resume(out, brief=False) if (out / "config.json").exists() else None
        if result is None:
            result = bench.train(out, settings, brief=False)
        distance = difference(out, bench.whole(settings)) if result.code == 0 else float("inf")
        wrong += [] if tally.difference(KIND, distance) else [f"{seconds}: {result.errors} {distance}"]
        shutil.rmtree(out)
    assert not wrong
