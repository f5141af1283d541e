"""The picture that `aeattn inspect` leaves in a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aeattn.analysis.maps import shortened, unpack
from aeattn.analysis.results import HeadMeasures, Inspection, Maps
from aeattn.files import replacing
from aeattn.terminal.escaping import printable

SHOWN = (
    ("effective_chars", "effective tokens, exp(H)"),
    ("mean_distance", "mean distance, tokens"),
    ("first_share", "share on the first position"),
)
LEAST = 0.01  # of a measure, below which there is nothing to see in any of its bars


def draw(result: Inspection, path: Path) -> None:
    """Attention maps, one row a layer and one column a head, over bars of what each head measures, as a PNG."""
    from matplotlib.figure import Figure  # here: matplotlib takes half a second to import

    assert result.maps is not None
    n_layers, n_heads = len(result.layers), len(result.layers[0].heads)
    columns = max(3, n_heads)
    figure = Figure(figsize=(2.5 * columns + 0.6, 2.6 * n_layers + 3.2), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.6 * n_layers, 2.8])
    upper, lower = parts
    _draw_maps(upper, result.maps)
    _draw_bars(lower, result.by_head)
    title = f"{printable(result.run)}: what each head attends to"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _draw_maps(figure: Any, maps: Maps) -> None:
    """With the passage, where each of its tokens has a weight: queries at the left, keys above."""
    grid = figure.subplots(len(maps.weights), len(maps.weights[0]), squeeze=False)
    for i, layer in enumerate(maps.weights):
        for j, packed in enumerate(layer):
            axes, weights = grid[i][j], unpack(packed)
            axes.imshow(weights**0.5, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
            _name_cells(axes, maps.labels(len(weights)))
            axes.spines[:].set_color("#d0d5dd")
            axes.set_title(f"layer {i + 1}, head {j + 1}", fontsize=8, loc="left")
    about = (
        f"queries go down, keys to the right; the darker, the larger the weight (its root); {_plain(maps.text)}"
    )
    figure.supxlabel(about, fontsize=7, parse_math=False)


def _name_cells(axes: Any, labels: Sequence[str]) -> None:
    places, signs = list(range(len(labels))), [shortened("".join(map(_sign, label))) for label in labels]
    axes.xaxis.tick_top()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(places, signs, fontsize=5, family="monospace", parse_math=False)
    if max(map(len, signs), default=1) > 1:
        axes.tick_params(axis="x", rotation=90)
    axes.tick_params(length=0, pad=1)


def _sign(character: str) -> str:
    """A character as one that is seen and can be drawn."""
    known = {" ": "\u2423", "\n": "\u21b5"}.get(character, character)
    return known if known in "\u2423\u21b5" or (known.isascii() and known.isprintable()) else "\u25a1"


def _draw_bars(figure: Any, heads: Mapping[str, HeadMeasures]) -> None:
    """A panel for each measure that any head has; those that are 0 in all heads are left out."""
    figures = {
        label: {head.replace("/", "."): getattr(measured, name) or 0.0 for head, measured in heads.items()}
        for name, label in SHOWN
    }
    shown = {label: bars for label, bars in figures.items() if max(bars.values()) >= LEAST}
    for axes, (label, bars) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        axes.bar(list(bars), list(bars.values()), color="#0b6e99", width=0.7)
        axes.set_title(label, fontsize=8, loc="left")
        axes.tick_params(labelsize=6)
        axes.spines[["top", "right"]].set_visible(False)
        if len(bars) > 16:
            axes.set_xticks([])
        axes.set_xlabel("layer.head", fontsize=7)


def _plain(text: str) -> str:
    """The passage without what matplotlib would read as a formula or could not draw."""
    shown = "".join(c if c.isascii() and c.isprintable() and c not in "$\\" else " " for c in text)
    return f'"{shown.strip()}"'
