"""One server, one text and one tally for all fault tests."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aeattn import hardware
from tests.conftest import share
from tests.faults.harness import FULL, ROOT, Bench


class Tally:
    """How many faults of each kind were injected, and how many ended well; the largest difference of all."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = defaultdict(lambda: {"tried": 0, "right": 0})
        self.largest_difference = 0.0
        self.skipped: dict[str, str] = {}

    def count(self, kind: str, right: bool) -> bool:
        self.counts[kind]["tried"] += 1
        self.counts[kind]["right"] += right
        return right

    def difference(self, kind: str, value: float) -> bool:
        self.largest_difference = max(self.largest_difference, value)
        return self.count(kind, value == 0.0)

    def record(self) -> dict[str, Any]:
        facts = hardware.describe()
        return {
            "name": "faults",
            "kind": "faults",
            "status": "done",
            "counts": dict(self.counts),
            "largest_difference": self.largest_difference,
            "skipped": self.skipped,
            "environment": facts,
        }


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """In the full suite, what it holds in the end becomes the record, unless a part of the tests was chosen."""
    tally = Tally()
    yield tally
    files = {item.path for item in request.session.items}
    whole = files >= set(Path(__file__).parent.glob("test_*.py")) and not request.config.option.keyword
    if FULL and whole:
        path = ROOT / "results" / "faults.json"
        path.write_text(json.dumps(tally.record(), indent=1) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def bench(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("faults")
    bench = Bench.make(folder, share(compiled, folder / "cache"))
    yield bench
    bench.server.close()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"
