"""An aeattn model for `transformers`: the same formulae and weights as `aeattn.nn`, in PyTorch alone.

This file, with those that it imports, is what an exported folder holds, and what aeattn itself uses: there is one
implementation. The cache stays latent (`attention_aeattn.py`). The last inputs of the short convolution lie where
`transformers` keeps the states of convolutions, in layers of the type `hybrid`.

Shapes: B batch, T time (q queries, k keys), D width, V vocabulary.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import slice_logits_to_keep
from transformers.utils import can_return_tuple, logging
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .attention_aeattn import AeattnAttention, alibi_slopes
from .caches_aeattn import AeattnQuantizedCache
from .configuration_aeattn import AeattnConfig
from .projections_aeattn import Projection, gelu

logger = logging.get_logger(__name__)
EMPTY = "there is no token to begin with: give one, such as the tokenizer's bos_token"
OFFLOADED = (
    "cache_implementation={!r} keeps a cache in memory for a model on a GPU; this one is in memory itself: "
    "leave it out, or move the model to a GPU"
)
BEYOND = "{} tokens are more than the context of {}: give a shorter prompt, or ask for fewer new tokens"


class ShortConv(nn.Module):
    """A causal depthwise convolution added to its input: x_t + sum_i w_i * x_(t-i), (B, T, D) -> the same."""

    def __init__(self, d_model: int, width: int, state: int) -> None:
        """`state` is its place among the states of convolutions that a layer keeps."""
        super().__init__()
        self.state = state
        self.taps = nn.Parameter(torch.zeros(width, d_model))

    def forward(self, x: Tensor, cache: Cache | None, layer: int) -> Tensor:
        before, time = len(self.taps) - 1, x.shape[1]
        joined = x.mT  # (B, D, T): as states of convolutions are kept
        if cache is not None and before:
            joined = cache.update_conv_state(joined, layer, self.state, conv_kernel_size=before)
        missing = max(0, before + time - joined.shape[-1])  # zeros stand for what was before the first token
        joined = F.pad(joined, (missing, 0))[..., -(before + time) :].mT
        taps = self.taps.to(x.dtype)
        for i in range(len(taps)):
            x = x + taps[i] * joined[:, before - i : before - i + time]
        return x


class FeedForward(nn.Module):
    """activation(x U) W, (B, T, D) -> (B, T, D)."""

    def __init__(self, config: AeattnConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.down.begins_at_zero = True  # type: ignore[assignment]
        self.squared = config.activation == "relu2"

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.up(x)
        out: Tensor = self.down(F.relu(hidden).square() if self.squared else gelu(hidden))
        return out


def make_norm(config: AeattnConfig) -> nn.Module:
    if config.norm == "layer":
        return nn.LayerNorm(config.d_model, bias=False)
    return nn.RMSNorm(config.d_model, eps=1e-6)


class AeattnBlock(GradientCheckpointingLayer):
    """x + attention(norm(x)), then x + feed-forward(norm(x)): (B, T, D) -> (B, T, D)."""

    def __init__(self, config: AeattnConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.attention_norm, self.feed_forward_norm = make_norm(config), make_norm(config)
        self.conv = ShortConv(config.d_model, config.conv, 0) if config.conv else None
        self.attention = AeattnAttention(config, layer)
        place = int(config.conv > 1)
        self.conv_ff = ShortConv(config.d_model, config.conv_ff, place) if config.conv_ff else None
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, ids: Tensor | None, positions: Tensor, mask: Tensor, distances: Tensor, padding: Tensor,
        begins: bool, past_key_values: Cache | None = None,
    ) -> Tensor:  # fmt: skip
        seen = self._convolved(self.conv, self.attention_norm(x), padding, past_key_values)
        attended, _ = self.attention(seen, ids, positions, mask, distances, past_key_values, begins)
        x = x + self.dropout(attended)
        seen = self._convolved(self.conv_ff, self.feed_forward_norm(x), padding, past_key_values)
        out: Tensor = x + self.dropout(self.feed_forward(seen))
        return out

    def _convolved(self, conv: nn.Module | None, x: Tensor, padding: Tensor, cache: Cache | None) -> Tensor:
        if conv is None:
            return x
        out: Tensor = conv(x.masked_fill(padding, 0.0), cache, self.layer)
        return out


class AeattnPreTrainedModel(PreTrainedModel):
    config_class = AeattnConfig
    config: AeattnConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["AeattnBlock"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flex_attn = True
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": AeattnBlock, "attentions": AeattnAttention}  # noqa: RUF012

    def get_input_embeddings(self) -> nn.Module:
        model = self.model if isinstance(self, AeattnForCausalLM) else self
        found: nn.Module = model.embedding
        return found

    def set_input_embeddings(self, value: nn.Module) -> None:
        model = self.model if isinstance(self, AeattnForCausalLM) else self
        model.embedding = value

    def resize_token_embeddings(self, *args: Any, **known: Any) -> nn.Module:
        if self.config.value_embedding:
            raise ValueError(
                "a model with value_embedding has a table of values for its own vocabulary: not resized"
            )
        found: nn.Module = super().resize_token_embeddings(*args, **known)
        return found

    def _init_weights(self, module: nn.Module) -> None:
        """As aeattn begins: with `zero_init`, what writes to the stream or the logits is zero; else PyTorch's."""
        own = self.config.zero_init
        begins_at_zero = getattr(module, "begins_at_zero", False)
        if isinstance(module, nn.Linear) and (begins_at_zero == "always" or (own and begins_at_zero)):
            init.zeros_(module.weight)
        elif isinstance(module, nn.Linear) and own:
            init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
        elif isinstance(module, nn.Linear):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=0.5 if own else 1.0)
        elif isinstance(module, nn.RMSNorm | nn.LayerNorm):
            init.constant_(module.weight, 0.0 if begins_at_zero else 1.0)
        elif isinstance(module, ShortConv):
            init.zeros_(module.taps)
        elif isinstance(module, Projection) and module.kind == "latent":
            init.ones_(module.gain)
        elif isinstance(module, AeattnAttention):
            self._init_attention(module)

    def _init_attention(self, module: AeattnAttention) -> None:
        if module.value_weight is not None:
            init.zeros_(module.value_weight)
        if module.query_gain is not None:
            init.ones_(module.query_gain)
        if self.config.positions == "alibi":
            init.copy_(module.log_slopes, alibi_slopes(module.heads).log())


