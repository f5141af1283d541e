"""`aeattn inspect`: what it reads, and what it prints."""

from __future__ import annotations

import argparse

from aeattn.cli.options import (
    EXAMPLE_RUN,
    Command,
    Example,
    add_device,
    add_json,
    add_run,
    add_texts,
    add_yes,
    check_run,
    whole,
)
from aeattn.terminal.tables import print_json, print_next, print_table, print_text, print_title


def inspect(options: argparse.Namespace) -> int:
    """Measure the run that the options name, draw its picture and print; returns the exit code."""
    check_run(options.run)

    from aeattn.analysis import picture  # from here on PyTorch is loaded, which takes seconds
    from aeattn.analysis.inspection import inspect_run
    from aeattn.analysis.tables import conclusion, headline, tables
    from aeattn.terminal.work import Work

    with Work() as work:
        result = inspect_run(
            options.run, options.text, step=options.step, chars=options.chars, context=options.context,
            device=options.device, say=work.note, work=work,
        )  # fmt: skip
    drawn = options.run / "attention.png"
    picture.draw(result, drawn)
    if options.json:
        print_json(result.to_dict())
        return 0
    print_text(headline(result), "")
    for table in tables(result):
        print_title(table.title)
        print_table(table.columns, table.rows)
        print_text(table.legend, "")
    print_text(conclusion(result), f"picture: {drawn}")
    print_next(f"aeattn report {options.run}")
    return 0


def _options(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_texts(parser, "*", " (default: what the run was validated on)")
    parser.add_argument("--step", type=whole, metavar="N", help="look at this checkpoint (default: the end)")
    parser.add_argument(
        "--chars", type=whole, default=16_384, metavar="N", help="how many characters to read (default 16,384)"
    )
    context = "characters that the model sees, at most its own"
    parser.add_argument("--context", type=whole, metavar="N", help=context)
    add_device(parser)
    add_json(parser)
    add_yes(parser)


COMMAND = Command(
    "inspect",
    "what attention looks at, and what bottlenecks keep",
    _options,
    inspect,
    examples=(
        Example(f"aeattn inspect {EXAMPLE_RUN}", "each head, and each code, on the validation text"),
        Example("aeattn inspect runs/mine another_book.txt --chars 4000 --json", "on another text, as JSON"),
    ),
)
