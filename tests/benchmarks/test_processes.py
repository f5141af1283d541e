"""What is said of many processes, on paper and measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from aeattn.benchmarks import processes, scale, tables
from aeattn.benchmarks.processes import PARTS, Task, bench_processes
from aeattn.benchmarks.tables import to_markdown
from aeattn.nn.size import parameters
from aeattn.nn.transformer import LanguageModel
from aeattn.training.exchange import Exchange
from aeattn.training.optimizers import block_matrices
from aeattn.training.processes import Processes
from tests.conftest import tiny_config

ROOT = Path(__file__).parents[2]


def test_the_page_holds_what_the_program_says() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert page.endswith("\n".join(to_markdown(scale.tables())) + "\n")


def test_bytes_on_paper_are_those_that_are_sent() -> None:
    sent: list[int] = []

    class Counting(Processes):
        def add_up(self, tensor: Tensor) -> None:
            sent.append(tensor.nbytes)

    model = LanguageModel(tiny_config())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    Exchange(Counting(0, 2), list(model.parameters())).average_gradients()
    assert sent == [scale.GRADIENT_BYTES * parameters(model.config)]
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    muons = sorted(shape for name, shape in shapes.items() if scale._is_muons(name, shape))
    assert muons == sorted(tuple(p.shape) for p in block_matrices(model))


def test_what_sending_takes() -> None:
    machine = scale.Machine(flops=1.0, inside=10.0, between=1.0, gpus=2)
    assert scale.spreading(20, 1, machine) == 0
    assert scale.spreading(20, 2, machine) == 1.0  # half of it goes to the other
    assert scale.spreading(20, 4, machine) == 1.0 + 5.0  # each sends its half, of which the other node has half


def test_rounds_become_rates_and_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(task: Task, count: int) -> dict[str, float]:
        return {**dict.fromkeys(PARTS, 0.5 / count), "threads": 2 // count, "warm_up": 3.0}

    monkeypatch.setattr(processes, "_measured", measured)
    found = bench_processes([1, 2], batch=4, context=8, rounds=2, compile_=False)
    assert list(found.shared) == ["1", "2", "2, bf16"]
    assert found.shared["1"].chars_per_second.rounds == (16.0, 16.0)
    assert found.ratio["2"].median == 2.0
    assert found.shared["2"].parts["sending"] == 250.0
    (table,) = tables.processes(found)
    assert "2, bf16" in to_markdown([table])[-1]
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert record["shared"]["2"]["threads"] == 1
    assert record["shared"]["2"]["chars_per_second"]["warm_up_seconds"] == 3.0
