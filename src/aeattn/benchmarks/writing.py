"""How fast each arm of a comparison writes with a long text behind it: `python -m aeattn.benchmarks.writing DIR`.

Arms are timed in turn, with random weights, on one sequence, by the engine and the cache that `generate` would
take; `DIR/writing.json` keeps what was found, for `aeattn report`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from statistics import median

import numpy as np
import torch

from aeattn.benchmarks.arms import run
from aeattn.benchmarks.generate import random_weights
from aeattn.compare.declaration import Declaration
from aeattn.compare.folder import Folder
from aeattn.compare.records import CACHED_CHARS
from aeattn.compare.results import Writing, WritingSpeed
from aeattn.compare.worker import environment
from aeattn.config.model import ModelConfig
from aeattn.files import write_json
from aeattn.generation.engine import Engine, fast_engine, pick
from aeattn.generation.sampling import Sampling
from aeattn.generation.torch_engine import SimpleEngine
from aeattn.nn.transformer import LanguageModel

CHARS, ROUNDS = 64, 5


def measure(
    configs: Mapping[str, ModelConfig], context: int = CACHED_CHARS, chars: int = CHARS, rounds: int = ROUNDS
) -> Writing:
    """Characters a second on the last `chars` places of a context of this length, arms in turn."""
    engines = {id: _engine(replace(config, context=context)) for id, config in configs.items()}
    rates = [{id: _rate(engine, context, chars, seed) for id, engine in engines.items()} for seed in range(rounds)]
    speeds = {
        id: WritingSpeed(
            chars_per_second=median(each[id] for each in rates),
            slowest=min(each[id] for each in rates),
            fastest=max(each[id] for each in rates),
            engine=engine.name,
            cache="latent" if engine.latent else "full",
        )
        for id, engine in engines.items()
    }
    return Writing(context, chars, rounds, speeds, environment())


def _engine(config: ModelConfig) -> Engine:
    weights = random_weights(config)
    if pick("auto", True, config) == "fast":
        return fast_engine(config, weights, "auto")
    model = LanguageModel(config).eval()
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    return SimpleEngine(model)


def _rate(engine: Engine, context: int, chars: int, seed: int) -> float:
    """Without the time that the text before takes."""
    before = np.arange(context - chars - 1, dtype=np.int64) % 40
    decoding = engine.start([before], Sampling(), seed)
    start = time.perf_counter()
    decoding.write(chars)
    return chars / (time.perf_counter() - start)


def main(folder: Folder, declaration: Declaration) -> None:
    found = measure({arm.id: arm.run_config.model for arm in declaration.arms})
    write_json(folder.writing, found.to_dict())
    for id, speed in found.arms.items():
        print(f"{id}: {speed.chars_per_second:,.0f} characters/s, {speed.engine} engine, {speed.cache} cache")


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:]))
