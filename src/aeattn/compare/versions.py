"""Which code does a run: the same is asked of every worker as of whoever runs the comparison."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from aeattn.files import Json
from aeattn.host import revision
from aeattn.version import VERSION

_PACKAGE = Path(__file__).parents[1]
_SOURCES = (".py", ".cpp", ".h", ".txt", ".tsv", ".toml")


@dataclass(frozen=True)
class Versions:
    """Of this package (`source` is a hash over its files), and of what else a loss depends on: PyTorch and Python,
    but not what they were built for, which a machine with a GPU and one without do not share."""

    package: str
    commit: str
    source: str
    torch: str
    python: str

    def to_dict(self) -> Json:
        return asdict(self)


@functools.cache
def versions() -> Versions:
    """Those of this process."""
    known = revision()
    commit = (known["commit"] or "")[:12] + (" (changed)" if known["dirty"] else "")
    torch, python = importlib.metadata.version("torch").partition("+")[0], platform.python_version_tuple()
    return Versions(VERSION, commit, _source(), torch, ".".join(python[:2]))


def _source() -> str:
    found = hashlib.sha256()
    for path in sorted(path for path in _PACKAGE.rglob("*") if path.suffix in _SOURCES):
        found.update(f"{path.relative_to(_PACKAGE)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def differences(wanted: Mapping[str, object], ours: Mapping[str, object]) -> Iterator[str]:
    """One phrase for each version that a worker (`ours`) has and whoever asks does not. A commit is not known
    where the package is installed from a file; the hash of the source stands for it."""
    for name in Versions.__dataclass_fields__:
        there, here = ours.get(name), wanted.get(name)
        if there != here and not (name == "commit" and not (there and here)):
            what = "aeattn" if name == "package" else name
            yield f"it has {what} {there or 'unknown'}, here is {here or 'unknown'}"
