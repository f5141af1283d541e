"""The config of an aeattn model for `transformers`: what `ModelConfig` holds, under the same names.

This file travels with every exported folder, beside `modeling_aeattn.py`, and needs nothing of aeattn.
"""

from dataclasses import fields
from typing import Any

from transformers import PreTrainedConfig

NARROW = ("bottleneck", "autoencoder", "deep-autoencoder", "latent", "shared")  # a narrow code and a decoder
KINDS = ("linear", "gelu", "deep", "deep-linear", "residual", *NARROW)
DEEP = ("deep", "deep-linear", "deep-autoencoder")
CHOICES = {
    "positions": ("none", "learned", "alibi", "rotary", "decoupled"),
    "norm": ("layer", "rms"),
    "activation": ("gelu", "relu2"),
}
WIDTHS = ("vocab_size", "context", "d_model", "n_layers", "n_heads", "d_ff", "bottleneck", "d_rotary")
MAYBE = ("n_kv_heads", "head_width", "query_bottleneck", "d_hidden")


class AeattnConfig(PreTrainedConfig):
    """`query`, `key` and `value` name a kind of projection for all layers, or a list of one a layer. `before_text`
    is the token that a text is taken to follow: what stands for the second id after the vocabulary.

    Raises ValueError, with a mend, for values that cannot be.
    """

    model_type = "aeattn"
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012
    attribute_map = {  # noqa: RUF012
        "hidden_size": "d_model",
        "intermediate_size": "d_ff",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "max_position_embeddings": "context",
        "tie_word_embeddings": "tied",
    }

    vocab_size: int = 1
    context: int = 256
    d_model: int = 128
    n_layers: int = 3
    n_heads: int = 4
    d_ff: int = 416
    query: Any = "autoencoder"
    key: Any = "autoencoder"
    value: Any = "autoencoder"
    bottleneck: int = 32
    middle: bool = False
    per_head: bool = False
    positions: str = "alibi"
    d_rotary: int = 16
    norm: str = "rms"
    activation: str = "relu2"
    qk_norm: bool = True
    conv: int = 4
    tied: bool = False
    zero_init: bool = True
    dropout: float = 0.0
    n_kv_heads: int | None = None
    head_width: int | None = None
    query_bottleneck: int | None = None
    d_hidden: int | None = None
    gate: bool = False
    value_embedding: bool = False
    conv_ff: int = 0
    before_text: int = 0
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: Any = None

    def __post_init__(self, **kwargs: Any) -> None:
        self._check()
        super().__post_init__(**kwargs)

    def _check(self) -> None:
        for name in WIDTHS:
            _require(_whole(getattr(self, name)), name, getattr(self, name), "a whole number of at least 1")
        for name in MAYBE:
            value = getattr(self, name)
            _require(value is None or _whole(value), name, value, "a whole number of at least 1, or null")
        for name, choices in CHOICES.items():
            _require(getattr(self, name) in choices, name, getattr(self, name), f"one of {', '.join(choices)}")
        _require(self.before_text in range(self.vocab_size), "before_text", self.before_text, "a token's id")
        for name in ("conv", "conv_ff"):
            value = getattr(self, name)
            _require(value == 0 or _whole(value), name, value, "a whole number of at least 0")
        fits = self.per_head or self.head_width or self.d_model % self.n_heads == 0
        _require(fits, "n_heads", self.n_heads, f"a divisor of d_model, {self.d_model}")
        groups = self.n_kv_heads or self.n_heads
        _require(self.n_heads % groups == 0, "n_kv_heads", groups, f"a divisor of n_heads, {self.n_heads}")
        for layer in range(self.n_layers):
            self._check_kinds(layer)

    def _check_kinds(self, layer: int) -> None:
        for role in ("query", "key", "value"):
            named = getattr(self, role)
            fits = isinstance(named, str) or (isinstance(named, list | tuple) and len(named) == self.n_layers)
            _require(fits, role, named, f"one kind of projection, or {self.n_layers}, one a layer")
            kind = self.kind(role, layer)
            known = KINDS if role == "value" else tuple(kind for kind in KINDS if kind != "shared")
            _require(kind in known, role, kind, f"one of {', '.join(known)}")
        if self.kind("value", layer) == "shared" and self.kind("key", layer) not in NARROW:
            raise ValueError(f"value is shared in layer {layer}, whose key has no code: choose another key")

    def kind(self, role: str, layer: int) -> str:
        """The kind of projection that makes queries, keys or values in a layer."""
        named = getattr(self, role)
        return named if isinstance(named, str) else str(named[layer])

    def groups(self, role: str) -> int:
        """How many heads of queries, keys or values there are."""
        return self.n_heads if role == "query" else self.n_kv_heads or self.n_heads

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.d_model if self.per_head else self.head_width or self.d_model // self.n_heads

    @property
    def layer_types(self) -> list[str]:
        """What a cache of `transformers` is made of: a convolution has a state beside keys and values."""
        return ["hybrid" if self.number_of_conv_states else "full_attention"] * self.n_layers

    @property
    def number_of_conv_states(self) -> int:
        """How many convolutions of a layer have last inputs to be kept."""
        return (self.conv > 1) + (self.conv_ff > 1)

    def to_diff_dict(self) -> dict[str, Any]:
        """All that makes the model stands in config.json, also what is as usual today."""
        own = {each.name for each in fields(AeattnConfig)} - {each.name for each in fields(PreTrainedConfig)}
        return {**super().to_diff_dict(), **{name: getattr(self, name) for name in sorted(own)}}


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _require(condition: Any, name: str, value: Any, wanted: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value!r} in the config of the model: choose {wanted}")
