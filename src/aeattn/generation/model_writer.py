"""What writes as a model that PyTorch holds."""

from __future__ import annotations

import torch

from aeattn.config.generation import DEFAULTS, EngineKind
from aeattn.config.model import CacheKind
from aeattn.config.text import TextOptions
from aeattn.data.tokenizer import Tokenizer
from aeattn.generation.engine import fast_engine, pick
from aeattn.generation.torch_engine import SimpleEngine
from aeattn.generation.writer import Writer
from aeattn.nn.transformer import LanguageModel


def model_writer(
    model: LanguageModel,
    tokenizer: Tokenizer,
    options: TextOptions,
    engine: EngineKind = DEFAULTS.engine,
    cache: CacheKind = DEFAULTS.cache,
    *,
    anywhere: bool = False,
) -> Writer:
    """What writes with the weights as they are now. `anywhere`: the compiled engine may take a copy of weights
    that are on another device than the CPU. Raises InputError for an engine or a cache that cannot be had."""
    weight = next(model.parameters())
    on_cpu = (anywhere or weight.device.type == "cpu") and weight.dtype == torch.float32
    if pick(engine, on_cpu, model.config) == "simple":
        return Writer(SimpleEngine(model, cache), tokenizer, options)
    weights = {name: t.detach().cpu().numpy() for name, t in model.state_dict().items()}
    return Writer(fast_engine(model.config, weights, cache), tokenizer, options)
