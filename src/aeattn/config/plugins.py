"""Plug-ins: files, and entry points of installed packages, that register projections, tokenizers and hooks when
they are imported. PyTorch is loaded only where a plug-in loads it."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from aeattn.errors import InputError
from aeattn.host import named_path

GROUP = "aeattn.plugins"  # of entry points
_loaded: set[str] = set()


def load_plugins(names: Iterable[str]) -> tuple[str, ...]:
    """Import each plug-in once, and return their names as they hold from any folder.

    A name is that of a file, or of an entry point in the group `aeattn.plugins`. Raises InputError for what is
    neither, and for what fails on import, as where a name is registered twice.
    """
    return tuple(dict.fromkeys(map(_load, [names] if isinstance(names, str) else names)))


def _load(name: str) -> str:
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"plugins: {name!r} is no name: give a file, or an entry point of {GROUP}")
    path = named_path(name)
    if path.is_file():
        path = path.resolve()
        _once(str(path), lambda: _import_file(path))
        return str(path)
    from importlib.metadata import entry_points  # slow to import

    found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise InputError(f"plug-in {name} is not there: check the path, or install what has it")
    _once(name, found.load)
    return name


def _once(name: str, load: Callable[[], object]) -> None:
    if name in _loaded:
        return
    try:
        load()
    except (Exception, SystemExit) as error:
        says = " ".join(str(error).split())[:300]
        raise InputError(f"plug-in {name} cannot be loaded: {type(error).__name__}: {says}") from error
    _loaded.add(name)


def _import_file(path: Path) -> None:
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    name = f"aeattn_plugin_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("no Python file: give one that ends in .py")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
