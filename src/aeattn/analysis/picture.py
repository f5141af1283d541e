"""The picture that `aeattn inspect` leaves in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeattn.analysis.maps import unpack
from aeattn.analysis.results import HeadMeasures, Inspection, Maps
from aeattn.files import replacing
from aeattn.terminal.escaping import printable

SHOWN = (
    ("effective_chars", "effective characters, exp(H)"),
    ("mean_distance", "mean distance, characters"),
    ("first_share", "share on the first position"),
)


def draw(result: Inspection, path: Path) -> None:
    """Attention maps, one row a layer and one column a head, over bars of what each head measures, as a PNG."""
    from matplotlib.figure import Figure  # here: matplotlib takes half a second to import

    assert result.maps is not None
    n_layers, n_heads = len(result.layers), len(result.layers[0].heads)
    columns = max(3, n_heads)
    figure = Figure(figsize=(1.7 * columns + 1, 1.9 * n_layers + 3), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.9 * n_layers, 2.6])
    upper, lower = parts
    _draw_maps(upper, result.maps)
    _draw_bars(lower, result.by_head)
    title = f"{printable(result.run)}: what each head attends to"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _draw_maps(figure: Any, maps: Maps) -> None:
    grid = figure.subplots(len(maps.weights), len(maps.weights[0]), squeeze=False)
    for i, layer in enumerate(maps.weights):
        for j, packed in enumerate(layer):
            axes = grid[i][j]
            axes.imshow(unpack(packed) ** 0.5, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_color("#d0d5dd")
            if i == 0:
                axes.set_title(f"head {j + 1}", fontsize=8)
            if j == 0:
                axes.set_ylabel(f"layer {i + 1}", fontsize=8)
    about = f"keys to the right, queries down; square root of the weight; {_plain(maps.text)}"
    figure.supxlabel(about, fontsize=7)


def _draw_bars(figure: Any, heads: Mapping[str, HeadMeasures]) -> None:
    for axes, (name, label) in zip(figure.subplots(1, len(SHOWN)), SHOWN, strict=True):
        bars = {head.replace("/", "."): getattr(measured, name) or 0.0 for head, measured in heads.items()}
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
