"""Runs on this machine, each in a process of its own that inherits the comparison's lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from aeattn.compare.convert import from_json
from aeattn.compare.executors import End
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import work
from aeattn.compare.progress import Line, Run
from aeattn.compare.records import Record
from aeattn.files import Json
from aeattn.host import SPIN_COUNT, WAIT_POLICY, cores_each


class Process:
    """`aeattn.compare.worker` at work on a record of a folder; `tell` gets each line in which it says where it
    stands. It hears of no Ctrl-C: whoever started it passes that on, once."""

    command: ClassVar[tuple[str, ...]] = (sys.executable, "-m", "aeattn.compare.worker")

    def __init__(
        self,
        folder: Folder,
        name: str,
        environment: dict[str, str],
        tell: Callable[[Json], None],
        lock: int | None = None,
    ) -> None:
        self.tell = tell
        folder.logs.mkdir(exist_ok=True)
        self.log = folder.log(name)
        with self.log.open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [*self.command, str(folder.path), name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                pass_fds=() if lock is None else (lock,),
                start_new_session=True,
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        """Take in where the training stands, until it ends."""
        assert self._process.stdout is not None
        with self._process.stdout as lines, suppress(OSError):
            for line in lines:
                with suppress(ValueError):
                    self.tell(json.loads(line))

    def ended(self) -> End | None:
        """None while it goes on."""
        return None if self._process.poll() is None else self.wait()

    def wait(self) -> End:
        """Its end, when all has been heard."""
        code = self._process.wait()
        self._listener.join()
        return End(code, killed_by(-code) if code < 0 else last_line(self.log))

    def terminate(self) -> None:
        """Ask it to write a checkpoint and stop: once, for a second signal would cut that short."""
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


class Local:
    """A run under way on this machine."""

    def __init__(self, job: Record, folder: Folder, environment: dict[str, str], lock: int | None) -> None:
        self.job, self.run = job, Run(work(job))
        self.process = Process(folder, job.name, environment, self._hear, lock)

    def _hear(self, line: Json) -> None:
        self.run.update(from_json(Line, line, "a line of the worker"))

    def ended(self) -> End | None:
        return self.process.ended()


class Here:
    """The place of runs that are processes of this machine, and work in the comparison's folder itself."""

    after_stop = "nothing is lost, the same command goes on where it was"
    keeps_runs = True

    def __init__(self, folder: Folder, at_once: int, lock: int | None = None) -> None:
        self.folder, self.at_once, self.lock = folder, at_once, lock

    def start(self, job: Record) -> Local:
        return Local(job, self.folder, worker_environment(self.at_once), self.lock)

    def stop(self, attempts: list[Local]) -> None:
        """Ask runs to stop, and wait until they have written their checkpoints."""
        for attempt in attempts:
            attempt.process.terminate()
        while attempts:
            attempts.pop().process.wait()


def worker_environment(at_once: int) -> dict[str, str]:
    """Each run gets its share of the processors, unless the user has said how many threads to use. Threads of runs
    side by side do not spin while they wait."""
    environment = {"OMP_NUM_THREADS": str(cores_each(at_once)), **os.environ}
    return beside_others(environment) if at_once > 1 else environment


def beside_others(environment: dict[str, str]) -> dict[str, str]:
    """For a run that others share the processors with."""
    kept = {name: value for name, value in environment.items() if name != SPIN_COUNT}
    return {**kept, WAIT_POLICY: "PASSIVE"}


def killed_by(number: int) -> str:
    reason = f"killed by {signal.Signals(number).name}"
    return f"{reason}, perhaps for want of memory" if number == signal.SIGKILL else reason


def last_line(log: Path) -> str:
    """The last line of a log, which says what went wrong."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"see {log}"
