"""docs/attention.md gives what `nn/size.py` says, and names every kind."""

from __future__ import annotations

import json
import re
from pathlib import Path

from aeattn.config.convert import build
from aeattn.config.model import ModelConfig
from aeattn.config.projections import find, names
from aeattn.nn.size import size, use_latent_cache

PAGE = (Path(__file__).parents[2] / "docs" / "attention.md").read_text(encoding="utf-8")


def test_the_table_of_bytes_is_that_of_the_sizes() -> None:
    rows = re.findall(r"^\| .* \| `(\S*=.*)` \| (.*) \| (.*) \| (\w+) \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 15
    for settings, numbers, kept_bytes, cache in rows:
        config = _config(settings)
        found = size(config)
        assert numbers == f"{found.kept.total // config.n_layers:,}", settings
        assert kept_bytes == f"{4 * found.kept.total:,}", settings
        assert cache == ("latent" if use_latent_cache(config) else "full"), settings


def test_every_kind_has_its_formula_and_says_what_is_kept() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| .* \| .* \| (.*) \|$", PAGE, re.MULTILINE))
    assert set(rows) == set(names())
    for name, code in rows.items():
        kind = find(name)
        wanted = "k" if not kind.has_decoder else "that of the key" if kind.shares_code else "z"
        assert code == (wanted if kind.not_absorbable is None else "none that is narrow"), name


def _config(settings: str) -> ModelConfig:
    pairs = (part.split("=") for part in settings.split())
    values = {key: json.loads(value) if re.match(r"\d|true|false", value) else value for key, value in pairs}
    return build(ModelConfig, {"vocab_size": 49, **values}, "docs/attention.md")
