"""Training from Python: nothing is written unless asked for, and a hook is one class in a file of one's own."""

from __future__ import annotations

import argparse
import doctest
import inspect
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import aeattn
from aeattn.api import train as module
from aeattn.config.plugins import load_plugins
from aeattn.config.run import RunConfig
from aeattn.data import tales
from aeattn.training import hooks

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
    model = aeattn.train(SETTINGS, TEXT, hooks=[watch], quiet=True)
    assert len(model.generate("a", chars=6)) == 7
    assert watch.calls == ["start", "update 1", "evaluated", "update 2", "update 3", "evaluated", "update 4",
                           "update 5", "evaluated", "end"]  # fmt: skip
    assert os.listdir() == []
    assert not re.findall("nats|characters", "".join(capfd.readouterr()))


def test_every_form_of_a_config_and_of_a_text_gives_the_same_model(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    config = RunConfig.from_settings(SETTINGS)
    models = [aeattn.train(SETTINGS, TEXT, preset="460k"), aeattn.train(config, TEXT),
              aeattn.train(config, corpus=file), aeattn.train(config, corpus=[str(file)], out="run"),
              aeattn.load("run")]  # fmt: skip
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
    assert sum(len(test.examples) for test in found) == 2
    assert all(doctest.DocTestRunner().run(test).failed == 0 for test in found)


def test_the_documented_hook_works_as_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    section = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8").partition("## A hook")[2]
    code = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    file = tmp_path / "norms.py"
    file.write_text(code.replace("% 100", "% 2"), encoding="utf-8")
    load_plugins([str(file)])
    aeattn.train(SETTINGS, TEXT)
    said = capfd.readouterr().err
    assert len(re.findall(r"step [24]: loss [\d.]+, norm [\d.]+", said)) == 2
    assert "bits/byte" in said


def test_only_hooks_are_registered() -> None:
    with pytest.raises(TypeError, match=r"derive it from aeattn\.Hook"):
        aeattn.register_hook(dict)  # type: ignore[type-var]


# -- keywords --------------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "d_model": 16, "n_layers": 1, "n_heads": 2, "bottleneck": 4, "d_ff": 24, "context": 16, "batch": 2,
    "compile": "off", "device": "cpu", "precision": "fp32", "quiet": True,
}  # fmt: skip


def _weights(model: aeattn.TextModel) -> dict[str, torch.Tensor]:
    return model.model.state_dict()


def test_keywords_are_settings() -> None:
    rest = {"eval_chars": 64, "sample_chars": 4}  # without an option, so without a keyword
    start = {"preset": "460k", "training": rest}
    nested = {"model": {k: SMALL[k] for k in ("d_model", "n_layers", "n_heads", "bottleneck", "d_ff", "context")},
              "training": {**{k: SMALL[k] for k in ("batch", "compile", "device", "precision")}, "steps": 5,
                           "seed": 3, **rest}}  # fmt: skip
    by_table = aeattn.train(nested, TEXT, preset="460k", quiet=True)
    by_name = aeattn.train(start, TEXT, **SMALL, steps=5, seed=3)
    both = aeattn.train(RunConfig.from_settings(nested), TEXT, seed=3, quiet=True)
    for other in (by_name, both):
        assert other.config == by_table.config
        assert all(torch.equal(t, _weights(by_table)[name]) for name, t in _weights(other).items())
    assert not torch.equal(
        _weights(aeattn.train(start, TEXT, **SMALL, steps=5, seed=4))["embedding.weight"],
        _weights(by_table)["embedding.weight"],
    )


class Length(aeattn.Hook):
    steps = 0

    def end(self, trainer: Any, score: Any) -> None:
        self.steps = trainer.state.step
        self.config = trainer.config


def test_how_long_it_trains() -> None:
    for given, steps in (({"steps": 3}, 3), ({"chars": 6 * 2 * 16 + 5}, 6)):
        length = Length()
        aeattn.train(text=TEXT, hooks=[length], **SMALL, **given)
        assert length.steps == steps
    length = Length()
    aeattn.train({"training": {"steps": 2, "minutes": 5.0}}, TEXT, hooks=[length], **SMALL, chars=64)
    assert (length.steps, length.config.training.minutes) == (2, None)
    quick = Length()
    aeattn.train(text=TEXT, hooks=[quick], **SMALL, minutes=0.002)
    assert 1 <= quick.steps < 5000


def test_every_option_of_the_command_that_is_a_setting_is_a_keyword() -> None:
    from aeattn.cli.train import TRAIN

    parser = argparse.ArgumentParser()
    TRAIN.options(parser)
    sections = ("model", "training", "data", "track")
    flags = {a.dest for a in parser._actions if a.dest.partition(".")[0] in sections} | {"plugins"}
    flags -= {"data.corpus"}  # an argument
    known = module.keywords()
    assert set(known.values()) == flags
    assert len(set(known)) == len(flags), "two settings of one name"
    named = set(inspect.signature(aeattn.train).parameters)
    assert {"corpus", "out", "quiet", "chars", "preset"} <= named


@pytest.mark.parametrize(
    ("given", "message"),
    [({"config": "tales"}, "'tales' is a text, not a preset: write corpus='tales'"),
     ({"corpus": "460k"}, "'460k' is a preset, not a text: write preset='460k'"),
     ({"steps": 3, "minutes": 1}, "more than one of steps, minutes and chars"),
     ({"config": "460k", "preset": "1m"}, "both config and preset"),
     ({"config": {"preset": "1m"}, "preset": "1m"}, "both config and preset"),
     ({"n_layer": 2}, "unknown key 'n_layer'; did you mean 'n_layers'?"),
     ({"file": "my_book.txt"}, "aeattn.train: unknown key 'file'"),
     ({"d_model": "wide"}, "model.d_model is 'wide': give a value of type int"),
     ({"preset": "470k"}, "did you mean '460k'?"), ({"config": "470k"}, "did you mean '460k'?")],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_keywords_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(aeattn.InputError, match=re.escape(message)):
        aeattn.train(**given)
    assert os.listdir() == []


def test_presets_corpora_and_folders(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    (other := tmp_path / "other.txt").write_text(TEXT[:500], encoding="utf-8")
    small = {name: value for name, value in SMALL.items() if name != "d_ff"}
    model = aeattn.train(preset="460k-linear", corpus=file, out=tmp_path / "run", steps=2, valid=[other], **small)
    assert (model.config.query, model.config.d_ff, model.run) == ("linear", 320, tmp_path / "run")
    again = aeattn.load(tmp_path / "run")
    assert all(torch.equal(t, _weights(model)[name]) for name, t in _weights(again).items())
    assert str(tmp_path / "run") in repr(again)


def test_progress_is_on_standard_error_unless_it_is_not_wanted(capfd: pytest.CaptureFixture[str]) -> None:
    aeattn.train(text=TEXT, steps=2, **{**SMALL, "quiet": False})
    out, err = capfd.readouterr()
    assert out == ""
    assert "nats/char" in err
