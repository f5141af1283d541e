"""Figures in documents come from records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aeattn.benchmarks.records import RUNS, Run
from aeattn.benchmarks.results_page import page
from aeattn.cli import make_parser
from aeattn.compare.results import Summary
from aeattn.report import write_report

ROOT = Path(__file__).parents[1]


RESULTS = ROOT / "results"


def test_the_tables_are_those_of_the_records() -> None:
    assert (RESULTS / "README.md").read_text(encoding="utf-8") == page(RESULTS, list(RUNS))


def test_the_report_is_that_of_the_records(tmp_path: Path) -> None:
    write_report(RESULTS / "first", tmp_path)
    written = ROOT / "docs" / "first" / "report.md"
    assert written.read_text(encoding="utf-8") == (tmp_path / "report.md").read_text(encoding="utf-8")
    if first().runs.missing == 0:
        assert (written.parent / "report.svg").exists()


def first() -> Summary:
    return Summary.from_dict(json.loads((RESULTS / "first" / "summary.json").read_text(encoding="utf-8")), "first")


def test_recorded_commands_are_commands() -> None:
    for run in RUNS.values():
        make_parser().parse_args(["train", *run.train])
        make_parser().parse_args(["evaluate", "run", run.text, *run.evaluate])


def test_a_record_is_stale_when_its_command_has_changed() -> None:
    known = json.loads((RESULTS / "books-460k.json").read_text(encoding="utf-8"))
    assert RUNS["books-460k"].definition == known["definition"]
    assert Run(("books", "--seed", "1"), "books").definition != known["definition"]


RECORDS = sorted((ROOT / "results").glob("*.json"))


@pytest.mark.parametrize("path", [p for p in RECORDS if p.stem != "faults"], ids=lambda p: p.stem)
def test_a_record_is_whole(path: Path) -> None:
    known = json.loads(path.read_text(encoding="utf-8"))
    assert known["name"] == path.stem
    if known["status"] != "done":
        assert known["reason"]
        assert "evaluation" not in known
        return
    last = known["curve"][-1]
    assert known["evaluation"]["nats_per_char"] == pytest.approx(last["valid_nats"], abs=1e-4)
    assert known["evaluation"]["chars"] == last["valid_chars"]
    assert known["environment"]["commit"]
    assert known["environment"]["dirty"] is False


@pytest.mark.skipif(ROOT / "results" / "faults.json" not in RECORDS, reason="faults are not recorded")
def test_the_record_of_faults_is_whole() -> None:
    known = json.loads((ROOT / "results" / "faults.json").read_text(encoding="utf-8"))
    assert known["name"] == known["kind"] == "faults"
    assert known["largest_difference"] == 0.0
    assert all(0 < count["right"] == count["tried"] for count in known["counts"].values())
