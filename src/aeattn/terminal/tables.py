"""How commands speak: results to standard output, everything else to standard error."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from aeattn.terminal.escaping import escape_controls, printable, shortened
from aeattn.terminal.wrapping import bold, fill, width_of, wrap

if TYPE_CHECKING:
    from aeattn.files import Json

GAP = "  "  # between columns
NARROWEST = 8  # columns of a name, where a table has more than there is room for


def print_any_text() -> None:
    """Let characters that standard output and error cannot encode be written as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # of a stream that is a pipe by now, and was a file
                stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Progress and notes go to standard error: standard output belongs to results. Nobody need listen. A terminal
    gets lines that fit; a pipe one line for each, by which it can be searched."""
    line = escape_controls(shortened(text))
    with suppress(OSError):
        wrapped = wrap(line, width_of(sys.stderr), hanging="  ") if sys.stderr.isatty() else [line]
        print("\n".join(wrapped), file=sys.stderr, flush=True)


def print_json(values: Json) -> None:
    print(json.dumps(values, indent=2, allow_nan=False))


def print_text(*lines: str) -> None:
    """Sentences as results, in lines that fit; one that begins with a space is as it is to be."""
    print(fill(lines, width_of(sys.stdout)))


def print_title(title: str) -> None:
    """What the next table is of."""
    print(bold(title, sys.stdout))


def print_next(*commands: str) -> None:
    """The commands that come next, each on a line that can be copied."""
    print("Next:" + "".join(f"\n  {command}" for command in commands))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> None:
    """A table whose first `words` columns are text and the others figures; where it is too wide, in parts that all
    begin with the first column. Words in the last column of a table of text alone go on in a second line."""
    for line in table_lines(columns, rows, words, width_of(sys.stdout)):
        print(line)


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int, width: int) -> list[str]:
    """The lines of a table, none wider than `width` if that can be."""
    cells = [[printable(cell) for cell in row] for row in rows]
    filled = [[*row, *[""] * (len(columns) - len(row))] for row in cells]
    if words >= len(columns):
        return _prose(columns, filled, width)
    heads = [_heading(printable(name), [row[at] for row in filled]) for at, name in enumerate(columns)]
    widths = [max(map(_cells, [*head, *(row[at] for row in filled)])) for at, head in enumerate(heads)]
    room = width - max(widths[words:]) - len(GAP)
    names = sum(widths[:words]) + len(GAP) * (words - 1)
    if names > room:
        widths[0] = max(NARROWEST, widths[0] - (names - room))
        filled = [[_short(row[0], widths[0]), *row[1:]] for row in filled]
    parts = _parts(widths, words, width)
    return [line for part in parts for line in _part(heads, filled, widths, part, words)]


def _parts(widths: Sequence[int], words: int, width: int) -> list[list[int]]:
    """Which columns stand beside each other."""
    first = list(range(words))
    start = sum(widths[:words]) + len(GAP) * (words - 1)
    parts, used = [first], start
    for at in range(words, len(widths)):
        if used + len(GAP) + widths[at] > width and len(parts[-1]) > words:
            parts.append(list(first))
            used = start
        parts[-1] = [*parts[-1], at]
        used += len(GAP) + widths[at]
    return parts


def _part(
    heads: Sequence[Sequence[str]],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    part: Sequence[int],
    words: int,
) -> list[str]:
    tall = max(len(heads[at]) for at in part)
    lines = [[["", *[""] * tall, *heads[at]][-tall:][line] for at in part] for line in range(tall)]
    rule = "─" if _can_write("─") else "-"
    body = [[row[at] for at in part] for row in rows]

    def line_of(cells: Sequence[str]) -> str:
        padded = (_pad(cell, widths[at], right=at >= words) for cell, at in zip(cells, part, strict=True))
        return GAP.join(padded).rstrip()

    head = [bold(line_of(cells), sys.stdout) for cells in lines]
    return ["", *head, rule * len(GAP.join(" " * widths[at] for at in part)), *map(line_of, body), ""]


def _prose(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A table of text alone, whose last column goes on below itself."""
    widths = [max(map(_cells, [columns[at], *(row[at] for row in rows)])) for at in range(len(columns) - 1)]
    indent = sum(widths) + len(GAP) * len(widths)

    def lines_of_row(cells: Sequence[str]) -> list[str]:
        names = "".join(_pad(cell, wide, right=False) + GAP for cell, wide in zip(cells, widths, strict=False))
        found = wrap(cells[-1], width - indent) if cells[-1] else [""]
        return [(names + found[0]).rstrip(), *(" " * indent + more for more in found[1:])]

    head = [bold(line, sys.stdout) for line in lines_of_row(columns)] if any(columns) else []
    rule = [("─" if _can_write("─") else "-") * min(width, indent + 24)] if head else []
    return ["", *head, *rule, *(line for row in rows for line in lines_of_row(row)), ""]


def _heading(name: str, cells: Sequence[str]) -> list[str]:
    """The name of a column in lines no wider than its cells, or than its longest word; a space that is not to be
    broken at is U+00A0."""
    widest = max(map(_cells, [*name.split(" "), *cells]), default=1)
    return [line.replace("\u00a0", " ") for line in wrap(name, max(1, widest))]


def _pad(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _cells(cell))
    return space + cell if right else cell + space


def _cells(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _short(name: str, width: int) -> str:
    """A name without its middle, where there is no room for it."""
    if _cells(name) <= width:
        return name
    dots = "…" if _can_write("…") else "..."
    keep = width - len(dots)
    front = keep // 3
    return name[:front] + dots + name[len(name) - (keep - front) :]


def _can_write(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def sentences_of(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The same table in words, for notes: the name of each row, and its cells under their columns' names."""
    found = []
    for name, *cells in rows:
        named = zip(columns[1:], map(printable, cells), strict=False)
        found.append(f"{name}: " + ", ".join(f"{column} {cell}" for column, cell in named if cell))
    return found


def figure(value: float | None, form: str) -> str:
    """A number in a cell of a table; a dash where there is none."""
    return "-" if value is None else f"{value:{form}}"


def shown(text: str) -> str:
    """What a model wrote, safe for a terminal; a pipe gets it unchanged."""
    return escape_controls(text) if sys.stdout.isatty() else text
