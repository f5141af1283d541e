"""Whether a large file is what was written: checksums of the whole and of its blocks.

A file of up to WHOLE_BYTES is read whole whenever it is opened. A larger one is when it is opened for the first
time, or has another size, time of change or inode than it had then (nothing but the system sets that time).
Otherwise the first, the last and SAMPLED other blocks are compared, which are others each time.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aeattn.errors import Damaged, InputError
from aeattn.files import Json, read_json, write_json

BLOCK = 8 << 20
WHOLE_BYTES = 64 << 20
SAMPLED = 6
_READ = 1 << 20


class Sums:
    """Checksums of bytes that come piece by piece."""

    def __init__(self) -> None:
        self.bytes = 0
        self.blocks: list[int] = []  # CRC-32 of each whole block
        self._sha, self._crc = hashlib.sha256(), 0

    def update(self, content: bytes | bytearray | memoryview) -> None:
        self._sha.update(content)
        view = memoryview(content).cast("B")
        while len(view):
            piece = view[: BLOCK - self.bytes % BLOCK]
            self._crc = zlib.crc32(piece, self._crc)
            self.bytes += len(piece)
            view = view[len(piece) :]
            if self.bytes % BLOCK == 0:
                self.blocks.append(self._crc)
                self._crc = 0

    @property
    def sha256(self) -> str:
        return self._sha.hexdigest()

    def facts(self) -> Json:
        """What `check` needs."""
        last = [self._crc] if self.bytes % BLOCK else []
        return {"bytes": self.bytes, "sha256": self.sha256, "blocks": [*self.blocks, *last]}


def sums_of(path: Path, length: int | None = None) -> Sums:
    """Those of a file, or of its first `length` bytes. Raises OSError."""
    found, left = Sums(), path.stat().st_size if length is None else length
    with path.open("rb") as file:
        while left and (content := file.read(min(left, _READ))):
            found.update(content)
            left -= len(content)
    return found


def check(path: Path, facts: Json, say: Callable[[str], None] | None = None) -> None:
    """Raises Damaged for a file that is not that of which `Sums.facts` are known, InputError where it cannot be
    read. `say` is told of what takes long."""
    try:
        place = _place(path)
        right = place["bytes"] == facts["bytes"]
        if right and place["bytes"] > WHOLE_BYTES and _seen(path) == place:
            right = _blocks_are_right(path, facts)
        elif right:
            if say and place["bytes"] > WHOLE_BYTES:
                say(f"verifying the whole of {path} ({place['bytes']:,} bytes)")
            found = sums_of(path).facts()
            right = all(found[name] == facts[name] for name in found)
            if right:
                mark_seen(path)
    except FileNotFoundError:
        right = False
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check the disk") from error
    if not right:
        raise Damaged(f"{path} is not what was written")


def _blocks_are_right(path: Path, facts: Json) -> bool:
    """Whether some blocks have their checksums: the first, the last, and any others."""
    known = facts["blocks"]
    drawn = [int.from_bytes(os.urandom(8), "little") % len(known) for _ in range(SAMPLED)]
    with path.open("rb") as file:
        for number in {0, len(known) - 1, *drawn}:
            file.seek(number * BLOCK)
            if zlib.crc32(file.read(BLOCK)) != known[number]:
                return False
    return True


def mark_seen(path: Path) -> None:
    """Note that the whole of a large file is as it was written, where it lies now."""
    place = _place(path)
    if place["bytes"] > WHOLE_BYTES:
        with suppress(OSError):  # where the cache is only read, all is looked through each time
            write_json(_seen_file(path), place)


def _place(path: Path) -> Json:
    found = path.stat()
    times = {"modified": found.st_mtime_ns, "changed": found.st_ctime_ns}
    return {"bytes": found.st_size, "inode": found.st_ino, **times}


def _seen_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.seen")


def _seen(path: Path) -> Json | None:
    """Where the whole of a file was found to be as it was written."""
    with suppress(OSError, ValueError):
        return read_json(_seen_file(path), "")
    return None
