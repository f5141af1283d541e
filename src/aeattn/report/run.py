"""The report of one run folder."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from aeattn.compare.records import Point
from aeattn.report import curve, published
from aeattn.report.blocks import Cell, Code, Page, Samples, Section, Table, Text, shown
from aeattn.runs.folder import RunFolder
from aeattn.terminal.escaping import printable

MEASURED = {
    "step": ("step", ",.0f"),
    "chars": ("characters", ",.0f"),
    "seconds": ("seconds", ",.1f"),
    "train_nats": ("training nats", ".4f"),
    "valid_nats": ("validation nats", ".4f"),
    "valid_chars": ("over characters", ",.0f"),
}


def make_page(path: Path) -> Page:
    """Learning curve, settings, metrics and samples. Raises InputError for what is no run folder."""
    run = RunFolder(path)
    config = run.read_config()
    points = curve.read_points(run)
    samples = [(f"after {step:,} steps", text) for step, text in run.read_samples()]
    return Page(
        title=printable(path.resolve().name),
        question="One run; a comparison needs several (aeattn compare).",
        answer=_answer([point for point in points if point.valid_nats is not None], _bytes(run)),
        hero=curve.figures(curve.learning_curve(points)) if points else None,
        facts=[f"preset {config.preset}", f"seed {config.training.seed}", f"{config.training.steps:,} steps"],
        notes=[],
        sections=[
            Section("Measurements", [_table(points)] if points else [Text("Nothing has been measured yet.")]),
            *published.section(config, points),
            Section("What the model writes", [Samples("", samples)] if samples else []),
            Section("Protocol", [Code("Every setting", json.dumps(config.to_dict(), indent=1))]),
        ],
    )


def _bytes(run: RunFolder) -> int | None:
    """Of what the last loss is over; runs of before have not noted them."""
    found = [line["valid_bytes"] for line in run.read_metrics() if "valid_nats" in line and "valid_bytes" in line]
    return found[-1] if found and isinstance(found[-1], int) else None


def _answer(scored: Sequence[Point], size: int | None) -> str:
    if not scored:
        return "This run has not been evaluated yet."
    last = scored[-1]
    over = f" over {last.valid_chars:,} characters" if last.valid_chars else ""
    nats = last.valid_nats or 0.0
    losses = f"{nats:.4f} nats ({nats / math.log(2):.4f} bits) a character"
    if size and last.valid_chars:
        each = nats * last.valid_chars / size
        losses += f", {each:.4f} nats ({each / math.log(2):.4f} bits) a byte"
    return f"Validation loss {losses}{over}, after {last.step:,} steps."


def _table(points: Sequence[Point]) -> Table:
    rows: list[list[Cell]] = [
        [shown(getattr(point, name), form) for name, (_, form) in MEASURED.items()] for point in points
    ]
    return Table("", [f"#{heading}" for heading, _ in MEASURED.values()], rows)
