"""`aeattn bench train` and `aeattn bench generate`: speed as tables, a picture and JSON."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aeattn.terminal.tables import print_json, print_table, say

if TYPE_CHECKING:
    from aeattn.benchmarks.tables import Block


def bench(options: argparse.Namespace) -> int:
    if options.bench == "train":
        _training(options)
    else:
        _generation(options)
    say(f"picture: {options.picture}")
    return 0


def _training(options: argparse.Namespace) -> None:
    from aeattn.benchmarks import tables
    from aeattn.benchmarks.pictures import draw_training
    from aeattn.benchmarks.train import bench_train

    found = bench_train(
        options.context, batch=options.batch, rounds=options.rounds, preset=options.preset,
        nanogpt=options.nanogpt, peers=not options.no_peers, say=say,
    )  # fmt: skip
    draw_training(found, options.picture)
    print_json(found.to_dict()) if options.json else _print(tables.training(found))


def _generation(options: argparse.Namespace) -> None:
    from aeattn.benchmarks import tables
    from aeattn.benchmarks.generate import bench_generate
    from aeattn.benchmarks.pictures import draw_generation

    found = bench_generate(
        options.run, chars=options.chars, batches=options.batch, rounds=options.rounds, nanogpt=options.nanogpt,
        peers=not options.no_peers, lengths=[] if options.no_long else options.lengths, say=say,
    )  # fmt: skip
    draw_generation(found, options.picture)
    print_json(found.to_dict()) if options.json else _print(tables.generation(found))


def _print(blocks: Iterable[Block]) -> None:
    for block in blocks:
        if isinstance(block, str):
            print(block)
        else:
            print_table(block.heading, block.rows)
