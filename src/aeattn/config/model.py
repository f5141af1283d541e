"""What determines a model, as data: settings can be checked without loading PyTorch.

positions   how attention learns where a character stands: `positions.py`
query, key, value   what each is made by: `projection.py`
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from aeattn.config.fields import require, require_types, setting, to_dict
from aeattn.config.projections import ROLES, Kind, Role, find, kinds_of
from aeattn.config.shown import Shown
from aeattn.files import Json

PositionKind = Literal["none", "learned", "alibi", "rotary", "decoupled"]
POSITION_KINDS: tuple[PositionKind, ...] = get_args(PositionKind)
NormKind = Literal["layer", "rms"]
ActivationKind = Literal["gelu", "relu2"]
CacheKind = Literal["auto", "latent", "full"]
Placement = str | tuple[str, ...]  # a kind of projection for all layers, or one a layer
MOST_LAYERS = 10_000  # a layer is some dozen objects, however narrow it is


def _kinds(role: Role, of: str) -> str:
    kinds = (f"{kind.name} ({kind.help})" if kind.shares_code else kind.name for kind in kinds_of(role))
    return f"what makes {of}: {', '.join(kinds)} or one of your own; or one a layer: a,b,c"


@dataclass(frozen=True, repr=False)
class ModelConfig(Shown):
    """Everything that determines a model. Widths are numbers of features, `context` of tokens.

    `query`, `key` and `value` each name a projection, for all layers or one a layer; a `value` that is `shared`
    decodes the keys' codes.

    Raises:
        ValueError: Values that cannot be, with a mend.

    Stable: the fields, which docs/reference.md lists.
    """

    vocab_size: int = setting(0, "tokens of the vocabulary: comes from the tokenizer; 0 until a text is known")
    context: int = setting(256, "characters that the model sees", metavar="N", flag=True)
    d_model: int = setting(128, "width of the model", metavar="N", flag=True)
    n_layers: int = setting(3, "number of layers", metavar="N", flag=True)
    n_heads: int = setting(4, "number of heads", metavar="N", flag=True)
    d_ff: int = setting(416, "width of the feed-forward", metavar="N", flag=True)
    query: Placement = setting("autoencoder", _kinds("query", "queries"), metavar="KIND", flag=True)
    key: Placement = setting("autoencoder", _kinds("key", "keys"), metavar="KIND", flag=True)
    value: Placement = setting("autoencoder", _kinds("value", "values"), metavar="KIND", flag=True)
    bottleneck: int = setting(32, "width of the code between encoder and decoder", metavar="N", flag=True)
    middle: bool = setting(False, "a hidden layer between encoder and bottleneck")
    per_head: bool = setting(False, "projections of its own for every head", flag=True)
    positions: PositionKind = setting(
        "alibi", "how attention learns where a character stands: alibi, decoupled, rotary, learned or none",
        metavar="KIND", flag=True,
    )  # fmt: skip
    d_rotary: int = setting(16, "width of the rotary part of each head under decoupled positions")
    norm: NormKind = setting("rms", "normalisation before attention and feed-forward: rms or layer")
    activation: ActivationKind = setting("relu2", "activation of the feed-forward: relu2 or gelu")
    qk_norm: bool = setting(True, "normalise queries and keys")
    conv: int = setting(4, "taps of a short causal convolution before attention; 0 for none")
    tied: bool = setting(False, "one matrix for the embedding and the output")
    zero_init: bool = setting(True, "what a block adds to the stream begins at zero")
    dropout: float = setting(0.0, "fraction of features dropped in training", metavar="X", flag=True)
    n_kv_heads: int | None = setting(
        None, "heads of keys and values, shared by those of queries", metavar="N", flag=True, saved=False
    )
    head_width: int | None = setting(
        None,
        "width of a head, where it is not that of the model by their number",
        metavar="N",
        flag=True,
        saved=False,
    )
    query_bottleneck: int | None = setting(
        None, "width of the bottleneck of queries, where it is another", metavar="N", flag=True, saved=False
    )
    d_hidden: int | None = setting(
        None, "width of the hidden layers of deep kinds, that of the model if not given", metavar="N", flag=True,
        saved=False,
    )  # fmt: skip
    gate: bool = setting(
        False, "a gate for each head, from the character: what the head has mixed, times sigmoid(x W)", flag=True,
        saved=False,
    )  # fmt: skip
    value_embedding: bool = setting(
        False, "add to values what a table has for the character itself, times a learned number", flag=True,
        saved=False,
    )  # fmt: skip

    conv_ff: int = setting(0, "taps of another before the feed-forward; 0 for none", saved=False)

    def __post_init__(self) -> None:
        for name in ("query", "key", "value"):
            object.__setattr__(self, name, _placement(getattr(self, name), self.n_layers))
        self._check_sizes()
        self._check_choices()

    def _check_sizes(self) -> None:
        for name in ("context", "d_model", "n_layers", "n_heads", "d_ff", "bottleneck", "d_rotary"):
            number = getattr(self, name)
            require(_is_width(number), name, number, "a whole number of at least 1, below 2^53")
        for name in ("head_width", "query_bottleneck", "d_hidden"):
            number = getattr(self, name)
            wanted = "a whole number of at least 1, below 2^53, or leave it out"
            require(number is None or _is_width(number), name, number, wanted)
        size = self.vocab_size
        require(isinstance(size, int) and size >= 0, "vocab_size", size, "a whole number of at least 1")
        if self.n_layers > MOST_LAYERS:
            raise ValueError(f"n_layers is {self.n_layers:,}: choose at most {MOST_LAYERS:,}")
        for name in ("conv", "conv_ff"):
            taps = getattr(self, name)
            fits = isinstance(taps, int) and 0 <= taps <= self.context
            require(fits, name, taps, "a width from 0 (none) to the context")
        self._check_head_width()
        self._check_kv_heads()
        for name in ("bottleneck", "query_bottleneck"):
            if (getattr(self, name) or 0) > self.d_model:
                width = getattr(self, name)
                raise ValueError(f"{name} is {width}, wider than the width {self.d_model}: choose at most that")
        rotated = self.d_rotary if self.positions == "decoupled" else self.d_head
        if self.positions in ("rotary", "decoupled") and rotated % 2:
            raise ValueError(f"rotary positions turn pairs of features, {rotated} is odd: choose an even width")

    def _check_head_width(self) -> None:
        if self.per_head and self.head_width is not None:
            raise ValueError(
                f"head_width is {self.head_width}, but heads with projections of their own are as wide as the "
                "model: leave out head_width or per_head"
            )
        if not self.per_head and self.head_width is None and self.d_model % self.n_heads:
            raise ValueError(
                f"{self.n_heads} heads do not divide the width {self.d_model}: choose "
                f"{_nearest_divisor(self.d_model, self.n_heads)} heads, another width, or a head_width"
            )

    def _check_kv_heads(self) -> None:
        number = self.n_kv_heads
        if number is None:
            return
        if not isinstance(number, int) or isinstance(number, bool) or number < 1 or self.n_heads % number:
            raise ValueError(
                f"n_kv_heads is {number!r}: choose a divisor of the {self.n_heads} heads of queries, such as "
                f"{_nearest_divisor(self.n_heads, number if isinstance(number, int) else 1)}"
            )

    def _check_choices(self) -> None:
        require_types(self)
        for role in ROLES:
            self._check_placement(role)
        same_everywhere = isinstance(self.value, str) and isinstance(self.key, str)
        for layer in range(1 if same_everywhere else self.n_layers):
            key, value = self.projection("key", layer), self.projection("value", layer)
            if value.shares_code and not key.has_narrow_code:
                raise ValueError(
                    f"value is {value.name} in layer {layer}, where the key is {key.name} and has no code: choose "
                    "a key with a decoder, such as bottleneck, autoencoder or latent"
                )
        require(0.0 <= self.dropout < 1.0, "dropout", self.dropout, "a number from 0 to below 1")

    def _check_placement(self, role: Role) -> None:
        placement: Placement = getattr(self, role)
        for name in (placement,) if isinstance(placement, str) else placement:
            find(name, role)
        if not isinstance(placement, str) and len(placement) != self.n_layers:
            raise ValueError(
                f"{role} names {len(placement)} projections for {self.n_layers} layers: name one, or one a layer"
            )

    @property
    def d_head(self) -> int:
        """Width of one head: the full width where every head has projections of its own."""
        if self.per_head:
            return self.d_model
        return self.head_width or self.d_model // self.n_heads

    def kind(self, role: Role, layer: int) -> str:
        """The name of what makes queries, keys or values in a layer.

        Args:
            role: `query`, `key` or `value`.
            layer: Counted from 0.
        """
        placement: Placement = getattr(self, role)
        return placement if isinstance(placement, str) else placement[layer]

    def projection(self, role: Role, layer: int) -> Kind:
        """What makes queries, keys or values in a layer.

        Args:
            role: `query`, `key` or `value`.
            layer: Counted from 0.
        """
        return find(self.kind(role, layer), role)

    def heads(self, role: Role) -> int:
        """How many heads of queries, keys or values there are."""
        return self.n_heads if role == "query" else self.n_kv_heads or self.n_heads

    def to_dict(self) -> Json:
        """A dictionary for JSON; `ModelConfig(**d)` is its inverse."""
        return to_dict(self)


def _is_width(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 1 <= number < 2**53


def _placement(value: Any, n_layers: int) -> Any:
    """One kind for all layers, or a tuple of one a layer; equal kinds for all layers become one."""
    if isinstance(value, str) and "," in value:
        value = tuple(value.split(","))
    if isinstance(value, list | tuple):
        return value[0] if len(value) == n_layers and len(set(value)) == 1 else tuple(value)
    return value


def _nearest_divisor(width: int, wanted: int) -> int:
    divisors = [n for n in range(1, min(width, 1 << 16) + 1) if width % n == 0]
    return min(divisors, key=lambda n: abs(n - wanted))
