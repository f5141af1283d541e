"""What each command of the command line does."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from aeattn.cli.bench import bench
from aeattn.cli.compare import compare
from aeattn.cli.generate import generate
from aeattn.cli.inspect import inspect
from aeattn.host import Startup
from aeattn.terminal.tables import print_json, print_table, say

if TYPE_CHECKING:
    from aeattn.terminal.progress import Reporter
    from aeattn.training.plan import Plan, ResumePlan
    from aeattn.training.signals import Stop
    from aeattn.training.start import Training


def run(options: argparse.Namespace) -> int:
    """Run the command that was asked for; returns the exit code."""
    return COMMANDS[options.command](options)


# -- train and resume ---------------------------------------------------------------------------------------


def train(options: argparse.Namespace) -> int:
    def make_plan() -> Plan:
        from aeattn.config.run import RunConfig
        from aeattn.training.plan import plan

        config = RunConfig.from_settings(options_of_train(options))
        config = config if options.chars is None else config.with_chars(options.chars)
        return plan(config, out=options.out, say=say)

    def start(given: Plan, reporter: Reporter) -> Training:
        from aeattn.training.start import start as make_trainer

        return make_trainer(given, reporter)

    return _train(make_plan, start, options.quiet)


def resume(options: argparse.Namespace) -> int:
    def make_plan() -> ResumePlan:
        from aeattn.training.plan import plan_resume

        return plan_resume(options.run, options.steps, options.accept_changes, say=say)

    def go_on(given: ResumePlan, reporter: Reporter) -> Training:
        from aeattn.training.start import resume as make_trainer

        return make_trainer(given, reporter)

    return _train(make_plan, go_on, options.quiet)


P = TypeVar("P", "Plan", "ResumePlan")


def _train(make_plan: Callable[[], P], make_trainer: Callable[[P, Reporter], Training], quiet: bool) -> int:
    with Startup() as startup:
        from aeattn.training.guard import Diverged
        from aeattn.training.signals import Interrupted, Stop

        try:
            with Stop() as stop:
                lines = _train_and_finish(make_plan(), make_trainer, stop, startup, quiet)
        except (Diverged, Interrupted) as error:
            say(f"aeattn: {error}")
            return getattr(error, "exit_code", 1)
    for line in lines:
        print(line, flush=True)
    return 0


def _train_and_finish(
    given: P, make_trainer: Callable[[P, Reporter], Training], stop: Stop, startup: Startup, quiet: bool
) -> Sequence[str]:
    from aeattn.cli.finish import finish
    from aeattn.terminal.progress import make_reporter
    from aeattn.training.signals import Interrupted

    reporter, run, trained = make_reporter(quiet), given.run, False
    try:
        training = make_trainer(given, reporter)
        score = training.run(stop, startup.over)
        trained = True
        reporter.close()
        return finish(training, score)
    except Interrupted as error:
        further = f"go on with `aeattn resume {run.path}`" if run.config.exists() else "nothing was begun"
        further = f"the model is trained and saved: {run.path}" if trained else further
        error.args = (f"{error}; {further}",)
        raise
    finally:
        reporter.close()
        run.unlock()


_MODEL_OPTIONS = (
    "context", "d_model", "n_layers", "n_heads", "d_ff", "bottleneck", "positions", "dropout", "per_head",
)  # fmt: skip
_TRAINING_OPTIONS = (
    "steps", "seed", "batch", "accumulate", "optimizer", "learning_rate", "matrix_learning_rate", "weight_decay",
    "schedule", "warmup", "clip", "device", "precision", "compile", "eval_every", "sample_every",
    "checkpoint_every", "checkpoint_minutes",
    "spike_factor", "minutes",
)  # fmt: skip


def options_of_train(options: argparse.Namespace) -> dict[str, Any]:
    """Settings from preset, config file and options, later ones over earlier ones, as nested dictionaries."""
    from aeattn.config.convert import overlay, read_toml
    from aeattn.config.presets import DEFAULT_PRESET, preset

    file = read_toml(options.config) if options.config else {}
    name = options.preset or file.get("preset") or DEFAULT_PRESET
    given = {key: value for key, value in vars(options).items() if value is not None}
    kinds = {k: _placement(given[k]) for k in ("query", "key", "value") if k in given}
    model = {k: given[k] for k in _MODEL_OPTIONS if k in given} | kinds
    training = {k: given[k] for k in _TRAINING_OPTIONS if k in given}
    data: dict[str, Any] = {k: given[k] for k in ("recipe", "limit_chars") if k in given}
    data |= {k: given[k] for k in ("corpus", "valid") if given.get(k)}
    text = {k: given[k] for k in ("ascii", "lower", "unwrap", "keep") if k in given}
    changes = {
        "preset": name,
        "model": model,
        "training": training,
        "data": data | ({"text": text} if text else {}),
    }
    return overlay(overlay(dict(preset(str(name))), file), changes)


def _placement(text: str) -> str | list[str]:
    return text.split(",") if "," in text else text


# -- evaluate ----------------------------------------------------------------------------------------------


def evaluate(options: argparse.Namespace) -> int:
    from aeattn.training.evaluate_run import evaluate_run

    result = evaluate_run(
        options.run,
        options.text,
        device=options.device,
        stride=options.stride,
        sliding=not options.no_sliding,
        baseline=not options.no_baseline,
        say=say,
    )
    if options.json:
        print_json(result)
    else:
        _print_evaluation(result)
    return 0


def _print_evaluation(result: dict[str, Any]) -> None:
    scores = [*result["files"], {**result, "name": "all"}]
    if "sliding" in result:
        stride = result["sliding"]["stride"]
        scores.append({**result["sliding"], "name": f"all, sliding window (stride {stride})"})
    rows = [(s["name"], f"{s['chars']:,}", _four(s["nats_per_char"]), _four(s["bits_per_char"])) for s in scores]
    for order, nats in result.get("ngram_nats_per_char", {}).items():
        rows.append((f"{order}-gram model, for scale", "", _four(nats), _four(nats / math.log(2))))
    print_table(("text", "characters", "nats/char", "bits/char"), rows)


def _four(number: float | None) -> str:
    return "-" if number is None else f"{number:.4f}"


# -- size --------------------------------------------------------------------------------------------------


def size(options: argparse.Namespace) -> int:
    from aeattn.config.presets import PRESETS
    from aeattn.training.evaluate_run import size_of_preset

    names = [options.preset] if options.preset else list(PRESETS)
    rows = [
        size_of_preset(name, options.vocab_size, options.context, options.parameters, options.flops)
        for name in names
    ]
    if options.json:
        print_json({"presets": rows})
    else:
        _print_sizes(rows)
    return 0


def _print_sizes(rows: list[dict[str, Any]]) -> None:
    columns = ("preset", "parameters", "d_ff", "MFLOP to train", "to write", "bytes kept", "latent")
    cells = [
        (
            row["preset"],
            f"{row['parameters']:,}",
            f"{row['d_ff']:,}",
            f"{row['train_flops'] / 1e6:.2f}",
            f"{row['generate_flops'] / 1e6:.2f}",
            f"{row['cache_bytes']:,}",
            "-" if row["latent_cache_bytes"] is None else f"{row['latent_cache_bytes']:,}",
        )
        for row in rows
    ]
    print_table(columns, cells)
    print("For one character: operations, and bytes kept in a full and in a latent cache of float32.")
    for row in rows:
        if row["not_absorbable"]:
            print(f"{row['preset']}: no latent cache; {row['not_absorbable']}")


# -- inspect, report and compare --------------------------------------------------------------------------


def report(options: argparse.Namespace) -> int:
    from aeattn.report import write_report

    for path in write_report(options.folder, options.out, say=say):
        print(path)
    return 0


COMMANDS = {
    "train": train,
    "resume": resume,
    "evaluate": evaluate,
    "generate": generate,
    "size": size,
    "bench": bench,
    "compare": compare,
    "inspect": inspect,
    "report": report,
}
