"""What a person sees while a whole comparison runs: what is done, what is under way, how much time is left."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.live import Live
from rich.text import Text

from aeattn.compare.records import Record
from aeattn.terminal.progress import BAR, clock, note_lines
from aeattn.terminal.wrapping import WIDTH

SHOWN = 6  # runs under way, at most


@dataclass(frozen=True)
class Line:
    """What a worker says of itself: where its training stands."""

    step: int
    steps: int
    chars_per_second: float
    train_nats: float | None = None
    valid_nats: float | None = None


@dataclass
class Run:
    """Where one run stands; `work` is all of it, in FLOPs. `first` is the step at which we began to look."""

    work: float = 0.0
    first: int | None = None
    last: Line = Line(0, 0, 0.0)

    def update(self, line: Line) -> None:
        """Take in a line of the worker."""
        if self.first is None:
            self.first = max(0, line.step - 1)
        train = self.last.train_nats if line.train_nats is None else line.train_nats
        valid = self.last.valid_nats if line.valid_nats is None else line.valid_nats
        self.last = replace(line, train_nats=train, valid_nats=valid)

    @property
    def left(self) -> float:
        return self.work * (1 - self.last.step / self.last.steps) if self.last.steps else self.work

    @property
    def done_here(self) -> float:
        """Work done since we began to look."""
        return self.work * (self.last.step - (self.first or 0)) / self.last.steps if self.last.steps else 0.0

    def describe(self, name: str) -> str:
        if not self.last.steps:
            return f"{name} starting"
        known = {"valid": self.last.valid_nats, "train": self.last.train_nats}
        loss = next((f"{kind} {nats:.4f}" for kind, nats in known.items() if nats is not None), "")
        now = f"{self.last.chars_per_second:,.0f} chars/s" if self.last.step < self.last.steps else "evaluating"
        return f"{name} {self.last.step:,}/{self.last.steps:,} {loss} {now}"


class GridProgress:
    """Lines for a pipe, one every so many seconds; a bar on a terminal."""

    def __init__(self, console: Console, every_seconds: float = 10.0) -> None:
        self.console, self.every = console, every_seconds
        self.total = self.done = self.failed = 0
        self._pending = self._finished = 0.0
        self._begin = time.monotonic()
        self._next = -math.inf
        self._live: Live | None = None
        self._lines: list[str] = []

    def note(self, text: str) -> None:
        """One line, above the bar."""
        self.console.print(Text("\n".join(note_lines(text, self.console))), soft_wrap=True)

    def count(self, total: int, done: int, failed: int, pending_work: float) -> None:
        """How many runs there are, and the work of those that have not begun."""
        self.total, self.done, self.failed, self._pending = total, done, failed, pending_work

    def show(self, runs: Mapping[str, Run]) -> None:
        """Where the runs under way stand."""
        begun = sorted(runs, key=lambda name: not runs[name].last.steps)  # those first that have
        more = [f"{len(runs) - SHOWN} more"] if len(runs) > SHOWN else []
        lines = [self.summary(runs), *(runs[name].describe(name) for name in begun[:SHOWN]), *more]
        if self.console.is_terminal:
            self._draw(lines)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + self.every
            self.note("\n  ".join(lines))

    def summary(self, runs: Mapping[str, Run]) -> str:
        """How much is done, and how long the rest takes at the speed so far."""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self.total} runs done{failed}, {self.time_left(runs)} left"

    def time_left(self, runs: Mapping[str, Run]) -> str:
        here = self._finished + sum(run.done_here for run in runs.values())
        left = self._pending + sum(run.left for run in runs.values())
        return clock(left * (time.monotonic() - self._begin) / here) if here > 0 and left > 0 else "?"

    def ended(self, record: Record, run: Run) -> None:
        """A run has ended: one line."""
        self._finished += run.work * (1 - (run.first or 0) / run.last.steps) if run.last.steps else 0.0
        if record.status == "done" and record.cost is not None:
            speed = record.cost.chars_per_second
            self.note(f"{record.name}: {record.nats_per_char:.4f} nats/char, {speed:,.0f} chars/s")
        else:
            self.note(f"{record.name}: {record.failure}: {record.reason}")

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, lines: Sequence[str]) -> None:
        """A bar and the summary, and a line for each run under way."""
        full = BAR * self.done // max(1, self.total)
        first, *others = lines
        self._lines = [f"{'━' * full}{'─' * (BAR - full)}  {first}", *(f"  {line}" for line in others)]
        if self._live is None:
            self._live = Live(
                get_renderable=self._screen, console=self.console, refresh_per_second=4, transient=True
            )
            self._live.start()

    def _screen(self) -> Text:
        return Text("\n".join(line[: min(WIDTH, self.console.width)] for line in self._lines))
