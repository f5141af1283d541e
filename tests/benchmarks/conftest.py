"""A stand-in for nanoGPT; and measurements of ceilings last a moment: their figures are not tested."""

from __future__ import annotations

from pathlib import Path

import pytest

NANOGPT = """
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool

class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        print("number of parameters: many")
        self.embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.layer = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.head = nn.Linear(4 * config.n_embd, config.vocab_size)

    def forward(self, x, y):
        logits = self.head(self.layer(self.embedding(x)))
        return logits, nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())

    def generate(self, ids, chars, temperature):
        return torch.cat([ids, torch.zeros(len(ids), chars, dtype=torch.long)], dim=1)
"""


@pytest.fixture
def nanogpt(tmp_path: Path) -> Path:
    """A checkout of something that has nanoGPT's interface."""
    folder = tmp_path / "nanogpt"
    folder.mkdir()
    (folder / "model.py").write_text(NANOGPT, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aeattn.benchmarks.ceilings.SECONDS", 0.01)
    monkeypatch.setattr("aeattn.benchmarks.ceilings.SIDE", 128)
    monkeypatch.setattr("aeattn.benchmarks.encoding.CHARS", 1 << 16)
    monkeypatch.setattr("aeattn.benchmarks.ceilings.MEMORY_NUMBERS", 1 << 20)
