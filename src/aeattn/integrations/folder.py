"""A folder for another library, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from aeattn import files
from aeattn.errors import InputError
from aeattn.runs.folder import RunFolder

Contents = Callable[[RunFolder, str], Mapping[str, bytes]]  # of a run, in a folder of that name


def write_folder(run: Path, folder: Path, contents: Contents) -> int:
    """Write what is made of a run, which nothing may change meanwhile; returns how many bytes that took.

    Raises InputError for a run that another process works on, for what is no whole run, and for a folder that
    cannot be written.
    """
    locked = RunFolder(run)
    locked.read_config()
    locked.lock()
    try:
        content = contents(locked, folder.absolute().name)
    finally:
        locked.unlock()
    try:
        files.replace_folder(folder, content)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): name another folder") from error
    return sum(map(len, content.values()))
