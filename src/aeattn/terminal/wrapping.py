"""Lines that fit a terminal: at most 79 columns, broken between words alone."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO

WIDTH = 79
NARROWEST = 20


def width_of(stream: TextIO) -> int:
    """Columns of a line: those of the terminal, at most WIDTH; WIDTH where a stream is none."""
    with suppress(OSError, ValueError):
        if stream.isatty() and (columns := os.get_terminal_size(stream.fileno()).columns):
            return max(NARROWEST, min(WIDTH, columns))
    return WIDTH


def wrap(
    text: str, width: int = WIDTH, indent: str = "", hanging: str | None = None, anywhere: bool = False
) -> list[str]:
    """The text in lines of at most `width` columns. A longer word has a line of its own: a path stays whole.

    `indent` stands before each line, `hanging` before those that go on, where it is another. `anywhere`: a long
    word is broken, as in a text that is no text yet."""
    return [
        wrapped for line in text.splitlines() or [""] for wrapped in _wrap(line, width, indent, hanging, anywhere)
    ]


def _wrap(line: str, width: int, indent: str, hanging: str | None, anywhere: bool) -> list[str]:
    found = textwrap.wrap(
        line, width, initial_indent=indent, subsequent_indent=indent if hanging is None else hanging,
        break_long_words=anywhere, break_on_hyphens=False,
    )  # fmt: skip
    return found or [""]


def fill(lines: Iterable[str], width: int = WIDTH) -> str:
    """Lines as one text, each wrapped; those that begin with a space are as they are to be."""
    wrapped = (each for line in lines for each in ([line] if line.startswith(" ") else wrap(line, width)))
    return "\n".join(wrapped)


def bold(text: str, stream: TextIO) -> str:
    """The text in bold on a terminal, unless NO_COLOR says otherwise."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else f"\x1b[1m{text}\x1b[0m"
