"""Counts what a process does to the files of a folder, and kills the process at one of these events.

An event is the moment before a file is opened for writing, in the middle of a write, before an fsync, a rename,
a removal, a new folder.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

_AUDITED = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}


def watch(folder: Path, kill_at: int | None, log: int) -> None:
    """From now on, write a line an event to the descriptor `log`, and die at number `kill_at`, counted from 0."""
    counter = _Counter(str(folder.absolute()), kill_at, log)
    sys.addaudithook(counter.audit)
    real_sync, real_open = os.fsync, io.open

    def sync(descriptor: int) -> None:
        counter.happens("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        real_sync(descriptor)

    def open_(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        opened = real_open(file, mode, *rest, **options)
        if isinstance(file, int) or not set(mode) & set("wax+") or not counter.concerns(os.fspath(file)):
            return opened
        return _TornFile(opened, counter, os.fspath(file))

    os.fsync = sync
    io.open = builtins.open = open_  # type: ignore[assignment]


class _Counter:
    def __init__(self, folder: str, kill_at: int | None, log: int) -> None:
        self.folder, self.kill_at, self.log = folder, kill_at, log
        self.count, self.lock = 0, threading.Lock()

    def concerns(self, path: str | bytes) -> bool:
        return os.path.abspath(os.fsdecode(path)).startswith(self.folder)

    def audit(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name in _AUDITED:
            inside_a_folder_being_removed = name in ("os.remove", "os.rmdir") and arguments[1] not in (-1, None)
            if inside_a_folder_being_removed or self.concerns(arguments[0]):
                self.happens(name, arguments[0])
        if name == "open" and isinstance(arguments[0], str | bytes):
            writes = arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if writes and self.concerns(arguments[0]):
                self.happens(name, arguments[0])

    def happens(self, what: str, path: str | bytes) -> None:
        if not (self.concerns(path) or what in ("os.remove", "os.rmdir")):
            return
        with self.lock:
            os.write(self.log, f"{what} {os.path.basename(os.fsdecode(path))}\n".encode())
            if self.count == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            self.count += 1


class _TornFile:
    """A file whose writes are an event when half of them is done."""

    def __init__(self, file: Any, counter: _Counter, path: str) -> None:
        self._file, self._counter, self._path = file, counter, path

    def write(self, content: Any) -> int:
        half = len(content) // 2
        first = self._file.write(content[:half])
        self._file.flush()
        self._counter.happens("write", self._path)
        return int(first + self._file.write(content[half:]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _TornFile:
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._file)
