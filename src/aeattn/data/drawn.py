"""Which rows of a table are on which side, found once: to hash all of them takes as long as to read them.

The rows that are validated on are drawn by hashes of their text (`splits.Draw`), so whoever reads one side of a
table hashes all of it. The first that reads a large table to its end leaves in the cache: a bit for each row with
text, 1 for those of the validation side; these rows themselves, where they are few; and of both sides a sample of
hashes, by which `quality.py` knows what stands there twice. Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aeattn.data import rows
from aeattn.data.rows import Batch, Hashes, Mask
from aeattn.data.splits import Draw
from aeattn.data.threads import side_by_side
from aeattn.errors import Damaged, InputError
from aeattn.files import Json, cache_entry, digest, read_cached, sha256_of, write_cached
from aeattn.host import cache_dir

WORTH = 4 << 20  # bytes of a table that is worth an entry
MOST_KEPT = 64 << 20  # bytes of rows to validate on that are kept
SAMPLED = 1 << 20  # hashes of a side, at most
_BATCH_BYTES = 1 << 21
_VERSION = 1


class Sample:
    """Of the hashes of `texts` texts those whose lowest `bits` bits are 0, as few as SAMPLED allows."""

    def __init__(self, hashes: Hashes | None = None, texts: int = 0, bits: int = 0) -> None:
        self.hashes = np.empty(0, np.uint64) if hashes is None else hashes
        self.texts, self.bits = texts, bits
        self._new: list[Hashes] = []
        self._waiting = 0

    def add(self, found: Hashes) -> None:
        self.texts += len(found)
        self._new.append(found[found & np.uint64((1 << self.bits) - 1) == 0])
        self._waiting += len(self._new[-1])
        if self._waiting > SAMPLED // 2:
            self.settle()

    def settle(self) -> None:
        """Put all in one array, sampled as far as is needed."""
        self.hashes = np.concatenate([self.hashes, *self._new])
        self._new, self._waiting = [], 0
        while len(self.hashes) > SAMPLED:
            self.bits += 1
            self.hashes = self.hashes[self.hashes & np.uint64((1 << self.bits) - 1) == 0]


def of_side(path: Path, column: str, side: Draw, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Of a table's rows with text, all of which `batches` has, those of one side. What the cache knows is not
    asked for again."""
    entry = _entry(path, column, side)
    known = _read(entry)
    if known is None:
        yield from _drawn(entry, side, batches)
    elif side.valid and known.kept is not None:
        yield from known.batches()
    else:
        at = 0
        for batch in batches:
            mask = known.mask(at, at + len(batch))
            at += len(batch)
            yield rows.chosen(batch, mask if side.valid else ~mask)


def sample(path: Path, column: str, side: Draw) -> Sample | None:
    """The hashes of the rows of one side, where they are known."""
    known = _read(_entry(path, column, side))
    return None if known is None else known.samples[side.valid]


def _entry(path: Path, column: str, side: Draw) -> Path | None:
    """Where the cache has what is known of both sides of a table; None for one that is not worth it."""
    found = path.stat()
    if found.st_size < WORTH:
        return None
    times = {"mtime": found.st_mtime_ns, "ctime": found.st_ctime_ns}
    facts = {"path": str(path.resolve()), "size": found.st_size, **times, "column": column}
    key = digest({"version": _VERSION, **facts, "side": replace(side, valid=True).identity()})[:32]
    return cache_dir() / "sides" / f"{key}.rows"


