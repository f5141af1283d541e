"""`aeattn inspect`: what it reads, and what it prints."""

from __future__ import annotations

import argparse

from aeattn.terminal.tables import print_json, print_table, say


def inspect(options: argparse.Namespace) -> int:
    """Measure the run that the options name, draw its picture and print; returns the exit code."""
    from aeattn.runs.folder import RunFolder

    RunFolder(options.run).read_config()

    from aeattn.analysis import picture  # from here on PyTorch is loaded, which takes seconds
    from aeattn.analysis.inspection import inspect_run
    from aeattn.analysis.tables import headline, tables

    result = inspect_run(
        options.run, options.text, step=options.step, chars=options.chars, context=options.context,
        device=options.device, say=say,
    )  # fmt: skip
    drawn = options.run / "attention.png"
    picture.draw(result, drawn)
    if options.json:
        print_json(result.to_dict())
        return 0
    print(headline(result))
    for title, columns, rows in tables(result):
        print(f"\n{title}")
        print_table(columns, rows)
    print(f"picture: {drawn}")
    return 0
