"""The bytes of files, decompressed on the way, in memory that is bounded whatever a file holds."""

from __future__ import annotations

import gzip
import importlib
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from aeattn.errors import InputError

MOST_RATIO = 500  # bytes out for each byte in; gzip can make 1,032 of one, text seldom ten
RATIO_AFTER = 100_000_000  # bytes out, before which any ratio is taken

GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTANDARD_STEP = 2048  # compressed bytes at a time: at the worst 64 MB come out of them
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def extra(module: str, what: str) -> Any:
    """A module of the extra `data`. Raises InputError that says what needs it and how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{what} needs the package {module}: pip install 'autoencoder-attention[data]'"
        ) from error


def check_regular(path: Path) -> os.stat_result:
    """What the system says of a file. Raises InputError, before the file is opened, for what is none: opening a
    pipe would wait for its writer."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    for is_kind, kind in _KINDS:
        if is_kind(found.st_mode):
            raise InputError(f"{path}: is {kind}, which is no file: write its text to a file, and name that")
    return found


def check_unchanged(path: Path, before: os.stat_result) -> None:
    """Raises InputError where a file is no longer as it was: what has been read may be half old, half new."""
    try:
        now = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if any(getattr(now, fact) != getattr(before, fact) for fact in ("st_size", "st_mtime_ns", "st_ino")):
        raise InputError(f"{path}: changed while it was read; wait until it is written, then try again")


def blocks(path: Path, size: int) -> Iterator[bytes]:
    """The bytes of a file, decompressed where it is a gzip or a Zstandard file, and an empty block at the end.

    Raises:
        InputError: the file cannot be read, is no regular file, is broken, changes meanwhile, or more than
            RATIO_AFTER bytes come out of it at more than MOST_RATIO for each byte that is in it.
    """
    before = check_regular(path)
    try:
        with open(path, "rb") as file:
            start = file.peek(4)
            if path.suffix == ".zst" or start.startswith(ZSTANDARD):
                yield from _from_zstandard(path, file, size)
            elif path.suffix == ".gz" or start.startswith(GZIP):
                yield from _from_gzip(path, file, size)
            else:
                while block := file.read(size):
                    yield block
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: broken gzip file ({error}); compress or download it again") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    check_unchanged(path, before)
    yield b""


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); check the path")


def _from_gzip(path: Path, file: BinaryIO, size: int) -> Iterator[bytes]:
    stream, out = cast(BinaryIO, gzip.GzipFile(fileobj=file)), 0
    while block := stream.read(size):
        out += len(block)
        _check_ratio(path, file.tell(), out)
        yield block


def _from_zstandard(path: Path, file: BinaryIO, size: int) -> Iterator[bytes]:
    """Frame after frame; a stream reader of the library would take a torn file for a whole one."""
    zstandard = extra("zstandard", f"{path}")
    frame: Any = None
    held, waiting, out, given = b"", [b""], 0, 0
    try:
        while held or (held := file.read(_ZSTANDARD_STEP)):
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            block = frame.decompress(held)
            held = b""
            if frame.eof:
                frame, held = None, frame.unused_data
            out += len(block)
            _check_ratio(path, file.tell(), out)
            waiting.append(block)
            if out - given >= size:
                yield from _cut(b"".join(waiting), size)
                waiting, given = [], out
    except zstandard.ZstdError as error:
        raise InputError(f"{path}: broken Zstandard file ({error}); compress or download it again") from error
    if frame is not None:
        raise InputError(f"{path}: broken Zstandard file (it ends too soon); compress or download it again")
    yield from _cut(b"".join(waiting), size)


def _cut(block: bytes, size: int) -> Iterator[bytes]:
    return (block[at : at + size] for at in range(0, len(block), size))


def _check_ratio(path: Path, read: int, out: int) -> None:
    if out > RATIO_AFTER and out > MOST_RATIO * read:
        raise InputError(
            f"{path}: more than {MOST_RATIO} bytes come out of each byte in it, so it is taken for a trap; "
            "decompress it yourself if it is none"
        )
