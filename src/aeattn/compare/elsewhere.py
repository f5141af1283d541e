"""Runs done by workers of an executor, on other machines or this one, without a file system that they share.

What is needed to do a run travels to the worker as JSON, a *parcel*: the declaration, the record that says what to
do, and the sources of plug-ins. The worker does the run in a temporary folder, by the same process as on this
machine, and what came of it travels back. Texts do not travel: they are known by their hash, and the worker has
them or fetches them.
"""

from __future__ import annotations

import os
import platform
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aeattn.analysis.results import RunAnalysis
from aeattn.compare.convert import from_json
from aeattn.compare.declaration import Declaration
from aeattn.compare.executors import BAD_INPUT, NO_ROOM, NOT_HERE, End, Executor, Future
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import work
from aeattn.compare.local import Process, beside_others
from aeattn.compare.progress import Line, Run
from aeattn.compare.records import Record, now
from aeattn.compare.versions import differences, versions
from aeattn.data.corpora import NAMES
from aeattn.errors import InputError
from aeattn.files import Json, append, read_json, scratch, write_json
from aeattn.host import available_cores

POLL_SECONDS = 0.2
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
LOG_CHARS = 200_000  # of a worker's log that travel back
_unwanted = threading.Event()  # the comparison that this very process runs has been stopped

# -- at the worker ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What travels back: how the run ended, at which worker, and its record where it has one."""

    code: int
    reason: str
    worker: str
    log: str = ""
    record: Json | None = None
    analysis: Json | None = None


def perform(
    parcel: Json,
    tell: Callable[[Json], None] = lambda line: None,
    wanted: Callable[[], bool] = lambda: not _unwanted.is_set(),
    threads: int | None = None,
    worker: str | None = None,
) -> Json:
    """Do the run of a parcel here; returns an `Outcome` as JSON.

    Args:
        tell: gets each line in which the run says where it stands.
        wanted: asked several times a second; the run is broken off where it is not.
        threads: for PyTorch; without it, all that this process may use, or as many as `$OMP_NUM_THREADS` says.
        worker: the name of this worker (that of the machine).
    """
    worker = worker or platform.node()
    if others := "; ".join(differences(parcel["versions"], versions().to_dict())):
        return vars(Outcome(NOT_HERE, f"{others}: install the same there", worker))
    try:
        with _temporary() as path:
            return vars(_performed(Folder(path), parcel, tell, wanted, _environment(threads), worker))
    except OSError as error:
        return vars(Outcome(NO_ROOM, str(error), worker))


def _performed(
    folder: Folder,
    parcel: Json,
    tell: Callable[[Json], None],
    wanted: Callable[[], bool],
    environment: dict[str, str],
    worker: str,
) -> Outcome:
    job = {**parcel["record"], "started": now()}
    name = str(job["name"])
    write_json(folder.spec, parcel["declaration"])
    folder.records.mkdir()
    write_json(folder.record_path(name), {**job, "config": _config_here(job["config"], parcel["plugins"], folder)})
    process = Process(folder, name, environment, tell)
    try:
        while (end := process.ended()) is None and wanted():
            time.sleep(POLL_SECONDS)
    finally:
        process.kill()  # it is over, or nobody wants it
        end = process.wait()
    record = read_json(folder.record_path(name), "the record of a run")
    record["config"] = _config_there(record["config"], job["config"])
    measured = folder.analysis / f"{name}.json"
    return Outcome(
        *end,
        worker,
        folder.log(name).read_text(encoding="utf-8", errors="replace")[-LOG_CHARS:],
        record,
        read_json(measured, "an analysis") if measured.exists() else None,
    )


@contextmanager
def _temporary() -> Iterator[Path]:
    """A folder of our own under $TMPDIR."""
    base = Path(tempfile.gettempdir()) / f"aeattn-{_user()}"
    base.mkdir(mode=0o700, exist_ok=True)
    if base.is_symlink() or (os.name == "posix" and base.stat().st_uid != _user()):
        raise PermissionError(f"{base} belongs to somebody else: set TMPDIR to another folder")
    with scratch(base) as path:
        yield path


def _user() -> int:
    return os.getuid() if os.name == "posix" else 0


def _environment(threads: int | None) -> dict[str, str]:
    cores = available_cores()
    wanted = str(threads) if threads else os.environ.get("OMP_NUM_THREADS", str(cores))
    environment = {**os.environ, "OMP_NUM_THREADS": wanted}
    return beside_others(environment) if int(wanted) < cores else environment


def _config_here(config: Json, plugins: dict[str, str], folder: Folder) -> Json:
    """A run's config with the paths that texts and plug-ins have on this machine."""
    data = {**config["data"]}
    for side in ("corpus", "valid"):
        data[side] = [_found(name) for name in data[side]]
    here = {}
    for i, (name, source) in enumerate(plugins.items()):
        path = folder.path / "plugins" / str(i) / Path(name).name
        path.parent.mkdir(parents=True)
        path.write_text(source, encoding="utf-8")
        here[name] = str(path)
    named = [here.get(name, name) for name in config.get("plugins", ())]
    return {**config, "data": data, **({"plugins": named} if named else {})}


