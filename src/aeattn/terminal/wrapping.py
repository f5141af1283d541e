"""Lines that fit a terminal: at most 79 columns, broken between words alone."""

from __future__ import annotations

import os
import re
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

    `indent` stands before each line, `hanging` before those that go on, where it is another, behind the spaces
    that the text begins with. `anywhere`: a long word is broken, as in a text that is no text yet."""
    return [
        wrapped for line in text.splitlines() or [""] for wrapped in _wrap(line, width, indent, hanging, anywhere)
    ]


_LABEL_AND_PATH = re.compile(r"[a-z ]+: \S*/\S*")  # one line, so that whoever looks for the label finds the path


def _wrap(line: str, width: int, indent: str, hanging: str | None, anywhere: bool) -> list[str]:
    if _LABEL_AND_PATH.fullmatch(line) and not anywhere:
        return [indent + line]
    begins = " " * (len(line) - len(line.lstrip(" ")))
    found = textwrap.wrap(
        line, width, initial_indent=indent, subsequent_indent=begins + (indent if hanging is None else hanging),
        break_long_words=anywhere, break_on_hyphens=False,
    )  # fmt: skip
    return found or [""]


def fill(lines: Iterable[str], width: int = WIDTH) -> str:
    """Lines as one text, each wrapped; those that begin with a space are as they are to be."""
    wrapped = (each for line in lines for each in ([line] if line.startswith(" ") else wrap(line, width)))
    return "\n".join(wrapped)


class Flow:
    """Text that comes in pieces, in lines that fit: a full one is broken before the word that has no room."""

    def __init__(self, width: int = WIDTH) -> None:
        self._width, self._column, self._word = width, 0, ""

    def push(self, piece: str) -> str:
        """What can be shown now: all but the word that may go on."""
        found = []
        for char in piece:
            if not char.isspace():
                self._word += char
                if len(self._word) >= self._width:  # no word is as long
                    found.append(self.close())
                continue
            found.append(self.close())
            if char == "\n":
                self._column = 0
                found.append(char)
            elif self._column < self._width:
                self._column += 1
                found.append(char)
        return "".join(found)

    def close(self) -> str:
        """The last word."""
        word, self._word = self._word, ""
        broken = word and self._column + len(word) > self._width
        self._column = len(word) if broken else self._column + len(word)
        return f"\n{word}" if broken else word


def bold(text: str, stream: TextIO) -> str:
    """The text in bold on a terminal, unless NO_COLOR says otherwise."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else f"\x1b[1m{text}\x1b[0m"
