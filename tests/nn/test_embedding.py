"""The embedding is PyTorch's, forward and backward."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import library

from aeattn.nn import embedding
from aeattn.nn.embedding import Embedding


@given(shape=st.lists(st.integers(1, 5), max_size=3), rows=st.integers(1, 9), width=st.integers(1, 6))
def test_it_equals_its_twin(shape: list[int], rows: int, width: int) -> None:
    ours = Embedding(rows, width)
    theirs = torch.nn.Embedding(rows, width)
    theirs.load_state_dict(ours.state_dict())
    ids, gradient = torch.randint(rows, shape), torch.randn(*shape, width)
    assert torch.equal(ours(ids), theirs(ids))
    ours(ids).backward(gradient)
    theirs(ids).backward(gradient)
    assert ours.weight.grad is not None
    assert theirs.weight.grad is not None
    assert torch.allclose(ours.weight.grad, theirs.weight.grad, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of torch's own test tools
def test_pytorch_accepts_the_operator() -> None:
    inputs = (torch.randn(5, 3, requires_grad=True), torch.randint(5, (2, 4)))
    results = library.opcheck(embedding._embed, inputs, test_utils=("test_schema", "test_faketensor"))
    assert set(results.values()) == {"SUCCESS"}
