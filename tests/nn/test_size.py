"""Closed forms equal reality."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from aeattn import LanguageModel
from aeattn.config.convert import build
from aeattn.config.model import ModelConfig
from aeattn.config.presets import PRESETS, preset
from aeattn.nn.attention import Attention
from aeattn.nn.size import (
    forward_flops,
    latent_cache_numbers,
    parameters,
    size,
    solve_width,
    unread,
    use_latent_cache,
    weight_shapes,
)
from tests.conftest import VARIANTS, tiny_config


@pytest.mark.parametrize("name", VARIANTS)
@given(bottleneck=st.integers(1, 16), d_ff=st.integers(1, 40), n_layers=st.just(2))
def test_parameters_equal_those_of_the_module(name: str, bottleneck: int, d_ff: int, n_layers: int) -> None:
    config = tiny_config(**{**VARIANTS[name], "bottleneck": bottleneck, "d_ff": d_ff, "n_layers": n_layers})
    with torch.device("meta"):
        model = LanguageModel(config)
    assert parameters(config) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", VARIANTS)
def test_shapes_equal_those_of_the_module(name: str) -> None:
    config = tiny_config(**VARIANTS[name])
    with torch.device("meta"):
        model = LanguageModel(config)
    assert weight_shapes(config) == {name: tuple(t.shape) for name, t in model.state_dict().items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_flops_equal_what_pytorch_counts(name: str) -> None:
    config = tiny_config(**VARIANTS[name])
    model, ids = LanguageModel(config), torch.zeros(1, 16, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(ids)
    expected = 16 * forward_flops(config, mean_keys=16)  # one block of queries: the future is computed too
    assert counter.get_total_flops() == expected


@pytest.mark.parametrize("name", VARIANTS)
def test_cache_bytes_equal_those_allocated(name: str) -> None:
    config = tiny_config(**{**VARIANTS[name], "conv": 0, "conv_ff": 0})
    model, expected = LanguageModel(config).eval(), size(config)
    for kind, numbers in (("full", expected.cache_bytes), ("latent", expected.latent_cache_bytes)):
        if numbers is not None:
            cache = model.new_cache(kind)  # type: ignore[arg-type]
            with torch.inference_mode():
                model(torch.zeros(1, 1, dtype=torch.long), cache)
            assert cache.bytes == config.context * numbers


def test_the_latent_cache_holds_codes_norms_and_the_shared_rotary_part() -> None:
    config = tiny_config(positions="decoupled")
    layer = LanguageModel(config).get_submodule("blocks.0.attention")
    assert isinstance(layer, Attention)
    one = layer.key.d_code + layer.value.d_code + config.n_heads + config.d_rotary
    assert latent_cache_numbers(config) == config.n_layers * one
    assert size(tiny_config(value="shared")).latent_cache_bytes == 4 * 2 * (4 + 2)
    assert size(tiny_config()).latent_cache_bytes == 4 * 2 * (4 + 4 + 2)
    assert size(tiny_config(positions="rotary")).latent_cache_bytes is None
    assert size(tiny_config(key="linear", value="linear")).latent_cache_bytes is None
    assert "codes does not have" in str(size(tiny_config(value_embedding=True)).not_absorbable)
    assert size(tiny_config(value="residual")).not_absorbable.startswith("residual")  # type: ignore[union-attr]


def test_shorter_windows_of_training_cost_what_a_shorter_context_does() -> None:
    long, short = size(tiny_config(context=32), window=8), size(tiny_config(context=8))
    assert long.train_flops == short.train_flops
    assert long.generate_flops == size(tiny_config(context=32)).generate_flops > short.generate_flops


def test_widths_that_nothing_has_are_named() -> None:
    standard = {"query": "linear", "key": "linear", "value": "linear"}
    assert unread(tiny_config(bottleneck=8)) == []
    assert unread(ModelConfig(**standard)) == []  # nobody chose it
    (line,) = unread(tiny_config(**standard, bottleneck=8))
    assert line == (
        "bottleneck is 8, which changes nothing: no projection has one here (query = linear, key = linear, "
        "value = linear)"
    )
    found = unread(tiny_config(key=("linear", "autoencoder"), query_bottleneck=3, d_hidden=5))
    assert [line.split()[0] for line in found] == ["d_hidden"]
    assert unread(tiny_config(value="deep", d_hidden=5)) == []


@given(target=st.integers(4_000, 40_000))
def test_solving_for_a_width_comes_as_near_as_whole_numbers_allow(target: int) -> None:
    solved = solve_width(tiny_config(), target)
    step = 2 * 2 * 16  # parameters of one more feature in the feed-forward of both layers
    assert abs(parameters(solved) - target) <= step // 2
    flops = size(tiny_config(d_ff=37)).train_flops
    assert solve_width(tiny_config(), flops, lambda c: size(c).train_flops).d_ff == 37
    with pytest.raises(ValueError, match="choose a larger budget"):
        solve_width(tiny_config(), 10)


def _model(name: str) -> ModelConfig:
    return build(ModelConfig, {**preset(name)["model"], "vocab_size": 49}, name)


@pytest.mark.parametrize(
    ("name", "target", "tolerance"),
    [
        ("460k-classic", 460_496, 0.01),
        ("460k", 460_496, 0.01),
        ("460k-mqa", 460_496, 0.01),
        ("460k-mla", 460_496, 0.01),
        ("460k-deep", 460_496, 0.01),
        ("460k-deep-v", 460_496, 0.01),
        ("460k-best", 460_496, 0.01),
        ("1m", 1_076_897, 0.01),
        ("2.6m", 2_653_421, 0.01),
        ("10m", 10_000_000, 0.05),
    ],
)
def test_presets_have_the_sizes_they_are_named_for(name: str, target: int, tolerance: float) -> None:
    assert abs(parameters(_model(name)) / target - 1) < tolerance


@pytest.mark.parametrize(
    "name", ["460k-linear", "460k-standard", "460k-mqa", "460k-mla", "460k-deep", "460k-deep-v", "460k-best"]
)
def test_rivals_match_the_default(name: str) -> None:
    assert abs(parameters(_model(name)) / parameters(_model("460k")) - 1) < 0.001


@pytest.mark.parametrize("name", PRESETS)
def test_presets_with_decoders_are_absorbable(name: str) -> None:
    model = _model(name)
    kept = [model.projection(role, 0) for role in ("key", "value")]
    assert (size(model).not_absorbable is None) == any(kind.has_decoder for kind in kept)


def test_a_hidden_layer_and_a_gate_cost_no_byte() -> None:
    layer = 2 * 4  # a key and a value of a head, in float32
    assert size(_model("460k-mqa")).cache_bytes == 3 * layer * 32
    for name in ("460k-deep", "460k-deep-v"):
        assert size(_model(name)).cache_bytes == 3 * layer * 32
    assert size(_model("460k-standard")).cache_bytes == 4 * 3 * layer * 32
    assert size(_model("460k-mla")).latent_cache_bytes == 3 * 4 * (64 + 16)
    deep: dict[str, object] = {"key": "deep", "value": "deep", "n_kv_heads": 1}
    plain, changed = tiny_config(**deep), tiny_config(**deep, d_hidden=40, gate=True, query_bottleneck=9)
    assert parameters(changed) > parameters(plain)
    assert size(changed).cache_bytes == size(plain).cache_bytes


def test_the_cache_is_the_cheapest_that_is_exact() -> None:
    narrow, wide = ({"n_kv_heads": 1, "bottleneck": width} for width in (4, 16))  # a head is 8 wide
    assert use_latent_cache(tiny_config(**narrow))
    assert not use_latent_cache(tiny_config(**wide))
    assert use_latent_cache(tiny_config(**wide), "latent")
    assert not use_latent_cache(tiny_config(key="deep", value="deep"))
    with pytest.raises(ValueError, match="are deep or gelu: no decoder to absorb"):
        use_latent_cache(tiny_config(key="deep", value="gelu"), "latent")
