"""Activations, dropout and embedding are PyTorch's, in value and in gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import library
from torch.nn import functional as F

from aeattn.nn import layers
from aeattn.nn.layers import Dropout, Embedding, dropout_by_words, gelu, gelu_sigmoid, relu2


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5), (torch.bfloat16, 0.02)]
)
def test_gelu_by_sigmoid_is_gelu(dtype: torch.dtype, tolerance: float) -> None:
    grid = torch.linspace(-9, 9, 20_001, dtype=torch.float64).to(dtype)
    fast, slow = grid.clone().requires_grad_(), grid.clone().requires_grad_()
    ours, theirs = gelu_sigmoid(fast), F.gelu(slow, approximate="tanh")
    assert ours.dtype == dtype
    assert torch.allclose(ours, theirs, atol=tolerance, rtol=tolerance)
    ours.sum().backward()
    theirs.sum().backward()
    assert fast.grad is not None
    assert slow.grad is not None
    assert torch.allclose(fast.grad, slow.grad, atol=tolerance, rtol=tolerance)
    assert torch.equal(gelu(grid), F.gelu(grid, approximate="tanh"))


def test_squared_relu() -> None:
    assert relu2(torch.tensor([-2.0, 0.0, 3.0])).tolist() == [0.0, 0.0, 9.0]


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


@given(shape=st.lists(st.integers(1, 5), max_size=3), rows=st.integers(1, 9), width=st.integers(1, 6))
def test_the_embedding_equals_its_twin(shape: list[int], rows: int, width: int) -> None:
    ours = Embedding(rows, width)
    theirs = torch.nn.Embedding(rows, width)
    theirs.load_state_dict(ours.state_dict())
    ids, gradient = torch.randint(rows, shape), torch.randn(*shape, width)
    assert torch.equal(ours(ids), theirs(ids))
    with torch.no_grad():
        assert torch.equal(ours(ids), theirs(ids))
    ours(ids).backward(gradient)
    theirs(ids).backward(gradient)
    assert ours.weight.grad is not None
    assert theirs.weight.grad is not None
    assert torch.allclose(ours.weight.grad, theirs.weight.grad, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of torch's own test tools
def test_pytorch_accepts_the_embedding() -> None:
    inputs = (torch.randn(5, 3, requires_grad=True), torch.randint(5, (2, 4)))
    results = library.opcheck(layers._embed, inputs, test_utils=("test_schema", "test_faketensor"))
    assert set(results.values()) == {"SUCCESS"}
