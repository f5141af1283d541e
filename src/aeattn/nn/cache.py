"""What is kept of past characters, so that a new character costs one step and not a whole pass.

Shapes: B batch, T time, H heads, C head width, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor


class LayerCache:
    """Keys and values of one layer, (B, H, T, C), and the last inputs of its short convolution.

    The arrays are allocated once, for `capacity` characters, when the first key arrives.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self.inputs: Tensor | None = None
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, H, t, C) keys and values; return all so far. Raises ValueError beyond the capacity."""
        end = self.length + keys.shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} characters, {end} are asked for")
        if self._keys is None or self._values is None:
            self._keys, self._values = self._allocate(keys), self._allocate(values)
        self._keys[:, :, self.length : end] = keys
        self._values[:, :, self.length : end] = values
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def _allocate(self, like: Tensor) -> Tensor:
        return like.new_empty(like.shape[0], like.shape[1], self.capacity, like.shape[3])

    @property
    def bytes(self) -> int:
        """Bytes really allocated."""
        held = (self._keys, self._values, self.inputs)
        return sum(t.numel() * t.element_size() for t in held if t is not None)


class Cache:
    """One `LayerCache` a layer."""

    def __init__(self, n_layers: int, capacity: int) -> None:
        self.layers = [LayerCache(capacity) for _ in range(n_layers)]

    @property
    def length(self) -> int:
        """Characters held."""
        return self.layers[0].length

    @property
    def bytes(self) -> int:
        """Bytes really allocated, over all layers."""
        return sum(layer.bytes for layer in self.layers)


def past_inputs(cache: LayerCache | None, x: Tensor, width: int) -> Tensor:
    """`x` (B, T, D) with the `width - 1` inputs before it in front: (B, T + width - 1, D).

    Zeros stand for what was before the first character. The cache, if any, is moved on.
    """
    before = None if cache is None else cache.inputs
    if before is None:
        before = x.new_zeros(x.shape[0], width - 1, x.shape[2])
    joined = torch.cat([before, x], dim=1)
    if cache is not None:
        cache.inputs = joined[:, joined.shape[1] - (width - 1) :].clone()
    return joined
