"""How fast text is written, against peers and against what the machine can do: `aeattn bench generate`.

Everyone writes the same number of characters from a prompt of one, sampling at temperature 0.8, prompt included in
the time; what is done once, such as compiling, is not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from aeattn import hardware
from aeattn.benchmarks import steps
from aeattn.benchmarks.ceilings import best_seconds, ceilings
from aeattn.benchmarks.steps import Shape
from aeattn.benchmarks.timing import Rates, Work, alternate, ratio
from aeattn.config.model import CacheKind, ModelConfig
from aeattn.config.presets import preset
from aeattn.errors import InputError
from aeattn.generation.engine import Engine, fast_engine, pick
from aeattn.generation.sampling import SamplingRule
from aeattn.generation.torch_engine import SimpleEngine
from aeattn.nn.size import not_absorbable, parameters, size
from aeattn.nn.transformer import LanguageModel
from aeattn.runs.folder import RunFolder
from aeattn.runs.weights import read_weights

TEMPERATURE = 0.8
LONG = (256, 512, 1024, 2048, 4096, 8192)
LONG_CHARS = 64  # timed at each length
Say = Callable[[str], None]
Weights = dict[str, npt.NDArray[np.float32]]
Writing = Callable[
    [Any, torch.Tensor, int], Any
]  # model, prompt (B, 1) and characters, to ids (B, 1 + characters)


def bench_generate(
    run: Path | None = None,
    *,
    chars: int = 200,
    batches: Sequence[int] = (1, 64),
    rounds: int = 5,
    nanogpt: Path | None = None,
    peers: bool = True,
    lengths: Sequence[int] = LONG,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Characters a second of all engines and peers, alternating, for each number of sequences; and by length.

    The model is that of a run folder, or one of random weights. Returns `ours`, `peers`, `ceilings`, `ratio` (our
    best engine to each peer) of the first batch size at the top level and of all under `batches`, `long_context`,
    and `skipped` with the reasons. Raises InputError for a folder that is no run, or sizes that cannot be.
    """
    if chars < 1 or rounds < 1 or not batches or min(batches) < 1 or (lengths and min(lengths) < LONG_CHARS + 1):
        raise InputError(
            f"chars, rounds and batch must be at least 1, lengths at least {LONG_CHARS + 1}: choose larger ones"
        )
    config, weights = read_model(run)
    results = {str(n): _at(config, weights, n, chars, rounds, nanogpt, peers, say) for n in batches}
    return {
        **results[str(batches[0])],
        "batches": results,
        "long_context": long_context(lengths, say),
        "model": {"run": None if run is None else run.name, "parameters": parameters(config)},
        "environment": hardware.describe(),
    }


def read_model(run: Path | None) -> tuple[ModelConfig, Weights]:
    """Of a run folder, or the default model with random weights."""
    if run is not None:
        folder = RunFolder(run)
        config = folder.read_config().model
        return config, read_weights(folder.model, config)
    config = ModelConfig(vocab_size=len(steps.VOCABULARY))
    return config, random_weights(config)


def random_weights(config: ModelConfig) -> Weights:
    """Weights that are nowhere 0: those of a fresh model would leave out work."""
    torch.manual_seed(0)
    model = LanguageModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def _at(
    config: ModelConfig, weights: Weights, batch: int, chars: int, rounds: int, nanogpt: Path | None,
    with_peers: bool, say: Say,
) -> dict[str, Any]:  # fmt: skip
    own = own_engines(config, weights)
    works = {name: own_work(engine, batch, chars) for name, engine in own.items()}
    others, skipped = _peers(batch, chars, parameters(config), nanogpt, say) if with_peers else ({}, {})
    say(f"writing {chars} characters, {batch} at once")
    rates = alternate(works | others, rounds, say)
    best = rates[next(iter(own))]
    return {
        "shape": {"batch": batch, "chars": chars},
        "ours": {name: _facts(rates[name]) | _cache(engine, batch) for name, engine in own.items()},
        "peers": {name: _facts(rates[name]) for name in others},
        "ceilings": _ceilings(config, batch, chars),
        "ratio": {name: ratio(best, rates[name]) for name in others},
        "skipped": skipped,
    }


def _facts(rates: Rates) -> dict[str, Any]:
    return {"chars_per_second": rates.to_dict()}


def _cache(engine: Engine, batch: int) -> dict[str, Any]:
    decoding = engine.start([np.zeros(1, np.int64)] * batch, SamplingRule(), seed=0)
    return {"cache": "latent" if engine.latent else "full", "cache_bytes": decoding.cache_bytes}


def own_engines(config: ModelConfig, weights: Weights) -> dict[str, Engine]:
    """All engines and caches that the model can have; the best comes first."""
    caches: list[CacheKind] = ["full"] if not_absorbable(config) else ["latent", "full"]
    engines: dict[str, Engine] = {}
    if pick("auto", on_cpu=True) == "fast":
        engines = {f"fast, {cache} cache": fast_engine(config, weights, cache) for cache in caches}
    model = LanguageModel(config).eval()
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    return engines | {f"simple, {caches[0]} cache": SimpleEngine(model, caches[0])}


def own_work(engine: Engine, batch: int, chars: int) -> Work:
    """Write from one character on, in the blocks that a stream would take."""
    prompts, rule, seeds = [np.zeros(1, np.int64)] * batch, SamplingRule(TEMPERATURE), iter(range(1 << 30))

    def work() -> float:
        decoding = engine.start(prompts, rule, seed=next(seeds))
        for start in range(0, chars, engine.block):
            decoding.write(min(engine.block, chars - start))
        return float(batch * chars)

    return work


