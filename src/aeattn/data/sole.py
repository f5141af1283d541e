"""An entry of the cache that takes long to make: one process makes it, the others wait, and one that is killed has
not worked for nothing.

While an entry K is made, there lie beside it `.K.partial`, the content so far; `.K.rows`, the numbers of the
documents that are done; `.K.journal`, which says every few seconds how far both are, with their checksums; and
`.K.lock`, held by the process that makes it. Whoever finds a journal goes on from it, if the files are what it
says. What nobody has gone on with for a day is removed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeattn.data.fetch import Progress
from aeattn.errors import InputError
from aeattn.files import Json, Lock, beside, cache_refusals, cached_json, remove_leftovers

ABANDONED_SECONDS = 24 * 3600.0
PATIENCE_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Places:
    """What lies beside an entry while it is made."""

    partial: Path
    rows: Path
    journal: Path

    @classmethod
    def of(cls, path: Path) -> Places:
        """Those that the next process finds."""
        return cls(*(path.with_name(f".{path.name}.{kind}") for kind in ("partial", "rows", "journal")))

    @classmethod
    def apart(cls, path: Path) -> Places:
        """Those of this thread alone, for file systems without locks."""
        return cls(*(beside(path, f".{kind}.tmp") for kind in ("partial", "rows", "journal")))

    def remove(self) -> None:
        for path in (self.journal, self.partial, self.rows):
            with suppress(OSError):
                path.unlink(missing_ok=True)


@contextmanager
def sole(path: Path, progress: Progress | None = None) -> Iterator[Places]:
    """Where to make an entry, which no other process does meanwhile: waits for one that does. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, of_the_dead=True)
    _remove_abandoned(path)
    lock = _lock(path, progress)
    try:
        yield Places.apart(path) if lock.warning else Places.of(path)
    finally:
        _lock_file(path).unlink(missing_ok=True)
        lock.release()


def made_once(
    path: Path,
    make: Callable[[], Mapping[str, Any]],
    check: Callable[[Json], object] = bool,
    progress: Progress | None = None,
) -> Json:
    """`files.cached_json` of what takes long: of several processes one makes it, and the others wait. Raises
    InputError."""
    if path.exists():
        return cached_json(path, make, check)
    with cache_refusals(path), sole(path, progress):
        return cached_json(path, make, check)


def _lock(path: Path, progress: Progress | None) -> Lock:
    """The lock of an entry. Its file is removed by whoever held it, so it may be gone when we have it."""
    file = _lock_file(path)
    while True:
        try:
            lock = Lock(file)
        except InputError:
            if progress:
                progress(f"another process is making {path}: waiting for it")
            lock = Lock(file, wait=PATIENCE_SECONDS)
        with suppress(FileNotFoundError):
            if lock.warning or os.fstat(lock.descriptor or 0).st_ino == file.stat().st_ino:
                return lock
        lock.release()


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _remove_abandoned(path: Path) -> None:
    """What other entries were to be made from, if nobody has worked on it for long and nobody holds it."""
    for left in (found for kind in ("partial", "rows") for found in path.parent.glob(f".*.{kind}")):
        other = left.with_name(left.name[1:].rpartition(".")[0])
        with suppress(OSError, InputError):
            if other == path or time.time() - left.stat().st_mtime < ABANDONED_SECONDS:
                continue
            with Lock(_lock_file(other)):
                Places.of(other).remove()
                _lock_file(other).unlink(missing_ok=True)
