"""What was measured of attention in each run: at the end of training (equal steps), and at equal loss.

Figures go by the dotted names of `Inspection.figure`; losses are those on the same part of the validation text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from aeattn.analysis.results import RunAnalysis
from aeattn.compare.declaration import ResolvedArm
from aeattn.report.data import Comparison


def at_end(comparison: Comparison, arm: str, path: str) -> dict[int, float]:
    """The figure of each seed at the end."""
    found = {seed: analysis.end.figure(path) for seed, analysis in comparison.analysed(arm).items()}
    return {seed: value for seed, value in found.items() if value is not None}


def at_loss(analysis: RunAnalysis, nats: float, path: str) -> float | None:
    """The figure when the run's validation loss was `nats`: between the two snapshots around it, in proportion.
    None where the run never passed that loss, or only before the first snapshot."""
    points = [(s.valid_nats, s.measured.figure(path)) for s in analysis.at]
    there = [(loss, value) for loss, value in points if loss is not None and value is not None]
    for (above, early), (below, late) in pairwise(there):
        if above >= nats >= below:
            share = 0.0 if above == below else (above - nats) / (above - below)
            return early + share * (late - early)
    return None


def common_loss(comparison: Comparison, arms: Sequence[str]) -> float | None:
    """The lowest loss that every run of these arms had reached at a snapshot."""
    runs = [analysis for arm in arms for analysis in comparison.analysed(arm).values()]
    losses = [[s.valid_nats for s in run.at if s.valid_nats is not None] for run in runs]
    return max((scored[-1] for scored in losses if scored), default=None)


def differences(
    comparison: Comparison, ours: str, theirs: str, path: str, nats: float | None = None
) -> list[float]:
    """One arm less another, of each seed that both have: at the end, or when both had reached a loss."""
    a, b = (
        at_end(comparison, arm, path)
        if nats is None
        else {seed: at_loss(analysis, nats, path) for seed, analysis in comparison.analysed(arm).items()}
        for arm in (ours, theirs)
    )
    pairs = [(x, b.get(seed)) for seed, x in a.items()]
    return [x - y for x, y in pairs if x is not None and y is not None]


def pairs(comparison: Comparison) -> list[tuple[ResolvedArm, ResolvedArm]]:
    """Every two arms that a contrast declares."""
    declared = comparison.declaration
    named = dict.fromkeys((contrast.arm, contrast.than) for contrast in declared.contrasts)
    return [(declared.arm(ours), declared.arm(theirs)) for ours, theirs in named]
