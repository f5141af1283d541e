"""aeattn's models in `transformers` (docs/huggingface.md): what the Auto classes know after `register()`.

from aeattn.integrations import hf
hf.register()
model = AutoModelForCausalLM.from_pretrained("folder")      # without trust_remote_code
model, tokenizer = hf.from_run("runs/mine")                 # no folder in between
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aeattn.config.model import ModelConfig
from aeattn.config.projections import ROLES
from aeattn.data.batches import before_text
from aeattn.data.tokenizer import Tokenizer
from aeattn.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from aeattn.integrations.configuration_aeattn import AeattnConfig
    from aeattn.integrations.modeling_aeattn import AeattnForCausalLM

HEAD, PREFIX = "lm_head.weight", "model."
MISSING = "transformers 5.23 or later is needed (%s): pip install 'autoencoder-attention[hf]'"
LEAST = (5, 23)


def library() -> Any:
    """The module `transformers`. Raises InputError where it, or a version that will do, is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise InputError(MISSING % error) from None
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if version < LEAST:
        raise InputError(MISSING % f"{transformers.__version__} is installed")
    with _without_torchao():
        transformers.modeling_utils  # noqa: B018 (which transformers imports when it is first named)
    return transformers


@contextmanager
def _without_torchao() -> Iterator[None]:
    """Not a word of torchao, which transformers imports where it is there, on GPU libraries that do not load."""
    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def register() -> None:
    """Let the Auto classes know `aeattn`, and have folders that are saved carry its code."""
    transformers = library()
    from aeattn.integrations.configuration_aeattn import AeattnConfig
    from aeattn.integrations.modeling_aeattn import AeattnForCausalLM, AeattnModel

    transformers.AutoConfig.register(AeattnConfig.model_type, AeattnConfig, exist_ok=True)
    transformers.AutoModel.register(AeattnConfig, AeattnModel, exist_ok=True)
    transformers.AutoModelForCausalLM.register(AeattnConfig, AeattnForCausalLM, exist_ok=True)
    AeattnConfig.register_for_auto_class()
    AeattnModel.register_for_auto_class("AutoModel")
    AeattnForCausalLM.register_for_auto_class("AutoModelForCausalLM")


def to_hf_config(config: ModelConfig, before_text: int = 0) -> AeattnConfig:
    """The same for `transformers`; `before_text` is the token that a text is taken to follow. Raises InputError
    for a kind of projection from a plug-in."""
    library()
    from aeattn.integrations.configuration_aeattn import KINDS, AeattnConfig

    used = {config.kind(role, layer) for role in ROLES for layer in range(config.n_layers)}
    if foreign := sorted(used - set(KINDS)):
        raise InputError(
            f"projections of the kind {', '.join(foreign)} come from a plug-in, whose code would not travel with "
            "the folder: only aeattn's own kinds can be exported"
        )
    values = {name: list(v) if isinstance(v, tuple) else v for name, v in config.to_dict().items()}
    return AeattnConfig(**values, before_text=before_text, architectures=["AeattnForCausalLM"])


def from_hf_config(config: AeattnConfig) -> ModelConfig:
    """Inverse of `to_hf_config`. Raises ValueError for values that cannot be."""
    names = ModelConfig.__dataclass_fields__
    return ModelConfig(**{name: getattr(config, name) for name in names})


def to_hf_name(name: str) -> str:
    """What a weight of ours is called there."""
    return HEAD if name == "head.weight" else PREFIX + name


def from_hf_name(name: str) -> str:
    """Inverse of `to_hf_name`."""
    return "head.weight" if name == HEAD else name.removeprefix(PREFIX)


def to_hf_model(
    config: ModelConfig, weights: Mapping[str, Tensor], tokenizer: Tokenizer | None = None
) -> AeattnForCausalLM:
    """A model of weights by our names, in evaluation mode."""
    found = to_hf_config(config, 0 if tokenizer is None else before_text(tokenizer))
    from aeattn.integrations.modeling_aeattn import AeattnForCausalLM

    model = AeattnForCausalLM(found)
    named = {to_hf_name(name): tensor for name, tensor in weights.items()}
    if config.tied:
        named[HEAD] = named["model.embedding.weight"]
    model.load_state_dict(named)
    ids = {"pad_token_id": config.vocab_size, "bos_token_id": config.vocab_size + 1}
    model.generation_config = library().GenerationConfig(**ids)
    evaluated: AeattnForCausalLM = model.eval()
    return evaluated


def from_run(run: str | os.PathLike[str]) -> tuple[AeattnForCausalLM, Any]:
    """Model and tokenizer of a run folder, for `transformers`. Raises InputError for what is no whole run."""
    from aeattn.integrations.hf_tokenizer import to_hf_tokenizer
    from aeattn.runs.load import read_run
    from aeattn.runs.weights import tensors

    register()
    config, tokenizer, weights = read_run(run)
    return to_hf_model(config.model, tensors(weights), tokenizer), to_hf_tokenizer(tokenizer, config.model.context)
