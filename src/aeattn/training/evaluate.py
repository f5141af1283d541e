"""How well a model predicts a text: negative log-likelihood in nats a character, without sampling.

Every character but the first of each document is predicted exactly once. Losses are summed in float64.

Shapes: B windows, T time, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.data.batches import IGNORED, Ids, Int64, eval_windows, sliding_windows
from aeattn.data.store import TokenStore

Windows = tuple[Int64, Int64]
WINDOWS_AT_ONCE = 32


@dataclass(frozen=True)
class Score:
    """Summed loss in nats over a number of predicted characters."""

    nats: float
    chars: int

    @property
    def nats_per_char(self) -> float | None:
        """None where nothing was predicted."""
        return self.nats / self.chars if self.chars else None

    @property
    def bits_per_char(self) -> float | None:
        return None if self.nats_per_char is None else self.nats_per_char / math.log(2)

    def __add__(self, other: Score) -> Score:
        return Score(self.nats + other.nats, self.chars + other.chars)

    def to_dict(self) -> dict[str, float | int | None]:
        return {"nats_per_char": self.nats_per_char, "bits_per_char": self.bits_per_char, "chars": self.chars}


NOTHING = Score(0.0, 0)


def score_windows(model: nn.Module, windows: Iterable[Windows]) -> Score:
    """The summed loss of windows of inputs and targets, each (B, T); targets of -1 are not scored."""
    device = next(model.parameters()).device
    total, was_training = NOTHING, model.training
    model.eval()
    with torch.inference_mode():
        for inputs, targets in windows:
            logits = model(torch.from_numpy(inputs).to(device))
            total = total + _score(logits, torch.from_numpy(targets).to(device))
    model.train(was_training)
    return total


def _score(logits: Tensor, targets: Tensor) -> Score:
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    return Score(float(losses.double().sum()), int((targets != IGNORED).sum()))


def evaluate(model: nn.Module, ids: Ids, context: int) -> Score:
    """The loss over a whole document with fixed, neighbouring windows of `context` characters."""
    return score_windows(model, eval_windows(ids, 0, len(ids), context, WINDOWS_AT_ONCE))


def evaluate_sliding(model: nn.Module, ids: Ids, context: int, stride: int | None = None) -> Score:
    """The loss where every prediction sees at least `context - stride` characters, if there are as many.

    The stride is a quarter of the context unless given.
    """
    step = max(1, context // 4) if stride is None else stride
    return score_windows(model, sliding_windows(ids, 0, len(ids), context, step, WINDOWS_AT_ONCE))


def evaluate_store(model: nn.Module, store: TokenStore, context: int) -> list[tuple[str, Score]]:
    """Name and score of every document of a store."""
    return [(name, evaluate(model, ids, context)) for name, ids in store.texts()]


def total(scores: Iterable[Score]) -> Score:
    """The sum of scores."""
    return sum(scores, NOTHING)


def sample_windows(store: TokenStore, context: int, chars: int) -> list[Windows]:
    """Evenly spaced windows of a store, about `chars` characters in all: the same ones for a whole run."""
    places = [(ids, at) for _, ids in store.texts() for at in range(0, max(0, len(ids) - 1), context)]
    wanted = min(len(places), max(1, -(-chars // context)))
    picked = [places[i * len(places) // wanted] for i in range(wanted)]
    windows = [next(eval_windows(ids, at, min(len(ids), at + context + 1), context)) for ids, at in picked]
    groups = [windows[i : i + WINDOWS_AT_ONCE] for i in range(0, wanted, WINDOWS_AT_ONCE)]
    return [(np.concatenate([x for x, _ in g]), np.concatenate([y for _, y in g])) for g in groups]
