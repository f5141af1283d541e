"""The slow twin of attention: the same output, made from weights that can be looked at and changed.

It takes queries, keys, values and biases from the module's own parts and changes nothing about the module: inputs
are caught with hooks, weights are computed again from them, a block of queries at a time, so that memory grows
with the length of a window and not with its square.

Shapes: B batch, T time, D width, H heads, G heads of keys and values, C head width, Q queries of a block,
K keys up to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from aeattn.nn.attention import Attention, by_group
from aeattn.nn.transformer import Block, LanguageModel

QUERIES_AT_ONCE = 128
Keep = Callable[[Tensor, int], Tensor]
"""Scores (B, H, Q, K) and the position of the first query -> scores, minus infinity where a key is forgotten."""


def attentions(model: LanguageModel) -> list[Attention]:
    """The attention of each layer."""
    return [block.attention for block in model.blocks if isinstance(block, Block)]


def layer_inputs(model: LanguageModel, ids: Tensor) -> list[Tensor]:
    """The input (B, T, D) of every layer's attention when the model reads ids (B, T)."""
    caught: list[Tensor] = []
    with ExitStack() as hooks:
        for attention in attentions(model):
            handle = attention.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
            hooks.callback(handle.remove)
        model(ids)
    return caught


def all_scores(attention: Attention, q_BHTC: Tensor, k_BGTC: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The scores before the softmax, (B, H, Q, K), and the position of the first query, block by block."""
    for start in range(0, q_BHTC.shape[2], QUERIES_AT_ONCE):
        end = min(start + QUERIES_AT_ONCE, q_BHTC.shape[2])
        scores = by_group(q_BHTC[:, :, start:end], k_BGTC[:, :, :end].transpose(-2, -1)).float()
        bias = attention.bias(end - start, end, None, scores.device)
        yield start, scores if bias is None else scores + bias


def all_weights(attention: Attention, x: Tensor, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Weights (B, H, Q, K) of an input (B, T, D) and the number of keys visible to each query, (Q,), block by
    block, without the queries before `first`."""
    q, k, *_ = attention.queries_and_keys(x)
    for start, scores in all_scores(attention, q, k):
        skipped = max(0, first - start)
        if skipped < scores.shape[2]:
            visible = torch.arange(start + skipped, start + scores.shape[2], device=x.device) + 1
            yield scores[:, :, skipped:].softmax(dim=-1), visible


def rebuild(attention: Attention, x: Tensor, ids: Tensor | None = None, keep: Keep | None = None) -> Tensor:
    """What the module returns for (B, T, D) and ids (B, T), made from its weights; from those alone that `keep`
    leaves, which then sum to one again."""
    q, k, v_code, gates = attention.queries_and_keys(x)
    v = attention.values(v_code, ids)
    blocks = []
    for start, scores in all_scores(attention, q, k):
        kept = scores if keep is None else keep(scores, start)
        blocks.append(by_group(kept.softmax(dim=-1).to(v.dtype), v[:, :, : scores.shape[-1]]))
    mixed = torch.cat(blocks, dim=2)
    return attention.merge(mixed if gates is None else mixed * gates)


@contextmanager
def keeping(model: LanguageModel, keep: Keep, layers: Iterable[int] | None = None) -> Iterator[None]:
    """The model attends only to what `keep` leaves, in the layers named or in all of them."""

    def instead(module: Any, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
        x, *ids = inputs
        return rebuild(module, x, ids[0] if ids else None, keep)

    chosen = attentions(model)
    with ExitStack() as hooks:
        for layer in range(len(chosen)) if layers is None else layers:
            hooks.callback(chosen[layer].register_forward_hook(instead).remove)
        yield
