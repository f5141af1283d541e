"""Does the runs that a declaration asks for and the folder lacks, some at a time, here or elsewhere."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from aeattn.compare.declaration import Declaration
from aeattn.compare.executors import BAD_INPUT, NO_ROOM, NOT_HERE, Attempt, End, Place
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import Records, is_current, jobs, untuned_work, work
from aeattn.compare.progress import GridProgress
from aeattn.compare.records import Record, now
from aeattn.errors import Damaged, InputError

POLL_SECONDS = 0.1


class Stopped(Exception):
    """A signal asked to stop; no run is under way any more."""

    def __init__(self, number: int, how_to_go_on: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; {how_to_go_on}")
        self.exit_code = 128 + number


class NoRoom(Exception):
    """A run could not be done for reasons of the system, such as a full disk."""

    exit_code = 1


@dataclass
class Runner:
    """Runs what is missing or stale of a declaration. `undone` says why runs cannot be done as things are; `keep`
    is told of the records at the start, and whenever one is new."""

    folder: Folder
    declaration: Declaration
    progress: GridProgress
    place: Place
    keep: Callable[[Records], None] = lambda records: None
    records: dict[str, Record] = field(default_factory=dict)
    attempted: set[str] = field(default_factory=set)
    undone: dict[str, str] = field(default_factory=dict)
    _signal: int | None = None

    def run(self) -> Records:
        """Do everything; returns the records. Raises Stopped and NoRoom; InputError, after all else is done, where
        runs have bad input."""
        self.records = {record.name: record for record in self.folder.read_records(self._damaged)}
        attempts: list[Attempt] = []
        with self._signals(), ExitStack() as ending:
            ending.callback(self.place.stop, attempts)  # whatever happens to us, no run goes on alone
            while (pending := self._pending(attempts)) or attempts:
                self.keep(self.records)
                for job in pending[: self.place.at_once - len(attempts)]:
                    attempts.append(self._start(job))
                self._wait(attempts)
        self.keep(self.records)
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

    def _pending(self, attempts: list[Attempt]) -> list[Record]:
        """What is to be done and not under way. A run that crashed is tried again, once each time."""
        wanted = jobs(self.declaration, self.records)
        busy = {attempt.job.name for attempt in attempts} | set(self.undone)
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
        if not (self.declaration.attention and job.phase == "final" and self.place.keeps_runs):
            return False
        if not self.folder.run(job.name).model.exists():
            return False
        try:
            return self.folder.read_analysis(job.name) is None
        except InputError:
            return True

    def _start(self, job: Record) -> Attempt:
        self._make_way(job)
        self.attempted.add(job.name)
        known = self.records.get(job.name)
        ours = known if known is not None and known.hash == job.hash else None
        if ours is None or ours.status != "done":
            self.records[job.name] = replace(job, started=now(), resumed=ours.resumed if ours else ())
            self.folder.write_record(self.records[job.name])
        return self.place.start(job)

    def _make_way(self, job: Record) -> None:
        """Move away what is there of a run that was done with other settings, or of which nothing is known."""
        known = self.records.get(job.name)
        if known is not None and known.hash == job.hash:
            return
        if known is not None:
            self.progress.note(f"{job.name} was run with other settings: it is moved to {self.folder.stale}")
        self.folder.set_aside(job.name)

    def _wait(self, attempts: list[Attempt]) -> None:
        """Wait until one has ended, or a signal asks to stop."""
        while not (over := [(attempt, end) for attempt in attempts if (end := attempt.ended()) is not None]):
            if self._signal is not None:
                self.place.stop(attempts)
                raise Stopped(self._signal, self.place.after_stop)
            self.progress.show({attempt.job.name: attempt.run for attempt in attempts})
            time.sleep(POLL_SECONDS)
        for attempt, end in over:
            attempts.remove(attempt)
            self._ended(attempt, end)

    def _ended(self, attempt: Attempt, end: End) -> None:
        name = attempt.job.name
        if self._signal is not None and end.code in (130, 143, -signal.SIGTERM, -signal.SIGINT):
            raise Stopped(self._signal, self.place.after_stop)
        if end.code in (BAD_INPUT, NOT_HERE):
            self._cannot_be_done(name, end.reason)
            return
        if end.code == NO_ROOM:
            raise NoRoom(f"{name}: {end.reason}; what is done is kept, the same command goes on")
        record = self.folder.read_record(name)
        if end.code and record is not None and record.status == "done":
            self._cannot_be_done(name, f"its attention cannot be measured: {end.reason}")
            return
        if record is None or record.status == "running":
            record = replace(attempt.job, status="failed", failure="crashed", reason=end.reason, finished=now())
            self.folder.write_record(record)
        self.records[name] = record
        self.progress.ended(record, attempt.run)

    def _cannot_be_done(self, name: str, reason: str) -> None:
        self.undone[name] = reason
        self.progress.note(f"{name} could not be done: {reason}")

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
