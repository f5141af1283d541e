"""`aeattn compare`: what it reads, and what it prints when it is done."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aeattn.cli.options import Command, Example, add_json, add_plugins, add_quiet, add_yes, whole
from aeattn.terminal.tables import figure, print_json, print_next, print_table, print_text, print_title, say
from aeattn.terminal.wrapping import width_of

if TYPE_CHECKING:
    from aeattn.compare.results import ArmSummary, Summary


def compare(options: argparse.Namespace) -> int:
    """Run the comparison that the options name; returns the exit code."""
    from aeattn.compare.executors import choose
    from aeattn.compare.parse import find_spec, read_spec

    source = find_spec(options.spec)
    spec = read_spec(source, options.budget, options.plugin)
    executor = choose(options.on)

    from rich.console import Console  # from here on PyTorch is loaded, which takes seconds

    from aeattn.compare.driver import compare as run_comparison
    from aeattn.compare.runner import NoRoom, Stopped

    console = Console(stderr=True, highlight=False, quiet=options.quiet, width=width_of(sys.stderr))
    try:
        folder, summary = run_comparison(
            spec, source, options.out, at_once=options.jobs, executor=executor, storage=options.storage,
            amend=options.amend, only_declare=options.plan, console=console,
        )  # fmt: skip
    except (Stopped, NoRoom) as error:
        say(f"aeattn: {error}")
        return error.exit_code
    if options.json:
        print_json(summary.to_dict())
    elif not options.plan:
        print_title(f"Validation loss of each arm{_seeds(summary)}, lower is better")
        print_table(COLUMNS, [_row(arm) for arm in summary.arms])
        print_text(LEGEND, "")
        for line in conclusions(summary):
            print_text(line)
        print_next(f"aeattn report {folder.path}")
    else:
        print_next(" ".join(["aeattn", *(word for word in options.arguments if word != "--plan")]))
    crashed = [run.name for run in summary.failed if run.failure == "crashed"]
    if crashed:
        named = ", ".join(crashed)
        say(f"aeattn: {len(crashed)} of the runs crashed ({named}); the same command tries them again")
    return 1 if crashed else 0


COLUMNS = (
    "variant",
    "runs",
    "nats/char",
    "95 % CI from",
    "to",
    "learning-rate multiplier",
    "parameters",
    "chars/s",
)
LEGEND = (
    "runs: seeds that have succeeded; 95 % CI: confidence interval of the mean over seeds; learning-rate "
    "multiplier: what tuning chose; chars/s: of training"
)


def _seeds(summary: Summary) -> str:
    counts = {arm.n for arm in summary.arms}
    return f", means over {counts.pop()} seeds" if len(counts) == 1 and counts != {1} else ""


def _row(arm: ArmSummary) -> Sequence[str]:
    low, high = arm.interval or (None, None)
    losses = (figure(value, ".4f") for value in (arm.mean, low, high))
    costs = (figure(value, ",.0f") for value in (arm.cost.parameters, arm.cost.chars_per_second))
    return (arm.id, f"{arm.n}", *losses, figure(arm.rate, "g"), *costs)


def conclusions(summary: Summary) -> list[str]:
    """The answer, the other contrasts, and what must be known besides."""
    claims = ((f'"{c.claim}" ' if c.claim else "", c.sentence) for c in summary.contrasts if not c.primary)
    others = (f"- {claim}{sentence}" for claim, sentence in claims)
    return [summary.answer, summary.conditions, *others, *(f"note: {note}" for note in summary.notes)]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "spec",
        metavar="SPEC",
        help="claims, first, screening, second-cache, second-published, second-overfit, larger, or a .toml file",
    )
    parser.add_argument(
        "--budget", metavar="NAME", help="one of the spec's budgets, as small or full (default: its first)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder (default runs/compare-<spec>-<budget>)")
    parser.add_argument("--jobs", type=whole, metavar="N", help="runs at a time (default: as the spec says)")
    parser.add_argument("--on", metavar="NAME", help="where runs are done: local (the default), dask, "
                        "dask:tcp://HOST:PORT, slurm, or an executor of your own (docs/clusters.md)")  # fmt: skip
    parser.add_argument("--storage", metavar="URL", help="where Optuna keeps its studies: a database's URL, "
                        "or a file (default: a journal in the folder)")  # fmt: skip
    parser.add_argument(
        "--amend", action="store_true", help="pre-register a folder anew; records that fit are kept"
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="pre-register, show what is to be run and how long it will take, and stop",
    )
    add_plugins(parser)
    add_quiet(parser)
    add_json(parser)
    add_yes(parser)


COMMAND = Command(
    "compare",
    "run a pre-registered comparison of models: variants, seeds, intervals",
    _options,
    compare,
    examples=(
        Example("aeattn compare first --plan", "what would be run, and how long that will take"),
        Example("aeattn compare claims --budget small --jobs 2", "a first answer to the published claims"),
        Example("aeattn compare my.toml --out results/mine", "a comparison of one's own (docs/experiments.md)"),
    ),
)
