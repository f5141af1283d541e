"""Transformers whose queries, keys and values pass through a bottleneck.

    aeattn.AutoencoderAttention(d_model, n_heads, bottleneck)     a module, (B, T, D) -> (B, T, D)
    aeattn.LanguageModel(aeattn.ModelConfig(vocab_size))          ids (B, T) -> logits (B, T, V)
    aeattn.replace_attention(model, bottleneck)                   puts it into PyTorch's own Transformer layers
    aeattn.train(corpus="tales", minutes=1)                       trains a model of text
    aeattn.load("runs/...")                                       a trained model: generate, loss, logits

Importing this package does nothing; PyTorch is imported when one of these names is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from aeattn.errors import InputError
from aeattn.version import VERSION as __version__

if TYPE_CHECKING:
    from aeattn.api.attention_maps import AttentionMaps
    from aeattn.api.load import load
    from aeattn.api.text_model import TextModel
    from aeattn.api.train import train
    from aeattn.compare.executors import Executor, register_executor
    from aeattn.config.model import ModelConfig
    from aeattn.data.tokenizer import Tokenizer, register_tokenizer
    from aeattn.nn.module import AutoencoderAttention
    from aeattn.nn.projection import register_projection
    from aeattn.nn.replace import replace_attention
    from aeattn.nn.size import size
    from aeattn.nn.transformer import LanguageModel
    from aeattn.training.hooks import Hook, register_hook
    from aeattn.training.tracker import Tracker, register_tracker

_HOMES = {
    "AttentionMaps": "aeattn.api.attention_maps",
    "AutoencoderAttention": "aeattn.nn.module",
    "Executor": "aeattn.compare.executors",
    "Hook": "aeattn.training.hooks",
    "LanguageModel": "aeattn.nn.transformer",
    "ModelConfig": "aeattn.config.model",
    "TextModel": "aeattn.api.text_model",
    "Tokenizer": "aeattn.data.tokenizer",
    "Tracker": "aeattn.training.tracker",
    "load": "aeattn.api.load",
    "register_executor": "aeattn.compare.executors",
    "register_hook": "aeattn.training.hooks",
    "register_projection": "aeattn.nn.projection",
    "register_tokenizer": "aeattn.data.tokenizer",
    "register_tracker": "aeattn.training.tracker",
    "replace_attention": "aeattn.nn.replace",
    "size": "aeattn.nn.size",
    "train": "aeattn.api.train",
}

__all__ = [
    "AttentionMaps",
    "AutoencoderAttention",
    "Executor",
    "Hook",
    "InputError",
    "LanguageModel",
    "ModelConfig",
    "TextModel",
    "Tokenizer",
    "Tracker",
    "__version__",
    "load",
    "register_executor",
    "register_hook",
    "register_projection",
    "register_tokenizer",
    "register_tracker",
    "replace_attention",
    "size",
    "train",
]


if not TYPE_CHECKING:  # which would take any name for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'aeattn' has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
