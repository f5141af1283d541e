"""Several processes on one machine: `aeattn train --processes N`. Without PyTorch.

They are told of each other by the variables that torchrun sets. Here, and not by torchrun, so that there are one
message and our exit code when one of them fails; torchrun has restarts and several machines.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from aeattn.errors import InputError
from aeattn.host import cores_each

PATIENCE = "AEATTN_TIMEOUT"  # seconds that a process waits for the others
DEFAULT_PATIENCE = 600.0
LIFELINE = "AEATTN_LIFELINE"  # a pipe that is closed when whoever started a process is gone
GRACE = 10.0  # seconds in which the others may end by themselves when one has failed
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def patience() -> float:
    """How long a process waits for another. Raises InputError."""
    text = os.environ.get(PATIENCE, "")
    try:
        seconds = float(text or DEFAULT_PATIENCE)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e7:
        raise InputError(f"{PATIENCE} is {text[:40]!r}: give a number of seconds, such as {DEFAULT_PATIENCE:.0f}")
    return seconds


def size_of_group() -> int:
    """How many processes this one belongs to, by the environment. Raises InputError where that is not whole."""
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return 1
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except ValueError:
        rank, size = 0, 0
    if not 0 <= rank < size:
        raise InputError(
            f"RANK is {os.environ['RANK'][:20]!r} and WORLD_SIZE {os.environ['WORLD_SIZE'][:20]!r}: give numbers "
            "as torchrun does, or unset both"
        )
    if size > 1 and (missing := [name for name in NEEDED if not os.environ.get(name)]):
        raise InputError(f"{missing[0]} is not set: start {size} processes by torchrun, or set what it sets")
    return size


def is_main() -> bool:
    """Whether this process speaks for the others, by the environment."""
    return size_of_group() == 1 or os.environ["RANK"] == "0"


def restarted() -> bool:
    """Whether torchrun starts this training again, after a process has failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")


def launch(arguments: Sequence[str], processes: int, module: str = "aeattn") -> tuple[int, str | None]:
    """Run `python -m aeattn`, or another module, with these arguments in so many processes, until all have ended.

    Signals are passed on. Returns the exit code, and which process was killed, in words, if one was and nobody has
    said so.
    """
    lifeline, kept = os.pipe()
    try:
        command = [sys.executable, "-m", module, *arguments]
        children = [_start(command, rank, processes, lifeline) for rank in range(processes)]
        with _passing_on(children):
            return _watch(children)
    finally:
        os.close(lifeline)
        os.close(kept)


def _start(command: Sequence[str], rank: int, size: int, lifeline: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env=_environment(rank, size, lifeline), pass_fds=[lifeline], start_new_session=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


_PORTS: list[str] = []


def _environment(rank: int, size: int, lifeline: int) -> Mapping[str, str]:
    port = os.environ.get("MASTER_PORT") or _free_port()
    mine = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size,
        "MASTER_ADDR": os.environ.get("MASTER_ADDR") or "127.0.0.1", "MASTER_PORT": port, LIFELINE: lifeline,
    }  # fmt: skip
    usual = {"OMP_NUM_THREADS": cores_each(size)}
    if sys.platform == "linux":
        usual["GLOO_SOCKET_IFNAME"] = "lo"  # type: ignore[assignment]
    return {**{k: str(v) for k, v in usual.items()}, **os.environ, **{k: str(v) for k, v in mine.items()}}


def _free_port() -> str:
    """One that is free now, the same for all processes of a launch."""
    if not _PORTS:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            _PORTS.append(str(probe.getsockname()[1]))
    return _PORTS[0]


@contextmanager
def _passing_on(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """SIGINT and SIGTERM go to all: the first asks them to save, the second ends them."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(children: Sequence[subprocess.Popen[bytes]]) -> tuple[int, str | None]:
    """Wait for all; when one has failed, no longer than `GRACE`."""
    first: int | None = None
    deadline = math.inf
    while None in (found := [child.poll() for child in children]):
        first = first_of(found) if first is None else first
        if first is not None and deadline == math.inf:
            deadline = time.monotonic() + GRACE
        if time.monotonic() > deadline:
            for child in children:
                child.kill()
        time.sleep(0.05)
    codes = [child.returncode for child in children]
    return outcome(codes, (first_of(codes) or 0) if first is None else first)


def first_of(codes: Sequence[int | None]) -> int | None:
    """Which of those that have failed by now did so first: what was killed drew the others after it."""
    failed = [rank for rank, code in enumerate(codes) if code]
    return min(failed, key=lambda rank: codes[rank] or 0, default=None)


def outcome(codes: Sequence[int], first: int) -> tuple[int, str | None]:
    """The exit code of all, and what must be said because the main process, number 0, cannot have said it or does
    not know it. `first` failed before the others, if any did; negative codes are signals."""
    if not any(codes):
        return 0, None
    if codes[first] < 0:
        return 1, f"process {first} of {len(codes)} was ended by {signal.Signals(-codes[first]).name}"
    if codes[0] < 0:
        return 1, f"process {first} of {len(codes)} failed, and process 0 did not end by itself"
    return codes[0] or codes[first], None
