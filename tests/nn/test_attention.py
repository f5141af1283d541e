"""Attention: the three ways to compute it are one, and the drop-in module keeps its promises."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeattn import AutoencoderAttention
from aeattn.nn import attention as attention_module
from aeattn.nn.attention import attend_blockwise, attend_fused, attend_plain
from aeattn.nn.positions import alibi_bias, alibi_slopes, rotate


def _qkv(time: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(2, 3, time, 4) for _ in range(3))


@given(time=st.integers(1, 40), block=st.integers(1, 17))
def test_blockwise_and_fused_equal_plain(time: int, block: int) -> None:
    q, k, v = _qkv(time)
    future = torch.full((time, time), float("-inf")).triu(1)
    bias = alibi_bias(alibi_slopes(3), time, time) + future
    plain = attend_plain(q, k, v, bias)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_module, "QUERY_BLOCK", block)
        assert torch.allclose(attend_blockwise(q, k, v, bias), plain, atol=1e-5)
    assert torch.allclose(attend_fused(q, k, v, bias), plain, atol=1e-5)


@pytest.mark.parametrize(
    ("per_head", "positions", "qk_norm"),
    list(itertools.product([False, True], ["none", "alibi", "decoupled", "rotary"], [False, True])),
)
def test_the_module_is_the_same_on_either_path(per_head: bool, positions: str, qk_norm: bool) -> None:
    module = AutoencoderAttention(16, 2, 4, per_head=per_head, positions=positions, qk_norm=qk_norm)  # type: ignore[arg-type]
    x = torch.randn(2, 9, 16)
    blockwise = module(x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_module, "PLAIN_UP_TO", 0)
        assert torch.allclose(module(x), blockwise, atol=1e-5)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("positions", ["none", "alibi", "decoupled", "rotary"])
@pytest.mark.parametrize("value", ["bottleneck", "autoencoder", "shared"])
def test_absorbing_the_decoders_of_values_changes_nothing(value: str, positions: str, padded: bool) -> None:
    module = AutoencoderAttention(16, 2, 8, value=value, positions=positions, qk_norm=True)  # type: ignore[arg-type]
    ours = module.attention
    assert ours.absorbed_output() is not None
    x = torch.randn(2, 9, 16, requires_grad=True)
    padding = torch.arange(9) < torch.tensor([[3], [0]]) if padded else None  # the first queries have no keys
    leaves = [x, *module.parameters()]
    absorbed = module(x, key_padding_mask=padding)
    gradients = torch.autograd.grad(absorbed.square().sum(), leaves)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours, "absorbed_output", lambda: None)
        decoded = module(x, key_padding_mask=padding)
    assert torch.allclose(absorbed, decoded, atol=1e-5)
    for found, right in zip(gradients, torch.autograd.grad(decoded.square().sum(), leaves), strict=True):
        assert torch.allclose(found, right, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{"value": "linear"}, {"value": "residual"}, {"bottleneck": 4}, {"bottleneck": 16}, {"per_head": True}],
)
def test_decoders_of_values_are_absorbed_only_where_that_is_less_work(settings: dict[str, Any]) -> None:
    module = AutoencoderAttention(16, 2, settings.pop("bottleneck", 8), **settings)
    assert module.attention.absorbed_output() is None


def test_it_is_standard_attention_where_all_projections_are_linear() -> None:
    module = AutoencoderAttention(16, 4, query="linear", key="linear", value="linear")
    ours, x = module.attention, torch.randn(2, 7, 16)
    theirs = torch.nn.MultiheadAttention(16, 4, bias=False, batch_first=True)
    with torch.no_grad():
        assert ours.output is not None
        theirs.in_proj_weight.copy_(torch.cat([p.encoder_weight for p in (ours.query, ours.key, ours.value)]))
        theirs.out_proj.weight.copy_(ours.output.weight)
    future = torch.ones(7, 7, dtype=torch.bool).triu(1)
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[1, 5:] = True
    expected, _ = theirs(x, x, x, attn_mask=future, key_padding_mask=padding)
    assert torch.allclose(module(x, key_padding_mask=padding), expected, atol=1e-5)
    free = AutoencoderAttention(16, 4, query="linear", key="linear", value="linear", causal=False)
    free.load_state_dict(module.state_dict())
    assert torch.allclose(free(x), theirs(x, x, x)[0], atol=1e-5)
    assert torch.allclose(free(x, attn_mask=future), module(x), atol=1e-5)


@pytest.mark.parametrize("train", [False, True])
def test_padding_changes_nothing_else(train: bool) -> None:
    module = AutoencoderAttention(16, 2, 4, positions="alibi").train(train)
    x, padding = torch.randn(1, 8, 16), torch.zeros(1, 8, dtype=torch.bool)
    padding[:, 3] = True
    other = x.clone()
    other[:, 3] += 5
    kept = ~padding[0]
    first, second = module(x, key_padding_mask=padding), module(other, key_padding_mask=padding)
    assert torch.allclose(first[:, kept], second[:, kept], atol=1e-6)
    assert not torch.allclose(module(x)[:, 4:], first[:, 4:], atol=1e-4)


def test_a_query_without_keys_gives_zeros_and_finite_gradients() -> None:
    module = AutoencoderAttention(16, 2, 4)
    x = torch.randn(2, 6, 16, requires_grad=True)
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[0, :2] = True  # padded on the left: the first queries see only padding
    out = module(x, key_padding_mask=padding)
    assert torch.equal(out[0, :2], torch.zeros(2, 16))
    out.sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert bool(out.isfinite().all())


def test_bad_shapes_are_named() -> None:
    module = AutoencoderAttention(16, 2, 4)
    with pytest.raises(ValueError, match=r"\(batch, time, 16\) is expected"):
        module(torch.randn(6, 15))
    with pytest.raises(ValueError, match="key_padding_mask has shape"):
        module(torch.randn(2, 6, 16), key_padding_mask=torch.zeros(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="attn_mask has shape"):
        module(torch.randn(2, 6, 16), attn_mask=torch.zeros(5, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="3 heads do not divide the width 16"):
        AutoencoderAttention(16, 3)


def test_rotation_keeps_lengths_and_depends_on_distance_alone() -> None:
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    assert torch.allclose(rotate(q, 17).norm(), q.norm(), atol=1e-5)
    products = [(rotate(q, start + 5) * rotate(k, start)).sum() for start in (0, 3, 100)]
    assert torch.allclose(torch.stack(products), products[0].expand(3), atol=1e-4)
