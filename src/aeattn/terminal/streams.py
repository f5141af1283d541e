"""Standard streams that are closed, or whose reader goes away."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


@contextmanager
def standard_streams() -> Iterator[None]:
    """In the block there are all three; at its end nothing is left in them that cannot be written, which Python
    would complain of when it ends."""
    for number, (name, mode) in enumerate(_STREAMS):
        _open(number, name, mode)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)


def _open(number: int, name: str, mode: str) -> None:
    """The null device where a stream is closed. Its number must be taken: the next file that is opened would get
    it, and a checkpoint what a compiler says."""
    try:
        os.fstat(number)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_RDWR), number)  # inheritable, as the three are
    if getattr(sys, name) is None:
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            stream.flush()
    except ValueError:  # it was closed
        pass
