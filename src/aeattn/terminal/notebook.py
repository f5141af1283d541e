"""What a person sees in a notebook while a model trains: one area of the cell, redrawn in place.

It takes its colours from the notebook, so it is legible on a light and on a dark page.
"""

from __future__ import annotations

import html
import importlib
import math
import sys
import time
from collections import deque
from collections.abc import Callable

from aeattn.terminal.escaping import escape_controls
from aeattn.terminal.progress import Status, one_line, screen
from aeattn.terminal.wrapping import WIDTH

Redraw = Callable[[str], None]
EVERY_SECONDS = 0.5
NOTES, WARNINGS = 3, 20  # of each, the newest that are shown
BAR_SIGNS = "━─ "  # of a terminal's bar; a page has one of its own


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook. Imports nothing."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


def display_area(page: str) -> Redraw:
    """Show a piece of HTML in the cell that runs, and return what replaces it."""
    display = importlib.import_module("IPython.display")
    handle = display.display(display.HTML(page), display_id=True)
    return lambda later: handle.update(display.HTML(later))


class NotebookReporter:
    """A bar, the newest figures, the newest sample and the newest notes. `show` puts up the area when there is
    something to say."""

    def __init__(self, quiet: bool, show: Callable[[str], Redraw] = display_area) -> None:
        self._quiet, self._show = quiet, show
        self._redraw: Redraw | None = None
        self._status: Status | None = None
        self._sample = ""
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._warnings: deque[str] = deque(maxlen=WARNINGS)
        self._next = -math.inf
        self._closed = False

    def note(self, text: str) -> None:
        self._notes.append(text)
        self._draw()

    def warn(self, text: str) -> None:
        self._warnings.append(text)
        self._draw(heard=True)

    def status(self, status: Status) -> None:
        self._status = status
        if time.monotonic() >= self._next:
            self._draw()

    def evaluated(self, status: Status) -> None:
        self._status = status
        self._draw()

    def sample(self, step: int, text: str) -> None:
        self._sample = f"sample after {step:,} updates: {one_line(text)}"
        self._draw()

    def close(self) -> None:
        self._closed = True
        if self._redraw is not None:
            self._draw(heard=bool(self._warnings))

    def _draw(self, heard: bool = False) -> None:
        if self._quiet and not heard:
            return
        self._next = time.monotonic() + EVERY_SECONDS
        if self._redraw is None:
            self._redraw = self._show(self.page())
        else:
            self._redraw(self.page())

    def page(self) -> str:
        """All of it as HTML, escaped."""
        lines = [f"<strong>warning:</strong> {_escaped(text)}" for text in self._warnings]
        if not self._quiet:
            lines += [] if self._closed else map(_escaped, self._notes)
            if (status := self._status) is not None and self._closed:
                lines += [f"{status.step:,} updates", *map(_escaped, screen(status, WIDTH)[1:])]
            elif status is not None:
                bar = f'<progress value="{status.step}" max="{status.steps}" aria-label="updates"></progress>'
                lines += [bar, *(_escaped(line.lstrip(BAR_SIGNS)) for line in screen(status, WIDTH))]
            if self._sample:
                lines.append(f"<em>{_escaped(self._sample)}</em>")
        return f'<div style="color:inherit;font-family:monospace">{"<br>".join(lines)}</div>'


def _escaped(text: str) -> str:
    return html.escape(escape_controls(text))
