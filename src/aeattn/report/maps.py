"""Attention maps with their tokens: a row a layer, a column a head."""

from __future__ import annotations

import json
from collections.abc import Sequence

from markupsafe import Markup

from aeattn.analysis.maps import Float32, shortened, unpack
from aeattn.analysis.results import Maps
from aeattn.report.blocks import Figure
from aeattn.report.svg import hint, picture, words

LEVELS = 6  # of darkness
CELL = 7  # units of a weight, in which a character can be read
GAP, HEAD = 14, 22  # between maps, and for the names of heads and layers
EDGE, WIDE_EDGE = 12, 48  # for the characters of a map, and for longer tokens
SIGNS = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}
HOW_TO_READ = (
    "Queries go down, keys to the right, both are the tokens of the passage; the darker, the larger the "
    "weight (its square root is drawn). Point at a cell for its weight."
)


def map_figure(label: str, maps: Maps) -> Figure | None:
    """All heads of a model on one passage; None where the maps are damaged."""
    try:
        grid = [[unpack(head) for head in layer] for layer in maps.weights]
    except ValueError:
        return None
    if not grid or not grid[0]:
        return None
    size = len(grid[0][0])
    labels = ["".join(map(_sign, label)) for label in maps.labels(size)]
    edge = EDGE if max(map(len, labels), default=1) == 1 else WIDE_EDGE
    pitch = edge + CELL * size + GAP
    parts = [words(HEAD + edge + j * pitch, 13, f"head {j + 1}", "micro", "start") for j in range(len(grid[0]))]
    for i, layer in enumerate(grid):
        name = Markup(
            '<text class="micro" text-anchor="middle" transform="translate(12 {}) rotate(-90)">layer {}</text>'
        )
        parts.append(name.format(HEAD + i * pitch + edge + CELL * size // 2, i + 1))
        for j, weights in enumerate(layer):
            at = HEAD + edge + j * pitch, HEAD + edge + i * pitch
            named = f"layer {i + 1}, head {j + 1}"
            parts.append(_tile(named, weights, maps.weights[i][j], labels, *at))
    width, height = HEAD + pitch * len(grid[0]), HEAD + pitch * len(grid)
    passage = " ".join(maps.text.split())
    alt = f"{len(grid)} layers of {len(grid[0])} heads on the passage \u201c{passage}\u201d."
    return Figure(picture(f"Attention maps, {label}", alt, width, height, parts, natural=True), title=label)


def _sign(character: str) -> str:
    """A character as one that can be seen."""
    known = SIGNS.get(character, character)
    return known if known.isprintable() and ord(known) < 0x10000 else "\u25a1"


def _tile(name: str, weights: Float32, packed: str, labels: Sequence[str], x: int, y: int) -> Markup:
    """One head: its weights, and the tokens above it and left of it."""
    size = len(weights)
    tile = Markup("")
    if labels:
        tile = (_chars if max(map(len, labels)) == 1 else _tokens)(labels)
    edge = Markup('<path class="tile" d="M0 0V{0}H{0}z"/>').format(size)
    drawn = Markup('<g transform="scale({})">{}{}</g>').format(CELL, edge, _shade(weights))
    cells = Markup(
        '<g class="map" data-weights="{}" data-tokens="{}" data-cell="{}" transform="translate({} {})">{}{}{}</g>'
    )
    return cells.format(packed, json.dumps(labels, ensure_ascii=False), CELL, x, y, hint(name), tile, drawn)


def _chars(labels: Sequence[str]) -> Markup:
    """One text of many places."""
    across = " ".join(f"{CELL * (i + 0.5):g}" for i in range(len(labels)))
    down = " ".join(f"{CELL * (i + 0.5) + 2.4:g}" for i in range(len(labels)))
    text = Markup('<text class="chars" x="{}" y="{}">{}</text>')
    return text.format(across, "-3", "".join(labels)) + text.format(
        " ".join(["-6"] * len(labels)), down, "".join(labels)
    )


def _tokens(labels: Sequence[str]) -> Markup:
    """A text each, those above turned."""
    above = Markup('<text class="token" transform="translate({:g} -3) rotate(-90)">{}</text>')
    beside = Markup('<text class="token" text-anchor="end" x="-3" y="{:g}">{}</text>')
    places = [(CELL * (i + 0.5) + 2.4, shortened(label)) for i, label in enumerate(labels)]
    return Markup("").join(text.format(*place) for place in places for text in (above, beside))


def _shade(weights: Float32) -> Markup:
    """Runs of equal darkness as one path a level."""
    levels = (LEVELS * weights**0.5 + 0.35).astype(int).clip(0, LEVELS)
    paths: dict[int, list[str]] = {}
    for y, row in enumerate(levels):
        x = 0
        while x <= y:
            run = next((n for n in range(x, y + 1) if row[n] != row[x]), y + 1) - x
            if row[x]:
                paths.setdefault(int(row[x]), []).append(f"M{x} {y}h{run}v1h-{run}z")
            x += run
    drawn = (Markup('<path class="m{}" d="{}"/>').format(level, "".join(d)) for level, d in sorted(paths.items()))
    return Markup("").join(drawn)