def _found(name: str) -> str:
    """A text at its own path, else under $AEATTN_CORPORA by as much of the end of its path as is there."""
    path, base = Path(name), os.environ.get("AEATTN_CORPORA")
    if base is None or name in NAMES or not path.is_absolute() or path.exists():
        return name
    ends = (Path(base, *path.parts[i:]) for i in range(1, len(path.parts)))
    return next((str(end) for end in ends if end.exists()), name)


def _config_there(config: Json, declared: Json) -> Json:
    """The config of a finished run with the paths that were declared."""
    data = {**config["data"], **{side: declared["data"][side] for side in ("corpus", "valid")}}
    plugins = {"plugins": declared["plugins"]} if "plugins" in declared else {}
    return {**config, "data": data, **plugins}


# -- at home ------------------------------------------------------------------------------------------------


class Away:
    """A run that was handed in."""

    def __init__(self, job: Record, place: Elsewhere) -> None:
        self.job, self.run, self._place, self._tries = job, Run(work(job)), place, 0
        self._hand_in()

    def _hand_in(self) -> None:
        self.run.first, self.run.last = None, Line(0, 0, 0.0)
        self.future: Future = self._place.executor.submit(perform, self._place.parcel(self.job))

    def ended(self) -> End | None:
        """None while it waits or goes on, or goes on elsewhere."""
        self._place.hear()
        if not self.future.done():
            return None
        try:
            outcome = from_json(Outcome, self.future.result(), "what a worker sent")
        except InputError:
            raise
        except BaseException as error:  # whatever the executor raises for a worker that is gone
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            return self._lost(f"{type(error).__name__}: {error}", self._place.executor.gives_up(error))
        return self._came(outcome)

    def _came(self, outcome: Outcome) -> End | None:
        name, where = self.job.name, f"worker {outcome.worker}"
        if outcome.log:
            self._place.keep_log(name, f"-- {where}\n{outcome.log}\n")
        if outcome.code in (NOT_HERE, NO_ROOM):
            if not self._place.executor.leave_out(outcome.worker, outcome.reason):
                return End(BAD_INPUT, f"{where}: {outcome.reason}")
            self._place.say(f"{where} is left out: {outcome.reason}")
            self._hand_in()
            return None
        if outcome.code < 0 or outcome.code in STOPPED:
            return self._lost(f"{where}: {outcome.reason}")
        if outcome.code == 0:
            self._place.bring_home(self.job, outcome)
        return End(outcome.code, f"{where}: {outcome.reason}" if outcome.code else "")

    def _lost(self, reason: str, for_good: bool = False) -> End | None:
        """Again, elsewhere if the executor will have it so, up to so many times."""
        reason = reason.strip().splitlines()[-1][:300]
        self._tries += 1
        if for_good or self._tries > self._place.executor.retries:
            return End(1, f"its worker was lost, the last of {self._tries}: {reason}")
        self._place.say(f"{self.job.name}: its worker was lost ({reason}), it begins again")
        self._hand_in()
        return None


class Elsewhere:
    """The place of runs that an executor's workers do. The comparison's folder gets records, analyses and logs;
    run folders stay with the workers, and are removed there."""

    after_stop = "what came home is kept, the same command goes on; runs that were under way begin again"
    keeps_runs = False

    def __init__(
        self,
        folder: Folder,
        declaration: Declaration,
        executor: Executor,
        at_once: int,
        say: Callable[[str], None],
    ) -> None:
        self.folder, self.executor, self.at_once, self.say = folder, executor, at_once, say
        self._under_way: dict[str, Away] = {}
        sources = {name: Path(name) for name in declaration.plugins if Path(name).is_file()}
        self._parcel = {
            "versions": versions().to_dict(),
            "declaration": declaration.to_dict(),
            "plugins": {name: path.read_text(encoding="utf-8") for name, path in sources.items()},
        }
        _unwanted.clear()

    def parcel(self, job: Record) -> Json:
        return {**self._parcel, "record": job.to_dict()}

    def start(self, job: Record) -> Away:
        self._under_way[job.name] = Away(job, self)
        return self._under_way[job.name]

    def hear(self) -> None:
        """Take in what workers said."""
        for name, line in self.executor.heard():
            if not name:
                self.say(str(line["note"]))
            elif name in self._under_way:
                self._under_way[name].run.update(from_json(Line, line, "a line of a worker"))

    def stop(self, attempts: list[Away]) -> None:
        """Cancel what waits, and tell what goes on that it is not wanted."""
        _unwanted.set()
        while attempts:
            attempts.pop().future.cancel()

    def keep_log(self, name: str, text: str) -> None:
        self.folder.logs.mkdir(exist_ok=True)
        append(self.folder.log(name), text)

    def bring_home(self, job: Record, outcome: Outcome) -> None:
        """Write what a worker sent, the record last. Raises InputError for what is no record of this run."""
        record = Record.from_dict(outcome.record or {}, f"what worker {outcome.worker} sent")
        if (record.name, record.hash) != (job.name, job.hash):
            raise InputError(
                f"worker {outcome.worker} sent {record.name} where {job.name} was asked for: update it"
            )
        if outcome.analysis is not None:
            self.folder.write_analysis(RunAnalysis.from_dict(outcome.analysis, f"what {outcome.worker} sent"))
        if self.folder.run(job.name).path.exists():  # begun on this machine, and not finished
            self.folder.set_run_aside(job.name)
        self.folder.write_record(record)
