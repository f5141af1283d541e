"""The weights of one projection by the names that kinds give them, as the compiled engine takes them.

Where nothing stands between two matrices their product is taken, in float64.

Shapes: D model, E first product, H heads, G heads of keys and values, C head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aeattn.config.model import ModelConfig
from aeattn.config.projections import Role
from aeattn.nn.size import widths

Array = npt.NDArray[np.float32]
Wide = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ProjectionWeights:
    """A projection whose code comes in parts: one, or one a head.

    `encoders` (E, D), `middle` (E, E), `narrow` (E, code) and `gain` (code,) are those of each part, or empty.
    `decoders` (H or G, C, code) is None where the code is the result; `blocks` is how many heads have their own
    part of the code, 1 where all read the same. `gelu`: whether it follows encoders and middle matrices.
    """

    encoders: list[Wide]
    middle: list[Wide]
    narrow: list[Wide]
    gain: list[Wide]
    decoders: Wide | None
    blocks: int
    gelu: bool

    @property
    def hidden(self) -> int:
        """Width of the first product of a part."""
        return int(self.encoders[0].shape[0])

    @property
    def width(self) -> int:
        """Width of the code of a part."""
        return int(self.narrow[0].shape[1]) if self.narrow else self.hidden

    @property
    def stride(self) -> int:
        """Room that a part needs until it is a code."""
        return max(self.hidden, self.width)

    def encoder(self) -> Wide:
        """All encoders as one, (parts x stride, D)."""
        rest = self.stride - self.hidden
        return np.concatenate([np.pad(encoder, ((0, rest), (0, 0))) for encoder in self.encoders])


def read(config: ModelConfig, get: Callable[[str], Array], layer: int, role: Role) -> ProjectionWeights:
    """What makes queries, keys or values of a layer; `get` has the layer's weights by name."""
    kind, heads = config.projection(role, layer), config.heads(role)
    own = range(heads) if config.per_head else ()
    parts = [f"attention.{role}.heads.{h}." for h in own] or [f"attention.{role}."]
    shapes = kind.shapes(widths(config, role))

    def each(weight: str) -> list[Wide]:
        return [get(part + weight) for part in parts] if weight in shapes else []

    encoders, middle, narrow = (each(f"{name}.weight") for name in ("encoder", "middle", "narrow"))
    if kind.compiled == "linear":
        chains = zip(encoders, *filter(None, (middle, narrow)), strict=True)
        encoders, middle, narrow = [_product(*chain) for chain in chains], [], []
    decoders, blocks = None, heads
    if kind.has_decoder:
        stacked = np.stack([decoder.astype(np.float64) for decoder in each("decoder.weight")])
        decoders, blocks = stacked.reshape(heads, config.d_head, stacked.shape[-1]), len(parts)
    middle, narrow = [m.T for m in middle], [n.T for n in narrow]
    return ProjectionWeights(
        encoders, middle, narrow, each("gain"), decoders, blocks, gelu=kind.compiled == "gelu"
    )


def _product(encoder: Wide, *after: Wide) -> Wide:
    """An encoder (E, D) and the matrices after it as one, (out, D)."""
    for matrix in after:
        encoder = matrix.astype(np.float64) @ encoder
    return encoder
