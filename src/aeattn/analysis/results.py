"""What is measured of attention, as types. They need no PyTorch, so that what was measured can be read anywhere.

`to_dict` gives what `aeattn inspect --json` prints and what stands in a comparison's `analysis/`. What does not
exist is None. Units: distances and effective numbers in tokens, shares and Gini indices from 0 to 1, losses in
nats a character, effective ranks in dimensions.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import msgspec

from aeattn.errors import InputError

FORMAT = 1  # of both kinds of file; raised when older versions of this package could not read them
TOP = (1, 4, 16)


@dataclass(frozen=True)
class Distribution:
    """Means over queries of the measures of their weights (analysis/measures.py)."""

    entropy_share: float | None
    effective_chars: float | None
    gini: float | None
    top1: float | None
    top4: float | None
    top16: float | None
    mean_distance: float | None


MEASURES = tuple(field.name for field in dataclasses.fields(Distribution))


@dataclass(frozen=True)
class AttentionMeasures(Distribution):
    """With the weight of the first position, and the measures again as if it were not there."""

    first_share: float | None
    without_first: Distribution


@dataclass(frozen=True)
class _Numbered:
    head: int


@dataclass(frozen=True)
class HeadMeasures(AttentionMeasures, _Numbered):
    """One head, counted from 0."""


@dataclass(frozen=True)
class LayerMeasures:
    """One layer, counted from 0."""

    layer: int
    heads: tuple[HeadMeasures, ...]


@dataclass(frozen=True)
class CodeMeasures:
    """What one projection keeps of its input (analysis/bottleneck.py); `head` where each has its own.

    `dead` and `saturated_below`, `saturated_above` count units; the latter are None without an activation.
    """

    layer: int
    projection: str
    head: int | None
    kind: str
    width: int
    effective_rank: float | None
    dead: int
    saturated_below: int | None
    saturated_above: int | None
    readout_r2: float | None
    pca_r2: float | None


@dataclass(frozen=True)
class CodeMeans:
    """Means over projections; shares are those of their widths."""

    effective_rank: float | None
    readout_r2: float | None
    pca_r2: float | None
    effective_rank_share: float | None
    dead_share: float | None
    saturated_below_share: float | None
    saturated_above_share: float | None


@dataclass(frozen=True)
class CodeSummary(CodeMeans):
    """Over all projections, and over those of queries, keys and values alone."""

    query: CodeMeans
    key: CodeMeans
    value: CodeMeans


@dataclass(frozen=True)
class Ablation:
    """Losses of the whole model (`all`), with the `top` k weights of all layers, with the `nearest` k, without the
    first position, and with the top 4 of one layer alone."""

    all: float
    top: dict[int, float]
    nearest: dict[int, float]
    without_first: float
    top4_in_layer: tuple[float, ...]

    @property
    def added(self) -> dict[str, float]:
        """What each costs over `all`: `top4`, `nearest4`, `without_first` and the like."""
        named = {f"{way}{k}": nats for way in ("top", "nearest") for k, nats in getattr(self, way).items()}
        return {name: nats - self.all for name, nats in {**named, "without_first": self.without_first}.items()}


@dataclass(frozen=True)
class TextRead:
    """What was read; two models with the same `digest` were measured at the same positions of the same text."""

    documents: tuple[str, ...]
    unknown_chars: int
    windows: int
    context: int
    first_query: int
    queries: int
    digest: str


@dataclass(frozen=True)
class Maps:
    """Weights of one passage, packed (analysis/maps.py): a string for each head of each layer. `tokens` are given
    where they are not the characters of `text`."""

    text: str
    weights: tuple[tuple[str, ...], ...]
    tokens: tuple[str, ...] = ()

    def labels(self, size: int) -> tuple[str, ...]:
        """What stands at each of so many positions; nothing where the maps are not of this text."""
        labels = self.tokens or tuple(self.text)
        return labels if len(labels) == size else ()


@dataclass(frozen=True)
class Inspection:
    """Everything that is measured of a run: means over heads (`attention`) and projections (`codes`), and each of
    them; `step` is that of the checkpoint, None for the last weights."""

    run: str
    step: int | None
    text: TextRead
    attention: AttentionMeasures
    layers: tuple[LayerMeasures, ...]
    loss: Ablation
    codes: CodeSummary
    projections: tuple[CodeMeasures, ...]
    maps: Maps | None

    @property
    def by_head(self) -> dict[str, HeadMeasures]:
        """Heads by `layer/head`, both from 1."""
        return {f"{layer.layer + 1}/{head.head + 1}": head for layer in self.layers for head in layer.heads}

    @property
    def by_projection(self) -> dict[str, CodeMeasures]:
        """Codes by `layer/projection`, and `/head` where each head has its own, from 1."""
        return {
            f"{p.layer + 1}/{p.projection}" + ("" if p.head is None else f"/{p.head + 1}"): p
            for p in self.projections
        }

    def figure(self, path: str) -> float | None:
        """The figure under a dotted name, as `attention.gini` or `loss.added.top4`; None where there is none."""
        found: object = self
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else getattr(found, name, None)
        is_number = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
        return float(found) if is_number else None  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        values = {"format": FORMAT, **msgspec.to_builtins(self, str_keys=True)}
        return values | {"loss": {**values["loss"], "added": self.loss.added}}


@dataclass(frozen=True)
class Snapshot:
    """What was measured at one step of training, and the validation loss there in nats a character."""

    step: int
    valid_nats: float | None
    measured: Inspection


@dataclass(frozen=True)
class RunAnalysis:
    """Snapshots of a run of a comparison as training went on, the end last: `analysis/<name>.json`. Name and hash
    are those of its record."""

    name: str
    hash: str
    at: tuple[Snapshot, ...]

    @property
    def end(self) -> Inspection:
        return self.at[-1].measured

    def to_dict(self) -> dict[str, Any]:
        at = [{**vars(snapshot), "measured": snapshot.measured.to_dict()} for snapshot in self.at]
        return {"format": FORMAT, "name": self.name, "hash": self.hash, "at": at}

    @classmethod
    def from_dict(cls, values: object, where: str) -> RunAnalysis:
        """Raises InputError for what is no analysis of a run."""
        try:
            found = msgspec.convert(values, cls, str_keys=True)
        except msgspec.ValidationError as error:
            raise InputError(f"{where} is damaged ({error}): delete it") from error
        if not found.at:
            raise InputError(f"{where} holds no snapshot: delete it")
        return found
