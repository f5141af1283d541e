"""docs/reference.md is what the declarations say, and nothing is left out."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeattn.cli import make_parser
from aeattn.cli.reference import reference
from aeattn.config.model import ModelConfig
from aeattn.config.run import DataConfig, TrainingConfig
from aeattn.config.text import TextOptions

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run python -m aeattn.cli.reference > docs/reference.md"
    )


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for each in (each for action in below for each in action.choices.values()):
        each.fill()
        yield from _parsers(each)
    if not below:
        yield parser


@pytest.mark.parametrize("parser", list(_parsers(make_parser())), ids=lambda parser: parser.prog)
def test_every_flag_of_a_command_stands_under_it(parser: argparse.ArgumentParser) -> None:
    section = PAGE.read_text(encoding="utf-8").split(f"### {parser.prog}\n")[1].split("\n### ")[0]
    for name in (name for action in parser._actions if action.dest != "help" for name in action.option_strings):
        assert f"`{name}" in section, name


@pytest.mark.parametrize(
    ("section", "config"),
    [("model", ModelConfig), ("training", TrainingConfig), ("data", DataConfig), ("data.text", TextOptions)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_setting_stands_under_its_section(section: str, config: type) -> None:
    rows = PAGE.read_text(encoding="utf-8").split(f"\n### {section}\n")[1].split("\n### ")[0]
    for field in dataclasses.fields(config):
        if not dataclasses.is_dataclass(field.default):
            assert f"| `{field.name}` |" in rows, field.name
