"""Does the runs that a declaration asks for and the folder lacks, some at a time, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import ClassVar

from aeattn.compare.convert import from_json
from aeattn.compare.declaration import Declaration
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import Records, is_current, jobs, untuned_work, work
from aeattn.compare.progress import GridProgress, Line, Run
from aeattn.compare.records import Record, now
from aeattn.errors import Damaged, InputError
from aeattn.host import SPIN_COUNT, WAIT_POLICY, available_cores

POLL_SECONDS = 0.1


class Stopped(Exception):
    """A signal asked to stop; the runs have written checkpoints."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"stopped by {signal.Signals(number).name}; nothing is lost, the same command goes on where it was"
        )
        self.exit_code = 128 + number


class NoRoom(Exception):
    """A run could not be done for reasons of the system, such as a full disk."""

    exit_code = 1


@dataclass
class Worker:
    """A run under way."""

    job: Record
    process: subprocess.Popen[str]
    log: Path
    run: Run

    def __post_init__(self) -> None:
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        """Take in where the training stands, until it ends."""
        assert self.process.stdout is not None
        with self.process.stdout as lines, suppress(OSError):
            for line in lines:
                with suppress(ValueError):
                    self.run.update(from_json(Line, json.loads(line), "a line of the worker"))

    def wait(self) -> int:
        """The exit code, when all has been heard."""
        code = self.process.wait()
        self._listener.join()
        return code


