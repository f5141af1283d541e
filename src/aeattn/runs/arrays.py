"""Files of tensors without PyTorch: safetensors with a checksum inside, read with checks that keep bad ones out.

`runs/weights.py` does the same for PyTorch's tensors, by the functions here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import safetensors

from aeattn.errors import Damaged, InputError
from aeattn.config.model import ModelConfig
from aeattn.nn.shapes import Shapes, weight_shapes
from aeattn.files import read_bytes

_LENGTH_BYTES = 8  # of the number at the start of a file that gives the length of its header
_ENTRY_BYTES = 512  # more than a tensor's name, type, shape and place take in the header
CHECKSUM = "sha256"
T = TypeVar("T")
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


def limits_of_shapes(shapes: Shapes) -> Limits:
    """Of a file that holds every tensor of a model, in float32."""
    return Limits(len(shapes), sum(4 * math.prod(shape) for shape in shapes.values()))


def read_arrays(path: Path, config: ModelConfig) -> dict[str, npt.NDArray[np.float32]]:
    """A model's weights, by name. Raises InputError where they are missing, damaged or do not fit."""
    from safetensors.numpy import load

    shapes = weight_shapes(config)
    arrays = read_checked(path, limits_of_shapes(shapes), load, _digest)
    wanted = {name: (shape, "torch.float32") for name, shape in shapes.items()}
    check_forms({name: (a.shape, f"torch.{a.dtype}") for name, a in arrays.items()}, wanted, path)
    check_finite({name: bool(np.isfinite(a).all()) for name, a in arrays.items()}, path)
    return arrays


def _digest(arrays: Mapping[str, npt.NDArray[np.float32]]) -> str:
    return digest({name: ((a.shape, f"torch.{a.dtype}"), a.tobytes()) for name, a in arrays.items()})


def digest(tensors: Mapping[str, tuple[Form, bytes | memoryview]]) -> str:
    """The checksum of names, types, shapes and numbers."""
    total = hashlib.sha256()
    for name, ((shape, kind), numbers) in sorted(tensors.items()):
        total.update(f"{name} {kind} {shape}\n".encode("utf-8", "surrogatepass"))
        total.update(numbers)
    return total.hexdigest()


def read_checked(
    path: Path, limits: Limits, load: Callable[[bytes], dict[str, T]], checksum: Callable[[dict[str, T]], str]
) -> dict[str, T]:
    """The tensors of a safetensors file. Raises InputError where it is missing, torn, corrupt or too large."""
    try:
        return decode_checked(read_bytes(path, limits.file), path, limits, load, checksum)
    except FileNotFoundError:
        raise InputError(f"{path} is not there: has the run been interrupted? try `aeattn resume`") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): restore it, or train again") from error


def decode_checked(
    content: bytes,
    path: Path,
    limits: Limits,
    load: Callable[[bytes], dict[str, T]],
    checksum: Callable[[dict[str, T]], str],
) -> dict[str, T]:
    """The same from what was read of the file."""
    try:
        wanted = _checksum_inside(content, limits)
        tensors = load(content)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Damaged(f"{path} is damaged ({reason}): restore it, or train again") from error
    if wanted is not None and wanted != checksum(tensors):
        raise Damaged(f"{path} is damaged (its checksum is another): restore it, or train again")
    return tensors


def _checksum_inside(content: bytes, limits: Limits) -> str | None:
    """The checksum that a header names. Raises ValueError for a file or a header of absurd length."""
    header = int.from_bytes(content[:_LENGTH_BYTES], "little")
    if len(content) > limits.file:
        raise ValueError(f"more than the {limits.file:,} bytes that config.json allows for")
    if len(content) < _LENGTH_BYTES + header:
        raise ValueError(f"a header of {header:,} bytes in a file of {len(content):,}")
    if header > limits.header:
        raise ValueError(f"a header of {header:,} bytes, more than {limits.header:,}")
    values = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + header])
    found = values.get("__metadata__") if isinstance(values, dict) else None
    return str(found[CHECKSUM]) if isinstance(found, dict) and CHECKSUM in found else None


def check_forms(found: Mapping[str, Form], wanted: Mapping[str, Form], path: Path) -> None:
    """Raise InputError for the first tensor that is missing, not wanted, or of another shape or type."""
    for name in sorted(set(found) | set(wanted)):
        ours, theirs = wanted.get(name), found.get(name)
        if ours is None or theirs is None or ours[0] != theirs[0]:
            shapes = [None if form is None else form[0] for form in (theirs, ours)]
            raise Damaged(
                f"{path} does not fit config.json: {name[:100]} has shape {shapes[0]}, not {shapes[1]}"
            )
        if ours[1] != theirs[1]:
            raise Damaged(f"{path} does not fit: {name} is of type {theirs[1]}, not {ours[1]}")


def check_finite(finite: Mapping[str, bool], path: Path) -> None:
    """Raise InputError that names the first tensor with NaN or infinity in it."""
    if broken := next((name for name, good in finite.items() if not good), None):
        raise Damaged(f"{path} is damaged: {broken} holds values that are not finite")
