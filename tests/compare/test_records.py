"""What is committed of comparisons is still read, known and concluded as it was; what a record gives to draw."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aeattn.compare.declaration import read_declaration
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import is_current, jobs
from aeattn.compare.records import Point
from aeattn.compare.results import Summary
from aeattn.compare.summary import sharing_the_machine, summarise
from tests.compare.conftest import Declare, done

RESULTS = Path(__file__).parents[2] / "results"
COMMITTED = sorted(path.parent for where in ("*", "*/*") for path in RESULTS.glob(f"{where}/spec.json"))
FINISHED = [path for path in COMMITTED if (path / "summary.json").exists()]


def _name(path: Path) -> str:
    return path.relative_to(RESULTS).as_posix()


def test_there_is_something_committed() -> None:
    assert RESULTS / "first" in FINISHED


@pytest.mark.parametrize("path", COMMITTED, ids=_name)
def test_what_is_committed_is_read_and_would_be_written_back_the_same(path: Path) -> None:
    folder = Folder(path)
    assert read_declaration(folder).to_dict() == json.loads(folder.spec.read_text())
    for file in (*folder.records.glob("*.json"), *folder.stale.glob("*/records.json")):
        record = folder.read_record(file.stem) if file.parent == folder.records else None
        values = json.loads(file.read_text())
        assert values == (record or type(folder.read_records()[0]).from_dict(values, str(file))).to_dict()


@pytest.mark.parametrize("path", FINISHED, ids=_name)
def test_committed_conclusions_follow_from_committed_records(path: Path) -> None:
    folder = Folder(path)
    declaration, records = read_declaration(folder), {r.name: r for r in folder.read_records()}
    assert all(is_current(job, records) for job in jobs(declaration, records))  # nothing would be run again
    summary, committed = summarise(folder, declaration, records), folder.summary.read_text()
    assert _rounded(json.dumps(summary.to_dict())) == _rounded(committed)
    assert Summary.from_dict(json.loads(committed), "x").to_dict() == json.loads(committed)
    assert Summary.from_dict(summary.to_dict(), "x") == summary


def _rounded(text: str) -> Any:
    """What JSON holds, without the digits in which processors' exponentials differ."""
    return json.loads(text, parse_float=lambda digits: float(f"{float(digits):.12g}"))


def test_a_learning_curve_never_mixes_a_part_of_the_text_with_the_whole(declare_in: Declare) -> None:
    job = jobs(declare_in()[1], {})[0]
    on_part = [Point(step, step * 64, 1.0, 2.0, 2.0 - step / 10, 100) for step in (1, 2, 3)]
    between = Point(4, 256, 1.0, 2.0)
    end = Point(5, 320, 1.0, 2.0, 1.2, 5000)
    record = replace(job, curve=(*on_part, between, end))
    assert record.learning_curve == tuple(on_part)
    assert replace(job, curve=(end,)).learning_curve == (end,)
    assert job.learning_curve == ()


def test_runs_at_the_same_time_share_the_machine(declare_in: Declare) -> None:
    found = jobs(declare_in()[1], {})
    times = [("01", "02"), ("02", "03"), ("025", "06"), ("04", "05"), ("06", "07")]
    records = [
        replace(done(job, 1.0), started=start, finished=end)
        for job, (start, end) in zip(found, times, strict=False)
    ]
    assert sharing_the_machine([*records, done(found[5], 1.0)]) == {record.name for record in records[1:4]}