class AeattnModel(AeattnPreTrainedModel):
    """Token ids (B, T) to hidden states (B, T, D), after the last norm."""

    def __init__(self, config: AeattnConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        learned = config.positions == "learned"
        self.position = nn.Embedding(config.context, config.d_model) if learned else None
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(AeattnBlock(config, layer) for layer in range(config.n_layers))
        self.norm = make_norm(config)
        self.norm.begins_at_zero = config.tied  # type: ignore[assignment]
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None, past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None, use_cache: bool | None = None, **_: Any,
    ) -> BaseModelOutputWithPast:  # fmt: skip
        """`attention_mask` is (B, Tk), zero where there is no token, on one side of a row; or (B, 1, Tq, Tk), of
        booleans or to be added to the scores. Raises ValueError beyond the context."""
        if input_ids is not None:  # padding, and where a text begins, have ids after the vocabulary, and no rows
            size = self.config.vocab_size
            input_ids = input_ids.masked_fill(input_ids == size, 0)
            input_ids = input_ids.masked_fill(input_ids == size + 1, self.config.before_text)
        x = self._embed(input_ids, inputs_embeds)
        if x.shape[1] == 0:
            raise ValueError(EMPTY)
        cache = self._cache(past_key_values, use_cache)
        past = 0 if cache is None else cache.get_seq_length()
        begins = isinstance(past, int) and past == 0
        n_keys = x.shape[1] if cache is None or begins else cache.get_mask_sizes(x.shape[1], 0)[0]
        limit = past + x.shape[1] if isinstance(past, int) else n_keys
        if limit > self.config.context:
            raise ValueError(BEYOND.format(limit, self.config.context))
        places = past + torch.arange(x.shape[1], device=x.device)
        distances = places[:, None] - torch.arange(n_keys, device=x.device)[None, :]
        mask, padding = _masks(attention_mask, distances, places)
        positions = _positions(position_ids, attention_mask, places, len(x))
        x = x if self.position is None else x + self.position(positions)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, input_ids, positions, mask, distances, padding, begins, past_key_values=cache)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(x), past_key_values=cache)

    def _embed(self, ids: Tensor | None, embedded: Tensor | None) -> Tensor:
        if (ids is None) == (embedded is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if embedded is not None:
            if self.config.value_embedding:
                raise ValueError("a model with value_embedding reads the tokens themselves: give input_ids")
            return embedded
        x: Tensor = self.embedding(ids)
        return x

    def _cache(self, cache: Cache | None, use_cache: bool | None) -> Cache | None:
        """The cache to use. Raises ValueError for one that this model cannot use, with the one to make instead."""
        if cache is None:
            checkpointed = self.training and any(block.gradient_checkpointing for block in self.blocks)
            return DynamicCache(config=self.config) if use_cache and not checkpointed else None
        if not isinstance(cache, Cache):
            raise ValueError(f"past_key_values is a {type(cache).__name__}: give a Cache of transformers, or None")
        states = self.config.number_of_conv_states
        if states and not cache.layers and type(cache) is DynamicCache:
            cache.layers = DynamicCache(config=self.config).layers
            cache.layer_class_to_replicate = None
        if states and not all(getattr(layer, "number_of_states", 0) >= states for layer in cache.layers):
            raise ValueError(
                f"a {type(cache).__name__} of such layers has no place for the inputs of the short convolutions "
                f"(conv = {self.config.conv}, conv_ff = {self.config.conv_ff}): use "
                "DynamicCache(config=model.config) or StaticCache(config=model.config, ...)"
            )
        if len(cache.layers) > self.config.n_layers:
            raise ValueError(
                f"the cache has {len(cache.layers)} layers, the model {self.config.n_layers}: make another"
            )
        return cache


class AeattnForCausalLM(AeattnPreTrainedModel, GenerationMixin):
    """Token ids (B, T) to logits (B, T, V), at least in float32; position t sees tokens up to t alone."""

    _tied_weights_keys = {"lm_head.weight": "model.embedding.weight"}  # noqa: RUF012

    def __init__(self, config: AeattnConfig) -> None:
        super().__init__(config)
        self.model = AeattnModel(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.lm_head.begins_at_zero = True  # type: ignore[assignment]
        self.post_init()

    @property
    def kept_numbers(self) -> int:
        """How many numbers a token leaves in a cache, over all layers."""
        return sum(sum(m.kept_numbers) for m in self.modules() if isinstance(m, AeattnAttention))

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, value: Any) -> None:
        self.lm_head = value

    @can_return_tuple
    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None, past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None, labels: Tensor | None = None, use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0, **known: Any,
    ) -> CausalLMOutputWithPast:  # fmt: skip
        found = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, inputs_embeds=inputs_embeds, use_cache=use_cache, **known,
        )  # fmt: skip
        logits = self.lm_head(slice_logits_to_keep(found.last_hidden_state, logits_to_keep))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **known)
        return CausalLMOutputWithPast(loss, logits, found.past_key_values, found.hidden_states, found.attentions)

    @staticmethod
    def create_masks_for_generate(
        attention_mask: Tensor | None, past_key_values: Cache, **_: Any
    ) -> Tensor | None:
        """The mask (B, Tk) as long as a static cache, so that its shape stays the same from step to step."""
        if attention_mask is None:
            return None
        n_keys, _ = past_key_values.get_mask_sizes(1, 0)
        return F.pad(attention_mask, (0, n_keys - attention_mask.shape[1]))

    def _prepare_cache_for_generation(
        self, generation_config: Any, model_kwargs: dict[str, Any], *args: Any, **known: Any
    ) -> None:
        """`cache_implementation="quantized"` means a cache that has a place for all that is kept."""
        kind = generation_config.cache_implementation
        if kind and kind.startswith("offloaded") and self.device.type == "cpu":
            raise ValueError(OFFLOADED.format(kind))
        if kind != "quantized" or model_kwargs.get("past_key_values") is not None:
            super()._prepare_cache_for_generation(generation_config, model_kwargs, *args, **known)
            return
        options = {**(generation_config.cache_config or {}), "config": self.config}
        model_kwargs["past_key_values"] = AeattnQuantizedCache(**options)

    def _prepare_generated_length(self, generation_config: Any, *args: Any, **known: Any) -> Any:
        """What is generated ends with the context. Raises ValueError for a prompt beyond it."""
        if known.get("input_ids_length", 0) > self.config.context:
            raise ValueError(BEYOND.format(known["input_ids_length"], self.config.context))
        found = super()._prepare_generated_length(generation_config, *args, **known)
        if found.max_length > self.config.context:
            logger.warning_once(f"generation ends with the context of {self.config.context} tokens")
            found.max_length = self.config.context
        return found


