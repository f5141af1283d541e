"""What belongs to this machine: the folder for what is kept between runs, its processor, its C++ compiler."""

from __future__ import annotations

import atexit
import functools
import gc
import os
import re
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from aeattn.errors import InputError

WAIT_POLICY, SPIN_COUNT = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"  # OpenMP's variables, read when PyTorch is loaded
BRIEFLY = "3000"  # turns of a waiting loop, some 20 microseconds
GLANCES, GLANCE_SECONDS = 5, 0.002
STARTED = time.monotonic()  # when this process was, nearly: this is one of the first modules
_ROOT = Path(__file__).parents[2]


YES = "AEATTN_YES"  # in the environment: downloads are not asked for


def cache_dir() -> Path:
    """`$AEATTN_CACHE`, else `$XDG_CACHE_HOME/aeattn`, else `~/.cache/aeattn`; it may not exist yet.

    Raises InputError for a user without a home.
    """
    if chosen := os.environ.get("AEATTN_CACHE"):
        return named_path(chosen)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise InputError("there is no home folder to keep files in: set AEATTN_CACHE to a folder") from None
    return Path(base) / "aeattn"


def named_path(name: str) -> Path:
    """The path that a user means, `~` being a home folder, unless there is a file of just this name, or no such
    home."""
    path = Path(name)
    with suppress(RuntimeError, OSError, ValueError):  # ValueError: a NUL in the name
        return path if not name.startswith("~") or path.exists() else path.expanduser()
    return path


@functools.cache
def cpu_fact(name: str) -> str:
    """What Linux says of the first processor under this name; empty where it says nothing."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""


@functools.cache
def cpu_has(*features: str) -> bool:
    """Whether the processor has any of these, named as Linux does."""
    return bool(set(cpu_fact("flags").split()) & set(features))


def available_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores_each(processes: int) -> int:
    """Processors for each of that many processes side by side, at least one."""
    return max(1, available_cores() // processes)


def cxx() -> str | None:
    """The C++ compiler that PyTorch's compiler would take: `$CXX`, g++ or clang++; None where there is none."""
    candidates = (os.environ.get("CXX", "g++"), "g++", "clang++")
    return next((found for name in candidates if (found := shutil.which(name))), None)


def revision() -> dict[str, Any]:
    """The commit of this package's source, and whether `src` was changed since; null for an installed copy."""
    if (_ROOT / ".git").exists():
        with suppress(OSError, subprocess.SubprocessError):
            return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain", "src"))}
    return {"commit": None, "dirty": None}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def freeze() -> None:
    """Keep garbage collection from all that is there now, until the process ends: the modules of libraries are
    cleared then, and one that finds its objects kept prints pages about them."""
    gc.freeze()
    atexit.unregister(gc.unfreeze)
    atexit.register(gc.unfreeze)


class Startup:
    """The start of a process that trains, without garbage collection: what is imported and traced then stays, and
    looking through it again and again takes more than a tenth of the start.

        with Startup() as startup:
            trainer.run(stop, startup.over)
    """

    def __enter__(self) -> Startup:
        self._under_way = gc.isenabled()
        gc.disable()
        return self

    def over(self) -> None:
        """Collect again, but nothing that is there now."""
        if self._under_way:
            self._under_way = False
            freeze()
            gc.enable()

    def __exit__(self, *_: object) -> None:
        self.over()


def settle_waiting() -> None:
    """Decide how OpenMP's threads wait for each other, unless the user has: must come before PyTorch is loaded.

    Small steps take half as long where threads look for work for a moment before they sleep; beside another busy
    process, which needs the processor meanwhile, they take three times as long.
    """
    if WAIT_POLICY in os.environ or SPIN_COUNT in os.environ:
        return
    if others_run():
        os.environ[WAIT_POLICY] = "PASSIVE"
    else:
        os.environ[SPIN_COUNT] = BRIEFLY


def others_run() -> bool:
    """Whether other processes want the processors at this moment, by several glances; true where nobody knows."""
    busy = 0
    for _ in range(GLANCES):
        running = _running()
        if running is None:
            return True
        busy += running > 1
        time.sleep(GLANCE_SECONDS)
    return busy > GLANCES // 2


def _running() -> int | None:
    """How many threads have work, this one among them."""
    with suppress(OSError):
        found = re.search(r"^procs_running (\d+)", Path("/proc/stat").read_text(encoding="utf-8"), re.MULTILINE)
        return int(found[1]) if found else None
    return None
