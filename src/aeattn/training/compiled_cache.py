"""Where PyTorch keeps what it compiles, and how that is mended: processes that were killed leave torn files there,
which PyTorch takes for whole ones."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from aeattn.errors import InputError
from aeattn.host import cache_dir

PLACE = "TORCHINDUCTOR_CACHE_DIR"  # PyTorch's variable for that folder
_UNQUOTED = re.compile(r"[\w@%+=:,./-]+", re.ASCII)  # PyTorch hands paths to a shell as they are
_ELF, _HEADER = b"\x7fELF\x02\x01", 64


def keep_compiled() -> str | None:
    """Have PyTorch keep what it compiles in this package's cache, unless it was told of another place.

    Must come before its compiler is loaded, as by the first optimizer: that decides for a folder of the system's,
    which a restart may empty. That it stays where ours cannot be written to. Another place that cannot be written
    to breaks PyTorch's import, and is passed over. Returns what a user should know.
    """
    try:
        ours = cache_dir().absolute() / "compiled"
    except InputError:  # no home: said where something must be kept
        return None
    fit = _UNQUOTED.fullmatch(str(ours)) is not None
    place = ours if fit else _safe_place()
    if PLACE in os.environ and not _can_be_written(Path(os.environ[PLACE])):
        del os.environ[PLACE]
    if PLACE not in os.environ and _can_be_written(place):
        os.environ[PLACE] = str(place)
    if fit or os.environ.get(PLACE) != str(place):
        return None
    return f"{ours} has characters that PyTorch's compiler cannot take in a path: it keeps its files in {place}"


def _can_be_written(folder: Path) -> bool:
    """Whether there is such a folder, which is made if need be."""
    with suppress(OSError, ValueError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.access(folder, os.W_OK)
    return False


def _safe_place() -> Path:
    """A folder of the system's for temporary files that is this user's alone."""
    place = Path(tempfile.gettempdir()) / f"aeattn-compiled-{os.getuid()}"
    with suppress(OSError):
        place.mkdir(mode=0o700, exist_ok=True)
        facts = place.lstat()
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o022:
            return place
    return Path(tempfile.mkdtemp(prefix="aeattn-compiled-"))


def remove_torn() -> list[Path]:
    """Remove objects and libraries that were not written to their end, but for those being written now."""
    binaries = [path for ending in ("*/*.so", "*/*.o") for path in _place().glob(ending)]
    torn = [path for path in binaries if not is_whole(path) and not _in_work(path)]
    for path in torn:
        with suppress(OSError):
            path.unlink()
    return torn


def put_aside() -> Path | None:
    """Move everything that was compiled out of the way; returns where to, or None where the place is not ours."""
    place = _place()
    if place not in (cache_dir().absolute() / "compiled", _safe_place()):
        return None
    aside = place.with_name(f"{place.name}.damaged")
    with suppress(OSError):
        shutil.rmtree(aside, ignore_errors=True)
        place.rename(aside)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        return aside
    return None


def is_whole(path: Path) -> bool:
    """Whether a binary ends where its header says: the table of sections comes last. Others than 64-bit ELF pass,
    unless they are empty."""
    try:
        with path.open("rb") as file:
            header, size = file.read(_HEADER), os.fstat(file.fileno()).st_size
    except OSError:
        return True
    if not header.startswith(_ELF):
        return bool(header) and not _ELF.startswith(header[: len(_ELF)])
    if len(header) < _HEADER:
        return False
    offset = int.from_bytes(header[40:48], "little")
    entry, count = (int.from_bytes(header[at : at + 2], "little") for at in (58, 60))
    return offset > 0 and size >= offset + entry * count


def _place() -> Path:
    return Path(os.environ.get(PLACE, cache_dir() / "compiled")).absolute()


def _in_work(path: Path) -> bool:
    """Whether a process holds the lock under which PyTorch writes this file."""
    lock = path.parents[1] / "locks" / f"{path.name.split('.')[0]}.lock"
    try:
        import fcntl

        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return False
    return False
