"""Finding files of text: what a path or a glob means, and which files are the same."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from aeattn.data.manifest import FILE_NAME as MANIFEST
from aeattn.data.opening import check_regular
from aeattn.data.tables import format_of
from aeattn.data.text import read_chunks
from aeattn.errors import InputError, nearest
from aeattn.files import sha256_of
from aeattn.host import named_path

FORMATS = ".txt, .parquet, .arrow, .jsonl, .ndjson, .csv or .tsv"
_MARKUP = {".json": "JSON", **dict.fromkeys((".htm", ".html", ".xhtml", ".xml"), "a page of tags")}


def find(name: str, corpora: Sequence[str] = ()) -> list[Path]:
    """The files that a path or a glob means, in the order of their names; a folder means the texts in it.

    Raises InputError where there are none; `corpora` are names that the user may have meant.
    """
    path = named_path(name)
    if path.is_dir():
        return texts_under(path)
    if path.exists():
        check_regular(path)
        _refuse_markup([path])
        if format_of(path) is None:
            for _ in islice(read_chunks(path, 4096), 2):  # refuse at once what is no text
                pass
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    found = [file for match in matches for file in (_texts(match) if match.is_dir() else [match])]
    if not found:
        raise InputError(_not_found(name, corpora))
    texts = [file for file in found if _markup(file) is None and file.name != MANIFEST]
    if not texts:
        _refuse_markup(found)
    for file in texts:
        check_regular(file)
    return list(dict.fromkeys(texts))


def _markup(path: Path) -> str | None:
    """What a file is that holds more than its text, after its name."""
    name = path.name.lower()
    plain = name.removesuffix(".gz").removesuffix(".zst")
    if plain != name and plain.endswith((".parquet", ".arrow")):
        return "a table that is compressed twice"
    return _MARKUP.get(Path(plain).suffix)


def _refuse_markup(paths: Sequence[Path]) -> None:
    for path in paths:
        if kind := _markup(path):
            mend = (
                "decompress it" if "twice" in kind else "write its text alone into a .txt file, or into JSON lines"
            )
            raise InputError(f"{path} is {kind}, which cannot be learnt as it is: {mend}")


def passed_over(name: str) -> list[str]:
    """One line, if any, on the files that `find` leaves out of a folder or a glob, for the user."""
    path = named_path(name)
    paths = path.rglob("*") if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
    left = [p for p in paths if not p.name.startswith(".") and p.name != MANIFEST and p.is_file()]
    left = [p for p in left if (not _is_text(p) if path.is_dir() else _markup(p))]
    if not left:
        return []
    shown = ", ".join(sorted(p.name for p in left)[:3]) + (f" and {len(left) - 3:,} more" if len(left) > 3 else "")
    return [f"{name}: {len(left):,} file(s) passed over that are no {FORMATS}: {shown}"]


def texts_under(folder: Path) -> list[Path]:
    """All texts and tables of texts in a folder and the folders in it, but hidden ones.

    Raises InputError if there are none.
    """
    found = _texts(folder)
    if not found:
        raise InputError(f"no {FORMATS} files under {folder}; name a folder that has some")
    return found


def _texts(folder: Path) -> list[Path]:
    named = (path for path in folder.rglob("*") if _is_text(path))
    return sorted(path for path in named if path.is_file() and not path.name.startswith("."))


def _is_text(path: Path) -> bool:
    return path.name.endswith((".txt", ".txt.gz", ".txt.zst")) or (
        path.name != MANIFEST and _markup(path) is None and format_of(path) is not None
    )


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


def stem(name: str) -> str:
    """The name of a file without what says how it is read."""
    plain = name.removesuffix(".gz").removesuffix(".zst")
    return (str(Path(plain).with_suffix("")) if format_of(Path(plain)) else plain.removesuffix(".txt")) or name


def _not_found(name: str, corpora: Sequence[str]) -> str:
    if glob.has_magic(name):
        return f"no files match {name}; check the pattern"
    if os.sep not in name and (near := nearest(name, corpora)):
        return f"no corpus or file is called {name!r}: did you mean {near!r}?"
    known = f"; corpora with a name are {', '.join(corpora)}" if corpora else ""
    return f"no such file or folder: {name}{known}"
