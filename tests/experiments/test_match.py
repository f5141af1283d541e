"""Matched arms cost what the reference costs, and what cannot be matched says how near it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from aeattn.errors import InputError
from aeattn.experiments.match import match_cost, match_pace
from aeattn.nn.sizing import parameters, size
from aeattn.training.config import DataConfig, RunConfig, TrainingConfig
from aeattn.training.presets import PRESETS
from tests.conftest import tiny_config


def _config(**model: object) -> RunConfig:
    return RunConfig(tiny_config(**model), TrainingConfig(), DataConfig())


BIG = {"d_model": 128, "d_ff": 416, "n_heads": 4, "bottleneck": 32, "n_layers": 3}
KINDS: list[dict[str, object]] = [
    {"key": "linear"},
    {"query": "bottleneck", "value": "linear"},
    {"query": "residual"},
    {"bottleneck": 16},
    {"per_head": True, "n_heads": 3, "middle": True, "d_ff": 64},
]


@pytest.mark.parametrize("kind", ["parameters", "flops"])
@pytest.mark.parametrize("arm", KINDS, ids=str)
def test_costs_are_equal_within_half_a_percent(kind: str, arm: dict[str, object]) -> None:
    target = {"parameters": 560_000, "flops": 4_500_000}[kind]
    matched = match_cost(_config(**{**BIG, **arm}), kind, target, "d_ff", 0.005, "arms.x")
    cost = parameters(matched.config.model) if kind == "parameters" else size(matched.config.model).train_flops
    assert cost == pytest.approx(target, rel=0.005)
    assert matched.off_by == pytest.approx(cost / target - 1)


def test_published_sizes_are_reached() -> None:
    for name in ("460k", "460k-linear", "460k-classic"):
        config = _config(**{**BIG, **PRESETS[name]["model"], "vocab_size": 49, "context": 256})
        assert parameters(match_cost(config, "parameters", 460_000, "d_ff", 0.005, "x").config.model) // 1000 in (
            459,
            460,
        )


def test_what_cannot_be_matched_says_how_near_it_came() -> None:
    config = _config(**BIG)
    least = parameters(replace(config.model, d_ff=1))
    with pytest.raises(
        InputError, match=rf"arms.x cannot .* d_ff = 1, has {least:,} parameters, \+\d+\.\d\d % off 1,000"
    ):
        match_cost(config, "parameters", 1000, "d_ff", 0.005, "arms.x")
    with pytest.raises(InputError, match=r"bottleneck = 128, has .* -\d+\.\d\d % off 9,000,000"):
        match_cost(config, "parameters", 9e6, "bottleneck", 0.005, "arms.x")


def test_the_pace_is_matched_on_a_line_through_two_measurements() -> None:
    def pace(configs: Sequence[RunConfig]) -> list[float]:
        """A machine on which an update takes as long as the widths say."""
        return [1e-3 * (10 + c.model.d_ff + 5 * (c.model.key == "autoencoder")) for c in configs]

    reference, slow = _config(key="linear", d_ff=40), _config(d_ff=40)
    [matched] = match_pace([slow], reference, "d_ff", pace)
    assert matched.config.model.d_ff == 35
    assert matched.off_by == pytest.approx(0)


def test_a_pace_that_does_not_depend_on_the_width_leaves_it_alone() -> None:
    [matched] = match_pace([_config(d_ff=40)], _config(), "d_ff", lambda configs: [1.0] * len(configs))
    assert matched.config.model.d_ff == 40
