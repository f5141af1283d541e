"""The compiled decoding loop, `decode.cpp`, by way of ctypes. Needs no PyTorch."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import numpy.typing as npt

from aeattn.kernels import build

SOURCE = Path(__file__).with_name("decode.cpp")
LAYOUT = Path(__file__).with_name("decode_layout.h")
Arrays = npt.NDArray[Any]


@functools.cache
def library() -> ctypes.CDLL:
    """Compiles it, the first time. Raises OSError or InputError where that cannot be done."""
    loaded = build.load(SOURCE)
    loaded.panel_width.restype = loaded.work_numbers.restype = loaded.draw_one.restype = ctypes.c_int64
    loaded.exp_float.restype, loaded.exp_double.restype = ctypes.c_float, ctypes.c_double
    return loaded


def panel_width() -> int:
    """How many columns of a matrix lie side by side, by the width of the processor's registers."""
    return int(library().panel_width())


def work_numbers(model: Arrays, layers: Arrays) -> int:
    """How many float32 numbers of room to work a call of `generate` needs."""
    return int(library().work_numbers(_pointer(model), _pointer(layers)))


def generate(
    arrays: tuple[Arrays, ...], steps: int, first: int, last: int, fresh: bool, sampling: tuple[float, int, float]
) -> None:
    """Draw ids for the sequences from `first` to below `last`: see `decode.cpp`, which names the arrays.
    `sampling` is temperature, top-k and top-p, 0 for none. Other Python threads go on meanwhile."""
    temperature, top_k, top_p = sampling
    library().generate(
        *(_pointer(array) for array in arrays),
        *(ctypes.c_int64(n) for n in (steps, first, last, fresh)),
        ctypes.c_double(temperature), ctypes.c_int64(top_k), ctypes.c_double(top_p),
    )  # fmt: skip


def draw(
    logits: Arrays, chances: Arrays, order: Arrays, temperature: float, top_k: int, top_p: float, uniform: float
) -> int:
    """The next id from logits (V,) by a uniform number, as the loop draws it; room to work, (V,) in float64 and
    int64."""
    return int(
        library().draw_one(
            _pointer(logits), ctypes.c_int64(len(logits)), _pointer(chances), _pointer(order),
            ctypes.c_double(temperature), ctypes.c_int64(top_k), ctypes.c_double(top_p), ctypes.c_double(uniform),
        )
    )  # fmt: skip


def _pointer(array: Arrays) -> ctypes.c_void_p:
    assert array.flags.c_contiguous, "the library reads arrays without gaps"
    return ctypes.c_void_p(array.ctypes.data)
