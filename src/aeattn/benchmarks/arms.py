"""Benchmarks of a comparison's arms, as programs: `python -m aeattn.benchmarks.NAME DIR`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aeattn.compare.declaration import Declaration, read_declaration
from aeattn.compare.folder import Folder
from aeattn.errors import InputError


def run(main: Callable[[Folder, Declaration], None], arguments: Sequence[str]) -> int:
    """Measure the arms of the comparison in the folder that is named; returns the exit code."""
    try:
        if len(arguments) != 1:
            raise InputError("name the folder of one comparison, such as results/second/cache")
        folder = Folder(Path(arguments[0]))
        main(folder, read_declaration(folder))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
