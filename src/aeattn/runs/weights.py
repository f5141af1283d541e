"""Tensors on disk, without PyTorch: safetensors files with a checksum, read with checks that keep bad ones out.

They are read as NumPy's arrays; `tensors` makes them PyTorch's.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import safetensors

from aeattn.config.model import ModelConfig
from aeattn.errors import Damaged, InputError
from aeattn.files import read_bytes
from aeattn.nn.size import parameters, weight_shapes

if TYPE_CHECKING:
    from torch import Tensor

_LENGTH_BYTES = 8  # of the number at the start of a file that gives the length of its header
_ENTRY_BYTES = 512  # more than a tensor's name, type, shape and place take in the header
_CHECKSUM = "sha256"
TRAINING_BYTES = 16  # a parameter: weight, gradient and two moments in float32
Arrays = dict[str, npt.NDArray[Any]]
Form = tuple[tuple[int, ...], str]  # of a tensor: its shape, and its type as PyTorch calls it


@dataclass(frozen=True)
class Limits:
    """The most that a file may hold: what a larger one holds is not even read."""

    tensors: int
    bytes: int

    @property
    def header(self) -> int:
        return (self.tensors + 16) * _ENTRY_BYTES

    @property
    def file(self) -> int:
        return _LENGTH_BYTES + self.header + self.bytes + 4096


def limits_of(config: ModelConfig) -> Limits:
    """Of a file that holds every tensor of a model, in float32."""
    shapes = weight_shapes(config)
    return Limits(len(shapes), sum(4 * math.prod(shape) for shape in shapes.values()))


def check_memory(config: ModelConfig) -> None:
    """Raise InputError for a model whose weights, gradients and optimizer state alone exceed the memory."""
    needed = parameters(config) * TRAINING_BYTES
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    if needed > there:
        raise InputError(
            f"a model of {parameters(config):,} parameters takes {needed / 2**30:,.0f} GiB to train, this machine "
            f"has {there / 2**30:,.0f}: choose a smaller --d-model, --d-ff or --n-layers"
        )


# -- writing ------------------------------------------------------------------------------------------------


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """The content of a safetensors file, with a checksum of names, types, shapes and numbers."""
    from safetensors.numpy import save

    arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
    return save(arrays, metadata={_CHECKSUM: _digest(arrays)})


def _digest(arrays: Arrays) -> str:
    total = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        shape, kind = form(array)
        total.update(f"{name} {kind} {shape}\n".encode("utf-8", "surrogatepass"))
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def form(values: npt.NDArray[Any] | Tensor) -> Form:
    return tuple(values.shape), f"torch.{str(values.dtype).removeprefix('torch.')}"


# -- reading ------------------------------------------------------------------------------------------------


def read_weights(path: Path, config: ModelConfig) -> Arrays:
    """A model's weights, by name. Raises Damaged for a torn or corrupt file and for one that does not fit,
    InputError where it is missing or cannot be read."""
    limits = limits_of(config)
    try:
        content = read_bytes(path, limits.file)
    except FileNotFoundError:
        raise InputError(f"{path} is not there: has the run been interrupted? try `aeattn resume`") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): restore it, or train again") from error
    arrays = from_bytes(content, path, limits)
    check_weights(arrays, config, path)
    return arrays


def from_bytes(content: bytes, path: Path, limits: Limits, *, verified: bool = False) -> Arrays:
    """The tensors of a safetensors file, of which `path` has this content. Whether numbers are those that were
    written is not asked where it is `verified`. Raises Damaged."""
    from safetensors.numpy import load

    try:
        wanted = _checksum_inside(content, limits)
        arrays = load(content)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Damaged(f"{path} is damaged ({reason}): restore it, or train again") from error
    if not verified and wanted is not None and wanted != _digest(arrays):
        raise Damaged(f"{path} is damaged (its checksum is another): restore it, or train again")
    return arrays


def _checksum_inside(content: bytes, limits: Limits) -> str | None:
    """The checksum that a header names. Raises ValueError where file or header are longer than they can be."""
    header = int.from_bytes(content[:_LENGTH_BYTES], "little")
    if len(content) > limits.file:
        raise ValueError(f"more than the {limits.file:,} bytes that config.json allows for")
    if header > limits.header:
        raise ValueError(f"a header of {header:,} bytes, more than {limits.header:,}")
    values = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + header])
    found = values.get("__metadata__") if isinstance(values, dict) else None
    return str(found[_CHECKSUM]) if isinstance(found, dict) and _CHECKSUM in found else None


def check_weights(arrays: Arrays, config: ModelConfig, path: Path) -> None:
    """Raise Damaged for what are not all the weights of a model, or no finite numbers."""
    check_fit(arrays, {name: (shape, "torch.float32") for name, shape in weight_shapes(config).items()}, path)


def check_fit(arrays: Arrays, wanted: Mapping[str, Form], path: Path) -> None:
    """Raise Damaged for the first array that is missing, not wanted, of another shape or type, or not finite."""
    for name in sorted(set(arrays) | set(wanted)):
        ours, theirs = wanted.get(name), form(arrays[name]) if name in arrays else None
        if ours is None or theirs is None or ours[0] != theirs[0]:
            shapes = [None if known is None else known[0] for known in (theirs, ours)]
            raise Damaged(f"{path} does not fit config.json: {name[:100]} has shape {shapes[0]}, not {shapes[1]}")
        if ours[1] != theirs[1]:
            raise Damaged(f"{path} does not fit: {name} is of type {theirs[1]}, not {ours[1]}")
        if not np.isfinite(arrays[name]).all():
            raise Damaged(f"{path} is damaged: {name} holds values that are not finite")


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    """The same as PyTorch's, with memory of their own, aligned as PyTorch's is."""
    import torch

    return {name: torch.tensor(array) for name, array in arrays.items()}
