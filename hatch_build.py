"""The README as package indexes show it: links and pictures lead to the repository, at the release's tag.

Its address stands in `[project.urls]` alone; hatchling calls this when it builds a wheel or a source distribution.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"\]\((?!\w+:|#)([^)\s]+)\)")  # to a file of the repository
PICTURES = {".gif", ".jpg", ".png", ".svg"}


class ReadmeHook(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        version = re.search(
            r'^VERSION = "(.+)"$', (root / "src/aeattn/version.py").read_text("utf-8"), re.MULTILINE
        )
        assert version, "src/aeattn/version.py has no VERSION"
        text = (root / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, metadata["urls"]["Repository"], f"v{version[1]}"),
        }


def absolute(text: str, repository: str, tag: str) -> str:
    """Markdown whose links to files of the repository lead there from anywhere."""

    def leads(link: re.Match[str]) -> str:
        kind = "raw" if Path(link[1]).suffix in PICTURES else "blob"
        return f"]({repository}/{kind}/{tag}/{link[1]})"

    return LINK.sub(leads, text)
