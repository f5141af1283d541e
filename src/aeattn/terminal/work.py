"""How far long work is: one line redrawn in place on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from aeattn.data.watch import EVERY_SECONDS, clock
from aeattn.terminal.tables import say
from aeattn.terminal.wrapping import width_of

REDRAWN_SECONDS = 0.2
CLEAR = "\x1b[K"


class Work:
    """Work in stages, on standard error; what takes less than a moment says nothing.

        with Work() as work:
            work.stage("evaluating", total=len(text))
            for piece in text:
                ...
                work.add(len(piece))

    Args:
        quiet: say nothing at all.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet, self._live = quiet, not quiet and sys.stderr.isatty()
        self._what, self._total, self._done, self._drawn = "", 0.0, 0.0, False
        self._begun = self._next = time.monotonic()

    def stage(self, what: str, total: float = 0.0) -> None:
        """What is done from now on, and how much of it there is, if that is known."""
        now = time.monotonic()
        self._what, self._total, self._done = what, total, 0.0
        self._begun, self._next = now, now + (REDRAWN_SECONDS if self._live else EVERY_SECONDS)
        if self._live:
            self._draw()

    def add(self, amount: float) -> None:
        """So much more is done."""
        self._done += amount
        now = time.monotonic()
        if now >= self._next and not self._quiet:
            self._next = now + (REDRAWN_SECONDS if self._live else EVERY_SECONDS)
            self._draw() if self._live else say(self.line())

    def line(self) -> str:
        """What is done, how much of it, and the time that is left."""
        if not self._total or not self._done:
            return self._what
        share = min(1.0, self._done / self._total)
        left = (time.monotonic() - self._begun) * (1 - share) / share
        return f"{self._what}: {100 * share:.0f} %, {clock(left)} left"

    def _draw(self) -> None:
        with suppress(OSError):
            sys.stderr.write(f"\r{self.line()[: width_of(sys.stderr) - 1]}{CLEAR}")
            sys.stderr.flush()
            self._drawn = True

    def note(self, text: str) -> None:
        """What the user should know besides."""
        self.close()
        say(text)

    def close(self) -> None:
        """Take the line away."""
        if self._drawn:
            with suppress(OSError):
                sys.stderr.write(f"\r{CLEAR}")
                sys.stderr.flush()
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


SILENT = Work(quiet=True)
