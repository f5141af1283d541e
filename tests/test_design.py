"""The map in docs/design.md is that of the tree: a line for every file of the package, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "aeattn"
SHOWN = {".py", ".cpp", ".h", ".toml", ".tsv", ".txt", ".html", ".css", ".js"}


def mapped() -> list[str]:
    """The paths of the map, from its indented lines: `folder/` opens a folder, two more spaces are inside it."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    block = text.split("## The map")[1].split("```")[1]
    folders: list[str] = []
    paths = []
    for line in block.splitlines()[2:]:  # after the package itself
        indent, name, about = re.fullmatch(r"( *)(\S+)( .*)?", line).groups()  # type: ignore[union-attr]
        folders = folders[: len(indent) // 2 - 1]
        assert about is not None, f"{name} has no line of what it is"
        assert about.strip(), f"{name} has no line of what it is"
        if name.endswith("/"):
            folders.append(name)
        else:
            paths.append("".join(folders) + name)
    return paths


def test_every_file_is_on_the_map_and_nothing_else() -> None:
    files = (path for path in PACKAGE.rglob("*") if path.suffix in SHOWN and path.stat().st_size)
    there = {path.relative_to(PACKAGE).as_posix() for path in files if "__pycache__" not in path.parts}
    there -= {path for path in there if path.endswith("/__init__.py")}  # a room's own line is its folder's
    known = mapped()
    assert len(known) == len(set(known))
    assert there - set(known) == set(), "not on the map"
    assert set(known) - there == set(), "on the map, and not there"
