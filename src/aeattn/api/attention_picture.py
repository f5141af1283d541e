"""Attention maps as pictures.

Shapes: L layers, H heads, T tokens (q queries, k keys).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imsave
from torch import Tensor

from aeattn.terminal.escaping import printable

if TYPE_CHECKING:
    from aeattn.api.attention_maps import AttentionMaps

COLOUR = (0.16, 0.52, 0.80)  # seen on white and on black
LABELLED = 64  # tokens beside one head that can still be read
SIGNS = {" ": "␣", "\n": "⏎", "\t": "⇥"}


class Picture(Figure):
    """A figure that shows itself in a notebook, without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def png(weights: Tensor) -> bytes:
    """Weights (Tq, Tk) as a picture of as many points, transparent where they are 0: fit for a light page and for
    a dark one."""
    alpha = weights.clamp(0, 1).sqrt().numpy()
    colours = np.broadcast_to(np.array(COLOUR, np.float32), (*alpha.shape, 3))
    buffer = io.BytesIO()
    imsave(buffer, np.concatenate([colours, alpha[..., None]], axis=-1), format="png")
    return buffer.getvalue()


def draw(maps: AttentionMaps, layer: int | None, head: int | None) -> Picture:
    """All maps, those of a layer or of a head in every layer, or one, large and labelled."""
    n_layers, n_heads = maps.weights.shape[:2]
    layers = range(n_layers) if layer is None else [layer - 1]
    heads = range(n_heads) if head is None else [head - 1]
    one = len(layers) == len(heads) == 1
    side = 5.0 if one else 1.7
    figure = Picture(figsize=(side * len(heads) + 0.8, side * len(layers) + 0.6), layout="constrained")
    grid = figure.subplots(len(layers), len(heads), squeeze=False)
    for axes_of_layer, i in zip(grid, layers, strict=True):
        for axes, j in zip(axes_of_layer, heads, strict=True):
            axes.imshow(maps.weights[i, j].sqrt().numpy(), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(f"layer {i + 1}, head {j + 1}", fontsize=9 if one else 7)
            _label(axes, maps.tokens if one and len(maps.tokens) <= LABELLED else ())
    figure.supxlabel("keys to the right, queries down; square root of the weight", fontsize=8)
    return figure


def _label(axes: Any, tokens: tuple[str, ...]) -> None:
    """Tokens along both axes; what matplotlib has no letter for is written as an escape."""
    shown = [SIGNS.get(token, printable(token)) for token in tokens]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(len(shown)), labels=shown, fontsize=7, parse_math=False)
    axes.tick_params(length=0)
