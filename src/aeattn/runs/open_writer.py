"""From a run folder to what writes text, the quick way: without PyTorch where the fast engine can be had."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from aeattn.generation.engine import (
    EngineKind,
    fast_engine,
    is_latent,
    pick,
    why_not_fast,
)
from aeattn.generation.writer import Writer, check_vocabulary
from aeattn.config.model import CacheKind
from aeattn.nn.size import not_compiled
from aeattn.runs.arrays import read_arrays
from aeattn.runs.memory import check_memory
from aeattn.runs.folder import RunFolder


def open_writer(
    run: str | os.PathLike[str],
    *,
    device: str = "cpu",
    engine: EngineKind = "auto",
    cache: CacheKind = "auto",
    say: Callable[[str], None] = lambda _: None,
) -> Writer:
    """What writes as the run's model. Raises InputError for what is no whole run, or cannot be had."""
    folder = RunFolder(Path(run))
    config, tokenizer = folder.read_config(), folder.read_tokenizer()
    check_memory(config.model)
    check_vocabulary(config.model, tokenizer)
    is_latent(config.model, cache)  # refused before anything is loaded
    weights = read_arrays(folder.model, config.model)  # refused before anything is compiled
    if pick(engine, device == "cpu", config.model) == "fast":
        made = fast_engine(config.model, weights, cache)
        return Writer(made, tokenizer, config.data.text)
    if engine == "auto" and device == "cpu":
        reason = not_compiled(config.model) or why_not_fast()
        say(f"the simple engine writes, many times slower: {reason}")
    from aeattn.runs.load import load

    return load(run, device=device, engine="simple", cache=cache).writer()
