"""Build the documents as a site that opens offline: make site

    python tools/site.py [--out DIR]        into ./site, if not told otherwise

The pages are those of the repository: docs/, and what `PAGES` names beside them. Links between them become links
of the site; links to other files of the repository lead to its address in `[project.urls]`. Zensical then builds
everything, and refuses broken links (`--strict`). Pages open offline; their search needs a server
(`python -m http.server`).
"""

from __future__ import annotations

import argparse
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "results/README.md": "results.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)")  # a target in the repository, without what follows a hash


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the documents as a site.")
    parser.add_argument("--out", type=Path, default=ROOT / "site", metavar="DIR", help="where it is put")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        stage(project)
        command = [sys.executable, "-m", "zensical", "build", "--strict"]
        done = subprocess.run(command, cwd=project, check=False)
        if done.returncode == 0:
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(project / "site", out)
    return done.returncode


def stage(project: Path) -> None:
    """A folder with what the site is made of: pages with the links of the site, its settings, and the sources."""
    docs = project / "docs"
    shutil.copytree(ROOT / "docs", docs)
    shutil.copy(ROOT / "zensical.toml", project)
    (project / "src").symlink_to(ROOT / "src")
    address = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    copies = {f"docs/{path.relative_to(docs).as_posix()}": path for path in docs.rglob("*.md")}
    for source in (*copies, *PAGES):
        text = (ROOT / source).read_text(encoding="utf-8")
        if source in copies:
            copies[source].unlink()
        (docs / (on_site(source) or "")).write_text(with_links(text, source, address), encoding="utf-8")


def with_links(text: str, source: str, address: str) -> str:
    """A page whose links are those of the site. Raises FileNotFoundError for a link that leads nowhere."""

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        if not (ROOT / target).exists():
            raise FileNotFoundError(f"{source} links to {match[2]}, which is not there")
        there = on_site(target)
        if there is None:
            return f"{match[1]}{address}/{'tree' if (ROOT / target).is_dir() else 'blob'}/main/{target}"
        return match[1] + os.path.relpath(there, posixpath.dirname(on_site(source) or ""))

    return LINK.sub(link, text)


def on_site(path: str) -> str | None:
    """Where a file of the repository lies on the site, or None. A comparison's report is the first page of its
    folder, beside report.html, the page with pictures."""
    if path in PAGES:
        return PAGES[path]
    if not path.startswith("docs/") or (ROOT / path).is_dir():
        return None
    page = path.removeprefix("docs/")
    return f"{posixpath.dirname(page)}/index.md" if page.endswith("/report.md") else page


if __name__ == "__main__":
    sys.exit(main())
