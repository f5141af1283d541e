"""The command line: parse, call, print. Nothing heavy is imported before the arguments are known to be good."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import warnings
from collections.abc import Sequence

from aeattn.cli import (
    bench,
    compare,
    evaluate,
    export,
    generate,
    inspect,
    presets,
    report,
    size,
    suggestions,
    train,
)
from aeattn.cli.options import EXAMPLE_RUN, Command, Parser
from aeattn.errors import InputError, SlowerWarning
from aeattn.host import YES, settle_waiting
from aeattn.terminal.streams import standard_streams
from aeattn.terminal.tables import print_any_text, print_text, say
from aeattn.training.compiled_cache import keep_compiled
from aeattn.version import VERSION

COMMANDS: tuple[Command, ...] = (
    train.TRAIN, train.RESUME, generate.COMMAND, evaluate.COMMAND, inspect.COMMAND, report.COMMAND,
    presets.COMMAND, size.COMMAND, compare.COMMAND, bench.COMMAND, export.EXPORT, export.IMPORT,
)  # fmt: skip


FIRST_STEPS = f"""first steps:
  aeattn train --minutes 2
  aeattn generate {EXAMPLE_RUN} --prompt 'The '
  aeattn presets"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `aeattn`; returns the exit code: 0 done, 1 our failure, 2 bad input, 130 and 143 interrupted."""
    with standard_streams():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    print_any_text()
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        return _greet()
    options = make_parser().parse_args(arguments, argparse.Namespace(arguments=arguments))
    settle_waiting()
    keep_compiled()
    os.environ["MPLBACKEND"] = "agg"  # pictures are files here; by a name that it does not know nothing loads
    warnings.formatwarning = _warning_line
    if getattr(options, "yes", False):
        os.environ[YES] = "1"  # for the processes that are started as well
    try:
        code = int(options.call(options))
        sys.stdout.flush()
        return code
    except InputError as error:
        return _complain(_with_runs(str(error)), 2)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        return 0
    except OSError as error:  # a full disk, a folder that may not be written to
        if error.errno == errno.ENAMETOOLONG:
            return _complain(f"no file can have so long a name: {str(error.filename)[:60]}...", 2)
        return _complain(str(error), 1)


def _greet() -> int:
    """What somebody sees who types `aeattn` alone: that is no mistake, so the exit code is 0."""
    print_text(
        "aeattn trains, compares and runs small language models whose attention keeps a short code of each "
        "character of the past instead of its keys and values.",
        "",
        "  aeattn train --minutes 2            train a model on built-in stories",
        '  aeattn generate RUN --prompt "The"  generate text with a trained model',
        "  aeattn size                         parameters, FLOPs and cache of models",
        "",
        "All commands: aeattn --help. Models and texts by name: aeattn presets.",
    )
    return 0


def make_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = Parser(
        prog="aeattn",
        description="Transformers whose queries, keys and values pass through a bottleneck.",
        epilog=FIRST_STEPS,
    )
    parser.add_argument("--version", action="version", version=f"aeattn {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        added = commands.add_parser(command.name, help=command.help, description=command.help)
        added.command = command
        added.set_defaults(call=command.run)
    return parser


def _with_runs(message: str) -> str:
    """A message that there is no such run, with those that there are."""
    return (
        message + suggestions.runs() if message.endswith("is no run folder: config.json is not there") else message
    )


def _complain(message: str, code: int) -> int:
    say(f"aeattn: {' '.join(message.split())}")
    return code


_as_python_does = warnings.formatwarning


def _warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Our own warnings are for users, who have no use for the place in the source."""
    if issubclass(category, SlowerWarning):
        return f"aeattn: warning: {message}\n"
    return _as_python_does(message, category, filename, lineno, line)
