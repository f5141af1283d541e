"""The folder of a comparison: what was declared, one JSON record a run, and what was concluded."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

from aeattn.analysis.results import RunAnalysis
from aeattn.config.convert import check_keys
from aeattn.errors import InputError
from aeattn.files import Lock, read_json, write_json
from aeattn.runs.folder import RunFolder

LOCK_SECONDS = 10.0  # runs whose comparison was killed notice it within a second or a step, and let go
FORMAT = 1  # of the files of a comparison; raised when older versions of this package could not read them

Phase = Literal["tune", "final"]
Status = Literal["running", "done", "failed"]
Failure = Literal["diverged", "crashed"]


@dataclass(frozen=True)
class Cost:
    """What a run cost. Operations are those of `nn/sizing.py`; seconds are those of training alone, without
    compiling and evaluation; `peak_memory_bytes` is the most that the process (or its GPU) held; cache bytes
    are kept for one character of the past in float32, the latent ones None where that is not exact."""

    seconds: float
    chars: int
    chars_per_second: float
    train_flops: float
    train_flops_per_char: int
    parameters: int
    cache_bytes: int
    latent_cache_bytes: int | None
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Record:
    """One run of a comparison, as `records/<name>.json`.

    Attributes:
        name: of the record and of the run folder beside it: `<phase>-<arm>[-rate<factor>|-trial<n>]-seed<seed>`.
        hash: over everything that determines the run (`job_hash`); another one means that the record is stale.
        spec: the hash of the declaration that it was run for.
        rate: the factor on both learning rates of the base.
        trial: the number in a search by Optuna, and `settings` what it tried; None and {} on a grid.
        status, failure, reason: a failed run has no figures. `diverged` is a result, `crashed` is tried again.
        config: the whole resolved `RunConfig`.
        environment: versions, hardware, commit, dirty flag, threads.
        text: characters and SHA-256 of both sides of the text.
        batches: SHA-256 of where the first batches stand in the text: equal in runs that are paired.
        valid: `nats_per_char`, `chars`, and `files`, the same for each document with its `name`.
        train_nats: the smoothed training loss at the end, in nats a character.
        curve: the lines of metrics.jsonl.
        samples: what the model wrote as training went on: `step`, `text`.
        floor_nats: the lowest possible loss, where the text's entropy is known.
    """

    name: str
    hash: str
    spec: str
    phase: Phase
    arm: str
    seed: int
    rate: float
    status: Status
    config: dict[str, Any]
    trial: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    reason: str | None = None
    started: str | None = None
    finished: str | None = None
    environment: dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    batches: str | None = None
    valid: dict[str, Any] | None = None
    train_nats: float | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    floor_nats: float | None = None
    cost: Cost | None = None

    @property
    def nats_per_char(self) -> float | None:
        """The validation loss, None where the run has not succeeded."""
        return self.valid["nats_per_char"] if self.status == "done" and self.valid else None

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> Record:
        """Raises InputError for what is no record."""
        values = dict(values)
        check_format(values.pop("format", None), where)
        check_keys(values, list(cls.__dataclass_fields__), where)
        try:
            cost = values.get("cost")
            return cls(**{**values, "cost": None if cost is None else Cost(**cost)})
        except TypeError as error:
            raise InputError(f"{where} is damaged ({error}): delete it, and the run will be done again") from error


def check_format(found: object, where: str) -> None:
    """Raise InputError for a file of a later version."""
    if not isinstance(found, int) or found > FORMAT:
        raise InputError(f"{where} has format {found!r}, this version reads up to {FORMAT}: update aeattn")


def digest(values: Any) -> str:
    """A hash over JSON values that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class Folder:
    """The files of one comparison, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.toml, self.spec, self.summary = path / "spec.toml", path / "spec.json", path / "summary.json"
        self.records, self.runs, self.analysis = path / "records", path / "runs", path / "analysis"
        self.logs, self.stale, self.ignore = path / "logs", path / "stale", path / ".gitignore"

    def record_path(self, name: str) -> Path:
        return self.records / f"{name}.json"

    def run(self, name: str) -> RunFolder:
        """The run folder of a record; it may have been deleted."""
        return RunFolder(self.runs / name)

    def read_spec(self) -> dict[str, Any]:
        """What was declared. Raises InputError where this is no comparison."""
        values = read_json(self.spec, f"{self.path} is no folder of a comparison")
        check_format(values.get("format"), str(self.spec))
        return values

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
        return list(self._read_records(on_damage))

    def _read_records(self, on_damage: Callable[[Path, InputError], None] | None) -> Iterator[Record]:
        for path in sorted(self.records.glob("*.json")):
            try:
                record = self.read_record(path.stem)
                if record is not None and record.name != path.stem:
                    raise InputError(f"record {path} calls itself {record.name!r}: give it back its own name")
            except InputError as error:
                if on_damage is None:
                    raise
                on_damage(path, error)
                continue
            if record is not None:
                yield record

    def read_analysis(self, name: str) -> RunAnalysis | None:
        """What was measured of a run's attention, None where nothing was. Raises InputError for a damaged file."""
        path = self.analysis / f"{name}.json"
        if not path.exists():
            return None
        values = read_json(path, f"{path} is damaged: delete it")
        check_format(values.get("format"), str(path))
        return RunAnalysis.from_dict(values, str(path))

    def set_aside(self, name: str) -> None:
        """Move what is there of a run to `stale/`, where nothing is averaged and nothing lost."""
        target = next(p for i in count(1) if not (p := self.stale / f"{name}-{i}").exists())
        sources = (self.record_path(name), self.analysis / f"{name}.json", self.runs / name)
        for source in sources:
            if source.exists():
                target.mkdir(parents=True, exist_ok=True)
                shutil.move(source, target / f"{source.parent.name}{source.suffix}")

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
