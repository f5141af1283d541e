"""The curves that the published experiment reported, beside a run of its task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from aeattn.compare.records import Point, comparable
from aeattn.config.convert import build
from aeattn.config.run import RunConfig
from aeattn.config.sources import read_toml
from aeattn.nn.size import parameters
from aeattn.report.blocks import Figure, Figures, Section, Table, Text, shown
from aeattn.report.svg import Chart, spread

RECIPE, CORPUS = "books10m", "bookcorpus"  # its task, or as near as can be had
OURS, THEIRS = "this run", "published"


@dataclass(frozen=True)
class PublishedCurve:
    """Losses in nats a token after so many updates; a token is `chars_per_token` characters of text."""

    parameters: int
    tokens: str
    steps: tuple[int, ...]
    nats: tuple[float, ...]
    chars_per_token: float = 1.0

    @property
    def points(self) -> list[tuple[float, float]]:
        """Updates, and nats a character."""
        return [(step, nats / self.chars_per_token) for step, nats in zip(self.steps, self.nats, strict=True)]


@dataclass(frozen=True)
class Published:
    """All curves, and where they are from."""

    source: str
    curves: tuple[PublishedCurve, ...]


def published() -> Published:
    values = read_toml(Path(str(resources.files("aeattn.report") / "published.toml")))
    curves = tuple(build(PublishedCurve, curve, "curves") for curve in values["curves"])
    return Published(values["source"], curves)


def nearest(config: RunConfig) -> PublishedCurve | None:
    """The curve of the model that is nearest in size, of characters or of subwords as the run is; None for a run
    of another task."""
    data = config.data
    if data.recipe != RECIPE and data.corpus != (CORPUS,):
        return None
    of = "char" if data.tokenizer == "char" else "gpt2"
    size = parameters(config.model)
    curves = [curve for curve in published().curves if curve.tokens == of]
    return min(curves, key=lambda curve: abs(math.log(curve.parameters / size)))


def section(config: RunConfig, points: Sequence[Point]) -> list[Section]:
    """For the page of a run: nothing where its task is another, or nothing has been evaluated."""
    ours = [(float(p.step), p.valid_nats) for p in comparable(points) if p.valid_nats is not None]
    theirs = nearest(config)
    if theirs is None or not ours:
        return []
    name = f"{THEIRS}, {theirs.parameters:,} parameters"
    every = [*ours, *theirs.points]
    chart = Chart("Beside the published curve", f"{OURS} and {name}", spread([x for x, _ in every], 0.02),
                  spread([y for _, y in every]), "updates", "nats a character")  # fmt: skip
    chart.line(ours, 0)
    chart.line(theirs.points, 1)
    for at in theirs.points:
        chart.dot(at, 1, f"{name}: {at[1]:.4f} after {at[0]:,.0f} updates")
    rows = [[shown(step, ",.0f"), shown(nats, ".4f")] for step, nats in theirs.points]
    return [Section("Beside the published curve", [
        Figures([Figure(chart.render())], [(OURS, 0), (name, 1)]),
        Text(_caveat(theirs)),
        Table(name, ["#updates", "#nats a character"], rows),
    ])]  # fmt: skip


def _caveat(curve: PublishedCurve) -> str:
    about = published().source
    converted = ""
    if curve.chars_per_token != 1:
        converted = (
            f" Its losses a token are divided by {curve.chars_per_token} characters a token, as in its text."
        )
    return (
        f"From {about}. Its batch, context and learning rate are not known, nor are the texts the same: equal "
        f"updates are not equal text, and only the course can be compared.{converted}"
    )
