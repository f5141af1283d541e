"""Data sets by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aeattn.files import Json


@dataclass(frozen=True)
class RemoteFile:
    repository: str
    commit: str
    name: str
    size: int

    def identity(self) -> Json:
        return {}

    def local(self) -> Path:
        raise NotImplementedError
