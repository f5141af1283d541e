"""`aeattn train` and `aeattn resume`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from aeattn.cli.options import (
    EXAMPLE_RUN,
    Command,
    Example,
    add_quiet,
    add_run,
    add_settings,
    add_sources,
    add_yes,
    check_run,
    config_of,
    whole,
)
from aeattn.errors import Diverged, InputError
from aeattn.host import STARTED, Startup
from aeattn.terminal.tables import print_text, say
from aeattn.training.launch import is_main, launch, restarted, size_of_group

if TYPE_CHECKING:
    from aeattn.training.plan import Plan, ResumePlan
    from aeattn.training.signals import Stop
    from aeattn.training.world import World

Planned = Callable[["World"], "Plan | ResumePlan"]


def train(options: argparse.Namespace) -> int:
    def make_plan(world: World) -> Plan | ResumePlan:
        config = world.agreed(lambda: config_of(options))
        # only now, because NumPy comes with it, and settings that cannot be are told without
        from aeattn.training.plan import begun_before, plan, plan_resume

        before = None
        if any(world.gather(restarted())):  # torchrun counts by machine
            before = world.on_main(lambda: begun_before(config, options.out, options.chars))
        if before is not None:
            return plan_resume(before, None, False, say=_say, world=world)
        return plan(config, out=options.out, chars=options.chars, say=_say, world=world)

    def check() -> Path:
        config = config_of(options)
        from aeattn.training.plan import plan
        from aeattn.training.world import World, check_batch

        check_batch(config.training.batch, World(0, options.processes))
        return plan(config, out=options.out, chars=options.chars, say=say).run.path

    return _train(make_plan, check, options)


def resume(options: argparse.Namespace) -> int:
    def make_plan(world: World) -> ResumePlan:
        from aeattn.training.plan import plan_resume

        steps, accept, track = options.steps, options.accept_changes, options.track
        return plan_resume(options.run, steps, accept, say=_say, world=world, track=track)

    def check() -> Path:
        from aeattn.runs.folder import RunFolder
        from aeattn.training.world import World, check_batch

        path: Path = options.run
        check_batch(RunFolder(path).read_config().training.batch, World(0, options.processes))
        return path

    if size_of_group() == 1:
        check_run(options.run)
    return _train(make_plan, check, options)


def _train(make_plan: Planned, check: Callable[[], Path], options: argparse.Namespace) -> int:
    size = size_of_group()
    if options.processes is not None and size > 1 and options.processes != size:
        raise InputError(f"--processes is {options.processes}, and torchrun has started {size}: leave it out")
    if options.shard and max(size, options.processes or 1) == 1:
        raise InputError("--shard spreads a model over processes: start several, with --processes or torchrun")
    if (options.processes or 1) > 1 and size == 1:
        return _launch(check(), options)
    if size > 1:
        _train_in_group(make_plan, options)
    return _train_here(make_plan, options.quiet)


def _launch(run: Path, options: argparse.Namespace) -> int:
    """Train in several processes that are started here, in a folder whose name all of them are told."""
    named = [] if options.command == "resume" or options.out else ["--out", str(run)]
    code, killed = launch([*options.arguments, *named], options.processes)
    if killed is not None:
        say(f"aeattn: {killed}; {_further(run, options.processes)}")
    return code


def _further(run: Path, processes: int) -> str:
    begun = (run / "config.json").exists()
    return f"go on with `aeattn resume {run} --processes {processes}`" if begun else "nothing was begun"


def _train_here(make_plan: Planned, quiet: bool) -> int:
    with Startup() as startup:
        from aeattn.training.signals import Interrupted, Stop
        from aeattn.training.world import ALONE

        try:
            with Stop() as stop:
                lines = _train_and_finish(make_plan(ALONE), stop, startup, quiet, ALONE)
        except (Diverged, Interrupted) as error:
            say(f"aeattn: {error}")
            return getattr(error, "exit_code", 1)
    print_text(*lines)
    return 0


def _train_in_group(make_plan: Planned, options: argparse.Namespace) -> NoReturn:
    """The same as one of several processes, of which the main one alone speaks; ends the process."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # a meeting that fails, we tell in one line
    with Startup() as startup:
        from aeattn.training.group import end, in_group  # from here on PyTorch is loaded

        def work(stop: Stop, world: World) -> Sequence[str]:
            return _train_and_finish(make_plan(world), stop, startup, options.quiet, world, options.shard)

        code = in_group(work)
    end(code)


def _say(text: str) -> None:
    if is_main():
        say(text)


def _train_and_finish(
    given: Plan | ResumePlan, stop: Stop, startup: Startup, quiet: bool, world: World, shard: bool = False
) -> Sequence[str]:
    from aeattn.cli.finish import finish
    from aeattn.terminal.progress import make_reporter
    from aeattn.training.plan import Plan
    from aeattn.training.signals import Interrupted

    reporter, run, trained = make_reporter(quiet, world.main), given.run, False
    try:
        from aeattn.training import start  # from here on PyTorch is loaded, which takes seconds

        if isinstance(given, Plan):
            begun = start.start(given, reporter, world=world, shard=shard, begun=STARTED)
        else:
            begun = start.resume(given, reporter, world=world, shard=shard)
        score = begun.run(stop, startup.over)
        trained = True
        reporter.close()
        return finish(begun, score) if world.main else ()
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
    add_settings(parser, "", only=("track",))
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default runs/<corpus>-<preset>)")
    length = parser.add_mutually_exclusive_group()
    add_settings(length, "training", only=("steps", "minutes"))
    length.add_argument("--chars", type=whole, metavar="N", help="number of characters to train on")
    _add_processes(parser)
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
                        help="go on though text, config or versions have changed")  # fmt: skip
    parser.add_argument("--track", action="append", metavar="NAME",
                        help="trackers in place of those that the run had; none for none")  # fmt: skip
    _add_processes(parser)
    add_quiet(parser)
    add_yes(parser)


def _add_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--processes", type=whole, metavar="N", help="train in N processes of this machine")
    parser.add_argument(
        "--shard", action="store_true", help="of several processes, each keeps its part of the model"
    )


TRAIN = Command(
    "train",
    "train a language model on text",
    _train_options,
    train,
    examples=(
        Example("aeattn train --minutes 2", "two minutes, from start to finish, on built-in stories"),
        Example(
            "aeattn train my_book.txt --preset 1m --chars 20M --out runs/mine",
            "a larger model on a text of one's own",
        ),
        Example(
            "aeattn train shakespeare --bottleneck 16 --set model.tied=true",
            "a narrower code, and a setting that has no option",
        ),
        Example(
            "aeattn train --config results/shakespeare-460k.json", "repeat a record, or a run by its config.json"
        ),
    ),
)
RESUME = Command(
    "resume",
    "go on with an interrupted run",
    _resume_options,
    resume,
    examples=(
        Example(f"aeattn resume {EXAMPLE_RUN}", "go on where it was interrupted"),
        Example(f"aeattn resume {EXAMPLE_RUN} --steps 10000", "go on for longer than was planned"),
    ),
)
