"""Rows of text in batches: their hashes, a part of them, and all as running text.

A batch is a list of strings (None where a row has no text), or an array of pyarrow: the same operations on it are
those of the library, which makes no string of each row. Rows of one sentence come by tens of millions.
"""

from __future__ import annotations

from itertools import compress, pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from aeattn.data.opening import extra
from aeattn.kernels import texts as kernel

Batch: TypeAlias = Any  # list[str | None], or a pyarrow.Array of large strings
Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_BLOCK = 1 << 15  # bytes that are hashed at once: what is between stays in the processor's cache
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
WORD = 1 << 64
_INVERSE = pow(_MULTIPLIER, -1, WORD)


# -- operations on a batch ---------------------------------------------------------------------------------


def part(batch: Batch, first: int, last: int) -> Batch:
    """The rows from `first` to before `last`."""
    return batch[max(0, first) : max(0, last)]


def with_text(batch: Batch) -> Batch:
    """The rows that have one."""
    if isinstance(batch, list):
        return [row for row in batch if row]
    if not batch.null_count and np.diff(_ends(batch)).all():  # most batches: nothing is to be left out
        return batch
    compute = extra("pyarrow.compute", "a table")
    return batch.filter(compute.greater(compute.binary_length(batch), 0))


def chosen(batch: Batch, mask: Mask) -> Batch:
    """The rows of a batch with text that the mask (N,) marks."""
    if isinstance(batch, list):
        return list(compress(batch, mask.tolist()))
    arrow, few = extra("pyarrow", "a table"), np.flatnonzero(mask)
    return batch.take(arrow.array(few)) if 8 * len(few) < len(mask) else batch.filter(arrow.array(mask))


def running(batch: Batch, end: str) -> str:
    """The text of all rows of a batch, each followed by `end`. Raises UnicodeDecodeError."""
    if isinstance(batch, list):
        return "".join(row + end for row in batch)
    arrow, ends = extra("pyarrow", "a table"), _ends(batch)
    buffers = [
        None,
        arrow.py_buffer(np.append(ends, ends[-1])),
        batch.buffers()[2],
    ]  # with an empty row, for the last end
    more = arrow.Array.from_buffers(batch.type, len(ends), buffers)
    lists = arrow.LargeListArray.from_arrays(arrow.array([0, len(ends)], arrow.int64()), more)
    joined = extra("pyarrow.compute", "a table").binary_join(lists, arrow.scalar(end, batch.type))
    return str(as_bytes(joined)[0].data, "utf-8")


def loose(batch: Batch) -> str:
    """The text of all rows of a batch, one directly after the other. Raises UnicodeDecodeError."""
    return "".join(batch) if isinstance(batch, list) else str(as_bytes(batch)[0].data, "utf-8")


def hashes(batch: Batch) -> Hashes:
    """A hash of each row of a batch with text: shape (N,), the same for the same text in any batch."""
    data, ends = as_bytes(batch)
    return kernel.row_hashes(data, ends) if kernel.pays(len(data)) else hashes_of(data, ends)


def sizes(batch: Batch) -> npt.NDArray[np.int64]:
    """The bytes in UTF-8 of each row of a batch with text: shape (N,)."""
    return np.diff(as_bytes(batch)[1])


def lots(found: Hashes, seed: int) -> Hashes:
    """A draw for each hash, uniform in all 64-bit numbers, and another for each seed."""
    return _scramble(found ^ _scramble(np.array([seed], np.uint64)))


def texts(batch: Batch) -> list[str]:
    """The rows as strings. Raises UnicodeDecodeError."""
    return batch if isinstance(batch, list) else batch.to_pylist()


def as_bytes(batch: Batch) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of all rows, one after the other, and where each begins and the last ends: (bytes,), (N + 1,)."""
    if isinstance(batch, list):
        encoded = [row.encode("utf-8", "surrogatepass") for row in batch]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return np.frombuffer(b"".join(encoded), np.uint8), ends
    ends = _ends(batch)
    data = np.frombuffer(batch.buffers()[2] or b"", np.uint8)
    return data[ends[0] : ends[-1]], ends - ends[0]


def _ends(batch: Batch) -> npt.NDArray[np.int64]:
    """Where the rows of an array lie in its buffer."""
    return np.frombuffer(batch.buffers()[1], np.int64)[batch.offset : batch.offset + len(batch) + 1]


def from_bytes(data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], *, of_arrow: bool) -> Batch:
    """The inverse of `as_bytes`: an array, or a list of strings."""
    if not of_arrow:
        content, borders = data.tobytes(), ends.tolist()
        return [content[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(borders)]
    arrow = extra("pyarrow", "a table")
    buffers = [None, arrow.py_buffer(ends), arrow.py_buffer(np.ascontiguousarray(data))]
    return arrow.Array.from_buffers(arrow.large_string(), len(ends) - 1, buffers)


# -- hashing -----------------------------------------------------------------------------------------------


def _powers(base: int, count: int) -> Hashes:
    """1, base, base**2 and so on, modulo 2**64."""
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)


_UP, _DOWN = _powers(_MULTIPLIER, _BLOCK), _powers(_INVERSE, _BLOCK)
_BLOCK_UP, _BLOCK_DOWN = pow(_MULTIPLIER, _BLOCK, WORD), pow(_INVERSE, _BLOCK, WORD)


def hashes_of(data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> Hashes:
    """Polynomial hashes modulo 2**64 of data[ends[i]:ends[i + 1]], and their lengths, scrambled: the slow twin of
    `kernel.row_hashes`.

    The sum of data[i] M**i over a row that begins at a is M**a times its hash, and M is odd, so that it has an
    inverse. Sums are made block by block, in memory that does not grow with a row.
    """
    sums, terms, up = np.zeros(len(ends) - 1, np.uint64), np.empty(_BLOCK, np.uint64), 1
    starts = np.arange(0, len(data), _BLOCK)
    firsts = np.searchsorted(ends, starts, "right") - 1
    lasts = np.searchsorted(ends, np.minimum(starts + _BLOCK, len(data)), "left")
    for start, first, last in zip(starts.tolist(), firsts.tolist(), lasts.tolist(), strict=True):
        found = terms[: min(_BLOCK, len(data) - start)]
        np.copyto(found, data[start : start + _BLOCK])
        found *= _UP[: len(found)]
        begins = ends[first:last] - start
        begins[0] = max(0, begins[0])  # that of the row which the block begins in
        sums[first:last] += np.add.reduceat(found, begins) * np.uint64(up)
        up = up * _BLOCK_UP % WORD
    begins, lengths = ends[:-1], np.diff(ends)
    blocks_before = _powers(_BLOCK_DOWN, len(data) // _BLOCK + 1)
    sums *= blocks_before[begins // _BLOCK] * _DOWN[begins % _BLOCK]
    sums[lengths == 0] = 0
    return _scramble(sums ^ _scramble(lengths.astype(np.uint64)))


def _scramble(values: Hashes) -> Hashes:
    """A bijection of 64-bit numbers that lets every bit depend on all (the finaliser of splitmix64)."""
    values = values + np.uint64(_MULTIPLIER)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
