"""What the README says of a comparison, between two marks."""

from __future__ import annotations

from pathlib import Path

from aeattn.compare.folder import Folder
from aeattn.compare.results import Summary
from aeattn.files import read_json

BEGIN, END = "<!-- from results/first -->", "<!-- until here -->"
PICTURE = "[![The differences with their intervals](docs/first/report.svg)](docs/first/report.md)"


def with_answer(readme: str, comparison: Path) -> str:
    """The README with what a comparison has found, as far as it has been run."""
    before, rest = readme.split(BEGIN)
    summary = Folder(comparison).summary
    known = Summary.from_dict(read_json(summary, str(summary)), str(summary)) if summary.exists() else None
    return f"{before}{BEGIN}\n{answer(known)}\n{END}{rest.split(END)[1]}"


def answer(summary: Summary | None) -> str:
    """The sentences of a summary that are about losses, the primary one and its conditions first."""
    if summary is None:
        return "Not measured yet."
    runs = summary.runs
    losses = [c for c in summary.contrasts if c.measure == "valid_nats" and c.mean is not None]
    primary = [_capital(c.sentence) for c in losses if c.primary]
    if not primary:
        return f"Not measured yet: {runs.done} of {runs.wanted} runs are done."
    parts = [] if runs.done == runs.wanted else [f"So far, with {runs.done} of {runs.wanted} runs done:"]
    parts += [f"**{primary[0]}**", summary.conditions, PICTURE]
    others = [f"- {_capital(c.sentence)}" for c in losses if not c.primary]
    return "\n\n".join(filter(None, [*parts, "\n".join(others)]))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
