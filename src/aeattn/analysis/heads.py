"""What each head attends to, streamed over a text.

Shapes: B windows, T time, H heads, Q queries, K keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aeattn.analysis.capture import all_weights, attentions, layer_inputs
from aeattn.analysis.maps import pack
from aeattn.analysis.measures import measure, without_first
from aeattn.analysis.results import MEASURES, AttentionMeasures, Distribution, HeadMeasures, LayerMeasures, Maps
from aeattn.analysis.windows import Sample
from aeattn.data.tokenizer import Tokenizer
from aeattn.nn.transformer import LanguageModel


class Means:
    """Running means over queries of named figures, one a head, in float64. What is NaN is left out."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        """Each value (B, H, Q)."""
        for name, value in values.items():
            there = value.isfinite()
            total = value.double().where(there, 0.0).sum(dim=(0, 2)).cpu()
            self._sums[name] = self._sums.get(name, 0.0) + total
            self._counts[name] = self._counts.get(name, 0) + there.sum(dim=(0, 2)).cpu()

    def of_head(self, head: int) -> dict[str, float | None]:
        """Means by name; None where there was nothing."""
        counts = {name: int(count[head]) for name, count in self._counts.items()}
        return {name: float(self._sums[name][head]) / count if count else None for name, count in counts.items()}


@torch.inference_mode()
def head_measures(model: LanguageModel, sample: Sample, rows: int) -> tuple[LayerMeasures, ...]:
    """What each head of each layer attends to."""
    whole = [Means() for _ in attentions(model)]
    rest = [Means() for _ in attentions(model)]
    for inputs, _ in sample.batches(rows, next(model.parameters()).device):
        for layer, (attention, x) in enumerate(zip(attentions(model), layer_inputs(model, inputs), strict=True)):
            for weights, visible in all_weights(attention, x, sample.first_query):
                whole[layer].add({**measure(weights, visible), "first_share": weights[..., 0]})
                rest[layer].add(measure(*without_first(weights, visible)))
    return tuple(
        LayerMeasures(layer, tuple(_head(head, *means) for head in range(model.config.n_heads)))
        for layer, means in enumerate(zip(whole, rest, strict=True))
    )


def _head(head: int, whole: Means, rest: Means) -> HeadMeasures:
    return HeadMeasures(head=head, **whole.of_head(head), without_first=Distribution(**rest.of_head(head)))


def over_heads(layers: Iterable[LayerMeasures]) -> AttentionMeasures:
    """The mean of every measure over all heads of all layers."""
    heads = [head for layer in layers for head in layer.heads]
    rest = means([head.without_first for head in heads], MEASURES)
    return AttentionMeasures(**means(heads, (*MEASURES, "first_share")), without_first=Distribution(**rest))


def means(items: Sequence[object], names: Iterable[str]) -> dict[str, float | None]:
    """The mean of each attribute over those items that have a figure for it."""
    return {name: mean(getattr(item, name) for item in items) for name in names}


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is there, None where nothing is."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


@torch.inference_mode()
def weight_maps(model: LanguageModel, ids: Tensor) -> Tensor:
    """Weights of one short passage, ids (T,) -> (layers, H, T, T)."""
    caught, time = layer_inputs(model, ids[None].to(next(model.parameters()).device)), len(ids)
    maps = torch.zeros(len(caught), model.config.n_heads, time, time)
    for layer, (attention, x) in enumerate(zip(attentions(model), caught, strict=True)):
        for weights, visible in all_weights(attention, x):
            start, end = int(visible[0]) - 1, int(visible[-1])
            maps[layer, :, start:end, :end] = weights[0].cpu()
    return maps


def passage_maps(model: LanguageModel, tokenizer: Tokenizer, ids: npt.NDArray[np.integer[Any]]) -> Maps:
    """The same in few bytes, with the passage."""
    weights = weight_maps(model, torch.from_numpy(ids.astype(np.int64)))
    text, tokens = tokenizer.decode(ids), tuple(tokenizer.decode([index]) for index in ids)
    return Maps(text, pack(weights.numpy()), () if tokens == tuple(text) else tokens)
