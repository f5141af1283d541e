"""What each further process brings in training, and where its time goes: `aeattn bench train --processes 1 2`.

The same batch is shared by so many processes, and so are the processors: one process of two threads against two of
one. All alternate, each time in processes of their own, which this module is in its turn:

    python -m aeattn.benchmarks.processes SETTINGS FILE
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from aeattn import hardware
from aeattn.benchmarks.results import ProcessesBench, Rates, Shared, Spread
from aeattn.benchmarks.timing import Say
from aeattn.benchmarks.train import of_preset, random_text
from aeattn.config.presets import DEFAULT_PRESET
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.errors import InputError
from aeattn.training import compiling
from aeattn.training.group import end
from aeattn.training.launch import launch
from aeattn.training.optimizers import clip_gradients
from aeattn.training.processes import connected, joined
from aeattn.training.trainer import Trainer
from aeattn.training.world import World, check_batch

PARTS = ("gradients", "waiting", "sending", "optimizers")


@dataclass(frozen=True)
class Task:
    """What a group of processes is to do: `steps` updates are timed after two that are not."""

    preset: str
    context: int
    batch: int
    steps: int
    gradients: str
    compile: bool


def bench_processes(
    counts: Sequence[int],
    *,
    preset: str = DEFAULT_PRESET,
    context: int = 256,
    batch: int = 64,
    rounds: int = 3,
    steps: int = 10,
    compile_: bool | None = None,
    say: Say = lambda _: None,
) -> ProcessesBench:
    """Characters a second with so many processes, gradients in float32 and, where there are several, in bf16.

    Raises InputError for numbers that do not divide the batch.
    """
    for count in counts:
        check_batch(batch, World(0, count))
    can = compiling.can_compile(torch.device("cpu")) if compile_ is None else compile_
    kinds = {f"{n}": (n, "fp32") for n in counts} | {f"{n}, bf16": (n, "bf16") for n in counts if n > 1}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    for number in range(rounds):
        for name, (count, gradients) in kinds.items():
            found[name].append(_measured(Task(preset, context, batch, steps, gradients, can), count))
        say(f"round {number + 1} of {rounds}: " + ", ".join(f"{n} {_rate(f[-1], batch * context):,.0f}/s"
                                                           for n, f in found.items()))  # fmt: skip
    shared = {name: _shared(times, kinds[name][0], batch * context) for name, times in found.items()}
    first = next(iter(shared.values())).chars_per_second
    ratio = {name: each.chars_per_second.ratio(first) for name, each in shared.items()}
    return ProcessesBench({"batch": batch, "context": context}, shared, ratio, hardware.describe(), preset)


def _rate(times: dict[str, float], chars: int) -> float:
    return chars / sum(times[part] for part in PARTS)


def _shared(times: list[dict[str, float]], processes: int, chars: int) -> Shared:
    warm_up = Spread.of([each["warm_up"] for each in times]).median
    rates = Rates(tuple(_rate(each, chars) for each in times), warm_up)
    parts = {part: Spread.of([1e3 * each[part] for each in times]).median for part in PARTS}
    return Shared(processes, round(times[0]["threads"]), rates, parts)


def _measured(task: Task, processes: int) -> dict[str, float]:
    """Seconds of each part of a step and of what came before, in process 0. Raises InputError where the processes
    fail."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "times.json"
        code, _ = launch([json.dumps(asdict(task)), str(file)], processes, __name__)
        if code:
            raise InputError(f"{processes} processes could not be timed: see above")
        times: dict[str, float] = json.loads(file.read_text())
        return times


def main(arguments: Sequence[str]) -> NoReturn:
    """One of the processes, which this ends."""
    task, file = Task(**json.loads(arguments[0])), Path(arguments[1])
    with joined() as world:
        trainer = _trainer(task, world)
        warm_up = _seconds(lambda: _warm_up(trainer))
        times = [_step(trainer) for _ in range(task.steps)]
    if world.main:
        seconds = {part: Spread.of([each[part] for each in times]).median for part in PARTS}
        file.write_text(json.dumps({**seconds, "threads": torch.get_num_threads(), "warm_up": warm_up}))
    end(0)


def _trainer(task: Task, world: World) -> Trainer:
    hardware.keep_freed_memory()
    settings: dict[str, Any] = {"batch": task.batch, "gradients": task.gradients}
    training = TrainingConfig(steps=1_000_000, compile="on" if task.compile else "off", **settings)
    model = of_preset(task.preset, task.context)
    return Trainer(RunConfig(model, training, DataConfig()), random_text(), world=world)


def _warm_up(trainer: Trainer) -> None:
    compiling.prepare(trainer)
    for _ in range(2):
        _step(trainer)


def _step(trainer: Trainer) -> dict[str, float]:
    """What `Trainer.update` does, part by part; `waiting` is for the slowest of the others."""
    windows, loss = trainer.loader.at(trainer.state.batch), 0.0

    def gradients() -> None:
        nonlocal loss
        loss = trainer._gradients(windows)

    def optimizers() -> None:
        clip_gradients(trainer.optimizers, trainer.config.training.clip)
        for optimizer in trainer.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def waiting() -> None:
        if (processes := connected(trainer.world)) is not None:
            processes.add_up(torch.zeros(1))

    work = (gradients, waiting, lambda: trainer.exchange.average(loss, None), optimizers)
    times = {part: _seconds(each) for part, each in zip(PARTS, work, strict=True)}
    trainer.state.step += 1
    return times


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1:])
