"""What belongs to this machine: the folder for what is kept between runs, its processor, its C++ compiler."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aeattn.errors import InputError


def cache_dir() -> Path:
    """`$AEATTN_CACHE`, else `$XDG_CACHE_HOME/aeattn`, else `~/.cache/aeattn`; it may not exist yet."""
    if chosen := os.environ.get("AEATTN_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "aeattn"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` at the end of the block, or vanishes if the block fails.

    Raises InputError where the folder cannot be written to.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write {path} ({reason}); set AEATTN_CACHE to a folder with room") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def cpu_fact(name: str) -> str:
    """What Linux says of the first processor under this name; empty where it says nothing."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""


def cpu_has(*features: str) -> bool:
    """Whether the processor has any of these, named as Linux does."""
    return bool(set(cpu_fact("flags").split()) & set(features))


def cxx() -> str | None:
    """The C++ compiler that PyTorch's compiler would take: `$CXX`, g++ or clang++; None where there is none."""
    candidates = (os.environ.get("CXX", "g++"), "g++", "clang++")
    return next((found for name in candidates if (found := shutil.which(name))), None)
