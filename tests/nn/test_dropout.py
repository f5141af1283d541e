"""Dropout from random words has the rate, the scale and the gradient of PyTorch's."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeattn.nn.dropout import Dropout, dropout_by_words


@given(st.floats(0.0, 0.99), st.sampled_from([(1,), (3, 5), (2, 7, 129)]), st.integers(0, 99))
def test_elements_are_zero_or_scaled(p: float, shape: tuple[int, ...], seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(shape)
    out = dropout_by_words(x, p)
    kept = out != 0
    assert out.shape == x.shape
    assert torch.allclose(out[kept], x[kept] / (1 - p), rtol=2e-3)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_the_rate_is_that_asked_for(p: float) -> None:
    torch.manual_seed(0)
    n = 1_000_000
    dropped = int((dropout_by_words(torch.ones(n), p) == 0).sum())
    assert abs(dropped - n * p) <= 5 * math.sqrt(n * p * (1 - p))


def test_neighbours_are_dropped_apart_from_each_other() -> None:
    torch.manual_seed(0)
    kept = (dropout_by_words(torch.ones(400_000), 0.5) != 0).view(-1, 4).double()
    assert torch.corrcoef(kept.T).sub(torch.eye(4)).abs().max() < 0.02


def test_the_gradient_passes_where_the_value_did() -> None:
    torch.manual_seed(0)
    x = torch.rand(1000, requires_grad=True) + 0.5
    x.retain_grad()
    out = dropout_by_words(x, 0.25)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad != 0, out != 0)
    assert torch.allclose(x.grad[x.grad != 0], torch.tensor(1 / 0.75))


def test_the_seed_decides_and_evaluation_keeps_all() -> None:
    x, layer = torch.ones(64), Dropout(0.5)
    torch.manual_seed(1)
    first = layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(layer(x), first)
    assert torch.equal(layer.eval()(x), x)
