"""What a model needs of its attention: the loss when only some of the weights are kept.

Sparse weights need not be the ones that matter (Jain and Wallace 2019, "Attention is not Explanation"), so they
are put to the test: of each query's weights in each head only the `k` largest are kept and made to sum to one
again, as in top-k attention (Gupta et al. 2021), without any further training. For scale, the `k` nearest are kept
instead; where that costs as little, attention is local rather than selective.

Shapes: B batch, H heads, Q queries, K keys.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from aeattn.analysis.capture import Keep, keeping
from aeattn.analysis.results import TOP, Ablation
from aeattn.analysis.windows import Sample
from aeattn.nn.transformer import LanguageModel


def keep_top(k: int) -> Keep:
    """The `k` largest scores of every query."""

    def keep(scores: Tensor, start: int) -> Tensor:
        best = scores.topk(min(k, scores.shape[-1]), dim=-1)
        return torch.full_like(scores, -torch.inf).scatter(-1, best.indices, best.values)

    return keep


def keep_nearest(k: int) -> Keep:
    """The last `k` tokens, the query's own among them."""

    def keep(scores: Tensor, start: int) -> Tensor:
        query = torch.arange(start, start + scores.shape[2], device=scores.device)
        key = torch.arange(scores.shape[3], device=scores.device)
        return scores.masked_fill(key < query[:, None] - (k - 1), -torch.inf)

    return keep


def keep_all_but_first(scores: Tensor, start: int) -> Tensor:
    """Everything but the first position; the first query, which sees nothing else, keeps it."""
    kept = scores.clone()
    kept[:, :, 1 if start == 0 else 0 :, 0] = -torch.inf
    return kept


@torch.inference_mode()
def loss(model: LanguageModel, sample: Sample, rows: int) -> float:
    """Nats a character over the measured queries of the sample."""
    total, count = 0.0, 0
    for inputs, targets in sample.batches(rows, next(model.parameters()).device):
        logits = model(inputs)[:, sample.first_query :]
        wanted = targets[:, sample.first_query :]
        total += float(F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").double().sum())
        count += sample.chars(wanted)
    return total / count if count else math.nan


def loss_with(
    model: LanguageModel, sample: Sample, rows: int, keep: Keep, layers: Sequence[int] | None = None
) -> float:
    """The same where attention is held to what `keep` leaves."""
    with keeping(model, keep, layers):
        return loss(model, sample, rows)


def passes(n_layers: int) -> int:
    """How often `ablate` reads the sample."""
    return 2 + 2 * len(TOP) + n_layers


def ablate(model: LanguageModel, sample: Sample, rows: int) -> Ablation:
    """The losses of the whole model, and of the model without some of its weights."""
    return Ablation(
        all=loss(model, sample, rows),
        top={k: loss_with(model, sample, rows, keep_top(k)) for k in TOP},
        nearest={k: loss_with(model, sample, rows, keep_nearest(k)) for k in TOP},
        without_first=loss_with(model, sample, rows, keep_all_but_first),
        top4_in_layer=tuple(
            loss_with(model, sample, rows, keep_top(4), [i]) for i in range(model.config.n_layers)
        ),
    )
