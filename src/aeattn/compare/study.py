"""Several comparisons that are one study: its primary contrasts corrected together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aeattn.compare.declaration import Declaration, read_declaration
from aeattn.compare.folder import Folder
from aeattn.compare.intervals import holm
from aeattn.compare.results import ContrastResult, Summary
from aeattn.compare.sentences import sentence, verdict
from aeattn.errors import InputError
from aeattn.files import read_json


@dataclass(frozen=True)
class Part:
    """One comparison of a study."""

    folder: Path
    declaration: Declaration
    summary: Summary


def parts_of(path: Path) -> list[Part]:
    """The comparisons in a folder's folders of which something has been concluded, by name. Raises InputError for
    damaged files."""
    found = []
    for each in sorted(path.iterdir()) if path.is_dir() else []:
        folder = Folder(each)
        if folder.spec.exists() and folder.summary.exists():
            values = read_json(folder.summary, f"{folder.summary} is damaged: run `aeattn compare` again")
            summary = Summary.from_dict(values, str(folder.summary))
            found.append(Part(each, read_declaration(folder), summary))
    return found


def joint(parts: Sequence[Part]) -> list[list[ContrastResult]]:
    """The contrasts of each part, where Holm's correction counts the primary ones of all parts, as far as they are
    known; those that are not there count as not rejected. Raises InputError where parts declare families of
    different sizes."""
    families = {part.declaration.family for part in parts}
    if len(families) > 1:
        raise InputError(
            f"the parts of a study declare families of {sorted(families)}: they belong to different ones"
        )
    family = max(families, default=0)
    primary = [(i, c) for i, part in enumerate(parts) for c in part.summary.contrasts if c.primary]
    missing = max(0, family - len(primary))
    corrected = holm([*(c.p_value for _, c in primary), *[1.0] * missing])
    by_id = {(i, c.id): p for (i, c), p in zip(primary, corrected[: len(primary)], strict=True)}
    return [
        [_corrected(c, by_id[i, c.id], part.declaration) if c.primary else c for c in part.summary.contrasts]
        for i, part in enumerate(parts)
    ]


def _corrected(contrast: ContrastResult, p: float | None, declaration: Declaration) -> ContrastResult:
    known = replace(contrast, p_holm=p)
    said = replace(known, verdict=verdict(known, declaration.smallest_effect))
    return replace(said, sentence=sentence(said, declaration))
