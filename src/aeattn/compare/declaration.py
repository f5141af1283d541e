"""What a comparison declares before anything runs, as `spec.json` holds it and knows it by a hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from msgspec import Struct

from aeattn.compare.convert import Saved, digest
from aeattn.compare.folder import Folder
from aeattn.compare.records import Text
from aeattn.compare.spec import MatchKind, Terms
from aeattn.config.run import RunConfig
from aeattn.errors import InputError
from aeattn.files import Json, read_json


@dataclass(frozen=True)
class ResolvedArm:
    """An arm in one size, matched in one way: `config` is whole, but for seed and learning rates."""

    id: str
    arm: str
    label: str
    about: str
    matching: MatchKind
    size: str | None
    config: Json
    parameters: int
    train_flops: int
    steps: int
    off_by: float | None
    text: int

    @cached_property
    def run_config(self) -> RunConfig:
        return RunConfig.from_dict(self.config)


@dataclass(frozen=True)
class ResolvedContrast:
    """A contrast between two resolved arms."""

    id: str
    arm: str
    than: str
    measure: str
    matching: MatchKind
    size: str | None
    primary: bool
    claim: str | None


@dataclass(frozen=True)
class Seeds:
    final: tuple[int, ...]
    tuning: tuple[int, ...]


class Amendment(Struct, frozen=True, omit_defaults=True):
    """An earlier form of the declaration: its hash, when it was declared, and what was `changed` after it."""

    hash: str
    date: str
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Declaration(Terms, Saved):
    """What `spec.json` holds. `hash` is over all that was declared, `given` over the spec as it was written;
    `plugins` has the SHA-256 of each one's source, or the version of the package that it comes from; `commit` is
    the one that runs are to be made by, where that was asked for."""

    ADDED: ClassVar[tuple[str, ...]] = (*Terms.ADDED, "plugins", "commit")

    seeds: Seeds
    arms: tuple[ResolvedArm, ...]
    contrasts: tuple[ResolvedContrast, ...]
    text: tuple[Text, ...]
    given: str
    declared: str
    amended: tuple[Amendment, ...] = ()
    plugins: dict[str, str] = field(default_factory=dict)
    commit: str | None = None

    @cached_property
    def hash(self) -> str:
        apart = ("format", "declared", "amended", "given")
        return digest({key: value for key, value in super().to_dict().items() if key not in apart})

    @property
    def primary(self) -> ResolvedContrast | None:
        """The first of the primary contrasts; a screening has none."""
        return next((contrast for contrast in self.contrasts if contrast.primary), None)

    @property
    def baseline(self) -> str:
        """The arm that others are seen against: the primary contrast's, else the first."""
        return self.primary.than if self.primary else self.arms[0].id

    def arm(self, id: str) -> ResolvedArm:
        return next(arm for arm in self.arms if arm.id == id)

    def to_dict(self) -> Json:
        return {"hash": self.hash, **super().to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, object], where: str) -> Declaration:
        """Raises InputError, too, where the hash does not fit what it is over."""
        known = super().from_dict(values, where)
        if known.hash != values.get("hash"):
            raise InputError(f"{where} was changed after it was declared (its hash does not fit): restore it")
        return known


def read_declaration(folder: Folder) -> Declaration:
    """What a folder was declared for. Raises InputError where it is no comparison, or its declaration damaged."""
    values = read_json(folder.spec, f"{folder.path} is no folder of a comparison")
    return Declaration.from_dict(values, str(folder.spec))
