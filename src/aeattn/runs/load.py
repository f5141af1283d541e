"""From a run folder to what writes text: without PyTorch where the fast engine can be had."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aeattn.config.generation import DEFAULTS, DEVICE, EngineKind
from aeattn.config.model import CacheKind, ModelConfig
from aeattn.config.run import RunConfig
from aeattn.data.tokenizer import Tokenizer
from aeattn.generation.engine import fast_engine, is_latent, pick, why_not_fast
from aeattn.generation.writer import Writer, check_vocabulary
from aeattn.nn.size import not_compiled
from aeattn.runs.folder import RunFolder
from aeattn.runs.weights import Arrays, check_memory, read_weights, tensors

if TYPE_CHECKING:
    from aeattn.nn.transformer import LanguageModel


def read_run(run: str | os.PathLike[str]) -> tuple[RunConfig, Tokenizer, Arrays]:
    """Config, tokenizer and weights, which belong together. Raises InputError for what is no whole run."""
    folder = RunFolder(Path(run))
    config, tokenizer = folder.read_config(), folder.read_tokenizer()
    check_memory(config.model)
    check_vocabulary(config.model, tokenizer)
    return config, tokenizer, read_weights(folder.model, config.model)


def model_on(device: str, config: ModelConfig, weights: Arrays) -> LanguageModel:
    """The model of what `read_run` gave, in evaluation mode. Raises InputError for a device that is not there."""
    from aeattn import hardware

    return model_of(config, weights).to(hardware.pick_device(device))


def load_model(run: RunFolder, config: ModelConfig) -> LanguageModel:
    """The trained model of a run, in evaluation mode, on the CPU. Raises InputError where it cannot be read."""
    return model_of(config, read_weights(run.model, config))


def model_of(config: ModelConfig, weights: Arrays) -> LanguageModel:
    """A model of weights that were checked, in evaluation mode, on the CPU."""
    from aeattn.nn.transformer import LanguageModel
    from aeattn.nn.uninitialised import Uninitialised

    with Uninitialised():
        model = LanguageModel(config)
    model.load_state_dict(tensors(weights), assign=True)
    return model.eval()


def open_writer(
    run: str | os.PathLike[str],
    *,
    device: str = DEVICE,
    engine: EngineKind = DEFAULTS.engine,
    cache: CacheKind = DEFAULTS.cache,
    say: Callable[[str], None] = lambda _: None,
) -> Writer:
    """What writes as the run's model: the device `auto` takes the fast engine where it can be had, else a GPU.
    Raises InputError for what is no whole run, or cannot be had."""
    config, tokenizer, weights = read_run(run)
    is_latent(config.model, cache)  # refused before anything is compiled
    if pick(engine, device in ("cpu", "auto"), config.model) == "fast":
        return Writer(fast_engine(config.model, weights, cache), tokenizer, config.data.text)
    model = model_on(device, config.model, weights)
    if engine == "auto" and next(model.parameters()).device.type == "cpu":
        reason = not_compiled(config.model) or why_not_fast()
        say(f"the simple engine writes, many times slower: {reason}")
    from aeattn.generation.model_writer import model_writer

    return model_writer(model, tokenizer, config.data.text, "simple", cache)
