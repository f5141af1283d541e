"""The one rule: a command is done, or says in one line what is wrong and exits with 2.

It takes a bounded amount of work and memory, and nothing outside the folder that was named is lost or changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import resource
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from aeattn.cli import main
from aeattn.terminal.escaping import escape_controls

WORK = 20_000_000  # calls of functions, Python's and others: the most that a command of these tests may take
MEMORY = 4 << 30  # bytes of addresses beyond those that the process has
COMPLAINT = 2000  # characters of a message, at most


class _TooMuch(BaseException):
    """More work than is allowed."""


@dataclass
class Ended:
    """How a command has ended: its exit code (None where it did not end as it should), and what it said."""

    code: int | None
    out: str = ""
    said: str = ""
    escaped: str = ""


def call(arguments: Sequence[str]) -> Ended:
    """A command in this process, with work and memory bounded."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2)]
    ended = Ended(None)
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]), warnings.catch_warnings():
        warnings.simplefilter("default")
        try:
            with _bounded_memory(), _bounded_work():
                ended.code = main(list(arguments))
        except SystemExit as exit_:  # argparse
            ended.code = exit_.code if isinstance(exit_.code, int) else 1
        except BaseException as error:
            ended.escaped = "".join(traceback.format_exception(error)[-12:])
    for stream in streams:
        stream.flush()
    ended.out, ended.said = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
    return ended


def broken(ended: Ended) -> list[str]:
    """What of the rule does not hold for how a command has ended."""
    if ended.code is None:
        return [f"it did not end: {ended.escaped}"]
    lines = ended.said.strip().splitlines()
    last = lines[-1] if lines else ""
    wrong = {
        f"exit code {ended.code}: {last}": ended.code not in (0, 2),
        f"no line of ours is last: {last!r}": ended.code == 2 and not last.startswith("aeattn"),
        f"a line of {len(last)} characters": len(last) > COMPLAINT,
        "a traceback": "Traceback" in ended.said,
        f"a warning of no use: {ended.said}": "Warning: " in ended.said,
        f"control characters: {last!r}": escape_controls(last) != last,
    }
    return [what for what, holds in wrong.items() if holds]


@dataclass
class Place:
    """A folder with what a command may read and change. It may write new files in `named`, and those
    with a name in `may_change` anywhere."""

    root: Path
    named: Path
    may_change: frozenset[str] = frozenset()
    _before: dict[Path, str] = field(default_factory=dict)

    def __enter__(self) -> Place:
        self._before = snapshot(self.root)
        return self

    def __exit__(self, *_: object) -> None: ...

    def lost(self) -> list[str]:
        """What was there before and is not, or is otherwise, or was added outside the named folder."""
        after = snapshot(self.root)
        kept = {path: sum_ for path, sum_ in self._before.items() if path.name not in self.may_change}
        gone = [f"changed or lost: {path}" for path, sum_ in kept.items() if after.get(path) != sum_]
        added = [
            f"added: {path}"
            for path in after
            if path not in self._before and not self._is_named(path) and path.name not in self.may_change
        ]
        return gone + added

    def _is_named(self, path: Path) -> bool:
        return path == self.named or self.named in path.parents


def snapshot(root: Path) -> dict[Path, str]:
    """The sum of every file, the target of every link, and every folder."""
    return {path: _sum(path) for path in sorted(root.rglob("*"))}


def _sum(path: Path) -> str:
    if path.is_symlink():
        return str(path.readlink())
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


@contextlib.contextmanager
def _bounded_memory() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def _bounded_work() -> Iterator[None]:
    """Counts calls, and ends the command where there are too many."""
    left = WORK

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            left = WORK  # what clears up may work, too
            raise _TooMuch(f"more than {WORK:,} calls")

    before: Callable[..., Any] | None = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
