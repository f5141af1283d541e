"""The wheel and the source distribution: what is in them, and what an index shows of them."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest

from aeattn.version import VERSION

pytest.importorskip("hatchling")
ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "aeattn"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@dataclass(frozen=True)
class Built:
    """Both, and their files by name."""

    wheel: Path
    files: dict[str, bytes]
    source: Path
    members: dict[str, bytes]

    @property
    def metadata(self) -> bytes:
        return next(content for name, content in self.files.items() if name.endswith(".dist-info/METADATA"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    from hatchling.build import build_sdist, build_wheel

    folder = tmp_path_factory.mktemp("dist")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        source, wheel = folder / build_sdist(str(folder)), folder / build_wheel(str(folder))
    with zipfile.ZipFile(wheel) as zipped:
        files = {name: zipped.read(name) for name in zipped.namelist()}
    with tarfile.open(source) as tar:
        members = {m.name.partition("/")[2]: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
    return Built(wheel, files, source, members)


def _there(folder: Path) -> dict[str, bytes]:
    """The files of a folder, without what Python leaves behind."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*")
            if p.is_file() and "__pycache__" not in p.parts}  # fmt: skip


def _tracked() -> set[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, timeout=30)
    return {os.fsdecode(name) for name in listed.stdout.split(b"\0") if name}


def test_the_wheel_is_the_package_and_nothing_else(built: Built) -> None:
    files = {name: content for name, content in built.files.items() if ".dist-info/" not in name}
    assert files == {f"aeattn/{name}": content for name, content in _there(PACKAGE).items()}
    assert built.wheel.name == f"autoencoder_attention-{VERSION}-py3-none-any.whl"
    suffixes = {Path(name).suffix for name in files}
    assert {".py", ".typed", ".cpp", ".h", ".toml", ".tsv", ".txt", ".css", ".html", ".js"} <= suffixes
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in built.files)
    [entry] = [built.files[name] for name in built.files if name.endswith("entry_points.txt")]
    assert entry.decode().split("\n")[:2] == ["[console_scripts]", "aeattn = aeattn.cli:main"]


def test_the_wheel_runs_from_elsewhere(built: Built, tmp_path: Path) -> None:
    with zipfile.ZipFile(built.wheel) as zipped:
        zipped.extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for arguments in (["--version"], ["size", "--preset", "460k", "--json"]):
        command = [sys.executable, "-P", "-m", "aeattn", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert VERSION in done.stdout or "parameters" in done.stdout


def test_the_source_has_all_that_the_tests_need(built: Built) -> None:
    missing = _tracked() - set(built.members)
    assert not missing
    assert {"pyproject.toml", "PKG-INFO"} <= set(built.members)
    assert built.members["README.md"] == (ROOT / "README.md").read_bytes()  # as it is in the repository


def test_what_nobody_tracks_is_not_in_the_source(built: Built) -> None:
    pieces = {piece for name in built.members for piece in name.split("/")}
    assert not pieces & {"__pycache__", ".git", ".venv", ".mypy_cache", ".pytest_cache", ".hypothesis"}


def test_the_metadata_are_sound(built: Built) -> None:
    from packaging.metadata import Metadata

    metadata = Metadata.from_email(built.metadata, validate=True)
    message = BytesParser().parsebytes(built.metadata)
    assert metadata.version.public == VERSION
    assert metadata.summary == PROJECT["description"]
    assert len(PROJECT["description"]) < 120
    assert (metadata.license_expression, metadata.license_files) == ("MIT", ["LICENSE"])
    assert metadata.project_urls == PROJECT["urls"]
    assert set(metadata.provides_extra or ()) == set(PROJECT["optional-dependencies"])
    assert not [
        line for line in message.get_all("Requires-Dist", []) if "@" in line
    ]  # an index takes no addresses
    assert "License" not in message
    assert not [line for line in PROJECT["classifiers"] if line.startswith("License")]


def test_classifiers_are_those_of_the_index() -> None:
    known = pytest.importorskip("trove_classifiers").classifiers
    assert set(PROJECT["classifiers"]) <= known
    assert PROJECT["classifiers"] == sorted(
        PROJECT["classifiers"], key=lambda c: [_number(p) for p in c.split(" :: ")]
    )


def _number(piece: str) -> tuple[int, ...] | tuple[str]:
    numbers = re.fullmatch(r"(\d+)(?:\.(\d+))?", piece)
    return (0, *(int(n or -1) for n in numbers.groups())) if numbers else (piece,)  # type: ignore[return-value]


def test_the_versions_are_one() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^version: ['\"]?{re.escape(VERSION)}['\"]?$", citation, re.MULTILINE)
    assert f"\n## {VERSION}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_readme_is_whole_on_an_index(built: Built) -> None:
    """Rendered as the index does, nothing in it is relative, and what it leads to is in the repository."""
    markdown = pytest.importorskip("readme_renderer.markdown")
    description = BytesParser().parsebytes(built.metadata).get_payload()
    warnings = io.StringIO()
    page = markdown.render(description, stream=warnings)
    assert page is not None, warnings.getvalue()
    assert len(page) > 5_000
    repository = PROJECT["urls"]["Repository"]
    targets = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(targets) > 20
    for target in targets:
        assert re.match(r"https://|#", target), target
        if found := re.match(rf"{re.escape(repository)}/(blob|raw)/v{re.escape(VERSION)}/([^#]+)", target):
            assert (ROOT / found[2]).exists(), target
            assert (found[1] == "raw") == target.endswith((".svg", ".png")), target
    assert f'src="{repository}/raw/v{VERSION}/docs/pictures/idea.svg"' in page
    assert "<table>" in page


def test_links_become_absolute_and_others_stay() -> None:
    sys.path.insert(0, str(ROOT))
    try:
        from hatch_build import absolute
    finally:
        sys.path.remove(str(ROOT))
    text = (
        "[![a](docs/a.svg)](docs/a.md#b) [c](https://c.org/d) [e](#f) `x[1](2)` ![g](h.png) [mail](mailto:a@b.org)"
    )
    assert absolute(text, "https://r.org/o/n", "v1") == (
        "[![a](https://r.org/o/n/raw/v1/docs/a.svg)](https://r.org/o/n/blob/v1/docs/a.md#b) [c](https://c.org/d) "
        "[e](#f) `x[1](https://r.org/o/n/blob/v1/2)` ![g](https://r.org/o/n/raw/v1/h.png) [mail](mailto:a@b.org)"
    )
