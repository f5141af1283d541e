"""Rows of tensors: those of all processes are the whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from aeattn.runs.parts import is_part, local, own_rows, part_like, spread, whole


def _owner(rank: int, size: int) -> Any:
    mesh = SimpleNamespace(size=lambda: size, get_local_rank=lambda: rank)
    return SimpleNamespace(device_mesh=mesh, full_tensor=lambda: None)


@given(st.integers(1, 7), st.integers(1, 9))
def test_rows_of_all_are_the_whole(size: int, rows: int) -> None:
    """Also where there are fewer rows than processes."""
    tensor = torch.randn(rows, 3)
    parts = [own_rows(tensor, _owner(rank, size)) for rank in range(size)]
    assert torch.equal(torch.cat(parts), tensor)


def test_an_ordinary_tensor_is_whole_and_local() -> None:
    tensor = torch.randn(4, 3)
    assert not is_part(tensor)
    for found in (whole(tensor), local(tensor), own_rows(tensor, tensor), part_like(tensor, tensor)):
        assert found is tensor
    assert spread(tensor, torch.zeros(4, 3)) is tensor
