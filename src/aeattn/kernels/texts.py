"""Loops over the bytes of texts, compiled: `texts.cpp`, by way of ctypes. Needs no PyTorch.

Other threads of Python go on meanwhile.
Shapes: R rows, C codes, P places.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from aeattn.errors import InputError
from aeattn.kernels.build import SWITCH, load, warn_slower

SOURCE = Path(__file__).with_name("texts.cpp")
WORTH = 1 << 18  # bytes at once: only where texts are large is it worth while to compile
_ONE_COMPILES = Lock()

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


def pays(size: int) -> bool:
    """Whether so many bytes at once should go through these loops, and can; compiles them, the first time."""
    if size < WORTH or os.environ.get(SWITCH) == "off":
        return False
    with _ONE_COMPILES:
        return _library() is not None


@functools.cache
def _library() -> ctypes.CDLL | None:
    try:
        loaded = load(SOURCE)
    except (OSError, InputError) as error:
        warn_slower(str(error))
        return None
    loaded.squeezed.restype = loaded.likely.restype = ctypes.c_int64
    return loaded


def row_hashes(data: Bytes, ends: Places) -> Hashes:
    """`data.rows.hashes_of`: (R,) of ends (R + 1,)."""
    found = np.empty(len(ends) - 1, np.uint64)
    _call("row_hashes", data, ends, len(found), found)
    return found


def looked_up(content: Bytes, table: Bytes) -> Bytes:
    """table[content], of a table (256,)."""
    found = np.empty(len(content), np.uint8)
    _call("looked_up", content, len(content), table, found)
    return found


def squeezed(codes: Bytes, space: int, after_space: bool) -> Bytes:
    """The codes (C,) without each `space` that follows one."""
    kept = np.empty(len(codes), np.uint8)
    return kept[: _call("squeezed", codes, len(codes), space, after_space, kept)]


def likely(codes: Bytes, bound: int, near: Bytes) -> Places:
    """Where passages begin whose polynomial is below `bound`, and whose bit in `near` is set, the lowest of a byte
    first: (P,)."""
    found = np.empty(len(codes), np.int64)
    return found[: _call("likely", codes, len(codes), bound, near, (8 * len(near)).bit_length() - 1, found)].copy()


def _call(name: str, *arguments: npt.NDArray[Any] | int) -> int:
    library = _library()
    assert library is not None
    assert all(isinstance(each, int) or each.flags.c_contiguous for each in arguments)
    return int(
        getattr(library, name)(
            *(
                ctypes.c_int64(each) if isinstance(each, int) else ctypes.c_void_p(each.ctypes.data)
                for each in arguments
            )
        )
    )