def _masks(given: Tensor | None, distances: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """What is added to the scores, (B or 1, 1, Tq, Tk), and which tokens are padding, (B or 1, T, 1).

    Every token sees itself: so padding, which is seen by no other, has something to see.
    """
    n_keys = distances.shape[1]
    hidden, more = (distances < 0)[None, None], None
    if given is not None and given.dim() == 4:
        given = given[..., :n_keys]
        absent = ~given if given.dtype == torch.bool else given <= torch.finfo(given.dtype).min / 2
        more = None if given.dtype == torch.bool else given.masked_fill(absent, 0.0).float()
        hidden = hidden | absent
        padding = absent[:, 0].gather(2, places[None, :, None].expand(len(absent), -1, 1))
    elif given is not None:
        if given.dim() != 2:
            raise ValueError(f"attention_mask has shape {tuple(given.shape)}: (batch, keys) is expected")
        absent = F.pad(given[:, :n_keys], (0, max(0, n_keys - given.shape[1]))) == 0
        hidden = hidden | absent[:, None, None, :]
        padding = absent.index_select(1, places)[:, :, None]
    else:
        padding = torch.zeros((1, len(places), 1), dtype=torch.bool, device=places.device)
    mask = torch.zeros(hidden.shape, device=hidden.device).masked_fill(hidden & (distances != 0), float("-inf"))
    return mask if more is None else mask + more, padding


def _positions(given: Tensor | None, mask: Tensor | None, places: Tensor, batch: int) -> Tensor:
    """Where each token stands among those of its row, (B, T): padding is not counted."""
    if given is not None:
        return given.clamp(min=0).expand(batch, -1)
    if mask is not None and mask.dim() == 2:
        return ((mask != 0).cumsum(dim=1) - 1).clamp(min=0).index_select(1, places)
    return places.expand(batch, -1)
