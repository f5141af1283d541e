"""Plug-ins: found, loaded once, and refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from aeattn.config import plugins
from aeattn.config.plugins import load_plugins
from aeattn.config.run import RunConfig
from aeattn.config.sources import read_settings, resolve
from aeattn.errors import InputError

KIND = """
from aeattn.config.projections import Kind, register
register(Kind({name!r}, "a kind of its own", "mine:Kind", lambda w: {{}}, lambda w: w.bottleneck))
"""


def _plugin(folder: Path, name: str, kind: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (path := folder / name).write_text(KIND.format(name=kind))
    return path


def test_a_file_is_loaded_before_the_settings_that_need_it(tmp_path: Path) -> None:
    path = _plugin(tmp_path, "mine.py", "first-kind")
    config = resolve({"model": {"key": "first-kind"}}, plugins=[str(path)])
    assert config.plugins == (str(path.resolve()),)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_config_names_files_beside_itself(tmp_path: Path) -> None:
    path = _plugin(tmp_path / "there", "beside.py", "second-kind")
    file = path.with_name("config.toml")
    file.write_text('plugins = ["beside.py"]\nmodel.key = "second-kind"\n')
    assert read_settings(file)["plugins"] == [str(path)]
    assert resolve({}, file=file).model.key == "second-kind"


def test_files_stay_as_they_were_without_plugins() -> None:
    assert "plugins" not in RunConfig().to_dict()
    assert "tokenizer" not in RunConfig().to_dict()["data"]


def test_an_entry_point_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    point = SimpleNamespace(load=lambda: loaded.append("here"))
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group, name: [point] if name == "its" else [])
    monkeypatch.setattr(plugins, "_loaded", set())
    assert load_plugins(["its", "its"]) == ("its",)
    assert loaded == ["here"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"plug-in .*broken\.py is not there: check the path"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("this is no Python", "cannot be loaded: SyntaxError"),
        ("import sys; sys.exit('gone')", "cannot be loaded: SystemExit: gone"),
        (KIND.format(name="linear"), "ValueError: projection 'linear' is there already"),
    ],
)
def test_what_fails_is_told_in_a_line(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        load_plugins([str(path)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("names", ["[1]", '[""]', "3"])
def test_names_that_are_none(names: str, tmp_path: Path) -> None:
    (file := tmp_path / "a.toml").write_text(f"plugins = {names}\n")
    with pytest.raises(InputError, match="plugins"):
        resolve({}, file=file)


def test_pytorch_is_loaded_only_by_a_plugin_that_needs_it(tmp_path: Path) -> None:
    path = _plugin(tmp_path, "mine.py", "third-kind")
    code = f"""import sys; from aeattn.cli import main
assert main(["size", "--plugin", {str(path)!r}, "--set", "model.key=third-kind", "--preset", "460k"]) == 0
assert "torch" not in sys.modules and "numpy" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)


def test_one_name_needs_no_list_and_is_loaded_all_the_same(tmp_path: Path) -> None:
    (plugin := tmp_path / "alone.py").write_text("import pathlib\npathlib.Path(__file__ + '.seen').touch()\n")
    (settings := tmp_path / "a.toml").write_text('plugins = "alone.py"\n')
    assert resolve({}, file=settings).plugins == (str(plugin),)
    assert plugin.with_name("alone.py.seen").exists()
    (again := tmp_path / "again.py").write_text(plugin.read_text())
    assert resolve({}, sets=[f"plugins={again}"]).plugins == (str(again),)
    assert again.with_name("again.py.seen").exists()
