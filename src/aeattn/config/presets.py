"""Named models with the training that goes with them, as data.

A preset is laid over the defaults of `ModelConfig`, `TrainingConfig` and, where it says how text becomes tokens,
`DataConfig`; what it does not name stays as there. `SETTINGS_PRESET` is those defaults, and what the arms of a
comparison, and files that describe a model, are laid over where they name no preset; `DEFAULT_PRESET` is what is
trained where none is named.
Parameter counts are for a vocabulary of 49 characters, or the preset's own.
"""

from __future__ import annotations

from aeattn.config.convert import check_choice
from aeattn.files import Json

_STANDARD: dict[str, Json] = {
    "model": {"query": "linear", "key": "linear", "value": "linear", "d_ff": 320},
    "training": {},
}
PRESETS: dict[str, dict[str, Json]] = {
    # 458 thousand parameters: the defaults of all settings
    "460k": {"model": {}, "training": {}},
    # standard attention, otherwise as 460k: what the decoders save goes back into the feed-forward
    "460k-linear": _STANDARD,
    "460k-standard": _STANDARD,  # the same by its usual name
    # multi-query attention: one head of keys and values, which all heads of queries share
    "460k-mqa": {
        "model": {"query": "linear", "key": "linear", "value": "linear", "n_kv_heads": 1, "d_ff": 416},
        "training": {},
    },
    # multi-head latent attention as DeepSeek-V2 has it: one normalised code of 64 for k and v, rotary apart
    "460k-mla": {
        "model": {
            "query": "linear", "key": "latent", "value": "shared", "bottleneck": 64, "positions": "decoupled",
            "qk_norm": False, "d_ff": 312,
        },
        "training": {},
    },
    # deep codes: the key and the value that all heads share come through a hidden layer with GELU
    "460k-deep": {
        "model": {
            "query": "linear", "key": "deep", "value": "deep", "n_kv_heads": 1, "d_hidden": 128, "d_ff": 288,
        },
        "training": {},
    },
    # deep values: the value alone comes through a hidden layer, the key that all heads share is linear; better
    # than standard attention in the second comparison, with a quarter of its cache
    "460k-deep-v": {
        "model": {"query": "linear", "key": "linear", "value": "deep", "n_kv_heads": 1, "d_ff": 352},
        "training": {},
    },
    # the lowest losses known at this size: deep codes, gates, a second short convolution, a longer context
    "460k-best": {
        "model": {
            "query": "linear", "key": "deep", "value": "deep", "n_kv_heads": 1, "d_hidden": 128, "gate": True,
            "conv_ff": 4, "context": 512, "d_ff": 284,
        },
        "training": {"batch": 8},
    },
    # The published architecture as far as it is known: every head has three autoencoders over the full width,
    # their outputs are added. Feed-forward and context were not published: 256 characters, and the
    # feed-forward width that gives the published 460,496 parameters.
    "460k-classic": {
        "model": {
            "n_heads": 3, "d_ff": 215, "middle": True, "per_head": True, "positions": "learned", "norm": "layer",
            "activation": "gelu", "qk_norm": False, "conv": 0, "zero_init": False,
        },
        "training": {
            "optimizer": "adamw", "learning_rate": 3e-3, "schedule": "constant", "weight_decay": 0.01,
            "beta2": 0.999,
        },
    },
    # published sizes, with the architecture of 460k
    "1m": {"model": {"d_model": 192, "n_heads": 6, "bottleneck": 48, "d_ff": 672}, "training": {}},
    "2.6m": {
        "model": {"d_model": 256, "n_layers": 4, "n_heads": 8, "bottleneck": 64, "d_ff": 960},
        "training": {},
    },
    # The published model of subwords, as far as it is known: GPT-2's vocabulary, width 64, 8 layers and heads,
    # 7,255,889 parameters. As for 460k-classic, context, feed-forward and training were not published: 256 tokens,
    # and the width that comes nearest (7,256,256). Nor was whether its head is tied: then it had 4 million.
    "7m-published": {
        "model": {
            "d_model": 64, "n_layers": 8, "n_heads": 8, "bottleneck": 16, "d_ff": 355, "middle": True,
            "per_head": True, "positions": "learned", "norm": "layer", "activation": "gelu", "qk_norm": False,
            "conv": 0, "zero_init": False,
        },
        "training": {
            "optimizer": "adamw", "learning_rate": 3e-3, "schedule": "constant", "weight_decay": 0.01,
            "beta2": 0.999,
        },
        "data": {"tokenizer": "gpt2"},
    },
    # As many parameters, in layers rather than in rare words: a small vocabulary and one matrix for both its ends
    "7m": {
        "model": {
            "d_model": 256, "n_layers": 6, "n_heads": 8, "bottleneck": 64, "d_ff": 1360, "tied": True,
            "dropout": 0.1,
        },
        "training": {"weight_decay": 0.1},
        "data": {"tokenizer": "bpe:8192"},
    },
    # for those who have a GPU
    "10m": {
        "model": {
            "d_model": 384, "n_layers": 6, "n_heads": 12, "bottleneck": 96, "d_ff": 1664, "context": 512,
            "dropout": 0.1,
        },
        "training": {"batch": 32, "weight_decay": 0.1},
    },
}  # fmt: skip
SETTINGS_PRESET = "460k"
DEFAULT_PRESET = "460k-deep-v"
WHAT_FOR = {
    "460k": "autoencoders make queries, keys and values",
    "460k-linear": "standard attention, for comparison",
    "460k-standard": "the same as 460k-linear",
    "460k-mqa": "multi-query attention: one key and one value for all heads",
    "460k-mla": "latent attention as in DeepSeek-V2: one code for keys and values",
    "460k-deep": "one key and one value for all heads, from a deeper encoder",
    "460k-deep-v": "as 460k-mqa, with the value from a deeper encoder",
    "460k-best": "the lowest losses: as 460k-deep, gated, with two short convolutions and twice the context",
    "460k-classic": "the published architecture, as far as it is known",
    "1m": "as 460k, of the second published size",
    "2.6m": "as 460k, of the third published size",
    "7m-published": "the published model of subwords, with GPT-2's vocabulary",
    "7m": "subwords with a vocabulary of its own, learned from the text",
    "10m": "the largest, for a GPU",
}


def preset(name: str) -> dict[str, Json]:
    """The settings of a preset. Raises InputError for a name that is not there."""
    check_choice(name, PRESETS, "preset")
    return PRESETS[name]
