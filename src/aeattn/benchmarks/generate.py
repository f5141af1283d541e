"""How fast text is generated, against peers and against what the machine can do: `aeattn bench generate`.

Everyone generates as many characters from a prompt of one, sampling at one temperature; the time holds the prompt,
and not what is done once, such as compiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from aeattn import hardware
from aeattn.benchmarks.ceilings import best_seconds, ceilings
from aeattn.benchmarks.peers import TEMPERATURE, Contender, Peer, count, prepare_peers
from aeattn.benchmarks.results import Ceilings, Curve, GenerationBench, LongContext, Rates, Speed, Timed
from aeattn.benchmarks.timing import Say, Work, alternate
from aeattn.benchmarks.train import of_preset, with_standard
from aeattn.config.model import CacheKind, ModelConfig
from aeattn.config.presets import DEFAULT_PRESET
from aeattn.errors import InputError
from aeattn.generation.engine import FAST_ENGINE, Engine, fast_engine, pick
from aeattn.generation.sampling import Sampling
from aeattn.generation.torch_engine import SimpleEngine
from aeattn.nn.size import not_absorbable, parameters, size
from aeattn.nn.transformer import LanguageModel
from aeattn.runs.folder import RunFolder
from aeattn.runs.weights import read_weights

LONG = (256, 512, 1024, 2048, 4096, 8192)
LONG_CHARS = 64  # timed at each length
Weights = dict[str, npt.NDArray[np.float32]]


def bench_generate(
    run: Path | None = None,
    *,
    preset: str = DEFAULT_PRESET,
    chars: int = 200,
    batches: Sequence[int] = (1, 64),
    rounds: int = 5,
    nanogpt: Path | None = None,
    peers: bool = True,
    lengths: Sequence[int] = LONG,
    say: Say = lambda _: None,
) -> GenerationBench:
    """Characters a second of all engines and peers, alternating, for each number of sequences; and by length.

    The model is that of a run folder, or that of a preset with random weights. Raises InputError for a folder that
    is no run, a preset that does not exist, or sizes that cannot be.
    """
    if chars < 1 or rounds < 1 or not batches or min(batches) < 1 or (lengths and min(lengths) < LONG_CHARS + 1):
        raise InputError(
            f"chars, rounds and batch must be at least 1, lengths at least {LONG_CHARS + 1}: choose larger ones"
        )
    if run is None:
        config, model = of_preset(preset), {"run": None, "preset": preset}
        weights = random_weights(config)
    else:
        folder, model = RunFolder(run), {"run": run.name}
        config = folder.read_config().model
        weights = read_weights(folder.model, config)
    speeds = {str(n): _speed(config, weights, n, chars, rounds, nanogpt, peers, say) for n in batches}
    return GenerationBench(
        batches=speeds,
        long_context=long_context(config, lengths, say),
        model={**model, "parameters": parameters(config)},
        environment=hardware.describe(),
        engine=FAST_ENGINE,
    )


def random_weights(config: ModelConfig) -> Weights:
    """Weights that are nowhere 0: those of a fresh model would leave out work."""
    torch.manual_seed(0)
    model = LanguageModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def _speed(
    config: ModelConfig, weights: Weights, batch: int, chars: int, rounds: int, nanogpt: Path | None,
    with_peers: bool, say: Say,
) -> Speed:  # fmt: skip
    own = own_engines(config, weights)
    works = {name: own_work(engine, batch, chars) for name, engine in own.items()}
    prepare = partial(peer_work, config, batch)
    others, skipped = prepare_peers(nanogpt, {"": chars}, prepare, say) if with_peers else ({}, {})
    say(f"generating {chars} characters, {batch} at once")
    rates = alternate(works | {name: peer.work for name, peer in others.items()}, rounds, say)
    best = rates[next(iter(own))]
    return Speed(
        shape={"batch": batch, "chars": chars},
        ours={name: _timed(rates[name], engine, batch) for name, engine in own.items()},
        peers={name: Timed(rates[name]) for name in others},
        ceilings=_ceilings(config, batch),
        ratio={name: best.ratio(rates[name]) for name in others},
        skipped=skipped,
    )


def _timed(rates: Rates, engine: Engine, batch: int) -> Timed:
    decoding = engine.start([np.zeros(1, np.int64)] * batch, Sampling(), seed=0)
    return Timed(rates, cache="latent" if engine.latent else "full", cache_bytes=decoding.cache_bytes)


def caches_of(config: ModelConfig) -> list[CacheKind]:
    """All that the model can have, the smallest first."""
    return ["full"] if not_absorbable(config) else ["latent", "full"]


def own_engines(config: ModelConfig, weights: Weights) -> dict[str, Engine]:
    """All engines and caches that the model can have; the best comes first."""
    caches = caches_of(config)
    engines: dict[str, Engine] = {}
    if pick("auto", True, config) == "fast":
        engines = {f"fast, {cache} cache": fast_engine(config, weights, cache) for cache in caches}
    model = LanguageModel(config).eval()
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    return engines | {f"simple, {caches[0]} cache": SimpleEngine(model, caches[0])}


def own_work(engine: Engine, batch: int, chars: int) -> Work:
    """Generate from one character on, in the blocks that a stream would take."""
    prompts, rule, seeds = [np.zeros(1, np.int64)] * batch, Sampling(TEMPERATURE), iter(range(1 << 30))

    def work() -> float:
        decoding = engine.start(prompts, rule, seed=next(seeds))
        for start in range(0, chars, engine.block):
            decoding.write(min(engine.block, chars - start))
        return float(batch * chars)

    return work


def peer_work(config: ModelConfig, batch: int, peer: Peer, chars: int) -> Contender:
    """A peer as large as our model, with room for a prompt and what is generated."""
    room = replace(config, context=max(256, chars + 1))
    model, prompt = peer.sized(room, parameters(config)).eval(), torch.zeros(batch, 1, dtype=torch.long)

    def work() -> float:
        with torch.inference_mode():
            ids = peer.generate(model, prompt, chars)
        assert ids.shape[1] >= chars
        return float(batch * chars)

    return Contender(work, count(model))


def _ceilings(config: ModelConfig, batch: int) -> Ceilings:
    """What the machine can do at most, and how many characters a second that would be: each needs its operations,
    and one sequence alone needs all weights read once a character, by one thread."""
    limits = ceilings(batch, config.d_model, config.d_ff)
    arithmetic = limits.best("float32") * 1e9 / size(config).generate_flops
    by_weights = 1 / _seconds_to_read(config) if batch == 1 else None
    most = {"arithmetic": arithmetic, "weights": by_weights}
    return replace(limits, weight_bytes=4 * parameters(config), chars_per_second=most)


def _seconds_to_read(config: ModelConfig) -> float:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        weights = torch.zeros(parameters(config) // config.d_model, config.d_model)
        vector, out = torch.ones(config.d_model), torch.empty(len(weights))
        return min(best_seconds(lambda: torch.mv(weights, vector, out=out)), best_seconds(weights.sum))
    finally:
        torch.set_num_threads(threads)


def long_context(config: ModelConfig, lengths: Sequence[int], say: Say = lambda _: None) -> LongContext:
    """Cache bytes and characters a second of one sequence whose context of each length is full: of a model with
    each of its caches, the smallest first, and of standard attention."""
    ours, standard = with_standard(config).values()
    arms: dict[str, tuple[ModelConfig, CacheKind]] = {
        **{f"autoencoder, {cache} cache": (ours, cache) for cache in caches_of(ours)},
        "standard attention, full cache": (standard, "full"),
    }
    curves = {name: Curve() for name in arms}
    if pick("auto", on_cpu=True) != "fast":
        return LongContext([], curves)
    for length in lengths:
        for name, (config, cache) in arms.items():
            long = replace(config, context=length)
            kept, rate = _at_length(fast_engine(long, random_weights(long), cache), long)
            curves[name].cache_bytes.append(kept)
            curves[name].chars_per_second.append(rate)
        say(f"{length} characters: " + ", ".join(f"{c.chars_per_second[-1]:,.0f}/s" for c in curves.values()))
    return LongContext(list(lengths), curves)


def _at_length(engine: Engine, config: ModelConfig) -> tuple[int, float]:
    """Bytes of the cache, and characters a second on the last positions of the context: the best of a few."""
    ids = np.arange(config.context - LONG_CHARS) % config.vocab_size
    best = 0.0
    for seed in range(3):
        decoding = engine.start([ids], Sampling(TEMPERATURE), seed)
        rates = alternate({"all": lambda: float(decoding.write(LONG_CHARS // 2).size)}, rounds=1)  # noqa: B023
        best = max(best, rates["all"].median)
    return decoding.cache_bytes, best
