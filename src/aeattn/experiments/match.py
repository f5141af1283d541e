"""Arms made comparable: the width of each solved for, so that its cost comes to that of a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aeattn.errors import InputError
from aeattn.nn.config import ModelConfig
from aeattn.nn.sizing import parameters, size, solve_width
from aeattn.training.config import RunConfig

Pace = Callable[[Sequence[RunConfig]], list[float]]
"""Seconds an update of several configs, measured turn by turn on this machine."""

COSTS: dict[str, tuple[str, Callable[[ModelConfig], float]]] = {
    "parameters": ("parameters", parameters),
    "flops": ("FLOPs a character of training", lambda config: size(config).train_flops),
}


@dataclass(frozen=True)
class Matched:
    """A config whose cost comes to the target, and the fraction of the target that is missing or too much."""

    config: RunConfig
    off_by: float | None


def match_cost(config: RunConfig, kind: str, target: float, vary: str, tolerance: float, who: str) -> Matched:
    """The config with the width `vary` that brings its parameters or FLOPs nearest to the target.

    Raises InputError, which says how near it came, where that is further off than the tolerance.
    """
    unit, cost = COSTS[kind]
    model = _solved(config.model, target, cost, vary)
    off_by = cost(model) / target - 1
    if abs(off_by) > tolerance:
        raise InputError(
            f"{who} cannot be matched by {kind}: the nearest, {vary} = {getattr(model, vary)}, has "
            f"{cost(model):,.0f} {unit}, {100 * off_by:+.2f} % off {target:,.0f}; change its other widths, raise "
            "matching.tolerance, or leave it out with match = false"
        )
    return Matched(replace(config, model=model), off_by)


def _solved(model: ModelConfig, target: float, cost: Callable[[ModelConfig], float], vary: str) -> ModelConfig:
    """The nearest config, which is that of width 1 where even this costs too much, and the widest there is."""
    widest = {"bottleneck": model.d_model}.get(vary)
    if widest is not None and cost(_with(model, vary, widest)) <= target:
        return _with(model, vary, widest)
    try:
        return solve_width(model, target, cost, vary)
    except ValueError:
        return _with(model, vary, 1)


def _with(model: ModelConfig, vary: str, width: int) -> ModelConfig:
    changes: dict[str, Any] = {vary: width}
    return replace(model, **changes)


def match_pace(configs: Sequence[RunConfig], reference: RunConfig, vary: str, pace: Pace) -> list[Matched]:
    """Configs whose updates take as long as the reference's: measured at two widths, solved for on the line
    through them, and measured again for `off_by`."""
    wider = [replace(c, model=_with(c.model, vary, _second_width(c.model, vary))) for c in configs]
    target, *seconds = pace([reference, *configs, *wider])
    solved = []
    for i, config in enumerate(configs):
        points = [
            (getattr(c.model, vary), s) for c, s in ((config, seconds[i]), (wider[i], seconds[len(configs) + i]))
        ]
        solved.append(
            replace(config, model=_with(config.model, vary, _on_line(points, target, config.model, vary)))
        )
    target, *again = pace([reference, *solved])
    return [Matched(config, took / target - 1) for config, took in zip(solved, again, strict=True)]


def _second_width(model: ModelConfig, vary: str) -> int:
    width: int = getattr(model, vary)
    return max(1, width // 2) if vary == "bottleneck" else 2 * width


def _on_line(points: list[tuple[int, float]], target: float, model: ModelConfig, vary: str) -> int:
    (w1, t1), (w2, t2) = points
    slope = (t2 - t1) / (w2 - w1) if w1 != w2 else 0.0
    if slope <= 0:  # noise: the width makes no difference that can be measured
        return w1
    widest = model.d_model if vary == "bottleneck" else 8 * w1
    return min(widest, max(1, round(w1 + (target - t1) / slope)))
