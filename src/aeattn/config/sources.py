"""Where a run's settings come from: a preset, a file, options and `--set`, later ones over earlier ones."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeattn.config.convert import nested, overlay
from aeattn.config.plugins import load_plugins
from aeattn.config.presets import DEFAULT_PRESET, preset
from aeattn.config.run import RunConfig
from aeattn.errors import InputError
from aeattn.files import Json, read_bytes

_TOML_BYTES = 1 << 20
_JSON_BYTES = 1 << 26  # a record holds its curve
# tables in tables, each a step of the parser through all above it; matched in linear time
_DEEP = re.compile(r"""(?<![\w"'-])(?:[\w"'-]++\s*+\.\s*+){20}""")
_DEPTH = 4  # of the name of a setting


def resolve(
    given: Json, *, file: Path | None = None, sets: Sequence[str] = (), plugins: Sequence[str] = ()
) -> RunConfig:
    """The run that all sources together describe. Raises InputError."""
    from_file = read_settings(file) if file else {}
    changes = overlay(given, parse_sets(sets))
    name = changes.get("preset") or from_file.get("preset") or DEFAULT_PRESET
    values = overlay(overlay(preset(name), from_file), changes)
    return RunConfig.from_settings(with_plugins({**values, "preset": name}, plugins))


def parse_sets(sets: Sequence[str]) -> Json:
    """`section.key=value`, the value as in TOML or a plain word, as nested dictionaries. Raises InputError."""
    values: Json = {}
    for text in sets:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or name.count(".") > _DEPTH:
            raise InputError(f"--set {text[:100]!r}: write SECTION.KEY=VALUE, as in model.d_ff=512")
        values = overlay(values, nested(name.strip(), _toml_value(value.strip())))
    return values


def _toml_value(text: str) -> Any:
    """As TOML reads it; what is no TOML is a word: `rotary` needs no quotes."""
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text


def read_settings(path: Path) -> Json:
    """Settings from a TOML file, or a JSON file: a run's config.json, or a record that has a `config`.

    Raises InputError where it cannot be read.
    """
    content = _read(path, _JSON_BYTES)
    if content.lstrip().startswith("{"):
        return located(_from_json(content, path), path)
    return located(_from_toml(content, path), path)


def read_toml(path: Path) -> Json:
    """A TOML file as nested dictionaries. Raises InputError where it cannot be read."""
    return _from_toml(_read(path, _TOML_BYTES), path)


def with_plugins(values: Json, more: Sequence[str]) -> Json:
    """The settings with the plug-ins that they name, and more of them, loaded. Raises InputError."""
    named = values.get("plugins", [])
    if not isinstance(named, list) or not (names := load_plugins([*named, *more])):
        return values
    return {**values, "plugins": list(names)}


def located(values: Json, path: Path) -> Json:
    """With plug-ins that stand beside the file that names them as paths that hold from any folder."""
    names = values.get("plugins")
    if not isinstance(names, list):
        return values
    return {**values, "plugins": [_beside(name, path) if isinstance(name, str) else name for name in names]}


def _beside(name: str, path: Path) -> str:
    found = path.parent / name
    return str(found) if found.is_file() else name


def _read(path: Path, most: int) -> str:
    try:
        content = read_bytes(path, most)
        if len(content) > most:
            raise ValueError(f"more than {most:,} bytes: no settings need that")
        return content.decode("utf-8")
    except FileNotFoundError:
        raise InputError(f"config file {path} is not there: check the path") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _from_toml(content: str, path: Path) -> Json:
    try:
        if len(content) > _TOML_BYTES or _DEEP.search(content):
            raise ValueError("more than a mebibyte, or tables deep in tables: no settings need that")
        return tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error


def _from_json(content: str, path: Path) -> Json:
    """What a user could have written: the vocabulary's size, format and checksum are the run's own."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    values = values["config"] if isinstance(values.get("config"), dict) else values
    apart = ("format", "checksum")
    values = {key: value for key, value in values.items() if key not in apart}
    if isinstance(model := values.get("model"), dict):
        values["model"] = {key: value for key, value in model.items() if key != "vocab_size"}
    return values


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"config file {path} cannot be read: {' '.join(str(error).split())[:200]}")
