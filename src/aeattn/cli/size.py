"""`aeattn size`: parameters, operations and cache bytes of models that are described, not built."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from aeattn.cli.options import Command, add_json, add_settings, add_sources, config_of, positive, whole
from aeattn.errors import InputError
from aeattn.terminal.tables import figure, print_json, print_table

if TYPE_CHECKING:
    from aeattn.files import Json

CHARACTERS = 49  # of a vocabulary as books10m has it


def size(options: argparse.Namespace) -> int:
    from aeattn.config.presets import PRESETS

    rows = [_size(name, options) for name in ([options.preset] if options.preset else PRESETS)]
    print_json({"presets": rows}) if options.json else _print(rows)
    return 0


def _size(name: str, options: argparse.Namespace) -> Json:
    """The size of a preset with what is changed of it, its feed-forward as wide as a budget allows."""
    from aeattn.nn.size import parameters, size, solve_width

    config = config_of(options, {"preset": name})
    vocabulary = options.vocab_size
    if vocabulary is None:
        vocabulary = config.data.vocabulary or CHARACTERS
    model = config.with_vocabulary(vocabulary).model
    try:
        if options.parameters is not None:
            model = solve_width(model, options.parameters, parameters)
        if options.flops is not None:
            model = solve_width(model, options.flops, lambda config: size(config).train_flops)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    return {"preset": name, "vocab_size": vocabulary, "d_ff": model.d_ff, **asdict(size(model))}


def _print(rows: list[Json]) -> None:
    columns = ("preset", "tokens", "parameters", "d_ff", "MFLOP to train", "to write", "bytes kept", "latent")
    cells = [(row["preset"], f"{row['vocab_size']:,}", f"{row['parameters']:,}", f"{row['d_ff']:,}",
              f"{row['train_flops'] / 1e6:.2f}", f"{row['generate_flops'] / 1e6:.2f}", f"{row['cache_bytes']:,}",
              figure(row["latent_cache_bytes"], ",")) for row in rows]  # fmt: skip
    print_table(columns, cells)
    print("For one token (a character, unless the preset says otherwise): operations, and bytes kept in a full")
    print("and in a latent cache of float32.")
    if len(rows) == 1:
        parts = (f"{number:,} of {name}" for name, number in rows[0]["kept"].items() if number)
        print(f"Numbers kept, over all layers: {', '.join(parts)}.")
    for row in rows:
        if row["not_absorbable"]:
            print(f"{row['preset']}: no latent cache; {row['not_absorbable']}")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", metavar="NAME", help="only this one")
    parser.add_argument("--vocab-size", type=whole, metavar="N",
                        help=f"tokens (default {CHARACTERS}, or those of the preset's tokenizer)")  # fmt: skip
    add_sources(parser)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--parameters", type=positive, metavar="N", help="solve for the d_ff with as many")
    budget.add_argument("--flops", type=positive, metavar="N",
                        help="solve for the d_ff with as many a training character")  # fmt: skip
    add_json(parser)
    add_settings(parser.add_argument_group("model (over each preset)"), "model")


COMMAND = Command("size", "parameters, operations and cache bytes of models", _options, size)
