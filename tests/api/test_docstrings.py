"""The reference of Python is made from docstrings: they are parsed without a warning, and name every argument."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import aeattn

griffe = pytest.importorskip("griffe")
SOURCES = Path(__file__).parents[2] / "src"
NAMES = [name for name in aeattn.__all__ if name != "__version__"]
PROTOCOLS = ("Hook", "Tokenizer", "Executor", "Tracker")  # whose methods have a sentence


@pytest.fixture(scope="module")
def package() -> Any:
    return griffe.load("aeattn", search_paths=[str(SOURCES)], docstring_parser="google", resolve_aliases=True)


def _members(found: Any) -> list[Any]:
    """An object and what it offers."""
    found = found.final_target if found.is_alias else found
    inside = found.members.values() if found.is_class else ()
    return [found, *(m for m in inside if not m.is_alias and (m.is_function or m.is_class) and m.name[0] != "_")]


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_are_whole(name: str, package: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for found in _members(package[name]):
            assert found.docstring is not None, found.path
            for section in found.docstring.parse("google"):
                if section.kind.value == "parameters":
                    _check_arguments(found, [each.name for each in section.value])
                assert "raises" not in section.kind.value or all(each.annotation for each in section.value)
    assert not caplog.records, caplog.text


def _check_arguments(found: Any, named: list[str]) -> None:
    function = found.members.get("__init__", found) if found.is_class else found
    if getattr(function, "parameters", None) is not None:
        assert named == [_written(each) for each in function.parameters if each.name != "self"], found.path


def _written(parameter: Any) -> str:
    stars = {"variadic positional": "*", "variadic keyword": "**"}.get(parameter.kind.value, "")
    return stars + str(parameter.name).lstrip("*")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stable_is_said(name: str) -> None:
    assert "Stable: " in (getattr(aeattn, name).__doc__ or ""), name


def test_functions_with_arguments_name_them(package: Any) -> None:
    for name in NAMES:
        for found in _members(package[name]):
            if not found.is_function or found.parent.name in PROTOCOLS:
                continue
            given = [p for p in found.parameters if p.name != "self"]
            kinds = [section.kind.value for section in found.docstring.parse("google")]
            assert len(given) < 2 or "parameters" in kinds, found.path
