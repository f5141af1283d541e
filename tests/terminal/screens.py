"""What a command shows on a terminal of so many columns, or through a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
SECONDS = 240


def on_terminal(arguments: Sequence[str], columns: int, cwd: Path, **environment: str) -> tuple[int, str]:
    """Exit code, and everything that is written to a terminal as wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", **environment}
    env.pop("COLUMNS", None)
    command = [sys.executable, "-m", "aeattn", *arguments]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=env)
    os.close(theirs)
    found = bytearray()
    try:
        while piece := _read(ours):
            found += piece
        return process.wait(SECONDS), found.decode("utf-8", "replace")
    finally:
        os.close(ours)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # everybody has closed it
        return b""


def through_pipes(arguments: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """What pipes get."""
    command = [sys.executable, "-m", "aeattn", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=SECONDS)


def lines_of(screen: str) -> list[str]:
    """The lines as they stand on a screen: without escapes, and without what was written over."""
    plain = ESCAPES.sub("", screen.replace("\r\n", "\n"))
    return [part for line in plain.split("\n") for part in line.split("\r")]


def longest(lines: Sequence[str]) -> str:
    """The longest line, without space at its end."""
    return max((line.rstrip() for line in lines), key=len, default="")
