"""Weights on disk without PyTorch: safetensors files as NumPy arrays, with checks that keep damaged ones out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import safetensors

from aeattn.errors import InputError
from aeattn.nn.config import ModelConfig
from aeattn.nn.shapes import Shapes, weight_shapes

T = TypeVar("T")


def read_arrays(path: Path, config: ModelConfig) -> dict[str, npt.NDArray[np.float32]]:
    """A model's weights in float32, by name. Raises InputError where they are missing, damaged or do not fit."""
    from safetensors.numpy import load_file

    arrays = read_file(path, load_file)
    check_shapes(path, weight_shapes(config), {name: a.shape for name, a in arrays.items()})
    check_finite(path, {name: bool(np.isfinite(a).all()) for name, a in arrays.items()})
    return {name: a.astype(np.float32, copy=False) for name, a in arrays.items()}


def read_file(path: Path, load: Callable[[Path], T]) -> T:
    """What `load` reads. Raises InputError where the file is missing, torn or corrupt."""
    try:
        return load(path)
    except FileNotFoundError:
        raise InputError(f"{path} is not there: has the run been interrupted? try `aeattn resume`") from None
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it, or train again") from error


def check_shapes(path: Path, wanted: Shapes, found: Shapes) -> None:
    """Raises InputError that names the first weight of another shape."""
    if wanted != found:
        name = min(set(wanted.items()) ^ set(found.items()))[0]
        raise InputError(
            f"{path} does not fit config.json: {name} has shape {found.get(name)}, not {wanted.get(name)}"
        )


def check_finite(path: Path, finite: Mapping[str, bool]) -> None:
    """Raises InputError that names the first weight with an infinity or no number in it."""
    if broken := [name for name, good in finite.items() if not good]:
        raise InputError(f"{path} is damaged: {broken[0]} holds values that are not finite")
