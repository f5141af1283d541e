"""Tables of texts: Parquet, Arrow, JSON lines, CSV; which column is the text, and its rows in batches.

A format says which columns a file has and of what kind, and reads one of them in batches of some megabytes,
whatever the file's size. What else a row holds is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeattn.data.lines import TEXT, Columns, csv_batches, csv_columns, json_batches, json_columns
from aeattn.data.opening import check_regular, check_unchanged, extra
from aeattn.data.rows import Batch, part
from aeattn.data.threads import ahead
from aeattn.errors import InputError

USUAL = ("text", "content", "sentence", "document", "article", "story", "passage", "body")
BATCH_BYTES = 1 << 21
_STREAMED = {"buffer_size": 1 << 20, "pre_buffer": False}  # else all of a file is read ahead

Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Format:
    """How one kind of table is read: its columns with their kinds, and one of them in batches."""

    columns: Callable[[Path], Columns]
    batches: Callable[[Path, str], Iterator[Batch]]


class UnknownColumn(InputError):
    """It is not clear which column of a table is its text."""


def format_of(path: Path) -> Format | None:
    """How a file is read that is a table by its name; None for any other."""
    name = path.name.lower()
    if name.endswith((".gz", ".zst")):
        name = name.rpartition(".")[0]
        return None if name.endswith((".parquet", ".arrow")) else _FORMATS.get(Path(name).suffix)
    return _FORMATS.get(Path(name).suffix)


def table(path: Path) -> Format:
    """How a table is read."""
    found = format_of(path)
    assert found is not None, path
    return found


def choose(columns: Mapping[str, str], wanted: str | None, what: str) -> str:
    """The column of text: the one that is wanted, else one with a usual name, else the only one.

    Raises UnknownColumn, which begins with `what` it is about, where there is no such column or no text in it.
    """
    texts = [name for name, kind in columns.items() if kind == TEXT]
    shown = ", ".join(map(repr, texts[:8])) + (f" and {len(texts) - 8} more" if len(texts) > 8 else "")
    if wanted is not None:
        if wanted in texts:
            return wanted
        wrong = f"holds {columns[wanted]}" if wanted in columns else "is not there"
        mend = f"columns of text are {shown}" if texts else "no column holds text"
        raise UnknownColumn(f"{what}: the column {wanted!r} {wrong}; {mend}")
    usual = [name for known in USUAL for name in texts if name.lower() == known]
    if usual or len(texts) == 1:
        return (usual or texts)[0]
    if not texts:
        kinds = ", ".join(f"{name!r}: {kind}" for name, kind in list(columns.items())[:8])
        raise UnknownColumn(f"{what}: no column holds text ({kinds or 'it has none'}); give another table")
    raise UnknownColumn(f"{what}: which column is the text? Name one with --column: {shown}")


# -- Parquet and Arrow -------------------------------------------------------------------------------------


@contextmanager
def _arrow(path: Path, kind: str) -> Iterator[Any]:
    """pyarrow, whose complaints about a file become ours; the file must stay as it is meanwhile."""
    pyarrow, before = extra("pyarrow", f"{path}"), check_regular(path)
    try:
        yield pyarrow
    except (pyarrow.ArrowException, OSError, EOFError) as error:
        check_unchanged(path, before)
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{path}: broken {kind} file ({reason}); write or download it again") from error
    check_unchanged(path, before)


def _columns_of(pyarrow: Any, schema: Any) -> Columns:
    return {field.name: _kind(pyarrow.types, field.type) for field in schema}


def _kind(types: Any, found: Any) -> str:
    if types.is_dictionary(found):
        found = found.value_type
    if types.is_string(found) or types.is_large_string(found) or types.is_string_view(found):
        return TEXT
    return f"numbers ({found})" if types.is_primitive(found) else f"no text ({str(found)[:60]})"


def _large(pyarrow: Any, column: Any) -> Batch:
    """A column as one array of large strings, of any type that holds text."""
    array = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    if isinstance(array, pyarrow.DictionaryArray):
        array = array.dictionary_decode()
    return array.cast(pyarrow.large_string())


def _parquet_columns(path: Path) -> Columns:
    with _arrow(path, "Parquet") as pyarrow:
        return _columns_of(pyarrow, extra("pyarrow.parquet", f"{path}").read_schema(path))


def _parquet_batches(path: Path, column: str) -> Iterator[Batch]:
    return (batch for _, batch in _parquet_near(path, column, None))


def _parquet_near(path: Path, column: str, ranges: Ranges | None) -> Iterator[tuple[int, Batch]]:
    """Batches with the number of their first row; of the row groups that hold a row of `ranges`, or of all."""
    parquet = extra("pyarrow.parquet", f"{path}")
    with _arrow(path, "Parquet") as pyarrow, parquet.ParquetFile(path, **_STREAMED) as file:
        choose(_columns_of(pyarrow, file.schema_arrow), column, f"{path}")
        rows = min(1 << 16, max(1, BATCH_BYTES // _bytes_of_row(file.metadata, column)))
        for at, groups in _groups(file.metadata, ranges):
            found = file.iter_batches(rows, row_groups=groups, columns=[column], use_threads=False)
            with closing(ahead(found)) as batches:  # the file stays open until its thread has ended
                for batch in batches:
                    yield at, _large(pyarrow, batch.column(0))
                    at += len(batch)


def _groups(metadata: Any, ranges: Ranges | None) -> Iterator[tuple[int, list[int]]]:
    """Neighbouring row groups that are to be read, and the first row of each run of them."""
    at = first = 0
    held: list[int] = []
    for number in range(metadata.num_row_groups):
        end = at + metadata.row_group(number).num_rows
        if ranges is None or any(a < end and at < b for a, b in ranges):
            first = first if held else at
            held.append(number)
        elif held:
            yield first, held
            held = []
        at = end
    if held:
        yield first, held


def ranges_of(path: Path, column: str, ranges: Ranges) -> Iterator[Batch]:
    """The rows of a table from the first to before the last number of each range, in ascending order. Raises
    InputError."""
    near = _parquet_near if format_of(path) is _PARQUET else _from_the_beginning
    for at, batch in near(path, column, ranges):
        yield from (part(batch, first - at, last - at) for first, last in ranges)


def _from_the_beginning(path: Path, column: str, _: Ranges) -> Iterator[tuple[int, Batch]]:
    at = 0
    for batch in table(path).batches(path, column):
        yield at, batch
        at += len(batch)


def _bytes_of_row(metadata: Any, column: str) -> int:
    """The mean of a column, uncompressed, in the row group where it is largest."""
    most = 1
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        found = (group.column(i) for i in range(group.num_columns))
        size = sum(c.total_uncompressed_size for c in found if c.path_in_schema == column)
        most = max(most, size // max(1, group.num_rows))
    return most


def count_rows(path: Path, column: str) -> int:
    """How many rows a table has: by its footer, or by reading it."""
    if format_of(path) is not _PARQUET:
        return sum(map(len, table(path).batches(path, column)))
    with _arrow(path, "Parquet"):
        return int(extra("pyarrow.parquet", f"{path}").read_metadata(path).num_rows)


@contextmanager
def _arrow_reader(path: Path) -> Iterator[tuple[Any, Any, Iterator[Any]]]:
    """pyarrow, the schema and the record batches of an Arrow file in either of its two forms."""
    with _arrow(path, "Arrow") as pyarrow, pyarrow.memory_map(str(path)) as source:
        try:
            file = pyarrow.ipc.open_file(source)
        except pyarrow.ArrowInvalid:
            source.seek(0)
            stream = pyarrow.ipc.open_stream(source)
            yield pyarrow, stream.schema, iter(stream)
        else:
            yield pyarrow, file.schema, (file.get_batch(i) for i in range(file.num_record_batches))


def _arrow_columns(path: Path) -> Columns:
    with _arrow_reader(path) as (pyarrow, schema, _):
        return _columns_of(pyarrow, schema)


def _arrow_batches(path: Path, column: str) -> Iterator[Batch]:
    with _arrow_reader(path) as (pyarrow, schema, found):
        choose(_columns_of(pyarrow, schema), column, f"{path}")
        number, before = schema.names.index(column), check_regular(path)
        for batch in found:
            array = batch.column(number)
            array.validate()  # offsets of a damaged file may lie anywhere in memory
            if coded := isinstance(array, pyarrow.DictionaryArray):
                array.dictionary.validate(full=True)
            rows = max(1, BATCH_BYTES * max(1, len(array)) // max(1, array.nbytes))
            for first in range(0, len(array), rows):
                check_unchanged(path, before)  # what is no longer there of a mapped file ends the process
                some = array.slice(first, rows)
                if not coded:
                    some.validate(full=True)
                yield _large(pyarrow, some)


_PARQUET, _ARROW = Format(_parquet_columns, _parquet_batches), Format(_arrow_columns, _arrow_batches)
_JSON, _CSV = Format(json_columns, json_batches), Format(csv_columns, csv_batches)
_FORMATS = {
    ".parquet": _PARQUET, ".arrow": _ARROW, ".json": _JSON, ".jsonl": _JSON, ".ndjson": _JSON, ".csv": _CSV,
    ".tsv": _CSV,
}  # fmt: skip
