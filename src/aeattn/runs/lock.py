"""One process a run folder: a lock that the system takes back when its owner ends, however it ends."""

from __future__ import annotations

import os
from pathlib import Path

from aeattn.errors import InputError

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]


class Lock:
    """Holds a folder until `release`. Raises InputError where another process holds it.

    The lock is on the folder itself (flock(2)), so that no file is left behind. `warning` says where the file
    system has no locks; nothing is held then.
    """

    def __init__(self, folder: Path) -> None:
        self.warning: str | None = None
        self._descriptor: int | None = None
        if fcntl is None:
            self.warning = _no_lock(folder, "this system has none")
            return
        self._descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise InputError(
                f"{folder} is in use by another process: wait until it ends, or stop it, and try again"
            ) from None
        except OSError as error:
            self.release()
            self.warning = _no_lock(folder, error.strerror or str(error))

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _no_lock(folder: Path, reason: str) -> str:
    return f"{folder} cannot be locked ({reason}): make sure that no other process trains there"
