"""What a person sees while a model trains: two live lines on a terminal, a table elsewhere."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from aeattn.data.watch import clock as clock
from aeattn.terminal.escaping import escape_controls
from aeattn.terminal.wrapping import WIDTH, width_of, wrap

BAR = 24  # columns of the bar
ROWS_A_HEADING = 40  # of the table, until its heading is repeated


@dataclass(frozen=True)
class Status:
    """Where a run stands. Losses in nats a character, speed in characters a second of training, the time left in
    seconds of wall time.

    `last_nats` is the loss of the last update's batch, `recent_nats` is smoothed over about the last ten updates,
    `train_nats` over about fifty; `train_eval_nats` is of a part of the training text, measured as `valid_nats`.
    """

    step: int
    steps: int
    train_nats: float
    valid_nats: float | None
    floor_nats: float | None
    chars_per_second: float
    seconds_left: float
    last_nats: float | None = None
    recent_nats: float | None = None
    train_eval_nats: float | None = None


class Reporter(Protocol):
    """Where the training loop says what happens."""

    def note(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def status(self, status: Status) -> None: ...
    def evaluated(self, status: Status) -> None: ...
    def sample(self, step: int, text: str) -> None: ...
    def close(self) -> None: ...


LEGEND = (
    "Losses in nats/char. last: of the last update's batch; smoothed: over about the last 10 updates; training, "
    "validation: of as many characters of either text, both measured alike, without dropout"
)
ABOVE = "; above entropy: validation less the entropy of the corpus"
_COLUMNS = (("update", 9), ("last", 9), ("smoothed", 10), ("training", 10), ("validation", 12))
_ENTROPY, _SPEED, _LEFT = ("above", 8), ("chars/s", 11), ("left", 9)


def heading(status: Status) -> str:
    """The names of the columns of `describe`."""
    columns = (*_COLUMNS, *([] if status.floor_nats is None else [_ENTROPY]), _SPEED, _LEFT)
    return "".join(name.rjust(width) for name, width in columns)


def describe(status: Status, evaluated: bool = True) -> str:
    """A line of a table: the losses, the distance to the entropy of the corpus, speed, time left."""
    recent = status.train_nats if status.recent_nats is None else status.recent_nats
    train, valid, floor = status.train_eval_nats, status.valid_nats, status.floor_nats
    losses = (status.last_nats, recent, *((train, valid) if evaluated else (None, None)))
    cells = [f"{status.step:,}", *("" if nats is None else f"{nats:.4f}" for nats in losses)]
    line = "".join(cell.rjust(width) for cell, (_, width) in zip(cells, _COLUMNS, strict=True))
    if floor is not None:
        above = "" if valid is None or not evaluated else f"{valid - floor:+.4f}"
        line += above.rjust(_ENTROPY[1])
    return line + f"{status.chars_per_second:,.0f}".rjust(_SPEED[1]) + clock(status.seconds_left).rjust(_LEFT[1])


def screen(status: Status, width: int = WIDTH) -> list[str]:
    """The same in two lines that are redrawn in place."""
    done = round(BAR * status.step / max(1, status.steps))
    parts = [f"{'━' * done}{'─' * (BAR - done)}", f"{status.step:,}/{status.steps:,}",
             f"{status.chars_per_second:,.0f} chars/s", f"{clock(status.seconds_left)} left"]  # fmt: skip
    recent = status.train_nats if status.recent_nats is None else status.recent_nats
    named = (("last", status.last_nats), ("smoothed", recent), ("validation", status.valid_nats))
    losses = [f"{name} {nats:.4f}" for name, nats in named if nats is not None]
    if status.valid_nats is not None and status.floor_nats is not None:
        losses[-1] += f" ({status.valid_nats - status.floor_nats:+.4f})"
    lines = ["  ".join(parts), f"nats/char: {'  '.join(losses)}"]
    return [short for line in lines for short in wrap(line, width)]


def note_lines(text: str, console: Console) -> list[str]:
    """A note as it is printed, control characters shown: wrapped on a terminal, one line on a pipe."""
    safe = escape_controls(text)
    return wrap(safe, min(WIDTH, console.width), hanging="  ") if console.is_terminal else [safe]


class PlainReporter:
    """Lines for a pipe or a log file: one every so many seconds, one an evaluation."""

    def __init__(self, console: Console, every_seconds: float = 10.0) -> None:
        self.console, self.every = console, every_seconds
        self._next = -math.inf
        self._rows = 0

    def note(self, text: str) -> None:
        self._print(note_lines(text, self.console))

    def warn(self, text: str) -> None:
        """What must be heard, even by those who want no progress."""
        quiet, self.console.quiet = self.console.quiet, False
        self.note(f"warning: {text}")
        self.console.quiet = self.console.quiet or quiet

    def status(self, status: Status) -> None:
        if self.console.get_time() >= self._next:
            self._row(status, evaluated=False)

    def evaluated(self, status: Status) -> None:
        self._row(status, evaluated=True)

    def sample(self, step: int, text: str) -> None:
        self._print(self._wrapped(f"sample after {step:,} updates: {one_line(text)}", anywhere=True))

    def close(self) -> None:
        pass

    def _row(self, status: Status, evaluated: bool) -> None:
        self._next = self.console.get_time() + self.every
        if self._rows == 0:
            self._print(self._wrapped(LEGEND + ("" if status.floor_nats is None else ABOVE) + "."))
        if self._rows % ROWS_A_HEADING == 0:
            self._print([heading(status)])
        self._rows += 1
        self._print([describe(status, evaluated)])

    def _wrapped(self, text: str, anywhere: bool = False) -> list[str]:
        return wrap(text, min(WIDTH, self.console.width), hanging="  ", anywhere=anywhere)

    def _print(self, lines: list[str]) -> None:
        try:
            self.console.print(Text("\n".join(lines)), soft_wrap=True)
        except OSError:
            self.console.quiet = True


class LiveReporter(PlainReporter):
    """The same on a terminal: a line an evaluation, above two that are redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._latest: Status | None = None
        self._live = Live(get_renderable=self._screen, console=console, refresh_per_second=4, transient=True)

    def status(self, status: Status) -> None:
        self._latest = status
        if not self._live.is_started:
            self._live.start()

    def close(self) -> None:
        self._live.stop()

    def _screen(self) -> Text:
        if self._latest is None:
            return Text("")
        return Text("\n".join(screen(self._latest, min(WIDTH, self.console.width))))


class SilentReporter:
    """Says nothing, for a process whose fellow speaks."""

    def note(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def status(self, status: Status) -> None: ...
    def evaluated(self, status: Status) -> None: ...
    def sample(self, step: int, text: str) -> None: ...
    def close(self) -> None: ...


class _SteadyConsole(Console):
    """Falls silent where its reader has gone: training goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def make_reporter(quiet: bool, speaks: bool = True) -> Reporter:
    """On standard error, live on a terminal and plain on a pipe, or in the cell of a notebook; none where another
    process speaks."""
    if not speaks:
        return SilentReporter()
    from aeattn.terminal.notebook import NotebookReporter, in_notebook

    if in_notebook():
        return NotebookReporter(quiet)
    console = _SteadyConsole(stderr=True, highlight=False, quiet=quiet, width=width_of(sys.stderr))
    return LiveReporter(console) if console.is_terminal else PlainReporter(console)


def one_line(text: str) -> str:
    """A passage in one line of the terminal, its line breaks as a sign."""
    return escape_controls(re.sub(r"\s*\n\s*", " ⏎ ", text.strip()))
