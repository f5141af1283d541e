"""The example notebook is carried out, in a kernel of its own, with less training; it is kept without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_shown import _check
from tests.conftest import share, use_cache

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.ipynb"))
LESS = {
    "first_steps.ipynb": """LENGTH = {
    "config": {"training": {"eval_chars": 500}, "data": {"limit_valid_chars": 500}},
    "steps": 4, "batch": 4, "context": 32, "compile": "off", "limit_chars": 20_000,
}"""
}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_there_is_an_example() -> None:
    assert [path.name for path in EXAMPLES] == list(LESS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_outputs_are_not_kept(path: Path) -> None:
    notebook = _read(path)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), _source(cell)[:60]
            compile(_source(cell), path.name, "exec")
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert [cell["metadata"].get("tags") for cell in notebook["cells"]].count(["parameters"]) == 1


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> list[dict[str, Any]]:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    (path,) = EXAMPLES
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.metadata.get("tags") == ["parameters"]:
            cell.source = LESS[path.name]
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        use_cache(patch, share(compiled, folder / "cache"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        here = {"metadata": {"path": str(folder)}}
        done = nbclient.NotebookClient(notebook, timeout=200, kernel_name="python3", resources=here).execute()
    cells: list[dict[str, Any]] = [cell for cell in done["cells"] if cell["cell_type"] == "code"]
    return cells


def _outputs(cells: list[dict[str, Any]], start: str) -> list[dict[str, Any]]:
    (cell,) = (cell for cell in cells if _source(cell).startswith(start))
    outputs: list[dict[str, Any]] = cell["outputs"]
    return outputs


def test_every_cell_runs_and_says_something(executed: list[dict[str, Any]]) -> None:
    for cell in executed:
        kinds = {output["output_type"] for output in cell["outputs"]}
        assert "error" not in kinds
        assert kinds or _source(cell).startswith("LENGTH"), _source(cell)[:60]
        assert not any(output.get("name") == "stderr" for output in cell["outputs"])


def test_progress_takes_one_place_and_the_model_shows_itself(executed: list[dict[str, Any]]) -> None:
    progress, model = _outputs(executed, "import aeattn")
    assert "4 updates<br>nats/char" in progress["data"]["text/html"]
    assert "parameters" in model["data"]["text/html"]
    assert model["data"]["text/plain"].startswith("TextModel(")
    for output in (progress, model):
        _check(output["data"]["text/html"])


def test_attention_is_seen(executed: list[dict[str, Any]]) -> None:
    (maps,) = _outputs(executed, "maps = ")
    assert maps["data"]["text/html"].count("<img") == 12
    (plot,) = _outputs(executed, "maps.plot")
    assert "image/png" in plot["data"]


def test_it_learns_to_add(executed: list[dict[str, Any]]) -> None:
    (said,) = _outputs(executed, "from torch import nn")
    first, last = map(float, re.findall(r"\d+\.\d+", said["text"]))
    assert last < first / 4
