"""`aeattn train` and `aeattn resume`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aeattn.cli.options import Command, add_quiet, add_run, add_settings, add_sources, add_yes, config_of, whole
from aeattn.errors import Diverged
from aeattn.host import Startup
from aeattn.terminal.tables import say

if TYPE_CHECKING:
    from aeattn.training.plan import Plan, ResumePlan
    from aeattn.training.signals import Stop


def train(options: argparse.Namespace) -> int:
    def make_plan() -> Plan:
        config = config_of(options)
        from aeattn.training.plan import plan

        return plan(config, out=options.out, chars=options.chars, say=say)

    return _train(make_plan, options.quiet)


def resume(options: argparse.Namespace) -> int:
    def make_plan() -> ResumePlan:
        from aeattn.training.plan import plan_resume

        return plan_resume(options.run, options.steps, options.accept_changes, say=say)

    return _train(make_plan, options.quiet)


def _train(make_plan: Callable[[], Plan | ResumePlan], quiet: bool) -> int:
    with Startup() as startup:
        from aeattn.training.signals import Interrupted, Stop

        try:
            with Stop() as stop:
                lines = _train_and_finish(make_plan(), stop, startup, quiet)
        except (Diverged, Interrupted) as error:
            say(f"aeattn: {error}")
            return getattr(error, "exit_code", 1)
    for line in lines:
        print(line, flush=True)
    return 0


def _train_and_finish(given: Plan | ResumePlan, stop: Stop, startup: Startup, quiet: bool) -> Sequence[str]:
    from aeattn.cli.finish import finish
    from aeattn.terminal.progress import make_reporter
    from aeattn.training.plan import Plan
    from aeattn.training.signals import Interrupted

    reporter, run, trained = make_reporter(quiet), given.run, False
    try:
        from aeattn.training import start  # from here on PyTorch is loaded, which takes seconds

        begun = start.start(given, reporter) if isinstance(given, Plan) else start.resume(given, reporter)
        score = begun.run(stop, startup.over)
        trained = True
        reporter.close()
        return finish(begun, score)
    except Interrupted as error:
        further = f"go on with `aeattn resume {run.path}`" if run.config.exists() else "nothing was begun"
        further = f"the model is trained and saved: {run.path}" if trained else further
        error.args = (f"{error}; {further}",)
        raise
    finally:
        reporter.close()
        run.unlock()


# -- options -----------------------------------------------------------------------------------------------


def _train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data.corpus", nargs="*", metavar="CORPUS",
                        help="tales (default), books, shakespeare, bookcorpus, hf:NAME, or paths")  # fmt: skip
    add_settings(parser, "", only=("preset",))
    add_sources(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default runs/<corpus>-<preset>)")
    length = parser.add_mutually_exclusive_group()
    add_settings(length, "training", only=("steps", "minutes"))
    length.add_argument("--chars", type=whole, metavar="N", help="number of characters to train on")
    add_quiet(parser)
    add_yes(parser)
    text = parser.add_argument_group("text")
    add_settings(text, "data")
    add_settings(text, "data.text")
    add_settings(parser.add_argument_group("model (over the preset)"), "model")
    add_settings(parser.add_argument_group("training (over the preset)"), "training", but=("steps", "minutes"))


def _resume_options(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--steps", type=whole, metavar="N", help="train to this many updates in all")
    parser.add_argument("--accept-changes", action="store_true",
                        help="though text, config or versions are not as they were")  # fmt: skip
    add_quiet(parser)
    add_yes(parser)


TRAIN = Command("train", "train a character model on text", _train_options, train)
RESUME = Command("resume", "go on with an interrupted run", _resume_options, resume)