def _drawn(entry: Path | None, side: Draw, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Those of one side, by their hashes; what is found of both goes into the cache at the end."""
    held_out, finding = replace(side, valid=True), _Finding()

    def draw(batch: Batch) -> tuple[tuple[Batch, Batch], Hashes, Mask]:
        found = rows.hashes(batch)
        mask = held_out.mask(found)
        return (rows.chosen(batch, ~mask), rows.chosen(batch, mask)), found, mask

    for parts, found, mask in side_by_side(draw, batches):
        if entry:
            finding.add(parts[True], found, mask)
        yield parts[side.valid]
    if entry:
        with suppress(InputError):  # where it cannot be kept, it is found out again
            finding.write(entry)


class _Finding:
    """What is found out of the rows, batch by batch."""

    def __init__(self) -> None:
        self._bits, self._loose = bytearray(), np.empty(0, np.bool_)
        self._samples = Sample(), Sample()
        self._kept: list[npt.NDArray[np.uint8]] | None = []
        self._sizes: list[npt.NDArray[np.int64]] = []
        self._of_arrow, self._bytes_kept = False, 0

    def add(self, kept: Batch, found: Hashes, mask: Mask) -> None:
        """Rows by their hashes (N,), those to validate on by the mask (N,), and these themselves."""
        bits = np.concatenate([self._loose, mask])
        whole = len(bits) & ~7
        self._bits += np.packbits(bits[:whole]).data
        self._loose = bits[whole:]
        for own, of_side in zip(self._samples, (~mask, mask), strict=True):
            own.add(found[of_side])
        self._of_arrow = not isinstance(kept, list)
        self._keep(kept)

    def _keep(self, batch: Batch) -> None:
        if self._kept is None or not len(batch):
            return
        content, ends = rows.as_bytes(batch)
        self._bytes_kept += len(content)
        self._kept.append(content.copy())
        self._sizes.append(np.diff(ends))
        if self._bytes_kept > MOST_KEPT:
            self._kept, self._sizes = None, []

    def write(self, entry: Path) -> None:
        """Raises InputError where the file system refuses."""
        bits = bytes(self._bits) + np.packbits(self._loose).tobytes()
        for own in self._samples:
            own.settle()
        sizes = np.concatenate([np.empty(0, np.int64), *self._sizes])
        parts = [bits, *(own.hashes.tobytes() for own in self._samples), sizes.tobytes()]
        with cache_entry(entry) as partial:
            partial.write_bytes(b"".join([*parts, *(kept.tobytes() for kept in self._kept or ())]))
            facts = {
                "lengths": list(map(len, parts)),
                "samples": [[own.texts, own.bits] for own in self._samples],
                "kept": self._kept is not None,
                "arrow": self._of_arrow,
                "sha256": sha256_of(partial),
            }
        write_cached(_facts_file(entry), facts)


class _Known:
    """What was found out."""

    def __init__(self, entry: Path, facts: Json) -> None:
        content = np.fromfile(entry, np.uint8)
        ends = np.cumsum(facts["lengths"]).tolist()
        self._bits, *hashes, sizes, self._content = np.split(content, ends)
        self.samples = [
            Sample(own.view(np.uint64), texts, bits)
            for own, (texts, bits) in zip(hashes, facts["samples"], strict=True)
        ]
        self.kept = np.concatenate([[0], np.cumsum(sizes.view(np.int64))]) if facts["kept"] else None
        self._of_arrow = bool(facts["arrow"])

    def mask(self, first: int, last: int) -> Mask:
        """Which of these rows (N,) are validated on."""
        bits = np.unpackbits(self._bits[first // 8 : -(-last // 8)]).view(np.bool_)
        return bits[first % 8 :][: last - first]

    def batches(self) -> Iterator[Batch]:
        """The rows that are validated on."""
        ends = self.kept
        assert ends is not None
        at = 0
        while at < len(ends) - 1:
            last = max(at + 1, int(np.searchsorted(ends, ends[at] + _BATCH_BYTES, "right")) - 1)
            part = ends[at : last + 1]
            yield rows.from_bytes(self._content[part[0] : part[-1]], part - part[0], of_arrow=self._of_arrow)
            at = last


def _read(entry: Path | None) -> _Known | None:
    """What the cache has, if it is whole."""

    def whole(facts: Json) -> None:
        if entry is None or not entry.is_file() or facts["sha256"] != sha256_of(entry):
            raise Damaged(f"{entry} is not what was written")

    facts = entry and read_cached(_facts_file(entry), whole)
    return _Known(entry, facts) if entry and facts else None


def _facts_file(entry: Path) -> Path:
    return entry.with_name(f"{entry.name}.json")
