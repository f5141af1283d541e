"""Configs: round trips, and refusals that say how to mend them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aeattn.config.convert import overlay
from aeattn.config.model import ModelConfig
from aeattn.config.presets import PRESETS, preset
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.config.sources import read_toml
from aeattn.config.text import TextOptions
from aeattn.errors import InputError
from aeattn.training.plan import corpus_of
from tests.conftest import tiny_config


def _config() -> RunConfig:
    data = DataConfig(corpus=("a.txt", "b"), text=TextOptions(lower=True, keep="abc"))
    return RunConfig(tiny_config(key=("linear", "bottleneck")), TrainingConfig(steps=7), data, "460k")


def test_configs_survive_json() -> None:
    assert RunConfig.from_dict(json.loads(json.dumps(_config().to_dict()))) == _config()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("training", "lerning_rate"), 1.0, "training: unknown key 'lerning_rate'; did you mean 'learning_rate'"),
        (("modle",), {}, "config: unknown key 'modle'; did you mean 'model'"),
        (("data", "text", "uper"), True, "data.text: unknown key 'uper'"),
        (("training", "steps"), "many", "training.steps is 'many': give a value of type int"),
        (("training", "steps"), True, "training.steps is True"),
        (("model", "bottleneck"), 99, "model: bottleneck is 99, wider than the width 16"),
        (("training",), 3, "training is 3: write a table"),
    ],
)
def test_what_cannot_be_is_named(path: tuple[str, ...], value: Any, message: str) -> None:
    values = json.loads(json.dumps(_config().to_dict()))
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InputError) as error:
        RunConfig.from_dict(values)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("batch", 0), ("learning_rate", 0.0), ("learning_rate", float("nan")), ("beta2", 1.0),
     ("warmup", 2.0), ("seed", -1), ("schedule", "zigzag"), ("clip", -1.0), ("precision", "fp8")],
)  # fmt: skip
def test_training_values_that_cannot_be(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is .*: choose"):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize(
    ("cls", "name", "value", "wanted"),
    [
        (ModelConfig, "query", 0, "a string, or a tuple of strings"),
        (ModelConfig, "value", ("linear", 0, "linear"), "a string, or a tuple of strings"),
        (ModelConfig, "tied", 1, "True or False"),
        (ModelConfig, "dropout", "much", "a number"),
        (TrainingConfig, "steps", 1e3, "a whole number"),
        (TrainingConfig, "minutes", True, "a number"),
        (TrainingConfig, "device", 0, "a string"),
        (DataConfig, "corpus", "tales", "a tuple of strings"),
        (DataConfig, "seed", "1", "a whole number"),
    ],
)
def test_values_of_another_type_are_refused_in_python_too(cls: Any, name: str, value: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is .*: choose {wanted}"):
        cls(**{name: value})


def test_overlay_goes_table_by_table() -> None:
    assert overlay({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "e": 5}) == {
        "a": {"b": 1, "c": 4}, "d": 3, "e": 5,
    }  # fmt: skip


def test_toml_files(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[model]\nd_ff = 3\n")
    assert read_toml(path) == {"model": {"d_ff": 3}}
    path.write_text("[model\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_toml(path)
    with pytest.raises(InputError, match="is not there"):
        read_toml(tmp_path / "b.toml")


def test_presets_are_valid_and_unknown_ones_are_named() -> None:
    for name in PRESETS:
        values = {"model": {"vocab_size": 49, **preset(name)["model"]}, "training": preset(name)["training"]}
        RunConfig.from_dict({**values, "data": {}})
    with pytest.raises(InputError, match="did you mean '460k'"):
        preset("460K")


def test_a_window_is_at_most_the_context_and_leaves_no_position_untrained() -> None:
    config = RunConfig(tiny_config(context=32), TrainingConfig(window=8, batch=3))
    assert (config.window, config.tokens_per_step) == (8, 24)
    assert replace(config, training=TrainingConfig(window=64)).window == 32
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(InputError, match=r"training\.window is 8, and learned positions .* context of 32"):
        replace(config, model=tiny_config(context=32, positions="learned"))
    replace(config, model=tiny_config(context=8, positions="learned"))


def test_the_text_has_a_seed_of_its_own_and_a_limit_to_validate_on() -> None:
    tales = DataConfig(limit_chars=3000, limit_valid_chars=500)

    def text(data: DataConfig, seed: int, side: str) -> str:
        corpus = corpus_of(data, seed)
        return "".join(chunk for d in getattr(corpus, side) for chunk in d.chunks(corpus.options))

    assert text(tales, 0, "train") != text(tales, 1, "train")
    assert text(replace(tales, seed=1), 0, "train") == text(tales, 1, "train")
    assert len(text(tales, 0, "valid")) == 500
    assert text(replace(tales, limit_valid_chars=100), 0, "valid") == text(tales, 0, "valid")[:100]
    with pytest.raises(InputError, match=r"data\.limit_valid_chars is 1: choose at least 2"):
        corpus_of(replace(tales, limit_valid_chars=1), 0)


def test_a_sample_that_no_run_could_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sample_chars is 3000000000: choose at most 100,000 \(training waits"):
        TrainingConfig(sample_chars=3_000_000_000)
