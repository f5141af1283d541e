"""The report of one run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aeattn.report.blocks import (
    Cell,
    Code,
    Figure,
    Figures,
    Page,
    Samples,
    Section,
    Table,
    Text,
    shown,
)
from aeattn.report.svg import chart, spread
from aeattn.runs.folder import RunFolder


def make_page(path: Path) -> Page:
    """Learning curve, settings, metrics and samples. Raises InputError for what is no run folder."""
    run = RunFolder(path)
    config = run.read_config()
    metrics = run.read_metrics()
    scored = [line for line in metrics if isinstance(line.get("valid_nats"), int | float)]
    hero = _curve(metrics) if metrics else None
    samples = [(f"after {step:,} steps", text) for step, text in run.read_samples()]
    return Page(
        title=path.resolve().name,
        question="One run; a comparison needs several (aeattn compare).",
        answer=_answer(scored),
        hero=hero,
        facts=[f"preset {config.preset}", f"seed {config.training.seed}", f"{config.training.steps:,} steps"],
        notes=[],
        sections=[
            Section("Measurements", [_table(metrics)] if metrics else [Text("Nothing has been measured yet.")]),
            Section("What the model writes", [Samples("", samples)] if samples else []),
            Section("Protocol", [Code("Every setting", json.dumps(config.to_dict(), indent=1))]),
        ],
    )


def _answer(scored: list[dict[str, Any]]) -> str:
    if not scored:
        return "This run has not been evaluated yet."
    last = scored[-1]
    over = f" over {last['valid_chars']:,} characters" if "valid_chars" in last else ""
    return f"Validation loss {last['valid_nats']:.4f} nats a character{over}, after {last['step']:,} steps."


def _curve(metrics: list[dict[str, Any]]) -> Figures:
    lines = {
        name: [(m["chars"] / 1e6, float(m[name])) for m in metrics if isinstance(m.get(name), int | float)]
        for name in ("train_nats", "valid_nats")
    }
    every = [point for points in lines.values() for point in points]
    low = min((y for _, y in every), default=0.0)
    high = min(max((y for _, y in every), default=1.0), low + 1.6)
    ends = ", ".join(f"{name} {points[-1][1]:.4f}" for name, points in lines.items() if points)
    plot = chart("Learning curve", f"At the end: {ends}.", spread([x for x, _ in every], 0.02),
                 (low - 0.05, high + 0.05), "million characters trained on", "nats a character")  # fmt: skip
    for series, points in enumerate(lines.values()):
        if points:
            plot.line(points, series)
    return Figures([Figure(plot.render())], [("training, smoothed", 0), ("validation", 1)])


def _table(metrics: list[dict[str, Any]]) -> Table:
    names = ("step", "chars", "seconds", "train_nats", "valid_nats")
    forms = (",.0f", ",.0f", ",.1f", ".4f", ".4f")
    rows: list[list[Cell]] = [
        [shown(line.get(name), form) for name, form in zip(names, forms, strict=True)] for line in metrics
    ]
    return Table(
        "", [f"#{n}" for n in ("step", "characters", "seconds", "training nats", "validation nats")], rows
    )
