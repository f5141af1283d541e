"""How fast training is, against peers and against what the machine can do: `aeattn bench train`.

All train a character model of about as many parameters on windows of random ids, forward, backward, clipping and
optimizer included, each in the precision and with the optimizer that it has by itself on a CPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from aeattn import hardware
from aeattn.benchmarks.ceilings import ceilings
from aeattn.benchmarks.encoding import encoding
from aeattn.benchmarks.parts import parts
from aeattn.benchmarks.peers import Contender, Peer, count, prepare_peers
from aeattn.benchmarks.results import Ceilings, Rates, Speed, Timed, TrainingBench
from aeattn.benchmarks.timing import Say, alternate
from aeattn.config.model import ModelConfig
from aeattn.config.presets import DEFAULT_PRESET, preset
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.data.store import Prepared, TokenStore
from aeattn.data.stored import StoredDocument
from aeattn.data.tokenizer import CharTokenizer
from aeattn.errors import InputError
from aeattn.nn.size import parameters, size, solve_width
from aeattn.training import compiling
from aeattn.training.trainer import Trainer

OURS, STANDARD = "aeattn, autoencoder", "aeattn, standard"
MODES = {"eager": False, "compiled": True}
VOCABULARY = "".join(map(chr, range(32, 97)))  # 65 characters, as many as tiny Shakespeare has
TEXT_CHARS = 1 << 20


@dataclass(frozen=True)
class Shape:
    """What a step is given: `batch` windows of `context` characters."""

    batch: int
    context: int

    @property
    def chars(self) -> int:
        return self.batch * self.context


def bench_train(
    contexts: Sequence[int] = (128, 256),
    *,
    batch: int = 64,
    rounds: int = 7,
    preset: str = DEFAULT_PRESET,
    nanogpt: Path | None = None,
    peers: bool = True,
    say: Say = lambda _: None,
) -> TrainingBench:
    """Characters a second of training steps of equal size, all alternating in one run, for each context: the model
    of a preset, standard attention of as many parameters, and peers.

    Raises InputError for sizes that cannot be.
    """
    if batch < 1 or rounds < 1 or not contexts or min(contexts) < 8:
        raise InputError("batch and rounds must be at least 1, and contexts at least 8: choose larger ones")
    hardware.keep_freed_memory()
    speeds = {}
    for context in contexts:
        models = with_standard(of_preset(preset, context))
        speeds[str(context)] = _speed(models, Shape(batch, context), rounds, nanogpt, peers, say)
    return TrainingBench(speeds, encoding(), hardware.describe(), preset)


def of_preset(name: str, context: int | None = None) -> ModelConfig:
    """The model of a preset, for the characters of this benchmark."""
    settings = {**preset(name)["model"], "vocab_size": len(VOCABULARY)}
    return ModelConfig(**(settings if context is None else {**settings, "context": context}))


def with_standard(ours: ModelConfig) -> dict[str, ModelConfig]:
    """A model, and standard attention of as many parameters: what it saves goes into the feed-forward, and as many
    heads share the width."""
    heads = next(n for n in range(ours.n_heads, ours.d_model + 1) if ours.d_model % n == 0)
    standard = replace(
        ours, query="linear", key="linear", value="linear", n_heads=heads, n_kv_heads=None, per_head=False
    )
    return {OURS: ours, STANDARD: solve_width(standard, parameters(ours))}


def _speed(
    models: dict[str, ModelConfig], shape: Shape, rounds: int, nanogpt: Path | None, with_peers: bool, say: Say
) -> Speed:
    own = _own(models, shape, say)
    step = partial(peer_step, shape, models[OURS], own[OURS].parameters)
    others, skipped = prepare_peers(nanogpt, MODES, step, say) if with_peers else ({}, {})
    rates = alternate({name: c.work for name, c in {**own, **others}.items()}, rounds, say)
    limits = ceilings(shape.chars, models[OURS].d_model, models[OURS].d_ff)
    ratio = {peer: rates[OURS].ratio(theirs) for peer, theirs in _better_mode(rates, others).items()}
    return Speed(
        shape={"batch": shape.batch, "context": shape.context},
        ours={name: _reached(rates[name], own[name], size(models[name]).train_flops, limits) for name in own},
        peers={name: Timed(rates[name], contender.parameters) for name, contender in others.items()},
        ceilings=limits,
        ratio=ratio | {STANDARD: rates[OURS].ratio(rates[STANDARD])},
        skipped=skipped,
        parts={name: parts(contender.work) for name, contender in own.items()},
    )


def _own(models: dict[str, ModelConfig], shape: Shape, say: Say) -> dict[str, Contender]:
    compile_ = compiling.can_compile(hardware.pick_device("cpu"))
    contenders = {}
    for name, config in models.items():
        say(f"preparing {name}, {shape.batch} x {shape.context} characters a step")
        contenders[name] = own_step(shape, config, compile_)
    return contenders


def own_step(shape: Shape, model: ModelConfig, compile_: bool = True) -> Contender:
    """A step of `Trainer` with the settings' defaults."""
    settings = TrainingConfig(batch=shape.batch, compile="on" if compile_ else "off")
    return step_of(RunConfig(model, settings, DataConfig()))


def step_of(config: RunConfig) -> Contender:
    """A step of `Trainer`, as a run of this config takes it, on random characters."""
    model, settings = config.model, replace(config.training, steps=1_000_000, minutes=None)
    trainer = Trainer(replace(config, training=settings), random_text(model.vocab_size))
    compiling.prepare(trainer)
    chars = settings.batch * settings.accumulate * model.context

    def work() -> float:
        trainer.update()
        return chars

    return Contender(work, count(trainer.model))


def random_text(vocab_size: int = len(VOCABULARY)) -> Prepared:
    ids = np.random.default_rng(0).integers(0, vocab_size, TEXT_CHARS, dtype=np.uint8)
    tokenizer = CharTokenizer("".join(map(chr, range(32, 32 + vocab_size))))
    whole = (StoredDocument("random", 0, len(ids), len(ids), len(ids)),)
    store = TokenStore(ids, whole, unknown=Counter(), dropped=Counter(), sha256="")
    return Prepared(tokenizer, store, store, [])


def peer_step(shape: Shape, config: ModelConfig, parameters: int, peer: Peer, compile_: bool) -> Contender:
    """A step of a peer in float32: AdamW (fused), gradient clipping at 1, as its own trainer has them."""
    model = peer.sized(config, parameters)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    forward = torch.compile(model) if compile_ else model
    ids = torch.randint(config.vocab_size, (shape.batch, shape.context + 1))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def work() -> float:
        loss = peer.loss(forward, inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        return shape.chars

    return Contender(work, count(model))


def _better_mode(rates: dict[str, Rates], names: Iterable[str]) -> dict[str, Rates]:
    """Every peer in the mode in which it is faster."""
    best: dict[str, Rates] = {}
    for name in sorted(names, key=lambda name: rates[name].median):
        best[name.rsplit(",", 1)[0]] = rates[name]
    return best


def _reached(rates: Rates, contender: Contender, train_flops: int, limits: Ceilings) -> Timed:
    gflops = train_flops * rates.median / 1e9
    return Timed(rates, contender.parameters, gflops, gflops / max(map(limits.best, limits.gflops)))
