"""Tensors of which each of several processes holds its rows (PyTorch's DTensor, as FSDP2 makes them), and ordinary
ones: what is done with either looks the same. Files hold whole tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def is_part(tensor: Tensor) -> bool:
    """Whether other processes have the other rows."""
    return hasattr(tensor, "full_tensor")


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether `shard` has been at work."""
    return hasattr(model, "reshard")


def whole(tensor: Any) -> Tensor:
    """All rows, in every process: all must ask."""
    found: Tensor = tensor.full_tensor() if is_part(tensor) else tensor
    return found


def local(tensor: Any) -> Tensor:
    """The rows of this process, in the memory where they lie."""
    found: Tensor = tensor.to_local() if is_part(tensor) else tensor
    return found


def own_rows(whole_tensor: Tensor, owner: Any) -> Tensor:
    """Those rows of a whole tensor that this process has of `owner`, which has the same shape."""
    if not is_part(owner):
        return whole_tensor
    pieces, rank = whole_tensor.chunk(owner.device_mesh.size()), owner.device_mesh.get_local_rank()
    return pieces[rank] if rank < len(pieces) else whole_tensor[:0]


def part_like(rows: Tensor, owner: Any) -> Tensor:
    """A tensor of which this process has these rows, laid out as `owner` is."""
    if not is_part(owner):
        return rows
    from torch.distributed.tensor import DTensor

    layout = {"shape": owner.shape, "stride": owner.stride()}
    return DTensor.from_local(rows, owner.device_mesh, owner.placements, **layout)


def spread(whole_tensor: Tensor, owner: Any) -> Tensor:
    """A whole tensor laid out as `owner` is, on its device."""
    if not is_part(owner):
        return whole_tensor
    return part_like(own_rows(whole_tensor, owner).to(local(owner).device).contiguous(), owner)


def shard(model: torch.nn.Module, device: torch.device, processes: int) -> None:
    """Leave each process its rows of every weight; a block's weights are whole only while it computes (FSDP2; Zhao
    et al. 2023, "PyTorch FSDP")."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (processes,))
    for block in model.get_submodule("blocks").children():
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
