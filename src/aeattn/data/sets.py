"""The documents of a data set by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aeattn.data.documents import Document, Rows
from aeattn.data.files import stem
from aeattn.data.hub import File, Listing, RemoteFile
from aeattn.data.tables import choose, format_of, table
from aeattn.errors import InputError


def documents(
    found: Listing, train: Sequence[File], valid: Sequence[File], column: str | None, end: str
) -> tuple[list[Document], list[Document], str | None]:
    """Both sides of a data set, and the column that is read of its tables, if it has any: the one of its name,
    else `column`, else a guess. `end` follows each row. Raises InputError for files that hold no texts."""
    files = [*train, *valid]
    tables = [file for file in files if format_of(_path(file)) is not None]
    strange = [file for file in files if file not in tables and ".txt" not in _path(file).suffixes]
    if strange:
        raise InputError(f"{found.name}: {_path(strange[0]).name} is no text, and no table of texts: name files")
    rows = None
    if tables:
        first = tables[0].local() if isinstance(tables[0], RemoteFile) else tables[0]
        wanted = found.name.column or column
        rows = Rows(choose(table(first).columns(first), wanted, str(found.name)), end)

    def document(file: File) -> Document:
        kind = rows if file in tables else None
        if isinstance(file, RemoteFile):
            return Document(f"{found.name.short}/{stem(file.name)}", remote=file, rows=kind)
        return Document("", path=file, rows=kind)

    return list(map(document, train)), list(map(document, valid)), rows.column if rows else None


def joined(documents: Sequence[Document]) -> Document:
    """Documents as one, so that a limit counts from the first on."""
    return replace(documents[0], more=tuple(documents[1:]))


def _path(file: File) -> Path:
    return Path(file.name) if isinstance(file, RemoteFile) else file
