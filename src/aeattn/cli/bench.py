"""`aeattn bench train` and `aeattn bench generate`: speed as tables, a picture and JSON."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from aeattn.cli.options import Command, Example, Parser, add_json, check_run, whole
from aeattn.config.presets import DEFAULT_PRESET
from aeattn.terminal.tables import print_json, print_table, print_text, say

if TYPE_CHECKING:
    from aeattn.benchmarks.results import GenerationBench, TrainingBench
    from aeattn.benchmarks.tables import Block


def bench(options: argparse.Namespace) -> int:
    if options.bench == "generate" and options.run is not None:
        check_run(options.run)
    from aeattn.benchmarks import pictures, tables

    if options.bench == "train" and options.processes:
        return _processes(options)
    shared = {"rounds": options.rounds, "nanogpt": options.nanogpt, "peers": not options.no_peers, "say": say}
    found: TrainingBench | GenerationBench
    if options.bench == "train":
        from aeattn.benchmarks.train import bench_train

        found = bench_train(options.context, batch=options.batch, preset=options.preset, **shared)
        pictures.draw_training(found, options.picture)
        blocks = tables.training(found)
    else:
        from aeattn.benchmarks.generate import bench_generate

        lengths = [] if options.no_long else options.lengths
        model = {"run": options.run, "preset": options.preset or DEFAULT_PRESET}
        found = bench_generate(**model, chars=options.chars, batches=options.batch, lengths=lengths, **shared)
        pictures.draw_generation(found, options.picture)
        blocks = tables.generation(found)
    print_json(found.to_dict()) if options.json else _print(blocks)
    say(f"picture: {options.picture}")
    return 0


def _processes(options: argparse.Namespace) -> int:
    from aeattn.benchmarks import tables
    from aeattn.benchmarks.processes import bench_processes

    found = bench_processes(
        options.processes, preset=options.preset, context=options.context[-1], batch=options.batch,
        rounds=options.rounds, say=say,
    )  # fmt: skip
    print_json(found.to_dict()) if options.json else _print(tables.processes(found))
    return 0


def _print(blocks: Iterable[Block]) -> None:
    for block in blocks:
        if isinstance(block, str):
            print_text(block)
        else:
            print_table(block.heading, list(block.rows), block.words)


def _options(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="bench", required=True, metavar="WHAT", parser_class=Parser)
    train = kinds.add_parser("train", help="training: characters a second, and where an update's time goes")
    train.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME",
                       help=f"model to time (default {DEFAULT_PRESET})")  # fmt: skip
    train.add_argument("--batch", type=whole, default=64, metavar="N", help="windows an update (default 64)")
    contexts = [128, 256]
    train.add_argument(
        "--context",
        type=whole,
        nargs="+",
        default=contexts,
        metavar="N",
        help="context lengths to time (default 128 256)",
    )
    train.add_argument("--processes", type=whole, nargs="+", metavar="N",
                       help="instead: so many processes that share each update, at the last context")  # fmt: skip
    _shared(train, rounds=7)
    _generate_options(
        kinds.add_parser("generate", help="generation: characters a second, with a cache and without")
    )


def _shared(parser: argparse.ArgumentParser, rounds: int) -> None:
    picture, turns = Path(f"bench-{parser.prog.split()[-1]}.png"), f"of all in turn (default {rounds})"
    parser.add_argument("--rounds", type=whole, default=rounds, metavar="N", help=turns)
    parser.add_argument("--nanogpt", type=Path, metavar="DIR", help="a checkout of nanoGPT to time against")
    parser.add_argument("--no-peers", action="store_true", help="time this package alone")
    parser.add_argument(
        "--picture",
        type=Path,
        default=picture,
        metavar="FILE",
        help="where the picture is drawn (default bench-WHAT.png)",
    )
    add_json(parser)


def _generate_options(parser: argparse.ArgumentParser) -> None:
    model = parser.add_mutually_exclusive_group()
    model.add_argument("run", type=Path, nargs="?", metavar="RUN", help="the run whose model generates")
    model.add_argument("--preset", metavar="NAME",
                       help=f"instead: a model with random weights (default {DEFAULT_PRESET})")  # fmt: skip
    parser.add_argument(
        "--chars", type=whole, default=200, metavar="N", help="characters that each sequence gets (default 200)"
    )
    at_once, lengths = "sequences at once (default 1 64)", [256, 512, 1024, 2048, 4096, 8192]
    parser.add_argument("--batch", type=whole, nargs="+", default=[1, 64], metavar="N", help=at_once)
    parser.add_argument(
        "--lengths",
        type=whole,
        nargs="+",
        default=lengths,
        metavar="N",
        help="context lengths of the curves (default 256 to 8192)",
    )
    parser.add_argument("--no-long", action="store_true", help="no curves over context length")
    _shared(parser, rounds=5)


COMMAND = Command(
    "bench",
    "measure speed against peers and the machine's limits",
    _options,
    bench,
    examples=(
        Example("aeattn bench train --no-peers", "training steps of ours alone"),
        Example("aeattn bench generate runs/mine --batch 1 --no-long", "one sequence at a time"),
    ),
)