@dataclass
class Runner:
    """Runs what is missing or stale of a declaration. `undone` says why runs cannot be done as things are."""

    command: ClassVar[tuple[str, ...]] = (sys.executable, "-m", "aeattn.compare.worker")

    folder: Folder
    declaration: Declaration
    progress: GridProgress
    at_once: int
    lock: int | None = None
    records: dict[str, Record] = field(default_factory=dict)
    attempted: set[str] = field(default_factory=set)
    undone: dict[str, str] = field(default_factory=dict)
    _signal: int | None = None

    def run(self) -> Records:
        """Do everything; returns the records. Raises Stopped and NoRoom; InputError, after all else is done, where
        runs have bad input."""
        self.records = {record.name: record for record in self.folder.read_records(self._damaged)}
        workers: list[Worker] = []
        with self._signals(), ExitStack() as ending:
            ending.callback(_end, workers)  # whatever happens to us, no run goes on alone
            while (pending := self._pending(workers)) or workers:
                workers += [self._start(job) for job in pending[: self.at_once - len(workers)]]
                self._wait(workers)
        if self.undone:
            names, (reason, *_) = ", ".join(self.undone), self.undone.values()
            raise InputError(f"{len(self.undone)} of the runs could not be done ({names}): {reason}")
        self._set_unwanted_aside()
        return self.records

    def _damaged(self, path: Path, error: InputError) -> None:
        if not isinstance(error, Damaged):
            raise error
        self.progress.note(f"warning: {error}; it was moved to {self.folder.stale} and is made again")
        self.folder.set_aside(path.stem)

    def _set_unwanted_aside(self) -> None:
        """Records that belong to an earlier form of the declaration."""
        wanted = {job.name for job in jobs(self.declaration, self.records)}
        for name in set(self.records) - wanted:
            self.progress.note(f"{name} is not wanted any more: it is moved to {self.folder.stale}")
            self.folder.set_aside(name)
            del self.records[name]

    def _pending(self, workers: list[Worker]) -> list[Record]:
        """What is to be done and not under way. A run that crashed is tried again, once each time."""
        wanted = jobs(self.declaration, self.records)
        busy = {worker.job.name for worker in workers} | set(self.undone)
        pending = [job for job in wanted if job.name not in busy and self._is_to_do(job)]
        tuning_alone = all(job.phase == "tune" for job in wanted)
        later = untuned_work(self.declaration, self.records) if tuning_alone else 0.0
        counts = len(self.declaration.arms) * len(self.declaration.seeds.final) if tuning_alone else 0
        done = sum(not self._is_to_do(job) and job.name not in busy for job in wanted)
        failed = sum(self.records[job.name].status == "failed" for job in wanted if is_current(job, self.records))
        self.progress.count(len(wanted) + counts, done, failed, sum(map(work, pending)) + later)
        return pending

    def _is_to_do(self, job: Record) -> bool:
        known = self.records.get(job.name)
        if known is None or not is_current(job, self.records):
            return True
        again = known.failure == "crashed" or (known.status == "done" and self._has_lost_its_analysis(job))
        return again and job.name not in self.attempted

    def _has_lost_its_analysis(self, job: Record) -> bool:
        """Whether attention is to be measured, and is not, though the run is still there."""
        if not self.declaration.attention or job.phase != "final" or not self.folder.run(job.name).model.exists():
            return False
        try:
            return self.folder.read_analysis(job.name) is None
        except InputError:
            return True

    def _start(self, job: Record) -> Worker:
        self._make_way(job)
        self.attempted.add(job.name)
        known = self.records.get(job.name)
        ours = known if known is not None and known.hash == job.hash else None
        if ours is None or ours.status != "done":
            self.records[job.name] = replace(job, started=now(), resumed=ours.resumed if ours else ())
            self.folder.write_record(self.records[job.name])
        self.folder.logs.mkdir(exist_ok=True)
        log = self.folder.logs / f"{job.name}.log"
        command = [*self.command, str(self.folder.path), job.name]
        with log.open("a", encoding="utf-8") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=worker_environment(self.at_once),
                pass_fds=() if self.lock is None else (self.lock,),
                start_new_session=True,  # Ctrl-C reaches us alone, and we pass it on once
            )
        return Worker(job, process, log, Run(work(job)))

    def _make_way(self, job: Record) -> None:
        """Move away what is there of a run that was done with other settings, or of which nothing is known."""
        known = self.records.get(job.name)
        if known is not None and known.hash == job.hash:
            return
        if known is not None:
            self.progress.note(f"{job.name} was run with other settings: it is moved to {self.folder.stale}")
        self.folder.set_aside(job.name)

    def _wait(self, workers: list[Worker]) -> None:
        """Wait until one has ended, or a signal asks to stop."""
        while all(worker.process.poll() is None for worker in workers):
            if self._signal is not None:
                _end(workers)
                raise Stopped(self._signal)
            self.progress.show({worker.job.name: worker.run for worker in workers})
            time.sleep(POLL_SECONDS)
        for worker in [w for w in workers if w.process.poll() is not None]:
            workers.remove(worker)
            self._ended(worker)

    def _ended(self, worker: Worker) -> None:
        code, name = worker.wait(), worker.job.name
        if self._signal is not None and code in (130, 143, -signal.SIGTERM, -signal.SIGINT):
            raise Stopped(self._signal)
        if code == 2:
            self._cannot_be_done(name, last_line(worker.log))
            return
        if code == 3:
            raise NoRoom(f"{name}: {last_line(worker.log)}; what is done is kept, the same command goes on")
        record = self.folder.read_record(name)
        if code and record is not None and record.status == "done":
            self._cannot_be_done(name, f"its attention cannot be measured: {last_line(worker.log)}")
            return
        if record is None or record.status == "running":
            record = self._crashed(worker, code)
        self.records[name] = record
        self.progress.ended(record, worker.run)

    def _cannot_be_done(self, name: str, reason: str) -> None:
        self.undone[name] = reason
        self.progress.note(f"{name} could not be done: {reason}")

    def _crashed(self, worker: Worker, code: int) -> Record:
        reason = f"killed by {signal.Signals(-code).name}" if code < 0 else last_line(worker.log)
        if code == -signal.SIGKILL:
            reason += ", perhaps for want of memory"
        record = replace(worker.job, status="failed", failure="crashed", reason=reason, finished=now())
        self.folder.write_record(record)
        return record

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def handle(number: int, frame: FrameType | None) -> None:
            self._signal = number

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _end(workers: list[Worker]) -> None:
    """Ask runs to stop, and wait until they have written their checkpoints."""
    for worker in workers:
        worker.process.terminate()  # once: a second signal would cut a checkpoint short
    while workers:
        workers.pop().wait()


def worker_environment(at_once: int) -> dict[str, str]:
    """Each run gets its share of the processors, unless the user has said how many threads to use. Threads of runs
    side by side do not spin while they wait."""
    threads = max(1, available_cores() // at_once)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    if at_once > 1:
        environment.pop(SPIN_COUNT, None)
        environment[WAIT_POLICY] = "PASSIVE"
    return environment


def last_line(log: Path) -> str:
    """The last line of a log, which says what went wrong."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"see {log}"
