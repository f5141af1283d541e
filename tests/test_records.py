"""Figures in documents come from records."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from aeattn.cli import make_parser
from aeattn.report import write_report

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def record() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record", ROOT / "bench" / "record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_records(record: ModuleType) -> None:
    assert (ROOT / "results" / "README.md").read_text(encoding="utf-8") == record.tables.markdown(
        record.RESULTS, list(record.RUNS)
    )


def test_the_answer_in_the_readme_is_that_of_the_records(record: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert record.tables.with_answer(readme, record.RESULTS) == readme


def test_the_report_is_that_of_the_records(record: ModuleType, tmp_path: Path) -> None:
    write_report(record.RESULTS / "first", tmp_path)
    written = ROOT / "docs" / "first" / "report.md"
    assert written.read_text(encoding="utf-8") == (tmp_path / "report.md").read_text(encoding="utf-8")
    if record.tables.read(record.RESULTS, "first/summary")["runs"]["missing"] == 0:
        assert (written.parent / "report.svg").exists()


def test_an_answer_says_how_much_of_it_is_there(record: ModuleType) -> None:
    def contrast(
        sentence: str, *, primary: bool = False, measure: str = "valid_nats", mean: float | None = 0.1
    ) -> dict[str, object]:
        return {"sentence": sentence, "primary": primary, "measure": measure, "mean": mean}

    contrasts = [contrast("b"), contrast("c", measure="seconds"), contrast("a", primary=True)]
    half = record.tables.answer({"runs": {"done": 1, "wanted": 2}, "contrasts": contrasts})
    assert half == f"So far, with 1 of 2 runs done:\n\n**A**{record.tables.PICTURE}\n\n- B"
    assert (
        record.tables.answer({"runs": {"done": 2, "wanted": 2}, "contrasts": contrasts})
        == f"**A**{record.tables.PICTURE}\n\n- B"
    )
    nothing = {"runs": {"done": 1, "wanted": 2}, "contrasts": [contrast("a", mean=None)]}
    assert record.tables.answer(nothing) == "Not measured yet: 1 of 2 runs are done."
    assert record.tables.answer(None) == "Not measured yet."


def test_recorded_commands_are_commands(record: ModuleType) -> None:
    for arguments, text in record.RUNS.values():
        make_parser().parse_args(["train", *arguments])
        make_parser().parse_args(["evaluate", "run", text])


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
