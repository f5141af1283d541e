"""Where the documents of a store begin and end, a few numbers each: they may be millions.

On disk, many documents are one file: a row of four int64 each (where the ids end, characters, bytes, where the
name ends), then all names in UTF-8, one after the other. Shapes: D documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, overload

import numpy as np
import numpy.typing as npt

from aeattn.files import digest

ROW_BYTES = 3 * 8  # of a document whose name is known: end, characters, bytes
_COLUMNS = 4
_AT_ONCE = 1 << 14

Table = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StoredDocument:
    """A document: ids[start:stop] of its store, and the characters and bytes (in UTF-8) of its text."""

    name: str
    start: int
    stop: int
    chars: int
    bytes: int

    def __len__(self) -> int:
        return self.stop - self.start


class Documents(Sequence[StoredDocument]):
    """The documents of a file, made when they are asked for.

    Args:
        path: what `write_documents` wrote.
        count: D.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.whole: npt.NDArray[np.uint8] = np.asarray(np.memmap(path, np.uint8, mode="r"))
        self.table: Table = self.whole[: count * _COLUMNS * 8].view(np.int64).reshape(count, _COLUMNS)
        self._names = self.whole[count * _COLUMNS * 8 :]

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> StoredDocument: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[StoredDocument, ...]: ...
    def __getitem__(self, index: int | slice) -> StoredDocument | tuple[StoredDocument, ...]:
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(len(self))))
        at = range(len(self))[index]
        start, name = (0, 0) if at == 0 else (int(self.table[at - 1, 0]), int(self.table[at - 1, 3]))
        stop, chars, size, name_end = self.table[at].tolist()
        return StoredDocument(
            self._names[name:name_end].tobytes().decode("utf-8", "surrogatepass"), start, stop, chars, size
        )


class Stretch:
    """Ids of a file from `first` to before `last`: a part is read when it is asked for, and nothing is kept."""

    def __init__(self, file: BinaryIO, dtype: np.dtype[Any], first: int, last: int) -> None:
        self._file, self._dtype, self._first, self._last = file, dtype, first, last

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, part: slice) -> Stretch:
        first, last, _ = part.indices(len(self))
        return Stretch(self._file, self._dtype, self._first + first, self._first + max(first, last))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[np.integer[Any]]:
        self._file.seek(self._first * self._dtype.itemsize)
        found = np.frombuffer(self._file.read(len(self) * self._dtype.itemsize), self._dtype)
        return found.astype(dtype or self._dtype, copy=False)


S = TypeVar("S", covariant=True)


class Sliced(Protocol[S]):
    """Whatever can be cut like an array."""

    def __getitem__(self, part: slice, /) -> S: ...


class Texts(Sequence[tuple[str, S]]):
    """Name and ids of each document, made when they are asked for."""

    def __init__(self, documents: Sequence[StoredDocument], ids: Sliced[S]) -> None:
        self._documents, self._ids = documents, ids

    def __len__(self) -> int:
        return len(self._documents)

    @overload
    def __getitem__(self, index: int) -> tuple[str, S]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[str, S]]: ...
    def __getitem__(self, index: int | slice) -> tuple[str, S] | list[tuple[str, S]]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        document = self._documents[index]
        return document.name, self._ids[document.start : document.stop]


def chars_of(documents: Sequence[StoredDocument]) -> int:
    """Characters of all of them."""
    if isinstance(documents, Documents):
        return int(documents.table[:, 1].sum())
    return sum(document.chars for document in documents)


def lengths_of(documents: Sequence[StoredDocument]) -> Table:
    """Tokens of each, (D,)."""
    if isinstance(documents, Documents):
        return np.diff(documents.table[:, 0], prepend=0)
    return np.array([len(document) for document in documents], np.int64)


def evenly(counts: Table, wanted: int) -> Iterator[tuple[int, int]]:
    """Of things that lie one after the other, so many in each of D places, `wanted` at equal distances, or all
    where there are fewer: the place of each, and its number there."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    wanted = min(total, wanted)
    for number in range(wanted):
        chosen = number * total // wanted
        place = int(np.searchsorted(ends, chosen, "right"))
        yield place, chosen - int(ends[place] - counts[place])


def places_digest(documents: Sequence[StoredDocument]) -> str:
    """A hash of where they stand, and of their names."""
    found = hashlib.sha256()
    if isinstance(documents, Documents):
        found.update(documents.whole.data)
    else:
        found.update(digest([asdict(document) for document in documents]).encode())
    return found.hexdigest()


class Named(Protocol):
    """Whatever has a name."""

    @property
    def name(self) -> str: ...


def write_documents(path: Path, rows: Path, documents: Sequence[Named]) -> None:
    """The file of many documents from that of their rows, ROW_BYTES each, in constant memory."""
    with path.open("wb") as file:
        with rows.open("rb") as known:
            end = 0
            for first in range(0, len(documents), _AT_ONCE):
                names = [_encoded(document) for document in documents[first : first + _AT_ONCE]]
                numbers = np.frombuffer(known.read(len(names) * ROW_BYTES), np.int64).reshape(-1, 3)
                ends = end + np.cumsum([len(name) for name in names])
                file.write(np.column_stack([numbers, ends]).tobytes())
                end = int(ends[-1])
        for document in documents:
            file.write(_encoded(document))


def _encoded(document: Named) -> bytes:
    return document.name.encode("utf-8", "surrogatepass")


def read_rows(rows: Path, documents: Sequence[Named]) -> tuple[StoredDocument, ...]:
    """The documents themselves, where they are few."""
    numbers = np.frombuffer(rows.read_bytes(), np.int64).reshape(-1, 3).tolist()
    starts = [0, *(stop for stop, _, _ in numbers)]
    return tuple(
        StoredDocument(document.name, start, *row)
        for document, start, row in zip(documents, starts, numbers, strict=False)
    )
