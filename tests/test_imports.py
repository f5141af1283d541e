"""The layout: imports run down the list of layers, never up; importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "aeattn"
LAYERS = ["errors", "version", "host", "files", "config", "kernels", "nn", "data", "generation", "hardware"]
LAYERS += [
    "runs",
    "terminal",
    "training",
    "analysis",
    "api",
    "compare",
    "report",
    "benchmarks",
    "integrations",
    "cli",
    "__main__",
]
MODULES = sorted(PACKAGE.rglob("*.py"))


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_down(path: Path) -> None:
    layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if layer == "__init__":
        return  # the public names, imported lazily
    above = LAYERS[LAYERS.index(layer) + 1 :]
    ours = {name.split(".")[1] for name in _imported(path) if name.startswith("aeattn.")}
    assert not ours & set(above), f"{path.name} imports from a layer above its own"


@pytest.mark.parametrize(
    "path", [p for p in MODULES if "nn" in p.relative_to(PACKAGE).parts], ids=lambda p: p.name
)
def test_the_idea_needs_torch_alone(path: Path) -> None:
    packages = {name.split(".")[0] for name in _imported(path)}
    assert packages <= {"torch", "aeattn"} | set(sys.stdlib_module_names)


def test_attention_never_says_autoencoder() -> None:
    assert "autoencoder" not in (PACKAGE / "nn" / "attention.py").read_text(encoding="utf-8").lower()


def test_importing_does_nothing() -> None:
    heavy = "{'torch', 'numpy', 'rich', 'matplotlib'}"
    check = f"assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    code = f"import sys, aeattn; {check}; from aeattn.cli import make_parser; make_parser(); {check}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


BAD = [
    ["train", "--preset", "nonsense"],
    ["train", "no-such-file"],
    ["train", "--n-heads", "3"],
    ["train", "--minutes", "0"],
    ["report", "no-such-run"],
    ["compare", "claim"],
    ["import", "no-such", "x"],
]
NO_RUN = [
    ["generate", "no-such-run"], ["evaluate", "no-such-run", "x"], ["inspect", "no-such-run"],
    ["resume", "no-such-run"], ["bench", "generate", "no-such-run"],
    ["export", "no-such-run", "--to", "hf", "x"], ["export", "no-such-run", "--to", "onnx", "x"],
]  # fmt: skip


def test_bad_arguments_are_answered_before_torch_is_loaded(tmp_path: Path) -> None:
    code = f"""import sys; from aeattn.cli import main
for arguments in {BAD!r}:
    assert main(arguments) == 2, arguments
    assert 'torch' not in sys.modules, arguments"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=tmp_path)


def test_a_run_that_is_not_there_is_told_before_numpy_is_loaded(tmp_path: Path) -> None:
    code = f"""import sys; from aeattn.cli import main
for arguments in {NO_RUN!r}:
    assert main(arguments) == 2, arguments
    assert not {{'torch', 'numpy'}} & set(sys.modules), arguments"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=tmp_path)


def test_public_names_are_there() -> None:
    import aeattn

    for name in aeattn.__all__:
        assert getattr(aeattn, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = aeattn.nonsense


def test_files_stay_readable() -> None:
    sizes = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    assert not {name: lines for name, lines in sizes.items() if lines > 380}
