"""One process at a time in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aeattn.errors import InputError

WAIT_SECONDS = 10.0  # runs whose comparison was killed notice it within a second or a step, and let go


@contextmanager
def hold(path: Path, complaint: str, wait: float = WAIT_SECONDS) -> Iterator[int]:
    """Hold the lock on a file; yields its descriptor. It is let go when every process that inherited the
    descriptor has closed it, however they ended. Raises InputError where it is not free in time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + wait
        while not _take(descriptor):
            if time.monotonic() > deadline:
                raise InputError(complaint)
            time.sleep(0.2)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
