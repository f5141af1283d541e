"""A comparison small enough for a test: two arms, a text of words in random order, runs of a few steps."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aeattn.compare.declaration import Declaration
from aeattn.compare.folder import Folder
from aeattn.compare.parse import parse
from aeattn.compare.plan import declared
from aeattn.compare.records import Cost, Failure, FileScore, Record, Valid
from aeattn.config.convert import overlay
from aeattn.host import available_cores

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "and", "then", "she", "said", "nothing")
JOBS = str(min(2, available_cores()))
LINEAR = {"query": "linear", "key": "linear", "value": "linear"}

Declare = Callable[..., tuple[Folder, Declaration]]


def words(count: int, seed: int) -> str:
    drawn = random.Random(seed).choices(WORDS, k=count)
    return " ".join(drawn) + "\n"


def nothing_timed(configs: Any) -> list[float]:
    raise AssertionError("nothing is to be measured here")


@pytest.fixture
def text(tmp_path: Path) -> dict[str, Any]:
    """Settings of a text with one book to train on and three to validate on."""
    sizes = {"train": 3000, "a": 60, "b": 90, "c": 120}
    for i, (name, count) in enumerate(sizes.items()):
        (tmp_path / f"{name}.txt").write_text(words(count, i))
    return {
        "corpus": [str(tmp_path / "train.txt")],
        "valid": [str(tmp_path / f"{name}.txt") for name in ("a", "b", "c")],
    }


@pytest.fixture
def spec_values(text: dict[str, Any]) -> dict[str, Any]:
    """What a TOML file of a small comparison gives."""
    return {
        "seeds": [1, 2, 3],
        "budget": {"chars": 512},
        "base": {
            "data": text,
            "model": {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 24, "bottleneck": 4, "context": 32},
            "training": {"batch": 2, "compile": "off", "precision": "fp32", "device": "cpu", "sample_chars": 5},
        },
        "arms": {
            "standard": {"label": "standard attention", "model": LINEAR},
            "auto": {"model": {"query": "linear"}},
        },
    }


@pytest.fixture
def declare_in(tmp_path: Path, spec_values: dict[str, Any]) -> Declare:
    """Declares the small comparison, with changes, in a folder."""

    def make(
        changes: dict[str, Any] | None = None, *, amend: bool = False, measure: Any = nothing_timed
    ) -> tuple[Folder, Declaration]:
        spec = parse(overlay(spec_values, changes or {}), "small")
        source = tmp_path / "spec.toml"
        source.write_text("# as given\n")
        folder = Folder(tmp_path / "out")
        return folder, declared(spec, source, folder, measure, lambda _: None, amend)

    return make


def done(job: Record, nats: float, files: dict[str, tuple[float, int]] | None = None) -> Record:
    """The record of a job that came to this loss."""
    books = files or {"a": (nats, 100), "b": (nats, 300)}
    cost = Cost(1.0, 512, 512.0, 1e6, 2000, 1000, 64, None, 10**6)
    scores = tuple(FileScore(name, x, n) for name, (x, n) in books.items())
    valid = Valid(nats, sum(n for _, n in books.values()), scores)
    return replace(job, status="done", valid=valid, cost=cost, train_nats=nats - 0.1, batches="same")


def failed(job: Record, failure: Failure = "diverged") -> Record:
    return replace(job, status="failed", failure=failure, reason="loss is nan")
