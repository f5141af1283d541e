"""`aeattn size`: parameters, operations and cache bytes of models that are described, not built."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from aeattn.cli.options import Command, Example, add_json, add_settings, add_sources, config_of, positive, whole
from aeattn.cli.presets import CHARACTERS, vocabulary_of
from aeattn.errors import InputError
from aeattn.terminal.tables import figure, print_json, print_next, print_table, print_text

if TYPE_CHECKING:
    from aeattn.files import Json


def size(options: argparse.Namespace) -> int:
    from aeattn.config.presets import PRESETS

    rows = [_size(name, options) for name in PRESETS] if _all(options) else [_size(options.preset, options)]
    print_json({"presets": rows}) if options.json else _print(rows)
    return 0


def _all(options: argparse.Namespace) -> bool:
    """Whether every preset is meant: nothing says which one, and none of a model's settings is given."""
    of_models = any(value is not None for name, value in vars(options).items() if name.startswith("model."))
    return options.preset is None and options.config is None and not options.sets and not of_models


def _size(name: str | None, options: argparse.Namespace) -> Json:
    """The size of a preset, or of the config that is given, with what is changed of it, its feed-forward as
    wide as a budget allows."""
    from aeattn.config.sources import resolve
    from aeattn.nn.size import parameters, size, solve_width, unread

    config = config_of(options, {"preset": name} if name else None)
    name = str(config.preset)
    vocabulary = options.vocab_size
    if vocabulary is None:
        vocabulary = vocabulary_of(config)
    model, window = config.with_vocabulary(vocabulary).model, config.window
    try:
        if options.parameters is not None:
            model = solve_width(model, options.parameters, parameters)
        if options.flops is not None:
            model = solve_width(model, options.flops, lambda config: size(config, window=window).train_flops)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    changed = model != resolve({"preset": name}, plugins=options.plugin).with_vocabulary(vocabulary).model
    return {
        "preset": name,
        "vocab_size": vocabulary,
        "d_ff": model.d_ff,
        **asdict(size(model, window=window)),
        "changed": changed,
        "unread": unread(model),
    }


def _print(rows: list[Json]) -> None:
    columns = ("model", "vocabulary size", "parameters", "d_ff", "MFLOPs to train", "MFLOPs to generate",
               "full KV cache, bytes", "latent KV cache, bytes")  # fmt: skip
    cells = [(row["preset"] + (", changed" if row["changed"] else ""), f"{row['vocab_size']:,}",
              f"{row['parameters']:,}", f"{row['d_ff']:,}", f"{row['train_flops'] / 1e6:.2f}",
              f"{row['generate_flops'] / 1e6:.2f}", f"{row['cache_bytes']:,}",
              figure(row["latent_cache_bytes"], ",")) for row in rows]  # fmt: skip
    print_table(columns, cells)
    print_text(
        "FLOPs and bytes are for one token: a character, unless the preset says otherwise. The full KV cache "
        "holds keys and values, the latent one the codes that they are decoded from, both in float32; a dash: "
        "there are no decoders, or they cannot be absorbed."
    )
    for row in rows if len(rows) == 1 else []:
        parts = (f"{number:,} of {name}" for name, number in row["kept"].items() if number)
        print_text(f"Numbers kept of each token, over all layers: {', '.join(parts)}.")
        if row["not_absorbable"]:
            print_text(f"No latent cache: {row['not_absorbable']}.")
        for line in row["unread"]:
            print_text(f"{line}.")
    print_text("", _conclusion(rows))
    if len(rows) > 1:
        print_next("aeattn size --preset 460k --bottleneck 16", "aeattn presets")
    elif not rows[0]["changed"]:
        print_next(f"aeattn train --preset {rows[0]['preset']} --minutes 2")


def _conclusion(rows: list[Json]) -> str:
    """What is to be learnt from the table, in a sentence."""
    kept = {
        row["preset"]: min(row["cache_bytes"], row["latent_cache_bytes"] or row["cache_bytes"]) for row in rows
    }
    if len(rows) > 1:
        least = min(kept.values())
        names = " and ".join(name for name in kept if kept[name] == least)
        return f"The smallest KV cache is that of {names}: {least:,} bytes a token."
    (name, cache), row = next(iter(kept.items())), rows[0]
    share = f", {100 * cache / row['cache_bytes']:.0f} % of keys and values" if cache < row["cache_bytes"] else ""
    name += " with these settings" if row["changed"] else ""
    return f"{name} has {row['parameters']:,} parameters and keeps {cache:,} bytes a token in its KV cache{share}."


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", metavar="NAME", help="this one, not all (`aeattn presets` lists them)")
    parser.add_argument("--vocab-size", type=whole, metavar="N",
                        help=f"vocabulary size (default {CHARACTERS}, or that of the tokenizer)")  # fmt: skip
    add_sources(parser)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--parameters", type=positive, metavar="N", help="solve for the d_ff with as many parameters"
    )
    budget.add_argument("--flops", type=positive, metavar="N",
                        help="solve for the d_ff with as many to train a token")  # fmt: skip
    add_json(parser)
    add_settings(parser.add_argument_group("model (over the preset)"), "model")


COMMAND = Command(
    "size", "parameters, FLOPs and KV-cache bytes of models", _options, size,
    examples=(
        Example("aeattn size", "all presets"),
        Example("aeattn size --preset 1m --bottleneck 24 --set model.tied=true", "a preset with other settings"),
        Example("aeattn size --config runs/mine/config.json", "the model of a run or a record"),
        Example("aeattn size --preset 460k --parameters 500000", "the d_ff that gives so many parameters"),
    ),
)  # fmt: skip
