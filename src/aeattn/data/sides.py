"""Documents that come without sides, on two: about a tenth of their characters to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

from aeattn.data import rows as batches
from aeattn.data.documents import Document
from aeattn.data.manifest import author_of
from aeattn.data.splits import BLOCK_ROWS, BLOCKS, VALID_SHARE, Blocks, Draw, TextFile, split_files

Sides = tuple[list[Document], list[Document]]

FEW_ROWS = 1000  # different ones; a tenth of more, each drawn by itself, is near enough to a tenth
MOST_BYTES = 8_000_000  # of such rows to validate on: more would only take time


def split(documents: Sequence[Document], seed: int, notes: list[str]) -> Sides:
    """Whole files and whole rows of tables; the last tenth where there is but one text. `notes` gains what is to
    be said. The draw depends on the seed, the names of files and the texts of rows alone.

    Raises InputError for tables that cannot be read.
    """
    files = [document for document in documents if document.rows is None]
    tables = [document for document in documents if document.rows is not None]
    few = _few_rows(tables)
    if few is None:
        return _add(_files(files, seed, notes) if len(files) > 1 else (files, []), _many_rows(tables, seed, notes))
    texts = {_text_file(document): document for document in files}
    rows = {TextFile(Path(f"{value:016x}"), size): value for each in few for value, size in each.items()}
    if len(texts) + len(rows) < 2:
        alone = [table for table, each in zip(tables, few, strict=True) if each] or list(documents)
        return in_order(alone[0]) if alone else ([], [])
    train, valid, said = split_files([*texts, *rows], seed)
    notes += said
    drawn = {rows[text] for text in valid if text in rows}
    sides = [texts[text] for text in train if text in texts], [texts[text] for text in valid if text in texts]
    for table, each in zip(tables, few, strict=True):
        parts = on_sides(
            table, *(Draw(seed, side, few=tuple(sorted(drawn & set(each)))) for side in (False, True))
        )
        sides[0].extend(parts[0] if set(each) - drawn else [])
        sides[1].extend(parts[1] if set(each) & drawn else [])
    return sides


def in_order(whole: Document) -> Sides:
    """The first nine tenths of a text to train on, and the rest to validate on."""
    cut = 1.0 - VALID_SHARE
    return [replace(whole, stop=cut)], [replace(whole, start=cut)]


def in_blocks(tables: Sequence[Document]) -> Sides:
    """Rows that are one running text: blocks of every table validate, and around them nothing is read."""
    count = ceil(BLOCKS / max(1, len(tables)))
    most = max(1, BLOCKS * BLOCK_ROWS // max(1, count * len(tables)))
    parts = [on_sides(table, *(Blocks(valid, count, most) for valid in (False, True))) for table in tables]
    return [part for train, _ in parts for part in train], [part for _, valid in parts for part in valid]


def on_sides(table: Document, train: Draw | Blocks, valid: Draw | Blocks) -> Sides:
    """A table twice, as these two sides of it."""
    assert table.rows is not None
    first, second = (replace(table, rows=replace(table.rows, side=side)) for side in (train, valid))
    return [first], [second]


def size_of(document: Document) -> int:
    """The bytes of its file, as it lies on a disk."""
    if document.remote is not None:
        return document.remote.size
    return document.path.stat().st_size if document.path else 0


def _add(one: Sides, other: Sides) -> Sides:
    return one[0] + other[0], one[1] + other[1]


def _text_file(document: Document) -> TextFile:
    author = author_of(document.path) if document.path else None
    return TextFile(document.path or Path(document.name), size_of(document), author)


def _files(files: Sequence[Document], seed: int, notes: list[str]) -> Sides:
    texts = {_text_file(document): document for document in files}
    train, valid, said = split_files(list(texts), seed)
    notes += said
    return [texts[text] for text in train], [texts[text] for text in valid]


def _many_rows(tables: Sequence[Document], seed: int, notes: list[str]) -> Sides:
    share = round(min(VALID_SHARE, MOST_BYTES / max(1, sum(map(size_of, tables)))), 6)
    if share < VALID_SHARE:
        notes.append(f"{100 * share:.2g} % of the rows, about {MOST_BYTES // 10**6} MB, are validated on")
    sides: Sides = ([], [])
    for table in tables:
        sides = _add(sides, on_sides(table, *(Draw(seed, valid, share) for valid in (False, True))))
    return sides


def _few_rows(tables: Sequence[Document]) -> list[dict[int, int]] | None:
    """Hash and bytes of each different row of each table; None where there are too many to list."""
    found: list[dict[int, int]] = []
    seen: set[int] = set()
    for table in tables:
        rows, path = table.rows, table.file()
        assert rows is not None
        assert path is not None
        found.append({})
        for batch in rows.batches(path):
            found[-1].update(zip(batches.hashes(batch).tolist(), batches.sizes(batch).tolist(), strict=True))
            seen.update(found[-1])
            if len(seen) > FEW_ROWS:
                return None
    return found
