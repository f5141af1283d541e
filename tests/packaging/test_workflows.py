"""The workflows for a public forge: well-formed, on pinned actions, and what they call is there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def _read(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return found


def _steps(workflow: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job.get("steps", ())


def test_they_are_there() -> None:
    assert [file.name for file in FILES] == ["package.yml", "release.yml", "site.yml", "tests.yml"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_is_well_formed(file: Path) -> None:
    workflow = _read(file.name)
    assert set(workflow) <= {"name", True, "permissions", "env", "concurrency", "jobs"}  # True: YAML's `on`
    assert workflow["name"] == file.stem
    assert workflow["permissions"] == {"contents": "read"}  # more where a job needs it
    for job in workflow["jobs"].values():
        assert ("uses" in job) != ("runs-on" in job)
        assert job.get("runs-on", "ubuntu-24.04") == "ubuntu-24.04"  # no moving target
        needed = job.get("needs", [])
        assert {needed} if isinstance(needed, str) else set(needed) <= set(workflow["jobs"])
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file()
            assert "workflow_call" in _read(Path(job["uses"]).name)[True]
    for step in _steps(workflow):
        assert ("uses" in step) != ("run" in step), step


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_actions_are_pinned(file: Path) -> None:
    used = [step["uses"] for step in _steps(_read(file.name)) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", action), action


def test_what_they_run_is_there() -> None:
    run = [step["run"] for file in FILES for step in _steps(_read(file.name)) if "run" in step]
    made = [words for line in run if (words := line.split())[0] == "make"]
    assert {words[1] for words in made} >= {"test", "check-style", "site", "package", "extras", "types"}
    assert {words[1] for words in made} <= TARGETS
    for words in made:
        for setting in words[2:]:
            assert f"\n{setting.partition('=')[0]} ?=" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_matrix_is_what_the_package_says() -> None:
    matrix = _read("tests.yml")["jobs"]["ranges"]["strategy"]["matrix"]
    said = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert matrix["python"] == said
    assert PROJECT["requires-python"] == f">={said[0]}"
    [torch] = [re.sub(r"\s", "", line) for line in PROJECT["dependencies"] if line.startswith("torch")]
    least = re.match(r"torch>=([\d.]+),", torch)
    assert least is not None
    assert matrix["torch"][0] == f"=={least[1]}.*"
    assert matrix["torch"][1].endswith(torch.partition(",")[2])
    pinned = re.search(r"^torch==(\d+\.\d+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert matrix["torch"][1].startswith(f">={pinned[1]},")


def test_a_tag_is_published_after_the_tests_and_without_a_token() -> None:
    workflow = _read("release.yml")
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    publish = workflow["jobs"]["publish"]
    assert publish["needs"] == "tests"
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets" not in (FOLDER / "release.yml").read_text(encoding="utf-8")
    assert _read("tests.yml")["jobs"]["package"]["uses"] == "./.github/workflows/package.yml"


def test_extras_that_are_tried_are_extras() -> None:
    text = (ROOT / "tools" / "extras.py").read_text(encoding="utf-8")
    block = text[text.index("COMMANDS = {") : text.index("REFUSED")]
    tried = set(re.findall(r'"([a-z]+)":', block))
    assert tried - {"plain", "onnx"} <= set(PROJECT["optional-dependencies"])
    assert len(tried) > 10
