"""`aeattn report`: one page of a comparison or of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from aeattn.cli.options import Command, Example, add_json
from aeattn.terminal.tables import print_json, say


def report(options: argparse.Namespace) -> int:
    from aeattn.report import write_report

    written = list(map(str, write_report(options.folder, options.out, say=say)))
    print_json({"files": written}) if options.json else print("\n".join(written))
    return 0


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of a comparison, or of a single run")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where to write report.html, .md and .svg (default DIR)")  # fmt: skip
    add_json(parser)


COMMAND = Command(
    "report",
    "make one page of a comparison or a run, to open in a browser",
    _options,
    report,
    examples=(
        Example("aeattn report runs/compare-claims-small", "report.html, report.md and their pictures"),
        Example("aeattn report runs/mine --out page", "the page of a single run, in another folder"),
    ),
)
