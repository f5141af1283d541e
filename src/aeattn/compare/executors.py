"""Where runs are done: what the runner knows of it, and the registry of executors that do them elsewhere."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from aeattn.compare.progress import Run
from aeattn.compare.records import Record
from aeattn.config.convert import check_choice
from aeattn.config.plugins import GROUP, load_plugins
from aeattn.errors import InputError
from aeattn.files import Json
from aeattn.host import available_cores

BAD_INPUT, NO_ROOM, NOT_HERE = 2, 3, 4  # exit codes of a run that could not be done; NOT_HERE: on this machine
LOCAL = "local"

# -- what the runner knows ----------------------------------------------------------------------------------


class End(NamedTuple):
    """How an attempt at a run ended: the exit code of `compare.worker`, negative for a signal, and the last line
    that was said. What came of it stands in its record."""

    code: int
    reason: str


class Attempt(Protocol):
    """A run under way."""

    @property
    def job(self) -> Record: ...

    @property
    def run(self) -> Run:
        """Where it stands."""

    def ended(self) -> End | None:
        """None while it goes on. When it is done, its record is in the comparison's folder."""


class Place(Protocol):
    """Where runs are done: processes of this machine (`local.Here`), or an executor's workers
    (`elsewhere.Elsewhere`)."""

    at_once: int
    after_stop: str  # what a person is told of runs that were stopped
    keeps_runs: bool  # run folders lie in the comparison's, and can be measured again

    def start(self, job: Record) -> Attempt:
        """Begin a run, whose record says `running`."""

    def stop(self, attempts: list[Any]) -> None:
        """End what is under way, and take it off the list."""


# -- executors ----------------------------------------------------------------------------------------------


class Future(Protocol):
    """As those of `concurrent.futures`."""

    def done(self) -> bool: ...

    def result(self) -> Any: ...

    def cancel(self) -> Any: ...


class Executor:
    """What does runs of a comparison elsewhere: `submit` is all that it needs. docs/clusters.md has an example.

    Stable: the constructor's arguments and the methods.

    Args:
        address: What follows the name's colon in `--on name:address`, or nothing.
        jobs: How many runs at a time are wanted.
        folder: A folder for files of its own, kept with the comparison; it may not exist yet.

    Raises:
        InputError: What it cannot use.
    """

    retries = 2  # how often a run is handed in again whose worker was lost

    def __init__(self, address: str, jobs: int, folder: Path) -> None:
        raise NotImplementedError

    def submit(self, function: Callable[[Json], Json], parcel: Json) -> Future:
        """Have `function(parcel)` called by a worker, with a copy of this package. Both are picklable."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is wanted any more."""

    def about(self) -> Sequence[str]:
        """What a person may want to know at the start, such as the link of a dashboard."""
        return ()

    def heard(self) -> Iterable[tuple[str, Json]]:
        """What workers said since the last time: the name of a run, and where it stands as a `progress.Line`.
        Under the name "" a note for people, {"note": ...}."""
        return ()

    def leave_out(self, worker: str, reason: str) -> bool:
        """Give no more runs to a worker that cannot do them; whether others can be tried. Raises InputError where
        none are left."""
        return False

    def gives_up(self, error: BaseException) -> bool:
        """Whether it has tried other workers itself before it failed with this."""
        return False


Kind = TypeVar("Kind", bound=type[Executor])
BUILT_IN = {  # name: module, the package that it needs
    "dask": ("aeattn.compare.on_dask", "distributed"),
    "slurm": ("aeattn.compare.on_slurm", "submitit"),
}
_registered: dict[str, type[Executor]] = {}


def register_executor(name: str) -> Callable[[Kind], Kind]:
    """A decorator: register a class of executors, which `--on NAME` chooses.

    Args:
        name: Letters, digits and _.

    Returns:
        A function that takes the class and returns it.

    Raises:
        InputError: A name that is taken, or cannot be.

    Stable: all of this.
    """

    def register(kind: Kind) -> Kind:
        reserved = name in BUILT_IN and kind.__module__ != BUILT_IN[name][0]
        if not name.isidentifier() or name == LOCAL or name in _registered or reserved:
            raise InputError(f"executor {name!r} cannot be registered: choose another name, of letters and digits")
        _registered[name] = kind
        return kind

    return register


@dataclass(frozen=True)
class Chosen:
    """An executor by its class, and the address that it is to be made with."""

    kind: type[Executor]
    address: str


def choose(on: str | None) -> Chosen | None:
    """What `--on` means: NAME, NAME:ADDRESS, or a file that registers an executor in place of the name. None for
    runs on this machine.

    Raises InputError for an unknown name, and where a package is missing.
    """
    name, _, address = (LOCAL if on is None else on).partition(":")
    if name == LOCAL:
        return None
    if name in BUILT_IN:
        module, package = BUILT_IN[name]
        if importlib.util.find_spec(package) is None:
            raise InputError(f"--on {name} needs {package}: pip install 'autoencoder-attention[cluster]'")
        importlib.import_module(module)
    elif name.endswith(".py"):
        name = _of_file(name)
    elif name not in _registered and name in {point.name for point in entry_points(group=GROUP)}:
        load_plugins([name])
    check_choice(name, [LOCAL, *BUILT_IN, *_registered], "--on")
    return Chosen(_registered[name], address)


def check_jobs(jobs: int) -> None:
    """Raise InputError for more runs at once on this machine than it has processors, or none."""
    if not 1 <= jobs <= available_cores():
        raise InputError(f"--jobs is {jobs}: choose from 1 to {available_cores()}, the processors there are")


def _of_file(name: str) -> str:
    """The executor that a plug-in registers, under the file's name or as its only one."""
    [path] = load_plugins([name])
    theirs = [known for known, kind in _registered.items() if _file_of(kind) == path]
    if len(theirs) != 1:
        raise InputError(f"--on {name}: it registers {len(theirs)} executors: have one of them in a file")
    return theirs[0]


def _file_of(kind: type[Executor]) -> str | None:
    import sys

    return getattr(sys.modules.get(kind.__module__), "__file__", None)
