"""Dropout whose masks cost little on a CPU.

PyTorch draws a number an element there, one thread after the other, and its compiler's own generator takes longer
still; here one 64-bit number gives the masks of four elements.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 1 << 16  # a probability is rounded to this fraction
ELEMENTS_A_WORD = 4


class Dropout(nn.Module):
    """`nn.Dropout` (Srivastava et al. 2014), any shape to the same: each element is zero with probability `p`,
    to the nearest 1/65536, and else divided by 1 - p. Random numbers are PyTorch's."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return dropout_by_words(x, self.p) if x.device.type == "cpu" else F.dropout(x, self.p)


def dropout_by_words(x: Tensor, p: float) -> Tensor:
    """`F.dropout(x, p)` with sixteen random bits an element."""
    dropped = min(round(p * LEVELS), LEVELS - 1)
    n_words = -(-x.numel() // ELEMENTS_A_WORD)
    words = torch.empty(n_words, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    draws = words.view(torch.int16)[: x.numel()].view(x.shape)
    kept = draws >= dropped - LEVELS // 2
    return torch.where(kept, x * (LEVELS / (LEVELS - dropped)), 0)
