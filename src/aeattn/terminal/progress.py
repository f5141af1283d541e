"""What a person sees while a model trains: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from aeattn.data.watch import clock as clock
from aeattn.terminal.escaping import escape_controls


@dataclass(frozen=True)
class Status:
    """Where a run stands. Losses in nats a character, speed in characters a second."""

    step: int
    steps: int
    train_nats: float
    valid_nats: float | None
    floor_nats: float | None
    chars_per_second: float
    seconds_left: float


class Reporter(Protocol):
    """Where the training loop says what happens."""

    def note(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def status(self, status: Status) -> None: ...
    def evaluated(self, status: Status) -> None: ...
    def sample(self, step: int, text: str) -> None: ...
    def close(self) -> None: ...


def describe(status: Status) -> str:
    """One plain line: loss in nats and bits, distance to the floor, speed, time left."""
    parts = [f"step {status.step:>6,}/{status.steps:,}", f"train {status.train_nats:.4f} nats"]
    if status.valid_nats is not None:
        bits = status.valid_nats / math.log(2)
        parts.append(f"valid {status.valid_nats:.4f} nats ({bits:.4f} bits)")
        if status.floor_nats is not None:
            parts.append(f"{status.valid_nats - status.floor_nats:+.4f} above the floor")
    parts += [f"{status.chars_per_second:,.0f} chars/s", f"{clock(status.seconds_left)} left"]
    return " | ".join(parts)


class PlainReporter:
    """Lines for a pipe or a log file: one every so many seconds, one an evaluation."""

    def __init__(self, console: Console, every_seconds: float = 10.0) -> None:
        self.console, self.every = console, every_seconds
        self._next = -math.inf

    def note(self, text: str) -> None:
        try:
            self.console.print(Text(text), soft_wrap=True)
        except OSError:
            self.console.quiet = True

    def warn(self, text: str) -> None:
        """What must be heard, even by those who want no progress."""
        quiet, self.console.quiet = self.console.quiet, False
        self.note(f"warning: {text}")
        self.console.quiet = self.console.quiet or quiet

    def status(self, status: Status) -> None:
        if self.console.get_time() >= self._next:
            self._next = self.console.get_time() + self.every
            self.note(describe(status))

    def evaluated(self, status: Status) -> None:
        self._next = self.console.get_time() + self.every
        self.note(describe(status))

    def sample(self, step: int, text: str) -> None:
        self.note(f"sample after {step:,} steps: {one_line(text)}")

    def close(self) -> None:
        pass


class LiveReporter(PlainReporter):
    """The same on a terminal, under a progress bar that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        columns = (BarColumn(bar_width=20), TextColumn("{task.description}"), TimeRemainingColumn())
        self.progress = Progress(*columns, console=console, refresh_per_second=4, transient=True)
        self.task: TaskID | None = None

    def status(self, status: Status) -> None:
        if self.task is None:
            self.progress.start()
            self.task = self.progress.add_task("", total=status.steps, completed=status.step)
        text = f"{status.step:,}/{status.steps:,}  train {status.train_nats:.4f}"
        if status.valid_nats is not None:
            text += f"  valid {status.valid_nats:.4f} nats"
            text += "" if status.floor_nats is None else f" ({status.valid_nats - status.floor_nats:+.4f})"
        text += f"  {status.chars_per_second:,.0f} chars/s"
        self.progress.update(self.task, completed=status.step, total=status.steps, description=text)

    def close(self) -> None:
        self.progress.stop()


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
    console = _SteadyConsole(stderr=True, highlight=False, quiet=quiet)
    return LiveReporter(console) if console.is_terminal else PlainReporter(console)


def one_line(text: str) -> str:
    """A passage in one line of the terminal, its line breaks as a sign."""
    return escape_controls(re.sub(r"\s*\n\s*", " ⏎ ", text.strip()))
