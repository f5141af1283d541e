"""Writes the report: one HTML file without anything from outside, and a short one in Markdown with its pictures.

The content policy of the page forbids everything but its own style sheet and script, which it names by hash: what
a model generated, or someone put into a spec, cannot run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from aeattn.compare.folder import Folder
from aeattn.errors import InputError
from aeattn.files import replacing
from aeattn.report.blocks import Page, to_markdown
from aeattn.report.svg import alone, fresh_ids, style, swatch
from aeattn.runs.folder import RunFolder
from aeattn.terminal.escaping import escape_controls
from aeattn.version import VERSION


def write_report(folder: Path, out: Path | None = None, say: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Write report.html and a short report.md for a comparison or a single run, into its folder or another, with
    its pictures: report.svg, if there is a first one, and report-NAME.svg.

    Returns the paths. Raises InputError where the folder is neither, or the other cannot be made.
    """
    page = make_page(folder)
    for note in page.notes:
        say(f"note: {note}")
    target = folder if out is None else out
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target} cannot be made ({error.strerror}): name another folder with --out") from error
    css = _asset("chart.css")
    pictures = {f"{f.name}.svg": alone(f.svg, css, f.title, legend) for f, legend in page.pictures}
    written = {"report.html": to_html(page), "report.md": to_markdown(page), **pictures}
    for name, text in written.items():
        with replacing(target / name) as temporary:
            temporary.write_text(escape_controls(text), encoding="utf-8", errors="replace")
    return [target / name for name in written]


def make_page(folder: Path) -> Page:
    """What the folder has to say. Raises InputError where it is neither a comparison nor a run."""
    fresh_ids()
    if Folder(folder).spec.exists():
        from aeattn.report import comparison, data

        return comparison.make_page(data.load(folder))
    if RunFolder(folder).config.exists():
        from aeattn.report import run

        return run.make_page(folder)
    if any(Folder(each).spec.exists() for each in (folder.iterdir() if folder.is_dir() else ())):
        from aeattn.report import study

        return study.make_page(folder)
    raise InputError(f"{folder} is neither a comparison nor a run folder: there is no spec.json or config.json")


def to_html(page: Page) -> str:
    """The page as one file."""
    from jinja2 import Environment, StrictUndefined

    css, script = _asset("chart.css") + _asset("report.css"), _asset("report.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("report.html")).render(
        page=page, css=css, script=script, policy=_policy(css, script), version=VERSION, swatch=swatch, style=style
    )


def _asset(name: str) -> str:
    return (resources.files("aeattn.report") / "assets" / name).read_text(encoding="utf-8")


def _policy(css: str, script: str) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") for text in (css, script))
    style, script_ = (f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; style-src {style}; script-src {script_}; base-uri 'none'; form-action 'none'"
