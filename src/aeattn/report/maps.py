"""Attention maps with their characters: a row a layer, a column a head."""

from __future__ import annotations

from markupsafe import Markup

from aeattn.analysis.maps import Float32, unpack
from aeattn.analysis.results import Maps
from aeattn.report.blocks import Figure
from aeattn.report.svg import hint, picture, words

LEVELS = 6  # of darkness
CELL = 7  # units of a weight, in which a character can be read
EDGE, GAP, HEAD = 12, 14, 22  # for the characters of a map, between maps, and for the names of heads and layers
SIGNS = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}
HOW_TO_READ = (
    "Queries go down, keys to the right, both are the characters of the passage; the darker, the larger the "
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
    chars = [_sign(c) for c in maps.text] if len(maps.text) == size else []
    pitch = EDGE + CELL * size + GAP
    parts = [words(HEAD + EDGE + j * pitch, 13, f"head {j + 1}", "micro", "start") for j in range(len(grid[0]))]
    for i, layer in enumerate(grid):
        name = Markup(
            '<text class="micro" text-anchor="middle" transform="translate(12 {}) rotate(-90)">layer {}</text>'
        )
        parts.append(name.format(HEAD + i * pitch + EDGE + CELL * size // 2, i + 1))
        for j, weights in enumerate(layer):
            at = HEAD + EDGE + j * pitch, HEAD + EDGE + i * pitch
            named = f"layer {i + 1}, head {j + 1}"
            parts.append(_tile(named, weights, maps.weights[i][j], chars, *at))
    width, height = HEAD + pitch * len(grid[0]), HEAD + pitch * len(grid)
    passage = " ".join(maps.text.split())
    alt = f"{len(grid)} layers of {len(grid[0])} heads on the passage \u201c{passage}\u201d."
    return Figure(picture(f"Attention maps, {label}", alt, width, height, parts, natural=True), title=label)


def _sign(character: str) -> str:
    """A character as one that can be seen."""
    known = SIGNS.get(character, character)
    return known if known.isprintable() and ord(known) < 0x10000 else "\u25a1"


def _tile(name: str, weights: Float32, packed: str, chars: list[str], x: int, y: int) -> Markup:
    """One head: its weights, and the characters above it and left of it."""
    size, tile = len(weights), Markup("")
    if chars:
        places = " ".join(f"{CELL * (i + 0.5):g}" for i in range(size))
        text = "".join(chars)
        tile += Markup('<text class="chars" x="{}" y="-3">{}</text>').format(places, text)
        down = " ".join(f"{CELL * (i + 0.5) + 2.4:g}" for i in range(size))
        tile += Markup('<text class="chars" x="{}" y="{}">{}</text>').format(" ".join(["-6"] * size), down, text)
    edge = Markup('<path class="tile" d="M0 0V{0}H{0}z"/>').format(size)
    drawn = Markup('<g transform="scale({})">{}{}</g>').format(CELL, edge, _shade(weights))
    cells = Markup(
        '<g class="map" data-weights="{}" data-chars="{}" data-cell="{}" transform="translate({} {})">{}{}{}</g>'
    )
    return cells.format(packed, "".join(chars), CELL, x, y, hint(name), tile, drawn)


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
