"""Matched arms cost what the reference costs, and what cannot be matched says how near it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from aeattn.compare.match import PARAMETERS, flops, match_cost, match_time
from aeattn.config.presets import PRESETS
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.errors import InputError
from aeattn.nn.size import parameters, size
from tests.conftest import tiny_config


def _config(**model: object) -> RunConfig:
    return RunConfig(tiny_config(**model), TrainingConfig(), DataConfig())


def _chars(config: RunConfig) -> float:
    """Of an update: a subword has two."""
    return config.tokens_per_step * (1.0 if config.data.tokenizer == "char" else 2.0)


def _in_subwords(config: RunConfig) -> RunConfig:
    return replace(config, data=DataConfig(tokenizer="bpe:300"))


COSTS = {"parameters": PARAMETERS, "flops": flops(_chars)}
BIG = {"d_model": 128, "d_ff": 416, "n_heads": 4, "bottleneck": 32, "n_layers": 3}
KINDS: list[dict[str, object]] = [
    {"key": "linear"},
    {"query": "bottleneck", "value": "linear"},
    {"query": "residual"},
    {"bottleneck": 16},
    {"per_head": True, "n_heads": 3, "middle": True, "d_ff": 64},
]


@pytest.mark.parametrize("kind", COSTS)
@pytest.mark.parametrize("arm", KINDS, ids=str)
def test_costs_are_equal_within_half_a_percent(kind: str, arm: dict[str, object]) -> None:
    target = {"parameters": 560_000, "flops": 4_500_000}[kind]
    matched = match_cost(_config(**{**BIG, **arm}), COSTS[kind], target, "d_ff", 0.005, "arms.x")
    cost = parameters(matched.config.model) if kind == "parameters" else size(matched.config.model).train_flops
    assert cost == pytest.approx(target, rel=0.005)
    assert matched.off_by == pytest.approx(cost / target - 1)


def test_published_sizes_are_reached() -> None:
    for name in ("460k", "460k-linear", "460k-classic"):
        config = _config(**{**BIG, **PRESETS[name]["model"], "vocab_size": 49, "context": 256})
        assert parameters(match_cost(config, PARAMETERS, 460_000, "d_ff", 0.005, "x").config.model) // 1000 in (
            459,
            460,
        )


def test_what_cannot_be_matched_says_how_near_it_came() -> None:
    config = _config(**BIG)
    least = parameters(replace(config.model, d_ff=1))
    with pytest.raises(
        InputError, match=rf"arms.x cannot .* d_ff = 1, has {least:,} parameters, \+\d+\.\d\d % off 1,000"
    ):
        match_cost(config, PARAMETERS, 1000, "d_ff", 0.005, "arms.x")
    with pytest.raises(InputError, match=r"bottleneck = 128, has .* -\d+\.\d\d % off 9,000,000"):
        match_cost(config, PARAMETERS, 9e6, "bottleneck", 0.005, "arms.x")


def test_flops_are_those_of_a_character_however_long_a_token_is() -> None:
    config, target = _config(**BIG), 4_500_000
    subwords = match_cost(_in_subwords(config), COSTS["flops"], target / 2, "d_ff", 0.005, "x")
    assert subwords.config.model == match_cost(config, COSTS["flops"], target, "d_ff", 0.005, "x").config.model
    assert size(subwords.config.model).train_flops == pytest.approx(target, rel=0.005)


def test_a_time_is_that_of_a_character_however_long_a_token_is() -> None:
    reference = _config(key="linear", d_ff=40)
    [matched] = match_time({"subwords": _in_subwords(reference)}, reference, "d_ff", 0.005, _seconds_per_char)
    per_step = [_seconds(c) for c in (matched.config, reference)]
    assert per_step[0] == pytest.approx(2 * per_step[1], rel=0.05)


def _seconds(config: RunConfig) -> float:
    """Of an update, on a machine on which it takes as long as the widths say."""
    model = config.model
    return 1e-3 * config.training.batch * float(10 + model.d_ff**1.5 + 50 * (model.key == "autoencoder"))


def _seconds_per_char(configs: Sequence[RunConfig]) -> list[float]:
    return [_seconds(config) / _chars(config) for config in configs]


def test_the_time_is_matched_by_measuring_again() -> None:
    reference, slow, fast = _config(key="linear", d_ff=40), _config(d_ff=40), _config(key="linear", d_ff=16)
    larger = replace(slow, training=TrainingConfig(batch=48))
    arms = {"slow": slow, "fast": fast, "larger": larger}
    matched = match_time(arms, reference, "d_ff", 0.005, _seconds_per_char)
    assert [m.config.model.d_ff for m in matched] == [35, 40, 35]
    assert [m.off_by for m in matched] == pytest.approx([0, 0, 0], abs=0.025)


def test_a_time_that_cannot_be_matched_says_how_near_it_came() -> None:
    slow = _config(d_ff=40)
    with pytest.raises(InputError, match=r"arms.x cannot .* d_ff = 1, took \+188 % more time"):
        match_time({"arms.x": slow}, _config(key="linear", d_ff=5), "d_ff", 0.005, _seconds_per_char)
    [matched] = match_time({"arms.x": slow}, _config(key="linear", d_ff=5), "d_ff", 3.0, _seconds_per_char)
    assert matched.off_by == pytest.approx(61 / (10 + 5**1.5) - 1)


def test_a_time_that_does_not_depend_on_the_width_leaves_it_alone() -> None:
    def measure(configs: Sequence[RunConfig]) -> list[float]:
        return [1.0] * len(configs)

    [matched] = match_time({"arms.x": _config(d_ff=40)}, _config(), "d_ff", 0.005, measure)
    assert matched.config.model.d_ff == 40
