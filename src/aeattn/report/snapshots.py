"""What was measured of attention in each run: at the end of training (equal steps), and at equal loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from aeattn.compare.records import Record
from aeattn.report.data import Material, look_up


def last(material: Material, record: Record) -> dict[str, Any] | None:
    """What was measured at the end of a run."""
    analysis = material.analysis.get(record.name)
    return analysis["at"][-1].get("measured") if analysis else None


def at_end(material: Material, arm_id: str, path: str) -> dict[int, float]:
    """The figure of each seed at the end."""
    found = {r.seed: look_up(last(material, r), path) for r in material.finals(arm_id)}
    return {seed: value for seed, value in found.items() if value is not None}


def at_loss(analysis: dict[str, Any] | None, nats: float, path: str) -> float | None:
    """The figure when the run's validation loss was `nats`: between the two checkpoints around it, in proportion.
    None where the run never passed that loss, or only before the first checkpoint."""
    looks = [
        (look.get("valid_nats"), look_up(look.get("measured"), path)) for look in (analysis or {"at": []})["at"]
    ]
    there = [(loss, value) for loss, value in looks if isinstance(loss, int | float) and value is not None]
    for (above, early), (below, late) in pairwise(there):
        if above >= nats >= below:
            share = 0.0 if above == below else (above - nats) / (above - below)
            return early + share * (late - early)
    return None


def common_loss(material: Material, arms: Sequence[str]) -> float | None:
    """The lowest loss that every run of these arms reached."""
    names = [record.name for arm in arms for record in material.finals(arm)]
    ends = [look_up(material.analysis[n]["at"][-1], "valid_nats") for n in names if n in material.analysis]
    there = [nats for nats in ends if nats is not None]
    return max(there) if there else None


def differences(material: Material, ours: str, theirs: str, path: str, nats: float | None = None) -> list[float]:
    """One arm less another, of each seed that both have: at the end, or when both had reached a loss."""
    a, b = (
        at_end(material, arm, path)
        if nats is None
        else {r.seed: at_loss(material.analysis.get(r.name), nats, path) for r in material.finals(arm)}
        for arm in (ours, theirs)
    )
    pairs = [(x, b.get(seed)) for seed, x in a.items()]
    return [x - y for x, y in pairs if x is not None and y is not None]


def pairs(material: Material) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every two arms that a contrast declares."""
    arms = {arm["id"]: arm for arm in material.arms}
    named = dict.fromkeys((c.get("arm"), c.get("than")) for c in material.spec.get("contrasts", []))
    return [(arms[ours], arms[theirs]) for ours, theirs in named if ours in arms and theirs in arms]
