"""The fast form of GELU is GELU, in value and in gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from aeattn.nn.activations import gelu, gelu_sigmoid, relu2


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
