"""The command line: parse, call, print. Nothing heavy is imported before the arguments are known to be good."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from aeattn.errors import InputError, SlowerWarning
from aeattn.host import settle_waiting
from aeattn.training.compiled_cache import keep_compiled
from aeattn.version import VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `aeattn`; returns the exit code: 0 done, 1 our failure, 2 bad input, 130 and 143 interrupted."""
    options = make_parser().parse_args(arguments)
    settle_waiting()
    keep_compiled()
    warnings.formatwarning = _warning_line
    try:
        from aeattn.cli import commands

        return commands.run(options)
    except InputError as error:
        return _complain(str(error), 2)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder that may not be written to
        return _complain(str(error), 1)


def _complain(message: str, code: int) -> int:
    print(f"aeattn: {' '.join(message.split())}", file=sys.stderr)
    return code


_as_python_does = warnings.formatwarning


def _warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Our own warnings are for users, who have no use for the place in the source."""
    if issubclass(category, SlowerWarning):
        return f"aeattn: warning: {message}\n"
    return _as_python_does(message, category, filename, lineno, line)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = _Parser(
        prog="aeattn", description="Transformers whose queries, keys and values pass through a bottleneck."
    )
    parser.add_argument("--version", action="version", version=f"aeattn {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_train(commands.add_parser("train", help="train a character model on text"))
    _add_resume(commands.add_parser("resume", help="go on with an interrupted run"))
    _add_evaluate(commands.add_parser("evaluate", help="measure how well a model predicts a text"))
    _add_generate(commands.add_parser("generate", help="let a model write"))
    _add_size(commands.add_parser("size", help="parameters, operations and cache bytes of models"))
    _add_inspect(commands.add_parser("inspect", help="what attention looks at, and what bottlenecks keep"))
    _add_compare(commands.add_parser("compare", help="run a comparison of models that a spec declares"))
    _add_bench(commands.add_parser("bench", help="measure speed against peers and the machine's limits"))
    _add_report(commands.add_parser("report", help="one page of a comparison, to open in a browser"))
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "corpus",
        nargs="*",
        metavar="CORPUS",
        help="tales (default), books, shakespeare, bookcorpus, or paths",
    )
    parser.add_argument("--preset", metavar="NAME", help="model and training settings (default 460k)")
    parser.add_argument("--recipe", metavar="NAME", help="how to read the text, for example books10m")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings from a TOML file")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default runs/<corpus>-<preset>)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_whole, metavar="N", help="number of updates")
    length.add_argument("--chars", type=_whole, metavar="N", help="number of characters to train on")
    length.add_argument("--minutes", type=float, metavar="X", help="as many updates as fit into so many minutes")
    parser.add_argument("--seed", type=int, metavar="N", help="of weights, batches and dropout (default 0)")
    parser.add_argument("--valid", action="append", default=[], metavar="PATH", help="text to validate on")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    _add_text_options(parser.add_argument_group("text"))
    _add_model_options(parser.add_argument_group("model (over the preset)"))
    _add_training_options(parser.add_argument_group("training (over the preset)"))


def _add_text_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--ascii", action="store_true", default=None, help="fold to ASCII")
    group.add_argument("--lower", action="store_true", default=None, help="lower-case")
    group.add_argument("--unwrap", action="store_true", default=None, help="one paragraph a line")
    group.add_argument("--keep", metavar="CHARS", help="drop all other characters")
    group.add_argument(
        "--limit-chars", type=_whole, metavar="N", help="only the first N characters of each training text"
    )


def _add_model_options(group: argparse._ArgumentGroup) -> None:
    for name, text in (
        ("context", "characters that the model sees"),
        ("d-model", "width"),
        ("n-layers", "layers"),
        ("n-heads", "heads"),
        ("d-ff", "width of the feed-forward"),
        ("bottleneck", "width of the bottleneck"),
    ):
        group.add_argument(f"--{name}", type=int, metavar="N", help=text)
    for name in ("query", "key", "value"):
        group.add_argument(
            f"--{name}",
            metavar="KIND",
            help="linear, bottleneck, autoencoder or residual (value: or shared); or one a layer: a,b,c",
        )
    group.add_argument("--positions", metavar="KIND", help="alibi, decoupled, rotary, learned or none")
    group.add_argument("--dropout", type=float, metavar="X")
    group.add_argument("--per-head", action="store_true", default=None, help="projections of its own a head")


def _add_training_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--batch", type=int, metavar="N", help="windows a micro-batch")
    group.add_argument("--accumulate", type=int, metavar="N", help="micro-batches an update")
    group.add_argument("--optimizer", choices=("muon", "adamw"))
    group.add_argument("--learning-rate", type=float, metavar="X", help="AdamW's")
    group.add_argument("--matrix-learning-rate", type=float, metavar="X", help="Muon's")
    group.add_argument("--weight-decay", type=float, metavar="X")
    group.add_argument("--schedule", choices=("linear", "cosine", "wsd", "constant"))
    group.add_argument("--warmup", type=float, metavar="X", help="fraction of all steps")
    group.add_argument("--clip", type=float, metavar="X", help="largest norm of AdamW's gradients, 0 for none")
    group.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, ...")
    group.add_argument("--precision", choices=("auto", "fp32", "bf16"))
    group.add_argument("--compile", choices=("auto", "on", "off"))
    group.add_argument("--eval-every", type=int, metavar="STEPS")
    group.add_argument("--sample-every", type=int, metavar="STEPS")
    group.add_argument(
        "--spike-factor", type=float, metavar="X", help="pass over batches of X times the usual loss (default off)"
    )
    group.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="0 for none but the last")
    group.add_argument("--checkpoint-minutes", type=float, metavar="X", help="(default 1, unless by steps)")


def _add_resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--steps", type=_whole, metavar="N", help="train to this many updates in all")
    parser.add_argument(
        "--accept-changes", action="store_true", help="though text, config or versions are not as they were"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("text", nargs="+", metavar="TEXT", help="files, folders, globs, or a corpus by name")
    parser.add_argument("--stride", type=_whole, metavar="N", help="of the sliding window (default context / 4)")
    parser.add_argument("--no-sliding", action="store_true", help="only fixed windows: faster")
    parser.add_argument("--no-baseline", action="store_true", help="no n-gram models for scale")
    parser.add_argument("--device", default="auto", metavar="NAME")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--prompt", default="", metavar="S")
    source.add_argument("--prompt-file", metavar="FILE", help="one prompt; - for standard input")
    source.add_argument("--prompts", metavar="FILE", help="many prompts, one a line; - for standard input")
    parser.add_argument("--chars", type=_whole, default=500, metavar="N", help="new characters (default 500)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="X", help="0 is greedy (default 0.8)")
    parser.add_argument("--top-k", type=int, metavar="N")
    parser.add_argument("--top-p", type=float, metavar="X")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--stop", action="append", default=[], metavar="S", help="end before this text; may be repeated"
    )
    parser.add_argument("--samples", type=int, default=1, metavar="N", help="passages a prompt (default 1)")
    parser.add_argument(
        "--engine", choices=("auto", "fast", "simple"), default="auto", help="compiled, or PyTorch"
    )
    parser.add_argument(
        "--cache", choices=("auto", "latent", "full"), default="auto", help="codes, or keys and values"
    )
    parser.add_argument("--device", default="cpu", metavar="NAME")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", metavar="NAME", help="only this one")
    parser.add_argument("--vocab-size", type=_whole, default=49, metavar="N", help="characters (default 49)")
    parser.add_argument("--context", type=_whole, metavar="N", help="characters that the model sees")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--parameters", type=float, metavar="N", help="solve for the d_ff with as many")
    budget.add_argument(
        "--flops", type=float, metavar="N", help="solve for the d_ff with as many a training character"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("text", nargs="*", metavar="TEXT", help="files, folders, globs, or a corpus by name "
                        "(default: what the run was validated on)")  # fmt: skip
    parser.add_argument("--step", type=_whole, metavar="N", help="look at this checkpoint (default: the end)")
    parser.add_argument("--chars", type=_whole, default=16_384, metavar="N", help="to read (default 16,384)")
    parser.add_argument(
        "--context", type=_whole, metavar="N", help="characters that the model sees, at most its own"
    )
    parser.add_argument("--device", default="cpu", metavar="NAME")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="of a comparison, or of a single run")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write report.html, .md and .svg (default DIR)"
    )


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="SPEC", help="claims, first, or a .toml file (docs/experiments.md)")
    parser.add_argument("--budget", metavar="NAME", help="one of the spec's budgets, as small or full (the first)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder (default runs/compare-<spec>-<budget>)")
    parser.add_argument("--jobs", type=_whole, metavar="N", help="runs at a time (default: as the spec says)")
    parser.add_argument("--amend", action="store_true", help="declare a folder anew; records that fit are kept")
    parser.add_argument("--plan", action="store_true", help="declare and show what is to be run, and stop")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _add_bench(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="bench", required=True, metavar="WHAT", parser_class=_Parser)
    train = kinds.add_parser("train", help="training steps")
    train.add_argument("--preset", default="460k", metavar="NAME", help="model to time (default 460k)")
    train.add_argument("--batch", type=_whole, default=64, metavar="N", help="windows a step (default 64)")
    train.add_argument(
        "--context", type=_whole, nargs="+", default=[128, 256], metavar="N", help="(default 128 256)"
    )
    train.add_argument("--rounds", type=_whole, default=7, metavar="N", help="of all in turn (default 7)")
    train.add_argument("--nanogpt", type=Path, metavar="DIR", help="a checkout of nanoGPT to time against")
    train.add_argument("--no-peers", action="store_true", help="only ours")
    train.add_argument("--picture", type=Path, default=Path("bench-train.png"), metavar="FILE")
    train.add_argument("--json", action="store_true", help="one JSON object on standard output")

    _add_bench_generate(kinds.add_parser("generate", help="writing"))


def _add_bench_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN", help="(default: random weights)")
    parser.add_argument("--chars", type=_whole, default=200, metavar="N", help="each writes (default 200)")
    parser.add_argument(
        "--batch", type=_whole, nargs="+", default=[1, 64], metavar="N", help="sequences at once (default 1 64)"
    )
    parser.add_argument("--rounds", type=_whole, default=5, metavar="N", help="of all in turn (default 5)")
    parser.add_argument("--nanogpt", type=Path, metavar="DIR", help="a checkout of nanoGPT to time against")
    parser.add_argument("--no-peers", action="store_true", help="only ours")
    lengths = [256, 512, 1024, 2048, 4096, 8192]
    parser.add_argument("--lengths", type=_whole, nargs="+", default=lengths, metavar="N", help="for the curves")
    parser.add_argument("--no-long", action="store_true", help="no curves over the length of the context")
    parser.add_argument("--picture", type=Path, default=Path("bench-generate.png"), metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _whole(text: str) -> int:
    """A whole number of at least 1; 20M, 1.5e6 and 500k are understood."""
    scale = {"k": 1e3, "m": 1e6, "g": 1e9}.get(text[-1:].lower(), 1)
    try:
        number = float(text[:-1] if scale > 1 else text) * scale
    except ValueError:
        number = float("nan")
    if not (number >= 1 and number == int(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(number)
