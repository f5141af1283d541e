"""Arms made comparable: the width of each solved for, so that its cost comes to that of a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from aeattn.config.model import ModelConfig
from aeattn.config.run import RunConfig
from aeattn.errors import InputError
from aeattn.nn.size import parameters, size, solve_width

SecondsPerChar = Callable[[Sequence[RunConfig]], list[float]]
"""How long configs take to train on a character of their text, measured turn by turn on this machine."""

TIME_TRIES = 4
TIME_TOLERANCE = 0.1  # on a shared machine, measurements of one config differ by half of that


@dataclass(frozen=True)
class Cost:
    """What arms are to have alike: its name in a spec, its unit, and how much of it a config has."""

    name: str
    unit: str
    of: Callable[[RunConfig], float]


PARAMETERS = Cost("parameters", "parameters", lambda config: parameters(config.model))


def flops(chars_per_step: Callable[[RunConfig], float]) -> Cost:
    """Of a character of the text, of which a token may hold several, and an update so many in the mean."""

    def of(config: RunConfig) -> float:
        per_token = size(config.model, window=config.window).train_flops
        return per_token * config.tokens_per_step / chars_per_step(config)

    return Cost("flops", "FLOPs a character of training", of)


@dataclass(frozen=True)
class Matched:
    """A config whose cost comes to the target, and the fraction of the target that is missing or too much."""

    config: RunConfig
    off_by: float | None


def match_cost(config: RunConfig, cost: Cost, target: float, vary: str, tolerance: float, who: str) -> Matched:
    """The config with the width `vary` that brings its cost nearest to the target.

    Raises InputError, which says how near it came, where that is further off than the tolerance.
    """

    def of(model: ModelConfig) -> float:
        return cost.of(replace(config, model=model))

    model = _solved(config.model, target, of, vary)
    off_by = of(model) / target - 1
    if abs(off_by) > tolerance:
        raise InputError(
            f"{who} cannot be matched by {cost.name}: the nearest, {vary} = {getattr(model, vary)}, has "
            f"{of(model):,.0f} {cost.unit}, {100 * off_by:+.2f} % off {target:,.0f}; change its other widths, "
            "raise matching.tolerance, or leave it out with match = false"
        )
    return Matched(replace(config, model=model), off_by)


def compare_cost(config: RunConfig, cost: Cost, target: float) -> Matched:
    """The config as it is, and how far its cost is off."""
    return Matched(config, cost.of(config) / target - 1)


def _solved(model: ModelConfig, target: float, cost: Callable[[ModelConfig], float], vary: str) -> ModelConfig:
    """The nearest config, which is that of width 1 where even this costs too much, and the widest there is."""
    if vary == "bottleneck" and cost(widest := replace(model, bottleneck=model.d_model)) <= target:
        return widest
    try:
        return solve_width(model, target, cost, vary)
    except ValueError:
        return _with_width(model, vary, 1)


def match_time(
    configs: dict[str, RunConfig],
    reference: RunConfig,
    vary: str,
    tolerance: float,
    measure: SecondsPerChar,
) -> list[Matched]:
    """Configs whose characters take as long to train on as the reference's: measured at two widths, then where the
    line through the two nearest says, and once more for `off_by`.

    `configs` are named for messages. Raises InputError, which says how near it came, where one is further off than
    the tolerance, or than `TIME_TOLERANCE` where that is more.
    """
    tried: list[dict[int, float]] = [{} for _ in configs]
    widths = [getattr(config.model, vary) for config in configs.values()]
    for _ in range(TIME_TRIES):
        shares = _shares(reference, _at_widths(configs, vary, widths), measure)
        for known, width, share in zip(tried, widths, shares, strict=True):
            known[width] = share
        widths = [_next_width(known, c.model, vary) for known, c in zip(tried, configs.values(), strict=True)]
    nearest = _at_widths(configs, vary, [_nearest(known)[0] for known in tried])
    shares = _shares(reference, nearest, measure)
    for name, config, share in zip(configs, nearest, shares, strict=True):
        if abs(share - 1) > max(tolerance, TIME_TOLERANCE):
            width = getattr(config.model, vary)
            raise InputError(
                f"{name} cannot be matched by wall-clock: the nearest, {vary} = {width}, took "
                f"{100 * (share - 1):+.0f} % more time than the reference; change its other widths, raise "
                "matching.tolerance, leave it out with match = false, or try again on a quieter machine"
            )
    return _matched(nearest, shares)


def compare_time(configs: Sequence[RunConfig], reference: RunConfig, measure: SecondsPerChar) -> list[Matched]:
    """Configs as they are, and by how much more time than the reference's a character of theirs takes."""
    return _matched(configs, _shares(reference, configs, measure))


def _matched(configs: Sequence[RunConfig], shares: Sequence[float]) -> list[Matched]:
    return [Matched(config, share - 1) for config, share in zip(configs, shares, strict=True)]


def _at_widths(configs: dict[str, RunConfig], vary: str, widths: Sequence[int]) -> list[RunConfig]:
    pairs = zip(configs.values(), widths, strict=True)
    return [replace(config, model=_with_width(config.model, vary, width)) for config, width in pairs]


def _with_width(model: ModelConfig, vary: str, width: int) -> ModelConfig:
    return replace(model, **{vary: width})  # type: ignore[arg-type]


def _shares(reference: RunConfig, configs: Sequence[RunConfig], measure: SecondsPerChar) -> list[float]:
    """Each config's time for a character, in the reference's."""
    if not configs:
        return []
    target, *others = measure([reference, *configs])
    return [seconds / target for seconds in others]


def _nearest(known: dict[int, float]) -> list[int]:
    return sorted(known, key=lambda width: abs(known[width] - 1))


def _next_width(known: dict[int, float], model: ModelConfig, vary: str) -> int:
    """The width to measure next: another one than the first, then on the line through the two nearest."""
    first, *others = _nearest(known)
    widest = model.d_model if vary == "bottleneck" else 8 * getattr(model, vary)
    if not others:
        return max(1, first // 2) if known[first] > 1 else min(widest, 2 * first)
    slope = (known[others[0]] - known[first]) / (others[0] - first)
    if slope <= 0:  # noise: the width makes no difference that can be measured
        return first
    return min(widest, max(1, round(first + (1 - known[first]) / slope)))
