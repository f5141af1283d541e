"""From a run folder to a model that reads and writes text."""

from __future__ import annotations

import os
from pathlib import Path

from aeattn.generation.engine import EngineKind
from aeattn.generation.text_model import TextModel
from aeattn.config.model import CacheKind
from aeattn import hardware
from aeattn.config.run import RunConfig
from aeattn.runs.memory import check_memory
from aeattn.runs.folder import RunFolder
from aeattn.runs.weights import load_model


def load(
    run: str | os.PathLike[str], *, device: str = "cpu", engine: EngineKind = "auto", cache: CacheKind = "auto"
) -> TextModel:
    """The model of a run folder, in evaluation mode. Raises InputError for what is no whole run.

    >>> model = aeattn.load("runs/books-460k")                                      # doctest: +SKIP
    >>> print(model.generate("once upon a time", chars=300, temperature=0.8))        # doctest: +SKIP
    """
    folder = RunFolder(Path(run))
    config = folder.read_config()
    check_memory(config.model)
    model = TextModel(
        load_model(folder, config.model), folder.read_tokenizer(), config.data.text, engine=engine, cache=cache
    )
    return model.to(hardware.pick_device(device))


def read_config(run: str | os.PathLike[str]) -> RunConfig:
    """The resolved config of a run folder."""
    return RunFolder(Path(run)).read_config()
