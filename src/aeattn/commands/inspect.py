"""`aeattn inspect`: what it prints."""

from __future__ import annotations

import argparse

from aeattn.commands.printing import print_json, print_table, say


def inspect(options: argparse.Namespace) -> int:
    """Measure the run that the options name, draw a picture, print tables; returns the exit code."""
    from aeattn.analysis import picture
    from aeattn.analysis.inspection import inspect_run
    from aeattn.analysis.tables import tables

    result = inspect_run(
        options.run, options.text, step=options.step, chars=options.chars, context=options.context,
        device=options.device, say=say,
    )  # fmt: skip
    drawn = options.run / "attention.png"
    picture.draw(result, drawn)
    if options.json:
        print_json(result)
        return 0
    text = result["text"]
    print(
        f"{text['queries']:,} characters in {text['windows']:,} windows of {text['context']:,}, each with at "
        f"least {text['first_query']:,} before it; {result['loss']['all']:.4f} nats/char"
    )
    for title, columns, rows in tables(result):
        print(f"\n{title}")
        print_table(columns, rows)
    print(f"picture: {drawn}")
    return 0
