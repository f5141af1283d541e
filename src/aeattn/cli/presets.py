"""`aeattn presets`: models, recipes and texts that have a name."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from aeattn.cli.options import Command, Example, add_json
from aeattn.terminal.tables import print_json, print_next, print_table, print_text, print_title

if TYPE_CHECKING:
    from aeattn.config.run import RunConfig
    from aeattn.files import Json

CHARACTERS = 49  # of a vocabulary as books10m has it


def presets(options: argparse.Namespace) -> int:
    """Print what there is; returns the exit code."""
    from aeattn.config.presets import PRESETS
    from aeattn.data.corpora import ABOUT, RECIPES

    models = [_model(name) for name in PRESETS]
    recipes = [{"recipe": name, "about": recipe.about} for name, recipe in RECIPES.items()]
    corpora = [{"corpus": name, "about": about} for name, about in ABOUT.items()]
    if options.json:
        print_json({"presets": models, "recipes": recipes, "corpora": corpora})
    else:
        _print(models, recipes, corpora)
    return 0


def _model(name: str) -> Json:
    from aeattn.config.presets import DEFAULT_PRESET, WHAT_FOR
    from aeattn.config.sources import resolve
    from aeattn.nn.size import size

    config = resolve({"preset": name})
    model = config.with_vocabulary(vocabulary_of(config)).model
    cost = size(model)
    about = WHAT_FOR[name] if name != DEFAULT_PRESET else f"the default: {WHAT_FOR[name]}"
    cache = cost.cache_bytes if cost.latent_cache_bytes is None else cost.latent_cache_bytes
    return {
        "preset": name, "about": about, "parameters": cost.parameters, "context": model.context,
        "cache_bytes": cache, "tokenizer": config.data.tokenizer, "model": asdict(model),
    }  # fmt: skip


def vocabulary_of(config: RunConfig) -> int:
    """Tokens that are counted with where no text says how many there are."""
    return config.data.vocabulary or CHARACTERS


def _print(models: list[Json], recipes: list[Json], corpora: list[Json]) -> None:
    print_title("Presets: models with their training, for --preset NAME")
    rows = [(row["preset"], f"{row['parameters']:,}", f"{row['context']:,}", f"{row['cache_bytes']:,}")
            for row in models]  # fmt: skip
    print_table(("preset", "parameters", "context, tokens", "KV cache, bytes/token"), rows)
    print_text(
        f"Parameters for a vocabulary of {CHARACTERS} characters, or the preset's own. The KV cache is the "
        "smallest that is exact, in float32: codes where decoders can be absorbed, else keys and values."
    )
    print_table(("preset", "what for"), [(row["preset"], row["about"]) for row in models], words=2)
    print_title("Recipes: how a text is read, for --recipe NAME")
    print_table(("recipe", "what it does"), [(row["recipe"], row["about"]) for row in recipes], words=2)
    print_title("Texts, for `aeattn train NAME`")
    print_table(("text", "what it is"), [(row["corpus"], row["about"]) for row in corpora], words=2)
    print_next("aeattn train shakespeare --preset 460k", "aeattn size --preset 460k --bottleneck 16")


def _options(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


COMMAND = Command(
    "presets", "models, recipes and texts that have a name", _options, presets,
    examples=(Example("aeattn presets", "what --preset, --recipe and CORPUS can name, and what for"),),
)  # fmt: skip
