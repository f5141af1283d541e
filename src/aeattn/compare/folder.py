"""The folder of a comparison: what was declared, one JSON record a run, and what was concluded."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from aeattn.analysis.results import RunAnalysis
from aeattn.compare.convert import check_format
from aeattn.compare.records import Record
from aeattn.errors import Damaged, InputError
from aeattn.files import Lock, read_json, write_json
from aeattn.runs.folder import RunFolder

LOCK_SECONDS = 10.0  # runs whose comparison was killed notice it within a second or a step, and let go


class Folder:
    """The files of one comparison, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.toml, self.spec, self.summary = path / "spec.toml", path / "spec.json", path / "summary.json"
        self.writing, self.steps = path / "writing.json", path / "steps.json"
        self.records, self.runs, self.analysis = path / "records", path / "runs", path / "analysis"
        self.logs, self.stale, self.ignore = path / "logs", path / "stale", path / ".gitignore"
        self.executor, self.studies = path / "executor", path / "optuna.journal"

    def record_path(self, name: str) -> Path:
        return self.records / f"{name}.json"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def run(self, name: str) -> RunFolder:
        """The run folder of a record; it may have been deleted."""
        return RunFolder(self.runs / name)

    def write_record(self, record: Record) -> None:
        self.records.mkdir(parents=True, exist_ok=True)
        write_json(self.record_path(record.name), record.to_dict())

    def read_record(self, name: str) -> Record | None:
        """The record of a run, None where there is none. Raises InputError for a damaged one."""
        path = self.record_path(name)
        if not path.exists():
            return None
        mend = f"record {path} is damaged; delete it, and `aeattn compare` makes it again"
        return Record.from_dict(read_json(path, mend), str(path))

    def read_records(self, on_damage: Callable[[Path, InputError], None] | None = None) -> list[Record]:
        """All records, by name. A damaged one is handed to `on_damage`, or raises InputError without it."""
        found = []
        for path in sorted(self.records.glob("*.json")):
            try:
                record = self.read_record(path.stem)
                if record is not None and record.name != path.stem:
                    raise Damaged(f"record {path} calls itself {record.name!r}: give it back its own name")
            except InputError as error:
                if on_damage is None:
                    raise
                on_damage(path, error)
            else:
                found += [record] if record is not None else []
        return found

    def read_analysis(self, name: str) -> RunAnalysis | None:
        """What was measured of a run's attention, None where nothing was. Raises InputError for a damaged file."""
        path = self.analysis / f"{name}.json"
        if not path.exists():
            return None
        values = read_json(path, f"{path} is damaged: delete it")
        check_format(values.get("format"), str(path))
        return RunAnalysis.from_dict(values, str(path))

    def write_analysis(self, analysis: RunAnalysis) -> None:
        self.analysis.mkdir(parents=True, exist_ok=True)
        write_json(self.analysis / f"{analysis.name}.json", analysis.to_dict())

    def set_aside(self, name: str) -> None:
        """Move what is there of a run to `stale/`, where nothing is averaged and nothing lost."""
        self._set_aside(name, self.record_path(name), self.analysis / f"{name}.json", self.runs / name)

    def set_run_aside(self, name: str) -> None:
        """The same of the run folder alone: its record says what to do."""
        self._set_aside(name, self.runs / name)

    def _set_aside(self, name: str, *sources: Path) -> None:
        target = next(p for i in count(1) if not (p := self.stale / f"{name}-{i}").exists())
        for source in sources:
            if source.exists():
                target.mkdir(parents=True, exist_ok=True)
                shutil.move(source, target / f"{source.parent.name}{'' if source.is_dir() else '.json'}")

    @contextmanager
    def locked(self) -> Iterator[Lock]:
        """Keep others out of the folder; children inherit the descriptor of what is yielded, and the lock with it.

        Raises InputError where another comparison is at work here.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be made ({error.strerror}): name another folder with --out"
            ) from error
        busy = f"{self.path} is in use by another `aeattn compare`: wait, or stop it"
        with Lock(self.path / ".lock", busy, LOCK_SECONDS) as lock:
            yield lock
