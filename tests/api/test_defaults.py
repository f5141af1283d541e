"""Python and the command line have the same defaults, for every option that both have."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import aeattn
from aeattn.analysis.inspection import inspect_run
from aeattn.cli.evaluate import COMMAND as EVALUATE
from aeattn.cli.generate import COMMAND as GENERATE
from aeattn.cli.inspect import COMMAND as INSPECT
from aeattn.cli.options import Command
from aeattn.cli.train import TRAIN
from aeattn.config.fields import settings
from aeattn.config.generation import DEFAULTS, DEVICE, GenerationConfig
from aeattn.config.run import RunConfig, TrainingConfig
from aeattn.config.sources import resolve
from aeattn.generation.model_writer import model_writer
from aeattn.generation.writer import Writer
from aeattn.runs.load import open_writer
from aeattn.training.evaluate_run import evaluate_run

# in Python nothing is written endlessly by accident; the text itself comes as an argument
OTHERWISE = {(aeattn.TextModel.stream, "chars"), (aeattn.TextModel.write, "chars"), (Writer.write, "chars")}
PAIRS = [
    (aeattn.TextModel.generate, GENERATE), (aeattn.TextModel.stream, GENERATE), (aeattn.TextModel.write, GENERATE),
    (Writer.write, GENERATE), (Writer.generate, GENERATE), (model_writer, GENERATE), (open_writer, GENERATE),
    (aeattn.load, GENERATE), (aeattn.load, EVALUATE), (aeattn.load, INSPECT), (evaluate_run, EVALUATE),
    (inspect_run, INSPECT), (aeattn.TextModel.loss, EVALUATE),
]  # fmt: skip


def _options(command: Command) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    command.options(parser)
    return {action.dest: action.default for action in parser._actions if action.option_strings}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize(("function", "command"), PAIRS, ids=lambda value: getattr(value, "__qualname__", ""))
def test_what_both_have_is_the_same(function: Callable[..., Any], command: Command) -> None:
    options, compared = _options(command), 0
    for name, parameter in inspect.signature(function).parameters.items():
        known = name in options and parameter.default is not inspect.Parameter.empty
        if known and (function, name) not in OTHERWISE:
            assert parameter.default == _plain(options[name]), f"{function.__qualname__}({name})"
            compared += 1
    assert compared or (function, "chars") in OTHERWISE


def test_generation_is_declared_once() -> None:
    options = _options(GENERATE)
    for each in settings(GenerationConfig):
        assert _plain(options[each.name]) == each.default == getattr(DEFAULTS, each.name)
    assert TrainingConfig().device == DEVICE == DEFAULTS.device


def test_a_training_begins_from_the_same_settings() -> None:
    from aeattn.api.train import _run_config
    from aeattn.cli.options import config_of

    parser = argparse.ArgumentParser()
    TRAIN.options(parser)
    by_command = config_of(parser.parse_args([]))
    assert by_command == _run_config(None, None, {}) == resolve({})
    assert isinstance(by_command, RunConfig)
    assert all(value in (None, False, [], ()) for value in _options(TRAIN).values() if not isinstance(value, str))
