"""What is kept of past characters, so that a new character costs one step and not a whole pass.

A *full* cache keeps keys and values. A *latent* cache keeps the codes they would be decoded from, and decoded
keys and values never exist (`attention.py`).

Shapes: B batch, T time, G groups of heads that share what is kept, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor


class LayerCache:
    """What one layer keeps of each character, by name, (B, G, T, width), and the last inputs of its short
    convolutions, by what they stand before.

    The arrays are allocated once, for `capacity` characters, when the first character arrives.
    """

    def __init__(self, capacity: int, latent: bool) -> None:
        self.capacity, self.latent = capacity, latent
        self.length = 0
        self.inputs: dict[str, Tensor] = {}
        self._kept: dict[str, Tensor] = {}

    def append(self, new: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add (B, G, t, width) of each name; return all so far. Raises ValueError beyond the capacity."""
        end = self.length + next(iter(new.values())).shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} characters, {end} are asked for")
        if not self._kept:
            self._kept = {name: x.new_empty(*x.shape[:2], self.capacity, x.shape[3]) for name, x in new.items()}
        held, sequences = (next(iter(each.values())).shape[0] for each in (self._kept, new))
        if sequences != held:
            raise ValueError(f"the cache holds {held} sequences, not {sequences}: make a new one for each batch")
        for name, x in new.items():
            self._kept[name][:, :, self.length : end] = x
        self.length = end
        return {name: x[:, :, :end] for name, x in self._kept.items()}

    def __repr__(self) -> str:
        kept = "codes" if self.latent else "keys and values"
        return f"LayerCache({kept} of {self.length} positions of {self.capacity}, {self.bytes:,} bytes)"

    @property
    def bytes(self) -> int:
        """Bytes really allocated."""
        return sum(t.numel() * t.element_size() for t in (*self._kept.values(), *self.inputs.values()))


class Cache:
    """One `LayerCache` a layer.

    `padding`, (B,), is how many places at the start of each row are no characters: so prompts of different
    lengths end together. What is computed there is never looked at.
    """

    def __init__(self, n_layers: int, capacity: int, latent: bool, padding: Tensor | None = None) -> None:
        self.layers = [LayerCache(capacity, latent) for _ in range(n_layers)]
        self.latent, self.padding = latent, padding

    @property
    def length(self) -> int:
        """Places held."""
        return self.layers[0].length

    @property
    def bytes(self) -> int:
        """Bytes really allocated, over all layers."""
        return sum(layer.bytes for layer in self.layers)

    def begin(self, time: int, device: torch.device) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """For the next `time` characters: their positions, (T,) or (B, T); and with padding, which of them are
        padding, (B, T, 1), and what is added to the scores so that no character sees any, (B, 1, Tq, Tk)."""
        places = torch.arange(self.length + time, device=device)
        new = places[self.length :]
        if self.padding is None:
            return new, None, None
        before = self.padding[:, None]
        hidden = (places < before)[:, None, :] & (new >= before)[:, :, None]  # padding may see itself
        mask = torch.zeros(hidden.shape, device=device).masked_fill(hidden, float("-inf"))
        return (new - before).clamp(min=0), (new < before)[:, :, None], mask[:, None]


def past_inputs(cache: LayerCache | None, name: str, x: Tensor, width: int) -> Tensor:
    """`x` (B, T, D) with the `width - 1` inputs of that convolution before it in front: (B, T + width - 1, D).

    Zeros stand for what was before the first character. The cache, if any, is moved on.
    """
    before = None if cache is None else cache.inputs.get(name)
    if before is None:
        before = x.new_zeros(x.shape[0], width - 1, x.shape[2])
    joined = torch.cat([before, x], dim=1)
    if cache is not None:
        cache.inputs[name] = joined[:, joined.shape[1] - (width - 1) :].clone()
    return joined
