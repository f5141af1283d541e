"""What a tracker is, and the registry of kinds: TensorBoard and services that keep what is measured while a model
trains. Without PyTorch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aeattn.errors import InputError, meant
from aeattn.files import Json

PACKAGE = "autoencoder-attention"


@dataclass(frozen=True)
class Tracked:
    """What a tracker is told of a run.

    id: 32 hexadecimal digits, the same whenever this run goes on.
    name: that of the run's folder.
    project: what follows the colon in `--track wandb:PROJECT`.
    folder: a folder in the run's, for what the tracker keeps there.
    step: up to which it was sent everything, as far as the run's folder says; 0 where the run begins.
    config, environment: as in the run's config.json, and `hardware.describe()`.
    """

    id: str
    name: str
    project: str | None
    folder: Path
    step: int
    config: Json
    environment: Json


class Tracker:
    """Keeps the lines of `metrics.jsonl` and the samples of one run somewhere else.

    Its methods are called one after another in a thread of its own, for which training does not wait. Whatever
    they raise is told in one line, and training goes on without the tracker.

    Stable: the methods and `where`.
    """

    where = ""
    """Where a person finds the run, known when `begin` returns."""

    has_projects = True
    """Whether a project may be named."""

    def begin(self, run: Tracked) -> int | None:
        """Begin to track a run, or go on with the one of this id. Returns the last step that the tracker has of
        it, 0 where it has none; None where it cannot tell, then `run.step` is taken for it."""
        raise NotImplementedError

    def log(self, step: int, metrics: Mapping[str, float], sample: str | None) -> None:
        """All there is of a step, once: losses in nats a character and what else a line of `metrics.jsonl` has but
        for `step`, and the text that the model has written. Steps rise. It must be kept when this returns."""
        raise NotImplementedError

    def end(self, done: bool) -> None:
        """Nothing more comes from this process; `done`: the training has ended by itself."""


@dataclass(frozen=True)
class Kind:
    """A kind of tracker: its name, its class, the module that it needs, and what to install for that."""

    name: str
    make: Callable[[], Tracker]
    needs: str | None
    install: str
    has_projects: bool


TRACKERS: dict[str, Kind] = {}
T = TypeVar("T", bound=type[Tracker])


def register_tracker(name: str, needs: str | None = None, install: str | None = None) -> Callable[[T], T]:
    """A decorator: let `--track NAME` choose a class of trackers, which is made without arguments.

    Args:
        name: Letters, digits, - and _.
        needs: A module that must be there.
        install: What pip is to install for it, the module's name unless given.

    Returns:
        A function that takes the class and returns it.

    Raises:
        ValueError: A name that another class has, or that cannot be.
        TypeError: What is no subclass of Tracker.

    Stable: all of this.
    """

    def register(made: T) -> T:
        if not (isinstance(made, type) and issubclass(made, Tracker)):
            raise TypeError(f"{made!r} is no class of trackers: derive it from aeattn.Tracker")
        if not name.replace("-", "_").isidentifier():
            raise ValueError(f"tracker {name!r}: choose a name of letters, digits, - and _")
        taken = TRACKERS.get(name)
        home = (made.__module__, made.__qualname__)
        if taken is not None and home != (taken.make.__module__, getattr(taken.make, "__qualname__", "")):
            raise ValueError(f"tracker {name!r} is there already: choose another name")
        TRACKERS[name] = Kind(name, made, needs, install or needs or "", made.has_projects)
        return made

    return register


def kind_of(wanted: str) -> tuple[Kind, str | None]:
    """The kind that `NAME` or `NAME:PROJECT` names, and the project. Raises InputError."""
    from aeattn.training import trackers  # noqa: F401  registers those of the package

    name, colon, project = wanted.partition(":")
    kind = TRACKERS.get(name)
    if kind is None:
        raise InputError(f"tracker {name[:50]!r} is unknown: {meant(name, TRACKERS)}")
    if colon and not (project.strip() and kind.has_projects):
        mend = f"write {name}:PROJECT, or {name}" if kind.has_projects else f"write {name}"
        raise InputError(f"tracker {wanted[:80]!r} cannot be: {mend}")
    return kind, project or None


def check_trackers(names: Sequence[str]) -> None:
    """Raise InputError for a tracker that is unknown or named twice, and where its package is not installed."""
    kinds = [kind_of(name)[0] for name in names]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise InputError(f"tracker {kind.name} is named twice: name it once")
        if kind.needs is not None and not _is_there(kind.needs):
            raise InputError(f"tracker {kind.name} needs the package {kind.needs}: pip install '{kind.install}'")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