def _peers(
    batch: int, chars: int, budget: int, nanogpt: Path | None, say: Say
) -> tuple[dict[str, Work], dict[str, str]]:
    """Every peer that is there, and why the others are not."""

    def nano() -> steps.Make:
        if nanogpt is None:
            raise InputError("no package index has it: give --nanogpt a checkout")
        return steps.nano_gpt(nanogpt)

    makers: dict[str, tuple[Callable[[], steps.Make], Writing]] = {
        "Hugging Face GPT-2": (lambda: steps.hugging_face, _hugging_face),
        "x-transformers": (lambda: steps.x_transformers, _x_transformers),
        "nanoGPT": (nano, _nano_gpt),
    }
    works: dict[str, Work] = {}
    skipped: dict[str, str] = {}
    for name, (find, writing) in makers.items():
        say(f"preparing {name}")
        try:
            works[name] = _peer_work(find(), writing, batch, chars, budget)
        except InputError as error:
            skipped[name] = str(error)
        except Exception as error:  # a peer's own trouble
            skipped[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    return works, skipped


def _peer_work(make: steps.Make, writing: Writing, batch: int, chars: int, budget: int) -> Work:
    shape = Shape(batch, max(256, chars + 1))
    torch.manual_seed(0)
    width = steps.nearest_width(lambda w: sum(p.numel() for p in make(w, shape)[0].parameters()), budget)
    model, prompt = make(width, shape)[0].eval(), torch.zeros(batch, 1, dtype=torch.long)

    def write(n: int) -> float:
        with torch.inference_mode():
            written = writing(model, prompt, n)
        assert written.shape[1] >= n
        return float(batch * n)

    write(2)  # what cannot work here says so now
    return lambda: write(chars)


def _hugging_face(model: Any, prompt: torch.Tensor, chars: int) -> Any:
    model.generation_config.eos_token_id = None  # nothing ends a text early
    model.generation_config.pad_token_id = 0
    return model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=chars, do_sample=True,
        temperature=TEMPERATURE, top_k=0, use_cache=True,
    )  # fmt: skip


def _x_transformers(model: Any, prompt: torch.Tensor, chars: int) -> Any:
    from x_transformers import AutoregressiveWrapper

    wrapper: Any = AutoregressiveWrapper(model)
    return wrapper.generate(prompt, chars, temperature=TEMPERATURE, cache_kv=True)


def _nano_gpt(model: Any, prompt: torch.Tensor, chars: int) -> Any:
    return model.generate(prompt, chars, temperature=TEMPERATURE)


def _ceilings(config: ModelConfig, batch: int, chars: int) -> dict[str, Any]:
    """What the machine can do at most, and how many characters a second that would be: each needs its operations,
    and one sequence alone needs all weights read once a character, by one thread."""
    limits = ceilings(batch, config.d_model, config.d_ff)
    threads = torch.get_num_threads()
    flops = size(config).generate_flops
    torch.set_num_threads(1)
    try:
        weights = torch.zeros(parameters(config) // config.d_model, config.d_model)
        vector, out = torch.ones(config.d_model), torch.empty(len(weights))
        products, reading = (lambda: torch.mv(weights, vector, out=out)), (lambda: weights.sum())
        read = min(best_seconds(products), best_seconds(reading))
    finally:
        torch.set_num_threads(threads)
    arithmetic = max(limits["gflops"]["float32"].values()) * 1e9 / flops
    return {
        **limits,
        "weight_bytes": 4 * parameters(config),
        "chars_per_second": {"arithmetic": arithmetic, "weights": batch / read if batch == 1 else None},
    }


def long_context(lengths: Sequence[int], say: Say = lambda _: None) -> dict[str, Any]:
    """Cache bytes and characters a second of one sequence whose context of each length is full."""
    arms: dict[str, tuple[str, CacheKind]] = {
        "autoencoder, latent cache": ("460k", "latent"),
        "autoencoder, full cache": ("460k", "full"),
        "standard attention, full cache": ("460k-linear", "full"),
    }
    curves: dict[str, Any] = {name: {"cache_bytes": [], "chars_per_second": []} for name in arms}
    if pick("auto", on_cpu=True) != "fast":
        return {"lengths": [], "curves": curves}
    for length in lengths:
        for name, (chosen, cache) in arms.items():
            config = _long_config(chosen, length)
            kept, rate = _at_length(fast_engine(config, random_weights(config), cache), length)
            curves[name]["cache_bytes"].append(kept)
            curves[name]["chars_per_second"].append(rate)
        say(f"{length} characters: " + ", ".join(f"{c['chars_per_second'][-1]:,.0f}/s" for c in curves.values()))
    return {"lengths": list(lengths), "curves": curves}


def _long_config(name: str, context: int) -> ModelConfig:
    settings = preset(name)["model"]
    return dataclasses.replace(ModelConfig(vocab_size=len(steps.VOCABULARY), **settings), context=context)


def _at_length(engine: Engine, length: int) -> tuple[int, float]:
    """Bytes of the cache, and characters a second on the last places of the context: the best of a few."""
    ids = np.arange(length - LONG_CHARS) % len(steps.VOCABULARY)
    best = 0.0
    for seed in range(3):
        decoding = engine.start([ids], SamplingRule(TEMPERATURE), seed)
        rates = alternate({"all": lambda: float(decoding.write(LONG_CHARS // 2).size)}, rounds=1)  # noqa: B023
        best = max(best, rates["all"].median)
    return decoding.cache_bytes, best
