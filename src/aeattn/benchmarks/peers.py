"""Models of others to measure against: Hugging Face's GPT-2, x-transformers, and nanoGPT from a checkout.

Each is as deep and has as many heads as our model, and is as wide as makes it have as many parameters.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.benchmarks.timing import Say, Work
from aeattn.config.model import ModelConfig
from aeattn.errors import InputError

TEMPERATURE = 0.8
Loss = Callable[[Any, Tensor, Tensor], Tensor]  # of a model, inputs and targets, both (B, T)
Generate = Callable[[Any, Tensor, int], Tensor]  # of a model, a prompt (B, 1) and N, to ids (B, at least N)


@dataclass(frozen=True)
class Contender:
    """Ready to be timed: `work` does one piece of work and returns how many characters it was."""

    work: Work
    parameters: int


@dataclass(frozen=True)
class Peer:
    """Somebody else's language model: `make` builds it for a width and a config of ours."""

    make: Callable[[int, ModelConfig], nn.Module]
    loss: Loss
    generate: Generate

    def sized(self, config: ModelConfig, parameters: int) -> nn.Module:
        """The model whose parameters come nearest to those asked for."""

        def parameters_of(width: int) -> int:
            with torch.device("meta"):
                return count(self.make(width, config))

        torch.manual_seed(0)
        return self.make(nearest_width(parameters_of, parameters, config.n_heads), config)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def nearest_width(parameters_of: Callable[[int], int], parameters: int, n_heads: int) -> int:
    """The model width, a multiple of the heads, whose parameters come nearest to those asked for."""
    low, high = 1, 2
    while parameters_of(n_heads * high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameters_of(n_heads * middle) < parameters else (low, middle)
    return min((n_heads * n for n in (low, high)), key=lambda width: abs(parameters_of(width) - parameters))


def hugging_face() -> Peer:
    """GPT-2 of Hugging Face's transformers. Raises InputError where that is not installed."""
    transformers = _need("transformers")

    def make(width: int, config: ModelConfig) -> Any:
        settings = transformers.GPT2Config(
            vocab_size=config.vocab_size, n_positions=config.context, n_embd=width, n_layer=config.n_layers,
            n_head=config.n_heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        return transformers.GPT2LMHeadModel(settings)

    def generate(model: Any, prompt: Tensor, n: int) -> Any:
        model.generation_config.eos_token_id = None  # nothing ends a text early
        model.generation_config.pad_token_id = 0
        return model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=n, do_sample=True,
            temperature=TEMPERATURE, top_k=0, use_cache=True,
        )  # fmt: skip

    return Peer(make, lambda model, x, y: _cross_entropy(model(x, use_cache=False).logits, y), generate)


def x_transformers() -> Peer:
    """A decoder of x-transformers, its fused attention on. Raises InputError where that is not installed."""
    package = _need("x_transformers")

    def make(width: int, config: ModelConfig) -> Any:
        layers = package.Decoder(
            dim=width, depth=config.n_layers, heads=config.n_heads, attn_dim_head=width // config.n_heads,
            attn_flash=True,
        )  # fmt: skip
        return package.TransformerWrapper(
            num_tokens=config.vocab_size, max_seq_len=config.context, attn_layers=layers
        )

    def generate(model: Any, prompt: Tensor, n: int) -> Any:
        writer = package.AutoregressiveWrapper(model)
        return writer.generate(prompt, n, temperature=TEMPERATURE, cache_kv=True)

    return Peer(make, lambda model, x, y: _cross_entropy(model(x), y), generate)


def nano_gpt(folder: Path | None) -> Peer:
    """nanoGPT from a checkout of it, which no package index has. Raises InputError."""
    if folder is None:
        raise InputError("no package index has it: give --nanogpt a checkout")
    path = folder / "model.py"
    spec = importlib.util.spec_from_file_location("nanogpt_model", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be imported: give --nanogpt a checkout of nanoGPT")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up there
    spec.loader.exec_module(module)

    def make(width: int, config: ModelConfig) -> Any:
        settings = module.GPTConfig(
            block_size=config.context, vocab_size=config.vocab_size, n_layer=config.n_layers,
            n_head=config.n_heads, n_embd=width, dropout=0.0, bias=False,
        )  # fmt: skip
        with redirect_stdout(io.StringIO()):  # it says how many parameters it has, where only results belong
            return module.GPT(settings)

    def generate(model: Any, prompt: Tensor, n: int) -> Any:
        return model.generate(prompt, n, temperature=TEMPERATURE)

    return Peer(make, lambda model, x, y: model(x, y)[1], generate)


def _need(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"{package} is not installed: pip install 'autoencoder-attention[bench]'") from error


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


T = TypeVar("T")


def prepare_peers(
    nanogpt: Path | None, modes: dict[str, T], prepare: Callable[[Peer, T], Contender], say: Say
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Every peer in every mode that works here, tried once; and why the others are left out."""
    makers = {
        "nanoGPT": lambda: nano_gpt(nanogpt),
        "Hugging Face GPT-2": hugging_face,
        "x-transformers": x_transformers,
    }
    contenders: dict[str, Contender] = {}
    skipped: dict[str, str] = {}
    for peer, make in makers.items():
        for mode, value in modes.items():
            name = f"{peer}, {mode}" if mode else peer
            say(f"preparing {name}")
            try:
                contenders[name] = prepare(make(), value)
                contenders[name].work()
            except InputError as error:
                skipped[peer] = str(error)
            except Exception as error:  # a peer's own trouble, such as one that cannot be compiled here
                skipped[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    return {name: c for name, c in contenders.items() if name not in skipped}, skipped
