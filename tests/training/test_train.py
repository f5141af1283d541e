"""Training from Python: nothing is written unless asked for, and a hook is one class in a file of one's own."""

from __future__ import annotations

import doctest
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import aeattn
from aeattn.config.plugins import load_plugins
from aeattn.config.run import RunConfig
from aeattn.data import tales
from aeattn.training import hooks
from aeattn.training import train as module

ROOT = Path(__file__).parents[2]
TEXT = tales.generate(4_000)[0]
SETTINGS: dict[str, Any] = {
    "model": {"d_model": 16, "n_layers": 1, "n_heads": 2, "bottleneck": 4, "d_ff": 24, "context": 16},
    "training": {"steps": 5, "batch": 2, "compile": "off", "device": "cpu", "precision": "fp32", "eval_every": 2,
                 "eval_chars": 64, "sample_chars": 4},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = list(hooks.REGISTERED)
    yield
    hooks.REGISTERED[:] = before


class Watch(aeattn.Hook):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, trainer: Any) -> None:
        self.calls.append("start")

    def before_update(self, trainer: Any, loss: float, norm: float) -> None:
        assert loss > 0
        assert norm > 0

    def after_update(self, trainer: Any) -> None:
        self.calls.append(f"update {trainer.state.step}")

    def evaluated(self, trainer: Any, score: Any) -> None:
        self.calls.append("evaluated")

    def end(self, trainer: Any, score: Any) -> None:
        self.calls.append("end")


def test_a_text_is_trained_on_and_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    watch = Watch()
    model = aeattn.train(SETTINGS, TEXT, hooks=[watch])
    assert len(model.generate("a", chars=6)) == 7
    assert watch.calls == ["start", "update 1", "evaluated", "update 2", "update 3", "evaluated", "update 4",
                           "update 5", "evaluated", "end"]  # fmt: skip
    assert os.listdir() == []
    assert not re.findall("nats|characters", "".join(capfd.readouterr()))


def test_every_form_of_a_config_and_of_a_text_gives_the_same_model(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    config = RunConfig.from_settings(SETTINGS)
    models = [aeattn.train(SETTINGS, TEXT), aeattn.train(config, TEXT), aeattn.train(config, corpus=file),
              aeattn.train(config, corpus=[str(file)], out="run"), aeattn.load("run")]  # fmt: skip
    first = models[0].model.state_dict()
    for model in models[1:]:
        assert all(torch.equal(first[name], t) for name, t in model.model.state_dict().items())


@pytest.mark.parametrize(
    ("given", "message"),
    [({"text": "tales"}, "write corpus='tales'"), ({"text": "."}, "write corpus='.'"),
     ({"text": TEXT, "corpus": "tales"}, "give one of them"), ({"text": Path("a")}, "give a string"),
     ({"text": TEXT, "out": "run"}, "write the text to a file"), ({"corpus": "no-such-file"}, "no-such-file")],
    ids=["name", "path", "both", "type", "folder", "missing"],
)  # fmt: skip
def test_what_is_meant_is_never_guessed(given: dict[str, Any], message: str) -> None:
    with pytest.raises(aeattn.InputError, match=re.escape(message)):
        aeattn.train(SETTINGS, **given)
    assert os.listdir() == []


def test_going_back_needs_a_folder() -> None:
    config = RunConfig.from_settings(SETTINGS)
    with pytest.raises(aeattn.InputError, match="give out, a folder"):
        aeattn.train(replace(config, training=replace(config.training, spike_factor=2.0)), TEXT)


def test_the_example_is_true() -> None:
    found = doctest.DocTestFinder(recurse=False).find(module.train, "train", globs={"aeattn": aeattn})
    assert sum(len(test.examples) for test in found) == 3
    assert all(doctest.DocTestRunner().run(test).failed == 0 for test in found)


def test_the_documented_hook_works_as_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    section = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8").partition("## A hook")[2]
    code = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    file = tmp_path / "norms.py"
    file.write_text(code.replace("% 100", "% 2"), encoding="utf-8")
    load_plugins([str(file)])
    aeattn.train(SETTINGS, TEXT, quiet=False)
    said = capfd.readouterr().err
    assert len(re.findall(r"step [24]: loss [\d.]+, norm [\d.]+", said)) == 2
    assert "bits a byte" in said


def test_only_hooks_are_registered() -> None:
    with pytest.raises(TypeError, match=r"derive it from aeattn\.Hook"):
        aeattn.register_hook(dict)  # type: ignore[type-var]
