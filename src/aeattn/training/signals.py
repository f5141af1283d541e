"""What SIGINT and SIGTERM do: the first asks for an orderly end, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType, TracebackType
from typing import NoReturn, Self

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked to stop."""

    def __init__(self, number: int, saved: bool = False) -> None:
        super().__init__(
            f"stopped by {signal.Signals(number).name}" + (" after saving a checkpoint" if saved else "")
        )
        self.number, self.exit_code = number, 128 + number


class Stop:
    """A context in which the first signal raises Interrupted, or within `patiently` sets `number` alone, but for
    what is done `promptly` in it; within `at_once` it ends the process.

    The second ends the process even while the interpreter is inside a long computation: a thread hears of
    signals through a pipe (signal.set_wakeup_fd). Outside the main thread, whoever runs us handles signals.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._patient = False
        self._ending: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._heard, self._told = os.pipe()
            os.set_blocking(self._told, False)
            self._told_before = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
            self._before = {number: signal.signal(number, self._ask) for number in NUMBERS}
            threading.Thread(target=self._listen, args=(self._heard,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before:
            for number, handler in self._before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]
            signal.set_wakeup_fd(self._told_before)
            os.close(self._told)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if self._ending is None and not self._patient:  # nothing need be finished first
            raise Interrupted(number)

    def heed(self) -> None:
        """Raise Interrupted if a signal has come, however patient: where what is being made can be left."""
        if self.number is not None:
            raise Interrupted(self.number)

    def patiently(self) -> AbstractContextManager[None]:
        """Where whoever runs looks at `number` and finishes what must be finished."""
        return self._being(patient=True)

    def promptly(self) -> AbstractContextManager[None]:
        """For what takes long and can be broken off anywhere, such as an evaluation."""
        return self._being(patient=False)

    @contextmanager
    def _being(self, patient: bool) -> Iterator[None]:
        before, self._patient = self._patient, patient
        try:
            if not patient:
                self.heed()
            yield
        finally:
            self._patient = before

    @contextmanager
    def at_once(self, speaks: bool) -> Iterator[None]:
        """For what is stuck in a library, deaf to Python's signals, and has nothing to save; one of several
        processes `speaks` for all."""
        self._ending = "aeattn: stopped by {}" if speaks else ""
        try:
            yield
        finally:
            self._ending = None
        self.heed()

    def _listen(self, heard: int) -> None:
        signals = 0
        while told := os.read(heard, 1):
            signals += told[0] in NUMBERS
            if signals > 1:
                _end(told[0], "aeattn: stopped at once by a second signal")
            if signals and (said := self._ending) is not None:
                _end(told[0], said.format(signal.Signals(told[0]).name))
        os.close(heard)


def _end(number: int, said: str) -> NoReturn:
    with suppress(OSError):
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h\n")  # the cursor, which a progress bar hides
        os.write(2, f"{said}\n".encode() if said else b"")
    os._exit(128 + number)
