"""How fast training is, against peers and against what the machine can do: `aeattn bench train`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aeattn import hardware
from aeattn.benchmarks import steps
from aeattn.benchmarks.ceilings import ceilings
from aeattn.benchmarks.encoding import encoding
from aeattn.benchmarks.parts import parts
from aeattn.benchmarks.steps import Contender, Shape
from aeattn.benchmarks.timing import Rates, alternate, ratio
from aeattn.config.model import ModelConfig
from aeattn.config.presets import preset
from aeattn.errors import InputError
from aeattn.nn.size import size
from aeattn.training import compiling

OURS, STANDARD = "aeattn, autoencoder", "aeattn, standard"
MODES = {"eager": False, "compiled": True}
Say = Callable[[str], None]


def bench_train(
    contexts: Sequence[int] = (128, 256),
    *,
    batch: int = 64,
    rounds: int = 7,
    nanogpt: Path | None = None,
    peers: bool = True,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Characters a second of training steps of equal size, all alternating in one run, for each context.

    Returns `ours`, `peers`, `ceilings`, `ratio` (ours to each peer in its better mode), `parts`, and `skipped`
    with the reasons; the first context's at the top level and all of them under `contexts`. `encoding` is how
    fast text is read, in megabytes a second.
    """
    if batch < 1 or rounds < 1 or not contexts or min(contexts) < 8:
        raise InputError("batch and rounds must be at least 1, and contexts at least 8: choose larger ones")
    hardware.keep_freed_memory()
    results = {str(context): _at(Shape(batch, context), rounds, nanogpt, peers, say) for context in contexts}
    first = results[str(contexts[0])]
    return {**first, "contexts": results, "encoding": encoding(), "environment": hardware.describe()}


def _at(shape: Shape, rounds: int, nanogpt: Path | None, with_peers: bool, say: Say) -> dict[str, Any]:
    own = _own(shape, say)
    others, skipped = _peers(shape, own[OURS].parameters, nanogpt, say) if with_peers else ({}, {})
    contenders = own | others
    rates = alternate({name: c.work for name, c in contenders.items()}, rounds, say)
    shares = {name: parts(contender.work) for name, contender in own.items()}
    config = _config("460k", shape)
    limits = ceilings(shape.chars, config.d_model, config.d_ff)
    own_rates, peer_rates = ({n: rates[n] for n in side} for side in (own, others))
    best = {peer: max((r for n, r in peer_rates.items() if _peer(n) == peer), key=lambda r: r.median)
            for peer in dict.fromkeys(map(_peer, peer_rates))}  # fmt: skip
    return {
        "shape": {"batch": shape.batch, "context": shape.context},
        "ours": {name: _facts(rates[name], contenders[name]) | _reached(name, rates[name], shape, limits)
                 for name in own_rates},
        "peers": {name: _facts(rates[name], contenders[name]) for name in peer_rates},
        "ceilings": limits,
        "ratio": {peer: ratio(rates[OURS], theirs) for peer, theirs in best.items()}
        | {STANDARD: ratio(rates[OURS], rates[STANDARD])},
        "parts": shares,
        "skipped": skipped,
    }  # fmt: skip


def _config(name: str, shape: Shape) -> ModelConfig:
    settings = {**preset(name)["model"], "vocab_size": len(steps.VOCABULARY), "context": shape.context}
    return ModelConfig(**settings)


def _own(shape: Shape, say: Say) -> dict[str, Contender]:
    compile_ = compiling.can_compile(hardware.pick_device("cpu"))
    contenders = {}
    for name, chosen in ((OURS, "460k"), (STANDARD, "460k-linear")):
        say(f"preparing {name}, {shape.batch} x {shape.context} characters a step")
        contenders[name] = steps.own_step(shape, preset(chosen)["model"], compile_)
    return contenders


def _peers(
    shape: Shape, budget: int, nanogpt: Path | None, say: Say
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Every peer in both modes, and why those that are missing are."""
    contenders: dict[str, Contender] = {}
    skipped: dict[str, str] = {}
    for name, make in _makers(nanogpt).items():
        for mode, compile_ in MODES.items():
            say(f"preparing {name}, {mode}")
            try:
                contender = steps.peer_step(make(), shape, budget, compile_)
                contender.work()
                contenders[f"{name}, {mode}"] = contender
            except InputError as error:
                skipped[name] = str(error)
            except Exception as error:  # a peer's own trouble, such as one that cannot be compiled here
                skipped[f"{name}, {mode}"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return contenders, skipped


def _makers(nanogpt: Path | None) -> dict[str, Callable[[], steps.Make]]:
    def missing() -> steps.Make:
        raise InputError("no package index has it: give --nanogpt a checkout")

    return {
        "nanoGPT": missing if nanogpt is None else lambda: steps.nano_gpt(nanogpt),
        "Hugging Face GPT-2": lambda: steps.hugging_face,
        "x-transformers": lambda: steps.x_transformers,
    }


def _peer(name: str) -> str:
    return name.rsplit(",", 1)[0]


def _facts(rates: Rates, contender: Contender) -> dict[str, Any]:
    return {"chars_per_second": rates.to_dict(), "parameters": contender.parameters}


def _reached(name: str, rates: Rates, shape: Shape, limits: dict[str, Any]) -> dict[str, float]:
    """Operations of matrix products a second, as `sizing` counts them, and their part of what the machine can
    do in bf16."""
    config = _config("460k" if name == OURS else "460k-linear", shape)
    gflops = size(config).train_flops * rates.median / 1e9
    return {"gflops": gflops, "of_ceiling": gflops / max(limits["gflops"]["bfloat16"].values())}
