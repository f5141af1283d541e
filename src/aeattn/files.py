"""Files that are there whole or not at all: written beside their place, flushed to the disk, renamed.

Temporary names begin with a dot, carry the host, the process and the thread, and end in .tmp. The one lock is here
as well, and cache entries: files that can be made again, each with a checksum beside it.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
import stat
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aeattn.errors import Damaged, InputError, SlowerWarning

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]

JSON_BYTES = 1 << 28  # no JSON file that is read or written is larger, unless another limit is given
_CHECKSUM = "checksum"
Json = dict[str, Any]

# -- whole or not at all ------------------------------------------------------------------------------------


def beside(path: Path, end: str = ".tmp") -> Path:
    """A name beside `path` that no other thread of any process uses."""
    return path.with_name(f".{path.name}.{_host()}.{os.getpid()}.{threading.get_native_id()}{end}")


def _host() -> str:
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return f"{zlib.crc32(name.encode()):08x}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`: written by the caller, then made durable and renamed over it.

    A symbolic link at `path` is replaced; one that lies in wait at the temporary path is not followed.
    """
    temporary = beside(path)
    try:
        temporary.unlink(missing_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """A file of this content in place of whatever is at `path`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def refuse_existing(folder: Path) -> None:
    """Raise InputError where something is at `folder`, which a command is to make."""
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} is there already: name a folder that is not, or remove it")


def replace_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """A folder of these files in place of whatever is at `path`. All of it is on the disk before it has that
    name; an older folder of the name is put aside only then. What killed processes left of it goes first."""
    temporary = beside(path)
    remove_leftovers(path.parent, of_the_dead=True, name=path.name)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
            sync(temporary / name)
        sync(temporary)
        older = _put_aside(path)
        temporary.replace(path)
        sync(path.parent)
        shutil.rmtree(older, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove(folder: Path) -> None:
    """Remove a folder in such a way that a crash leaves nothing half removed under its name."""
    shutil.rmtree(_put_aside(folder))


def _put_aside(folder: Path) -> Path:
    aside = beside(folder, ".old.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    return aside


def remove_leftovers(folder: Path, *, of_the_dead: bool = False, name: str = "") -> None:
    """Remove temporary files and folders, where that is possible: all, for whoever holds the folder's lock, or
    those of processes of this machine that are no more; with a `name`, those that were to get it alone."""
    for path in folder.glob(f".{glob.escape(name)}.*.tmp" if name else ".*.tmp"):
        if of_the_dead and not _is_of_the_dead(path):
            continue
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def scratch(base: Path) -> Iterator[Path]:
    """A new folder in `base`, removed at the end of the block. Those of processes that were killed go first."""
    remove_leftovers(base, of_the_dead=True)
    path = beside(base / f"{time.monotonic_ns()}")
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _is_of_the_dead(path: Path) -> bool:
    host, process, *_ = [*path.name.removesuffix(".tmp").removesuffix(".old").split(".")[-3:], "", ""]
    if host != _host() or not process.isdecimal() or os.name != "posix":
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def append(path: Path, text: str) -> None:
    """Add a text to a file; where that fails, as on a full disk, the file is left as it was."""
    content = memoryview(text.encode("utf-8"))
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            with suppress(OSError):
                file.truncate(before)
            raise


def sync(path: Path) -> None:
    """Wait until a file or a folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- JSON and checksums -------------------------------------------------------------------------------------


def read_bytes(path: Path, most: int, *, pipes: bool = False) -> bytes:
    """No more than `most` bytes and one of a file. Raises OSError, also for a pipe or a device, unless `pipes`."""
    found = path.stat()
    regular = stat.S_ISREG(found.st_mode)
    if not (regular or pipes or stat.S_ISDIR(found.st_mode)):  # it may wait for ever; opening a folder fails
        raise OSError(errno.EINVAL, "a pipe or a device, no file", str(path))
    with path.open("rb") as file:
        return file.read(min(most, found.st_size if regular else most) + 1)  # a pipe does not know its size


def to_json(values: Mapping[str, Any], path: Path | None = None, most: int = JSON_BYTES) -> bytes:
    """The content of a JSON file. Raises InputError for what `read_json` would find too large."""
    content = f"{json.dumps(values, indent=2)}\n".encode()
    if len(content) > most:
        raise InputError(f"{path} would take {len(content):,} bytes, of {most:,} at most: name fewer files")
    return content


def write_json(path: Path, values: Mapping[str, Any], most: int = JSON_BYTES) -> None:
    """Raises InputError, before anything is written, for what `read_json` would find too large."""
    write(path, to_json(values, path, most))


def read_json(path: Path, complaint: str, most: int = JSON_BYTES) -> Json:
    """A JSON object from a file. Raises InputError that begins with the complaint, Damaged for other content."""
    try:
        content = read_bytes(path, most)
    except FileNotFoundError:
        raise InputError(f"{complaint}: {path.name} is not there") from None
    except OSError as error:
        raise InputError(f"{complaint}: {path.name} cannot be read ({error.strerror})") from error
    return parse_json(content, f"{complaint}: {path.name}", most)


def parse_json(content: bytes, what: str, most: int = JSON_BYTES) -> Json:
    """The JSON object that was read from a file. Raises Damaged."""
    try:
        if len(content) > most:
            raise ValueError(f"more than {most:,} bytes")
        values = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{what} cannot be read ({str(error)[:100]})") from error
    if not isinstance(values, dict):
        raise Damaged(f"{what} holds no object")
    return values


def sealed(values: Mapping[str, Any]) -> Json:
    """The same values with their checksum."""
    return {**values, _CHECKSUM: digest(values)}


def unseal(values: Json, *, required: bool = False) -> bool:
    """Take the checksum out; whether it was that of the values, or (unless it is `required`) none was there."""
    found = values.pop(_CHECKSUM, None)
    return not required if found is None else bool(found == digest(values))


def digest(values: object) -> str:
    """A hash of JSON values; the order of keys does not matter."""
    return sha256(json.dumps(values, sort_keys=True).encode())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sha256_of(path: Path) -> str:
    """The same of a file of any size. Raises InputError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error


# -- cache entries ------------------------------------------------------------------------------------------


def cached(path: Path, make: Callable[[Path], Mapping[str, Any] | None]) -> Json:
    """Have a whole cache entry at `path`; returns the facts that `make` gave when it wrote the file.

    What is there is taken if facts and content have their checksums (`<name>.json` holds them). What is damaged is
    made anew, after a warning. Raises InputError where the cache cannot be written to.
    """

    def check(facts: Json) -> None:
        if not path.is_file() or facts.get("sha256") != sha256_of(path):
            raise Damaged(f"{path} is not what was written")

    def write() -> Json:
        with cache_entry(path) as partial:
            facts = make(partial) or {}
            return {**facts, "sha256": sha256_of(partial)}

    return cached_json(path.with_name(f"{path.name}.json"), write, check)


def cached_json(path: Path, make: Callable[[], Mapping[str, Any]], check: Callable[[Json], object] = bool) -> Json:
    """The same for an entry that is nothing but a JSON object. `check` raises Damaged for values that are not good
    enough, ValueError, TypeError or KeyError for those of another form."""
    values = read_cached(path, check)
    if values is None:
        values = dict(make())
        write_cached(path, values)
    return values


def read_cached(path: Path, check: Callable[[Json], object]) -> Json | None:
    """An entry that is nothing but a JSON object: see `cached_json`. None where it is to be made; after a warning,
    if it is damaged."""
    try:
        values = read_json(path, str(path))
        if not unseal(values, required=True):
            raise Damaged(f"{path} is not what was written")
        check(values)
        return values
    except (ValueError, TypeError, KeyError) as error:
        if path.exists():
            warn_of_damage(str(error))
    return None


def write_cached(path: Path, values: Mapping[str, Any]) -> None:
    """The entry that `read_cached` reads. Raises InputError where the file system refuses."""
    with cache_entry(path) as partial:
        partial.write_bytes(to_json(sealed(values)))


def warn_of_damage(reason: str) -> None:
    """Say in one line that a cache entry is made anew."""
    warnings.warn(f"a damaged cache entry is made anew ({reason})", SlowerWarning, stacklevel=3)


@contextmanager
def cache_entry(path: Path) -> Iterator[Path]:
    """A path to write a cache entry to, which becomes `path` at the end of the block, or vanishes if the block
    fails. Raises InputError where the file system refuses; other errors of the block pass through."""
    with cache_refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, of_the_dead=True)
        with replacing(path) as partial:
            yield partial


@contextmanager
def cache_refusals(path: Path) -> Iterator[None]:
    """Raises InputError where the file system refuses a cache entry; other errors of the block pass through."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # none of the file system's
            raise
        raise InputError(
            f"cannot write {path} ({error.strerror}); set AEATTN_CACHE to a folder with room"
        ) from error


# -- the lock -----------------------------------------------------------------------------------------------


class Lock:
    """Holds a folder, or a file that is made for it, until `release`, or until every process that inherited the
    descriptor has ended. Raises InputError where another process holds it for more than `wait` seconds.

    The system takes a lock (flock(2)) back when its owner ends, however it ends; on a folder it leaves no file
    behind. `warning` says where the file system has no locks; nothing is held then.
    """

    def __init__(self, path: Path, busy: str = "", wait: float = 0.0) -> None:
        self.path, self.warning = path, ""
        self.descriptor: int | None = None
        if fcntl is None:
            self.warning = self._no_lock("this system has none")
            return
        self.descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o644)
        deadline = time.monotonic() + wait
        while not self._take():
            if time.monotonic() >= deadline:
                self.release()
                raise InputError(
                    busy or f"{path} is in use by another process: wait until it ends, or stop it, and try again"
                )
            time.sleep(0.1)

    def _take(self) -> bool:
        try:
            fcntl.flock(self.descriptor or 0, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            self.warning = self._no_lock(error.strerror or str(error))
        return True

    def _no_lock(self, reason: str) -> str:
        return f"{self.path} cannot be locked ({reason}): make sure that no other process works there"

    def release(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
