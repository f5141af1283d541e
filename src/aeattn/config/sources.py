"""Where a run's settings come from: a preset, a file, options and `--set`, later ones over earlier ones."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aeattn.config.convert import nested, overlay
from aeattn.config.plugins import load_plugins
from aeattn.config.presets import DEFAULT_PRESET, SETTINGS_PRESET, preset
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
    name = changes.get("preset") or preset_of(from_file)
    values = overlay(overlay(preset(name), from_file), changes)
    return RunConfig.from_settings(with_plugins({**values, "preset": name}, plugins))


def preset_of(settings: Json) -> str:
    """What whole settings, as of a file, are laid over. Those of a model that name no preset describe the same
    model whatever the default preset is."""
    return settings.get("preset") or (SETTINGS_PRESET if settings.get("model") else DEFAULT_PRESET)


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
    with _reading(path):
        content = _read(path, _JSON_BYTES)
        values = _from_json(content) if content.lstrip().startswith("{") else _from_toml(content)
    return located(values, path)


def read_toml(path: Path) -> Json:
    """A TOML file as nested dictionaries. Raises InputError where it cannot be read."""
    with _reading(path):
        return _from_toml(_read(path, _TOML_BYTES))


def with_plugins(values: Json, more: Sequence[str]) -> Json:
    """The settings with the plug-ins that they name, and more of them, loaded. Raises InputError."""
    named = _plugins(values)
    if not isinstance(named, list) or not (names := load_plugins([*named, *more])):
        return values
    return {**values, "plugins": list(names)}


def located(values: Json, path: Path) -> Json:
    """With plug-ins that stand beside the file that names them as paths that hold from any folder."""
    names = _plugins(values)
    if not isinstance(names, list) or not names:
        return values
    return {**values, "plugins": [_beside(name, path) if isinstance(name, str) else name for name in names]}


def _plugins(values: Json) -> object:
    names = values.get("plugins", [])
    return [names] if isinstance(names, str) else names  # one name needs no list


def _beside(name: str, path: Path) -> str:
    found = path.parent / name
    return str(found) if found.is_file() else name


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What is wrong with a file in the words of a user."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"config file {path} is not there: check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        says = " ".join(str(error).split())[:200]
        raise InputError(f"config file {path} cannot be read: {says}") from error


def _read(path: Path, most: int) -> str:
    content = read_bytes(path, most, pipes=True)
    if len(content) > most:
        raise ValueError(f"more than {most:,} bytes: no settings need that")
    return content.decode("utf-8")


def _from_toml(content: str) -> Json:
    if len(content) > _TOML_BYTES or _DEEP.search(content):
        raise ValueError("more than a mebibyte, or tables deep in tables: no settings need that")
    return tomllib.loads(content)


def _from_json(content: str) -> Json:
    """What a user could have written: the vocabulary's size, format and checksum are the run's own."""
    values = json.loads(content)
    values = values["config"] if isinstance(values.get("config"), dict) else values
    values = {key: value for key, value in values.items() if key not in ("format", "checksum")}
    if isinstance(model := values.get("model"), dict):
        values["model"] = {key: value for key, value in model.items() if key != "vocab_size"}
    return values
