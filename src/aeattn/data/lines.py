"""Tables whose rows are lines: JSON lines, CSV and TSV, plain or compressed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, cast

from aeattn.data.rows import Batch
from aeattn.data.text import read_chunks
from aeattn.errors import InputError

TEXT = "text"  # the kind of a column that can be read
LONGEST = 1 << 28  # characters of a row
PEEK = 1000  # rows from which the columns are known
CSV_ROWS = 1 << 12

Columns = dict[str, str]  # names and kinds


def _blocks(path: Path) -> Iterator[str]:
    """Whole lines, about a megabyte of them at a time."""
    held: list[str] = []
    size = 0
    for chunk in read_chunks(path):
        chunk = chunk.replace("\ufeff", "")
        end = chunk.rfind("\n") + 1
        if end:
            yield "".join([*held, chunk[:end]])
            held, size = [], 0
        held.append(chunk[end:])
        size += len(chunk) - end
        if size > LONGEST:
            raise InputError(f"{path}: a row is longer than {LONGEST:,} characters; break it up")
    if size:
        yield "".join(held)


def _split(block: str) -> list[str]:
    return block.removesuffix("\n").split("\n")


# -- JSON lines --------------------------------------------------------------------------------------------


def json_columns(path: Path) -> Columns:
    """The keys of the first rows, and what they hold. Raises InputError."""
    lines = (line for block in _blocks(path) for line in _split(block))
    columns: Columns = {}
    for number, line in enumerate(islice(lines, PEEK), 1):
        for name, value in _object(path, number, line).items():
            if columns.get(name, "nulls") == "nulls":
                columns[name] = _kind(value)
    return columns


def json_batches(path: Path, column: str) -> Iterator[Batch]:
    """One key of all rows; a row without it has no text. Raises InputError that names the line."""
    import msgspec

    row: Any = msgspec.defstruct("Row", [("text", str | None, None)], rename={"text": column})
    decoder, before = msgspec.json.Decoder(row), 0
    for block in _blocks(path):
        try:
            yield [found.text for found in cast(Any, decoder.decode_lines(block))]
        except msgspec.MsgspecError as error:
            raise _bad_line(path, column, block, before, decoder.decode) from error
        before += block.count("\n")


def _bad_line(path: Path, column: str, block: str, before: int, decode: Callable[[str], Any]) -> InputError:
    """What is wrong in a block that so many lines stand before."""
    for number, line in enumerate(_split(block), before + 1):
        try:
            if line.strip():
                decode(line)
        except ValueError as error:
            value = _object(path, number, line).get(column)
            kind = f"the column {column!r} holds {_kind(value)}" if not isinstance(value, str) else str(error)
            return InputError(f"{path}: line {number:,}: {kind}, not text; mend or drop the line")
    return InputError(f"{path}: broken JSON lines; write or download it again")


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    if not line.strip():
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: line {number:,} is no JSON ({str(error)[:80]}); mend or drop the line"
        ) from error
    if not isinstance(found, dict):
        what = {TEXT: "a string", "numbers": "a number", "lists": "a list"}.get(_kind(found), "null")
        raise InputError(f'{path}: line {number:,} is {what}, not an object such as {{"text": "..."}}')
    return found


def _kind(value: object) -> str:
    if isinstance(value, str):
        return TEXT
    if isinstance(value, int | float):
        return "numbers"
    return "nulls" if value is None else "lists" if isinstance(value, list) else "objects"


# -- CSV and TSV -------------------------------------------------------------------------------------------


def csv_columns(path: Path) -> Columns:
    """The names in the first line, and what the rows after it hold. Raises InputError."""
    with _csv(path) as (header, rows):
        found = list(islice(rows, PEEK))
        return {name: _kind_of_cells(row[number] for row in found) for number, name in enumerate(header)}


def csv_batches(path: Path, column: str) -> Iterator[Batch]:
    """One column of all rows. Raises InputError that names the line."""
    with _csv(path) as (header, rows):
        if column not in header:
            raise InputError(f"{path}: the column {column!r} is not there; columns are {', '.join(header[:8])}")
        number = header.index(column)
        cells = (row[number] for row in rows)
        while batch := _some(cells):
            yield batch


def _some(cells: Iterator[str]) -> list[str]:
    """The next cells, about a megabyte of them."""
    batch, size = [], 0
    for cell in cells:
        batch.append(cell)
        size += len(cell)
        if size > 1 << 20 or len(batch) >= CSV_ROWS:
            break
    return batch


@contextmanager
def _csv(path: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """The header of a table, and its further rows, each as long as the header."""
    csv.field_size_limit(LONGEST)
    lines = (f"{line}\n" for block in _blocks(path) for line in _split(block))
    reader = csv.reader(lines, delimiter="\t" if ".tsv" in path.name.lower() else ",", strict=True)

    def rows(width: int) -> Iterator[list[str]]:
        for row in reader:
            if len(row) == width:
                yield row
            elif row:
                raise csv.Error(f"{len(row)} columns where the header has {width}")

    try:
        header = next(reader, [])
        yield header, rows(len(header))
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num:,}: {error}; mend or drop the row") from error


def _kind_of_cells(cells: Iterable[str]) -> str:
    filled = [cell for cell in cells if cell.strip()]
    return ("numbers" if all(map(_is_number, filled)) else TEXT) if filled else "nulls"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
