"""From logits to the next character, in PyTorch: temperature, top-k, top-p.

Shapes: B sequences, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aeattn.generation.sampling import SamplingRule


def probabilities(logits: Tensor, rule: SamplingRule) -> Tensor:
    """The distribution that is drawn from, (B, V) -> (B, V), in float64; rows sum to 1.

    First temperature, then the `top_k` likeliest, then the smallest set of likeliest characters whose
    probability reaches `top_p` (nucleus, Holtzman et al. 2020). Ties go to the lower id.
    """
    logits = logits.double()
    if rule.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).double()
    scaled = (logits - logits.amax(dim=-1, keepdim=True)) / rule.temperature
    chances = scaled.softmax(dim=-1)
    if rule.top_k is None and rule.top_p is None:
        return chances
    ranked, order = chances.sort(dim=-1, descending=True, stable=True)
    keep = torch.ones_like(ranked, dtype=torch.bool)
    if rule.top_k is not None:
        keep[:, rule.top_k :] = False
    if rule.top_p is not None:
        kept = torch.where(keep, ranked, 0.0)
        before = kept.cumsum(dim=-1) - kept
        keep &= before < rule.top_p * kept.sum(dim=-1, keepdim=True)
    kept = torch.zeros_like(chances).scatter(-1, order, torch.where(keep, ranked, 0.0))
    return kept / kept.sum(dim=-1, keepdim=True)


def choose(chances: Tensor, uniform: Tensor) -> Tensor:
    """The character at which the running sum of chances (B, V) passes `uniform` (B,): ids (B,)."""
    sums = chances.cumsum(dim=-1)
    ids = torch.searchsorted(sums, (uniform * sums[:, -1]).unsqueeze(-1), right=True).squeeze(-1)
    return torch.minimum(ids, _last_possible(chances))


def _last_possible(chances: Tensor) -> Tensor:
    """Rounding must never pick a character of probability 0 at the end of the vocabulary."""
    places = torch.arange(chances.shape[-1], device=chances.device)
    return torch.where(chances > 0, places, -1).amax(dim=-1)
