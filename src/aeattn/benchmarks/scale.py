"""What many GPUs would do, on paper: the tables of docs/scale.md.

    python -m aeattn.benchmarks.scale          prints them

Operations and bytes of a step are those that `nn/size.py` counts and that `training/exchange.py` sends; rates of
the machine are assumptions, named below the tables. Nothing overlaps: gradients are sent when the backward pass is
over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from aeattn.benchmarks.tables import Block, Table, to_markdown
from aeattn.config.model import ModelConfig
from aeattn.config.presets import preset
from aeattn.nn.size import parameters, size, solve_width, weight_shapes
from aeattn.runs.weights import TRAINING_BYTES

ITERATIONS = 5  # of Newton-Schulz
GRADIENT_BYTES, UPDATE_BYTES = 4, 2  # a number that is sent: gradients in float32, Muon's updates in bf16
VOCABULARY = 96


@dataclass(frozen=True)
class Machine:
    """Assumptions: products a second of one GPU, as they are reached in training, and bytes a second that one GPU
    sends to others of its node, and to those of another."""

    flops: float = 400e12
    inside: float = 300e9
    between: float = 40e9
    gpus: int = 8  # a node


@dataclass(frozen=True)
class Step:
    """Seconds of a step on one of `processes` GPUs, and bytes that training takes there."""

    processes: int
    windows: int  # of the whole batch
    compute: float
    gradients: float
    muon: float
    updates: float
    memory: float
    sharded_memory: float

    @property
    def seconds(self) -> float:
        return self.compute + self.gradients + self.muon + self.updates


def step(model: ModelConfig, windows: int, processes: int, machine: Machine = Machine()) -> Step:
    """One update on a batch of so many windows."""
    numbers, chars = parameters(model), windows * model.context
    matrices = [shape for name, shape in weight_shapes(model).items() if _is_muons(name, shape)]
    products = sum(_orthogonalising(*shape) for shape in matrices)
    sent = UPDATE_BYTES * sum(math.prod(shape) for shape in matrices)
    return Step(
        processes,
        windows,
        compute=size(model).train_flops * chars / processes / machine.flops,
        gradients=2 * spreading(GRADIENT_BYTES * numbers, processes, machine),
        muon=products / processes / machine.flops,
        updates=spreading(sent, processes, machine),
        memory=TRAINING_BYTES * numbers,
        sharded_memory=TRAINING_BYTES * numbers / processes,
    )


def spreading(sent: float, processes: int, machine: Machine) -> float:
    """Seconds until a vector, of which each process has its part, is everywhere, in rings within nodes and between
    them; adding one up and spreading it takes twice that (Patarasuk and Yuan 2009)."""
    inside, nodes = min(processes, machine.gpus), -(-processes // machine.gpus)
    between = (nodes - 1) / nodes * sent / inside / machine.between  # each GPU of a node sends its part
    return (inside - 1) / inside * sent / machine.inside + between


def _is_muons(name: str, shape: tuple[int, ...]) -> bool:
    return name.startswith("blocks.") and len(shape) == 2 and not name.endswith("taps")


def _orthogonalising(rows: int, columns: int) -> int:
    """Operations of the iteration for one matrix."""
    low, high = sorted((rows, columns))
    return ITERATIONS * (4 * low * low * high + 2 * low**3)


def models() -> dict[str, tuple[ModelConfig, int]]:
    """By name: the model, and windows in its batch. The large one has the shape of 10m, made wider and deeper."""
    small = ModelConfig(**{**preset("10m")["model"], "vocab_size": VOCABULARY})
    large = replace(small, d_model=2048, n_layers=24, n_heads=16, bottleneck=512, context=2048)
    return {"10m": (small, int(preset("10m")["training"]["batch"])), "one billion": (solve_width(large, 1e9), 512)}


def tables() -> list[Block]:
    """Both models on one GPU, on a node, and on 64 nodes."""
    machine, blocks = Machine(), list[Block]()
    for name, (model, windows) in models().items():
        blocks += [_caption(name, model), Table(_HEADING, _rows(model, windows, machine))]
    return [*blocks, _assumptions(machine)]


_HEADING = ("GPUs", "windows a step", "compute, ms", "gradients, ms", "Muon, ms", "updates, ms", "M characters/s",
            "of linear", "GB a GPU", "GB, `--shard`")  # fmt: skip


def _rows(model: ModelConfig, windows: int, machine: Machine) -> Iterable[tuple[str, ...]]:
    def rate(found: Step) -> float:
        return found.windows * model.context / found.seconds

    alone = rate(step(model, windows, 1, machine))
    for processes in (1, machine.gpus, 64 * machine.gpus):
        found = step(model, max(windows, processes), processes, machine)
        times = (found.compute, found.gradients, found.muon, found.updates)
        yield (
            f"{processes}",
            f"{found.windows}",
            *(f"{1e3 * seconds:.2f}" for seconds in times),
            f"{rate(found) / 1e6:.1f}",
            f"{100 * rate(found) / alone / processes:.0f} %",
            f"{found.memory / 1e9:.2f}",
            f"{found.sharded_memory / 1e9:.2f}",
        )


def _caption(name: str, model: ModelConfig) -> str:
    found = size(model)
    flops, sent = found.train_flops / 1e6, GRADIENT_BYTES * found.parameters / 1e6
    return (
        f"`{name}`: {found.parameters:,} parameters, {flops:,.0f} million operations a character, context "
        f"{model.context}, {sent:,.0f} MB of gradients a step."
    )


def _assumptions(machine: Machine) -> str:
    inside, between = machine.inside / 1e9, machine.between / 1e9
    return (
        f"Assumed: {machine.flops / 1e12:.0f} TFLOP/s reached a GPU in bf16, {inside:.0f} GB/s from GPU to GPU in "
        f"a node of {machine.gpus}, {between:.0f} GB/s a GPU between nodes, no overlap of computing and sending, "
        "no time to start kernels, which small models and small shares are limited by. Memory is "
        f"{TRAINING_BYTES} bytes a parameter, without activations."
    )


if __name__ == "__main__":
    print("\n".join(to_markdown(tables())))
