"""Compiling a C++ source of this package for this processor, once, and loading it."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import subprocess
import warnings
from pathlib import Path

from aeattn.errors import SlowerWarning
from aeattn.files import cached
from aeattn.host import cache_dir, cpu_fact, cxx

SWITCH = "AEATTN_KERNELS"  # `off` in this variable of the environment: do without
FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-std=c++17", "-w")
TIMEOUT_SECONDS = 120.0


def load(source: Path, **macros: int) -> ctypes.CDLL:
    """The shared library of a source, compiled with these macros, or as compiled before for this processor and
    by this compiler: an entry of the cache with its checksum, made anew where it is damaged, after a warning.
    Raises OSError, with the compiler's first complaint, or InputError where that cannot be done."""
    compiler = cxx()
    if compiler is None:
        raise OSError("no C++ compiler such as g++ is installed")
    command = [compiler, *FLAGS, *(f"-D{name}={value}" for name, value in macros.items()), str(source)]
    texts = [path.read_text(encoding="utf-8") for path in (source, *sorted(source.parent.glob("*.h")))]
    facts = [*command, cpu_fact("model name"), cpu_fact("flags"), *texts]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24]
    path = cache_dir() / "compiled" / f"{source.stem}-{key}.so"
    cached(path, lambda partial: _compile([*command, "-o", str(partial)]))
    return ctypes.CDLL(str(path))


@functools.cache
def warn_slower(reason: str) -> None:
    """Says once why a kernel is done without."""
    warnings.warn(f"aeattn runs without its own kernels, slower: {reason}", SlowerWarning, stacklevel=5)


def _compile(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} took longer than {TIMEOUT_SECONDS:.0f} seconds") from error
    if done.returncode:
        raise OSError(next((line for line in done.stderr.splitlines() if "error" in line), "it failed"))
