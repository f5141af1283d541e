"""How commands speak: results to standard output, everything else to standard error."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from aeattn.terminal.escaping import escape_controls, printable, shortened

if TYPE_CHECKING:
    from aeattn.files import Json


def print_any_text() -> None:
    """Let characters that standard output and error cannot encode be written as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # of a stream that is a pipe by now, and was a file
                stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Progress and notes go to standard error: standard output belongs to results. Nobody need listen."""
    with suppress(OSError):
        print(escape_controls(shortened(text)), file=sys.stderr, flush=True)


def print_json(values: Json) -> None:
    print(json.dumps(values, indent=2, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table whose first column is text and the others figures; a pipe gets it as wide as it is."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if number else "left", no_wrap=not number)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=160)
    with console.capture() as drawn:  # printed by us: it would end the program where its reader has gone
        console.print(table)
    print(drawn.get(), end="")


def lines_of(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The same table as plain lines, for notes."""
    table = [tuple(columns), *rows]
    widths = [max(len(row[column]) for row in table if column < len(row)) for column in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in table
    ]


def figure(value: float | None, form: str) -> str:
    """A number in a cell of a table; a dash where there is none."""
    return "-" if value is None else f"{value:{form}}"


def shown(text: str) -> str:
    """What a model wrote, safe for a terminal; a pipe gets it unchanged."""
    return escape_controls(text) if sys.stdout.isatty() else text
