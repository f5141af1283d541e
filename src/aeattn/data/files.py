"""Finding files of text: what a path or a glob means, and which files are the same."""

from __future__ import annotations

import difflib
import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from aeattn.data.text import read_chunks
from aeattn.errors import InputError
from aeattn.files import sha256_of


def find(name: str, corpora: Sequence[str] = ()) -> list[Path]:
    """The files that a path or a glob means, in the order of their names; a folder means the texts in it.

    Raises InputError where there are none; `corpora` are names that the user may have meant.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return texts_under(path)
    if path.exists():
        for _ in islice(read_chunks(path, 4096), 2):  # refuse at once what is no text
            pass
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    found = [file for match in matches for file in (_texts(match) if match.is_dir() else [match])]
    if not found:
        raise InputError(_not_found(name, corpora))
    return list(dict.fromkeys(found))


def texts_under(folder: Path) -> list[Path]:
    """All .txt and .txt.gz files in a folder and the folders in it, but hidden ones.

    Raises InputError if there are none.
    """
    found = _texts(folder)
    if not found:
        raise InputError(f"no .txt or .txt.gz files under {folder}; name a folder that has some")
    return found


def _texts(folder: Path) -> list[Path]:
    named = (path for path in folder.rglob("*") if path.name.endswith((".txt", ".txt.gz")))
    return sorted(path for path in named if path.is_file() and not path.name.startswith("."))


def distinct(paths: Iterable[Path], notes: list[str]) -> list[Path]:
    """The files without those that are another once more: the same path, or a copy of the same bytes.

    `notes` gains a line for each that is left out.
    """
    seen: dict[Path | tuple[int, str], Path] = {}
    paths = list(paths)
    sizes = Counter(path.stat().st_size for path in paths)
    for path in paths:
        size = path.stat().st_size
        key = path.resolve() if sizes[size] == 1 else (size, sha256_of(path))
        if key in seen:
            notes.append(f"{path} is the same text as {seen[key]}, so it is left out")
        else:
            seen[key] = path
    return list(seen.values())


def _not_found(name: str, corpora: Sequence[str]) -> str:
    if glob.has_magic(name):
        return f"no files match {name}; check the pattern"
    near = difflib.get_close_matches(name.lower(), corpora, n=1)
    if near and os.sep not in name:
        return f"no corpus or file is called {name!r}; did you mean {near[0]!r}?"
    known = f"; corpora with a name are {', '.join(corpora)}" if corpora else ""
    return f"no such file or folder: {name}{known}"
