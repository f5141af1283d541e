"""What each head looks at in a short text, as numbers and as pictures: `TextModel.attention`.

Shapes: L layers, H heads, T tokens (q queries, k keys).
"""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from aeattn.api.attention_picture import Picture

SHOWN_WEIGHTS = 2_000_000  # in a notebook; each takes up to a byte of the page


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """The attention weights of a text, which show themselves in a notebook.

    Layers and heads are counted from 1 where people see them, in pictures and arguments; `weights` is a tensor,
    whose indices begin at 0.

    Stable: attributes and methods.

    Attributes:
        tokens: The text of each token, T of them.
        weights: (L, H, Tq, Tk), float32, on the CPU. Each row sums to 1; what lies in the future is 0.
    """

    tokens: tuple[str, ...]
    weights: Tensor

    def head(self, layer: int, head: int) -> Tensor:
        """The weights of one head.

        Args:
            layer: Counted from 1.
            head: Counted from 1.

        Returns:
            Weights (Tq, Tk).

        Raises:
            ValueError: A layer or a head that is not there.
        """
        self._check(layer, head)
        return self.weights[layer - 1, head - 1]

    def plot(self, layer: int | None = None, head: int | None = None) -> Picture:
        """Draw the maps: keys to the right, queries down, darker for more; the square root of each weight, so that
        small ones can be seen.

        Args:
            layer: Only this layer, counted from 1.
            head: Only this head, counted from 1. One head of one layer is drawn large, with the tokens beside it.

        Returns:
            A matplotlib Figure, which shows itself in a notebook; `figure.savefig("maps.png")` writes it.

        Raises:
            ValueError: A layer or a head that is not there.
        """
        self._check(layer, head)
        from aeattn.api.attention_picture import draw  # here: matplotlib takes half a second to import

        return draw(self, layer, head)

    def _check(self, layer: int | None, head: int | None) -> None:
        for what, number, count in (
            ("layer", layer, self.weights.shape[0]),
            ("head", head, self.weights.shape[1]),
        ):
            if number is not None and not 1 <= number <= count:
                raise ValueError(f"{what} is {number}: choose from 1 to {count}")

    def __repr__(self) -> str:
        layers, heads, time, _ = self.weights.shape
        text = "".join(self.tokens)
        shown = text if len(text) <= 24 else f"{text[:24]}..."
        return f"AttentionMaps({layers} layers, {heads} heads, {time} tokens: {shown!r})"

    def _repr_html_(self) -> str:
        from aeattn.api.attention_picture import png

        layers, heads, time, _ = self.weights.shape
        most = max(1, SHOWN_WEIGHTS // (time * time))
        names = [(layer, head) for layer in range(1, layers + 1) for head in range(1, heads + 1)]
        figures = [_figure(png(self.head(*name)), "layer {}, head {}".format(*name)) for name in names[:most]]
        left = f" {len(names) - most} more heads: <code>.plot()</code>." if len(names) > most else ""
        return (
            '<div style="color:inherit"><div style="display:grid;gap:.6em;'
            f'grid-template-columns:repeat({heads},minmax(4em,9em))">{"".join(figures)}</div>'
            "<div>Keys to the right, queries down; the square root of each weight. Text: "
            f"<code>{html.escape(''.join(self.tokens))}</code>{left}</div></div>"
        )


def _figure(picture: bytes, name: str) -> str:
    source = base64.b64encode(picture).decode("ascii")
    return (
        f'<figure style="margin:0"><img alt="{name}" title="{name}" src="data:image/png;base64,{source}" '
        'style="width:100%;image-rendering:pixelated;border:1px solid;border-color:rgba(128,128,128,.5)">'
        f'<figcaption style="font-size:smaller">{name}</figcaption></figure>'
    )
