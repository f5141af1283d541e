"""How sparse attention is and how far it reaches: one figure for each query's distribution over keys.

    entropy          H = -sum p ln p in nats; attention whose entropy collapses trains badly (Zhai et al. 2023,
                     "Stabilizing Transformer Training by Preventing Attention Entropy Collapse")
    entropy_share    H / ln n: 1 where all n visible characters weigh the same
    effective_chars  exp(H), the number of equally weighted characters with that entropy: a perplexity, or
                     Hill's number of order 1 (Hill 1973)
    gini             0 where all weigh the same, 1 - 1/n where one has all (Hurley and Rickard 2009)
    top1 ... top16   the sum of the largest weights
    mean_distance    sum p d, in characters back; 0 is the query's own
    first_share      the weight of the first position, which often serves as a sink (Xiao et al. 2024)

Shapes: H heads, Q queries, K keys. Weights (..., Q, K) sum to one over keys and are zero for those that a query
may not see; `visible` (Q,) counts the others, which come first. Values that do not exist (of a single visible
character H / ln n, of none everything) are NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aeattn.analysis.results import TOP


def gini(weights: Tensor, visible: Tensor) -> Tensor:
    """The Gini index, (..., Q, K) -> (..., Q), from 0 to 1 - 1/n.

    1 - 2 sum_k p_(k) (n - k + 1/2) / n over weights in ascending order: one of the two measures that have all
    six properties which Hurley and Rickard 2009, "Comparing Measures of Sparsity", ask of sparsity.
    """
    ascending = weights.sort(dim=-1).values
    hidden = weights.shape[-1] - visible  # zeros of the future, which sort to the front
    rank = torch.arange(1, weights.shape[-1] + 1, device=weights.device) - hidden[:, None]
    left = (visible[:, None] - rank + 0.5).to(weights.dtype) / visible[:, None]
    return 1 - 2 * (ascending * left).sum(dim=-1)


def without_first(weights: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """The same distributions as if the first key were not there: weights (..., Q, K - 1) that sum to one again,
    and what is visible of them. NaN where the first key has all of the weight."""
    rest = weights[..., 1:]
    return rest / rest.sum(dim=-1, keepdim=True), visible - 1


def measure(weights: Tensor, visible: Tensor) -> dict[str, Tensor]:
    """All of `results.MEASURES`, each (..., Q)."""
    entropy = torch.special.entr(weights).sum(dim=-1)
    most = visible.to(weights.dtype).log().where(visible > 1, torch.nan)
    distance = visible[:, None] - 1 - torch.arange(weights.shape[-1], device=weights.device)
    return {
        "entropy_share": entropy / most,
        "effective_chars": entropy.exp(),
        "gini": gini(weights, visible),
        **{f"top{k}": weights.topk(min(k, weights.shape[-1]), dim=-1).values.sum(dim=-1) for k in TOP},
        "mean_distance": (weights * distance.clamp(min=0).to(weights.dtype)).sum(dim=-1),
    }
