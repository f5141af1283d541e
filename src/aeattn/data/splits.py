"""Which files train and which validate: never a book on both sides, nor an author who is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aeattn.files import sha256

VALID_SHARE = 0.1


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
