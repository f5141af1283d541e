"""How fast variants train, where runs that shared the machine do not say it: from steps taken in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from aeattn.compare.intervals import LEVEL, median_interval
from aeattn.compare.metrics import SPEED
from aeattn.compare.results import ContrastResult, StepSpeeds
from aeattn.compare.sentences import verdict


def with_steps(
    contrasts: Sequence[ContrastResult], steps: StepSpeeds | None
) -> tuple[list[ContrastResult], list[str]]:
    """Contrasts, with the paired differences of steps where those of runs are not comparable, and notes that say
    how these came about."""
    known = steps.arms if steps else {}
    unknown = [
        c for c in contrasts
        if c.measure == SPEED and c.verdict == "not comparable" and {c.arm, c.than} <= known.keys()
    ]  # fmt: skip
    if steps is None or not unknown:
        return list(contrasts), []
    machine = steps.environment
    note = (
        "Runs shared the machine, so their speeds say nothing of their variants. Training speed here is that of "
        f"{steps.rounds:,} steps of each variant, taken in turn by {machine.threads} threads of {machine.cpu}: "
        "medians of the differences within a turn, with intervals from ranks, which hold all at once at 95 %."
    )
    return [_timed(c, known, len(unknown)) if c in unknown else c for c in contrasts], [note]


def _timed(contrast: ContrastResult, known: Mapping[str, Sequence[float]], several: int) -> ContrastResult:
    """`several`: how many intervals hold at once, by Bonferroni's correction."""
    differences = [a - b for a, b in zip(known[contrast.arm], known[contrast.than], strict=True)]
    at_once = median_interval(differences, 1 - (1 - LEVEL) / several)
    alone = median_interval(differences)
    found = replace(contrast, mean=median(differences), interval=alone, simultaneous=at_once)
    return replace(found, verdict=verdict(found, smallest_effect=0.0))
