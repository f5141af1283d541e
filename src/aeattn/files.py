"""Files that are there whole or not at all: written beside their place, flushed to the disk, renamed.

Temporary names begin with a dot and end in .tmp; `remove_leftovers` drops those of processes that were killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aeattn.errors import InputError

JSON_BYTES = 1 << 20  # more than any JSON file of a run takes
_CHECKSUM = "checksum"


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`: written by the caller, then made durable and renamed over it."""
    temporary = _temporary(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def replace_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """A folder of these files in place of whatever is at `path`. All of it is on the disk before it has that
    name; an older folder of the name is put aside only then."""
    temporary = _temporary(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for name, content in files.items():
            _write(temporary / name, content)
        sync(temporary)
        older = _put_aside(path)
        temporary.replace(path)
        sync(path.parent)
        shutil.rmtree(older, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def remove(folder: Path) -> None:
    """Remove a folder in such a way that a crash leaves nothing half removed under its name."""
    shutil.rmtree(_put_aside(folder))


def _put_aside(folder: Path) -> Path:
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.old.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    return aside


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files and folders of processes that no longer are, where that is possible."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


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


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file, of which no more than `most` bytes and one are ever in memory."""
    with path.open("rb") as file:
        return file.read(min(most, os.fstat(file.fileno()).st_size) + 1)


def to_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2) + "\n"


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(to_json(values), encoding="utf-8")


def read_json(path: Path, complaint: str) -> dict[str, Any]:
    """A JSON object from a file, or InputError that begins with the complaint."""
    try:
        content = read_bytes(path, JSON_BYTES)
        if len(content) > JSON_BYTES:
            raise ValueError(f"more than {JSON_BYTES:,} bytes")
        values = json.loads(content.decode("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{complaint}: {path.name} is not there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{complaint}: {path.name} cannot be read ({str(error)[:100]})") from error
    if not isinstance(values, dict):
        raise InputError(f"{complaint}: {path.name} holds no object")
    return values


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with their checksum."""
    return {**values, _CHECKSUM: _digest(values)}


def unseal(values: dict[str, Any], *, required: bool = False) -> bool:
    """Take the checksum out; whether it was that of the values, or (unless it is `required`) none was there."""
    found = values.pop(_CHECKSUM, None)
    return not required if found is None else bool(found == _digest(values))


def _digest(values: Mapping[str, Any]) -> str:
    return sha256(json.dumps(values, sort_keys=True).encode())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
