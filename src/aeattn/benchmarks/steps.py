"""Training steps to time against each other: ours through the real trainer, and those of peers.

All train a character model of about as many parameters on windows of random ids, forward, backward, clipping and
optimizer included, each in the precision and with the optimizer that it has by itself on a CPU.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.benchmarks.timing import Work
from aeattn.config.model import ModelConfig
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.data.store import Prepared, StoredDocument, TokenStore
from aeattn.data.tokenizer import CharTokenizer
from aeattn.errors import InputError
from aeattn.runs.folder import RunFolder
from aeattn.terminal.progress import PlainReporter
from aeattn.training.trainer import Trainer

VOCABULARY = "".join(map(chr, range(32, 97)))  # 65 characters, as many as tiny Shakespeare has
N_LAYERS, N_HEADS = 3, 4
Loss = Callable[[Any, Tensor, Tensor], Tensor]  # of a model, inputs and targets, both (B, T)
TEXT_CHARS = 1 << 20


@dataclass(frozen=True)
class Shape:
    """What a step is given: `batch` windows of `context` characters."""

    batch: int
    context: int

    @property
    def chars(self) -> int:
        return self.batch * self.context


@dataclass(frozen=True)
class Contender:
    """A way to train, ready to be timed: `work` does one step and returns its characters."""

    work: Work
    parameters: int


Make = Callable[[int, Shape], tuple[nn.Module, Loss]]  # a peer's model of a width, and its loss


def own_step(shape: Shape, model: dict[str, Any], folder: Path, compile_: bool = True) -> Contender:
    """A step of `Trainer`, with the settings of a preset's model; `folder` must not exist."""
    settings = TrainingConfig(
        steps=1_000_000, batch=shape.batch, compile="on" if compile_ else "off", checkpoint_every=0
    )
    config = ModelConfig(**{**model, "vocab_size": len(VOCABULARY), "context": shape.context})
    run = RunFolder(folder)
    run_config = RunConfig(config, settings, DataConfig())
    text = _random_text()
    run.create(run_config, text.tokenizer, {})
    trainer = Trainer(run, run_config, text, PlainReporter(Console(quiet=True)))
    trainer.prepare()

    def work() -> float:
        trainer.update()
        return shape.chars

    return Contender(work, _count(trainer.model))


def _random_text() -> Prepared:
    ids = np.random.default_rng(0).integers(0, len(VOCABULARY), TEXT_CHARS, dtype=np.uint8)
    tokenizer = CharTokenizer(VOCABULARY)
    whole = (StoredDocument("random", 0, len(ids), len(ids), len(ids)),)
    store = TokenStore(ids, whole, unknown=Counter(), dropped=Counter(), sha256="")
    return Prepared(tokenizer, store, store, [])


def peer_step(
    make: Make,
    shape: Shape,
    parameters: int,
    compile_: bool,
) -> Contender:
    """One step of a peer in float32: AdamW (fused), gradient clipping at 1, as its own trainer has them."""
    torch.manual_seed(0)
    model, loss_of = make(nearest_width(lambda width: _count(make(width, shape)[0]), parameters), shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    forward = torch.compile(model) if compile_ else model
    ids = torch.randint(len(VOCABULARY), (shape.batch, shape.context + 1))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def work() -> float:
        loss = loss_of(forward, inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        return shape.chars

    return Contender(work, _count(model))


def nearest_width(count: Callable[[int], int], parameters: int) -> int:
    """The model width, a multiple of the heads, whose parameters come nearest to those asked for."""
    widths = range(8 * N_HEADS, 64 * N_HEADS, N_HEADS)
    low = next((w for w in widths if count(w) >= parameters), widths[-1])
    return min((low - N_HEADS, low), key=lambda w: abs(count(w) - parameters))


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def hugging_face(width: int, shape: Shape) -> tuple[nn.Module, Loss]:
    """GPT-2 of Hugging Face's transformers. Raises InputError where that is not installed."""
    transformers = _need("transformers")
    config = transformers.GPT2Config(
        vocab_size=len(VOCABULARY), n_positions=shape.context, n_embd=width, n_layer=N_LAYERS, n_head=N_HEADS,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config), lambda model, x, y: _cross_entropy(model(x).logits, y)


def x_transformers(width: int, shape: Shape) -> tuple[nn.Module, Loss]:
    """A decoder of x-transformers, its fused attention on. Raises InputError where that is not installed."""
    package = _need("x_transformers")
    layers = package.Decoder(
        dim=width, depth=N_LAYERS, heads=N_HEADS, attn_dim_head=width // N_HEADS, attn_flash=True
    )
    model = package.TransformerWrapper(num_tokens=len(VOCABULARY), max_seq_len=shape.context, attn_layers=layers)
    return model, lambda model, x, y: _cross_entropy(model(x), y)


def nano_gpt(folder: Path) -> Make:
    """nanoGPT's model from a checkout of it, which no package index has. Raises InputError."""
    path = folder / "model.py"
    if not path.is_file():
        raise InputError(f"{path} is not there: give --nanogpt a checkout of nanoGPT")
    spec = importlib.util.spec_from_file_location("nanogpt_model", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be imported: give --nanogpt a checkout of nanoGPT")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up there
    spec.loader.exec_module(module)

    def make(width: int, shape: Shape) -> tuple[nn.Module, Loss]:
        config = module.GPTConfig(
            block_size=shape.context, vocab_size=len(VOCABULARY), n_layer=N_LAYERS, n_head=N_HEADS, n_embd=width,
            dropout=0.0, bias=False,
        )  # fmt: skip
        with redirect_stdout(io.StringIO()):  # it says how many parameters it has, where only results belong
            model = module.GPT(config)
        return model, lambda model, x, y: model(x, y)[1]

    return make


def _need(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"{package} is not installed: pip install 'autoencoder-attention[bench]'") from error


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
