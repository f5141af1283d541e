"""Draw docs/pictures/idea.svg, the README's picture: python tools/picture.py

Four panels: projection, bottleneck, absorption, cache. Letters are those of docs/idea.md. Colours follow the
reader's mode, light or dark; the ground is the picture's own, so that it can be read on any page.
"""

from __future__ import annotations

from pathlib import Path

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "idea.svg"
CELL = 13  # one number of a vector
PANEL = (328, 206)
GAP = 12
WIDE, NARROW = 8, 2  # numbers of a vector of width d, and of a code of width b = d / 4

STYLE = """
  text { font: 17px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-weight: 600 } .formula { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 16px }
  .middle { text-anchor: middle } .quiet { fill: #59636e } .ground { fill: #fff } .panel { fill: #f6f8fa }
  .cell, .matrix { stroke-width: 1.5 } .x { fill: #d8dee4; stroke: #818b98 } .k { fill: #b6d4fe; stroke: #0969da }
  .z { fill: #ffc680; stroke: #bc4c00 } .matrix { fill: none; stroke: #59636e } .moved { stroke-dasharray: 5 4 }
  .arrow { stroke: #59636e; stroke-width: 1.5; fill: none; marker-end: url(#tip) } .tip { fill: #59636e }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .quiet { fill: #9198a1 } .ground { fill: #0d1117 } .panel { fill: #151b23 }
    .x { fill: #3d444d; stroke: #9198a1 } .k { fill: #0c2d6b; stroke: #58a6ff }
    .z { fill: #5a1e02; stroke: #f0883e }
    .matrix, .arrow { stroke: #9198a1 } .tip { fill: #9198a1 }
  }
"""


def vector(x: float, middle: float, numbers: int, kind: str) -> str:
    top = middle - numbers * CELL / 2
    cells = (f'<rect class="cell {kind}" x="{x}" y="{top + n * CELL}" width="{CELL}" height="{CELL}"/>'
             for n in range(numbers))  # fmt: skip
    return "".join(cells)


def matrix(x: float, middle: float, left: int, right: int, name: str, kind: str = "") -> str:
    """A map from `left` numbers to `right`, as a trapezium as high as each of them at its sides."""
    width, a, b = 58, left * CELL / 2, right * CELL / 2
    corners = ((x, middle - a), (x + width, middle - b), (x + width, middle + b), (x, middle + a))
    points = " ".join(f"{px},{py}" for px, py in corners)
    return f'<polygon class="matrix {kind}" points="{points}"/>' + text(x + width / 2, middle + 6, name, "middle")


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{words}</text>'


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path class="arrow" d="M{x} {y} L{to_x} {to_y}"/>'


def panel(column: int, row: int, title: str, *inside: str) -> str:
    width, height = PANEL
    x, y = GAP + column * (width + GAP), GAP + row * (height + GAP)
    ground = f'<rect class="panel" width="{width}" height="{height}" rx="8"/>'
    return f'<g transform="translate({x} {y})">{ground}{text(16, 30, title, "title")}{"".join(inside)}</g>'


def projection() -> str:
    return panel(
        0, 0, "1  Standard attention",
        vector(40, 102, WIDE, "x"), text(47, 174, "x", "middle"), arrow(60, 102, 108, 102),
        matrix(114, 102, WIDE, WIDE, "W"), arrow(177, 102, 225, 102), vector(232, 102, WIDE, "k"),
        text(239, 174, "k", "middle"), text(262, 108, "d", "quiet"),
        text(164, 196, "k = x W", "formula middle"),
    )  # fmt: skip


def bottleneck() -> str:
    return panel(
        1, 0, "2  Autoencoder attention",
        vector(16, 102, WIDE, "x"), text(23, 174, "x", "middle"), arrow(34, 102, 58, 102),
        matrix(62, 102, WIDE, NARROW, "E"), arrow(124, 102, 146, 102), vector(152, 102, NARROW, "z"),
        text(158, 82, "z", "middle"), text(158, 135, "b", "quiet middle"), arrow(171, 102, 193, 102),
        matrix(198, 102, NARROW, WIDE, "D"), arrow(260, 102, 282, 102), vector(290, 102, WIDE, "k"),
        text(297, 174, "k", "middle"), text(164, 196, "z = gelu(x E),  k = z D", "formula middle"),
    )  # fmt: skip


def absorption() -> str:
    return panel(
        0, 1, "3  Absorb the decoder",
        vector(24, 102, WIDE, "k"), text(31, 174, "q", "middle"), arrow(43, 102, 66, 102),
        matrix(70, 102, WIDE, NARROW, "Dᵀ", "moved"), arrow(132, 102, 154, 102), vector(160, 102, NARROW, "k"),
        text(167, 80, "q Dᵀ", "middle"), text(204, 108, "·", "title middle"), vector(232, 102, NARROW, "z"),
        text(239, 80, "z", "middle"), text(256, 108, "= score", ""),
        text(164, 196, "q · (z D) = (q Dᵀ) · z", "formula middle"),
    )  # fmt: skip


def kept() -> str:
    past = range(6)
    keys = "".join(vector(24 + 24 * n, 96, WIDE, "k") for n in past)
    codes = "".join(vector(24 + 24 * n, 174, NARROW, "z") for n in past)
    return panel(
        1, 1, "4  Cache the codes",
        keys, text(180, 80, "keys"), text(180, 102, "d numbers", "quiet"), text(180, 124, "a token", "quiet"),
        codes, text(180, 170, "codes"), text(180, 192, "b numbers", "quiet"),
    )  # fmt: skip


def picture() -> str:
    width, height = 2 * PANEL[0] + 3 * GAP, 2 * PANEL[1] + 3 * GAP
    said = (
        "Standard attention makes a key k of d numbers by one matrix W. Autoencoder attention makes a code z of b "
        "numbers by an encoder E, and the key by a decoder D. The decoder moves to the query, so that the cache "
        "keeps the codes of past tokens in place of their keys; values likewise."
    )
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">' \
          '<path class="tip" d="M0 0 L8 4 L0 8 z"/></marker>'  # fmt: skip
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    )
    return "\n".join([
        f'{head} role="img" aria-labelledby="t s">',
        f'<title id="t">Autoencoder attention</title><desc id="s">{said}</desc>',
        f"<style>{STYLE}</style><defs>{tip}</defs>",
        f'<rect class="ground" width="{width}" height="{height}" rx="10"/>',
        projection(), bottleneck(), absorption(), kept(), "</svg>", "",
    ])  # fmt: skip


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
