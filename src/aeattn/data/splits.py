"""Which files and which rows train and which validate: never a text on both sides, nor an author who is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aeattn.data.rows import WORD, Hashes, Mask, lots
from aeattn.files import Json, sha256

VALID_SHARE = 0.1
BLOCKS, BLOCK_ROWS, GAP_ROWS = 5, 20_000, 20_000  # of running text; a book is some 7,000 sentences


@dataclass(frozen=True)
class Draw:
    """One side of rows that are texts, drawn by a hash of their text: copies stand on one side, in whatever files
    and whatever order.

    Attributes:
        seed: of the draw.
        valid: whether this is the side to validate on.
        share: of all rows, for that side.
        few: the hashes of the rows of that side, where rows are so few that they were drawn one by one.
    """

    seed: int
    valid: bool
    share: float = VALID_SHARE
    few: tuple[int, ...] | None = None

    def mask(self, hashes: Hashes) -> Mask:
        """Which of the rows (N,) are on this side."""
        if self.few is None:
            drawn = lots(hashes, self.seed) < np.uint64(int(WORD * self.share))
        else:
            drawn = np.isin(hashes, np.array(self.few, np.uint64))
        return drawn if self.valid else ~drawn

    def identity(self) -> Json:
        few = None if self.few is None else sha256(repr(sorted(self.few)).encode())
        return {"seed": self.seed, "valid": self.valid, "share": self.share, "few": few}


@dataclass(frozen=True)
class Blocks:
    """One side of rows that are one running text: blocks of neighbouring rows validate, and the rows around a
    block are on neither side, so that no work without a border stands on both.

    Attributes:
        valid: whether this is the side to validate on.
        count: how many blocks.
        most: how many rows a block has at most.
    """

    valid: bool
    count: int = BLOCKS
    most: int = BLOCK_ROWS

    def ranges(self, rows: int) -> list[tuple[int, int]]:
        """First row, and the one after the last, of each stretch of so many rows that is on this side."""
        size, gap = (max(1, min(most, int(rows * VALID_SHARE / self.count))) for most in (self.most, GAP_ROWS))
        middles = [(2 * block + 1) * rows // (2 * self.count) for block in range(self.count)]
        firsts = sorted({max(0, min(rows - 1, middle) - size // 2) for middle in middles})
        if self.valid:
            return [(first, min(rows, first + size)) for first in firsts]
        begins, ends = [0, *(first + size + gap for first in firsts)], [*(first - gap for first in firsts), rows]
        return [(a, b) for a, b in zip(begins, ends, strict=True) if a < b]

    def identity(self) -> Json:
        return {"valid": self.valid, "count": self.count, "most": self.most, "gap": GAP_ROWS}


@dataclass(frozen=True)
class TextFile:
    """A file of text: where it is, its size in bytes, and who wrote it, where that is known."""

    path: Path
    size: int
    author: str | None = None


def split_files(files: Sequence[TextFile], seed: int) -> tuple[list[TextFile], list[TextFile], list[str]]:
    """Draws about a tenth of the bytes of two or more files for validation.

    All files of an author stay together. The draw depends on the seed and the files' names alone, not on
    the folder that they lie in.

    Returns:
        The training files, the validation files (each at least one, in the order given), and notes.
    """
    groups, notes = _by_author(files), []
    if len(groups) == 1:
        notes.append("all texts are by one author, so validation is by the same author, of other texts")
        groups = [[file] for file in files]
    groups.sort(key=lambda group: _lot(group, seed))
    chosen = _draw(groups, VALID_SHARE * sum(file.size for file in files))
    valid = [file for file in files if file in chosen]
    return [file for file in files if file not in chosen], valid, notes


def _by_author(files: Sequence[TextFile]) -> list[list[TextFile]]:
    groups: dict[str, list[TextFile]] = defaultdict(list)
    for file in files:
        groups[f"author {file.author}" if file.author else f"file {file.path}"].append(file)
    return list(groups.values())


def _lot(group: list[TextFile], seed: int) -> str:
    name = min(file.path.name for file in group)
    return sha256(f"{seed} {name}".encode("utf-8", "surrogateescape"))


def _draw(groups: list[list[TextFile]], wanted: float) -> set[TextFile]:
    """Groups in the order of their lots until there is enough, passing over those that are far too large."""
    chosen: set[TextFile] = set()
    total = 0
    for group in groups:
        size = sum(file.size for file in group)
        if total < wanted and total + size <= 1.5 * wanted:
            chosen.update(group)
            total += size
    return chosen or set(min(groups, key=lambda group: sum(file.size for file in group)))
