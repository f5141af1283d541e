"""Charts as inline SVG without any style of their own: the page's style sheet colours them by class.

matplotlib writes style attributes, which a strict content policy forbids and a dark page cannot recolour; its
tick locators are used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from markupsafe import Markup, escape

Point = tuple[float, float]
LEFT, TOP, RIGHT, BOTTOM = 56, 30, 404, 224  # of the axes of a chart
SHAPES = 4  # of markers; with eight colours and two kinds of line, series differ in more than colour
ALONE = 1.25  # pixels a unit, of a picture in a file of its own
_ids = count(1)


def fresh_ids() -> None:
    """Begin a page: the same page gets the same ids, whatever was drawn before it."""
    global _ids
    _ids = count(1)


@dataclass(frozen=True)
class Scale:
    """From figures to positions in the picture, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(max(v, 1e-300)) if self.log else v for v in (self.low, self.high, value))
        share = 0.5 if high == low else (at - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        from matplotlib.ticker import LogLocator, MaxNLocator

        def inside(ticks: Iterable[float]) -> list[float]:
            return [float(p) for p in ticks if self.low - 1e-12 <= p <= self.high * (1 + 1e-9) + 1e-12]

        if not self.log or self.high / self.low < 4:
            return inside(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high))
        few, more = (
            inside(LogLocator(subs=subs, numticks=30).tick_values(self.low, self.high))
            for subs in ((1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
        )
        return few if len(few) > most // 2 + 1 else more


def spread(values: Iterable[float], margin: float = 0.06, log: bool = False) -> tuple[float, float]:
    """The ends of an axis that shows all of the values with some room."""
    there = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not there:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = min(there), max(there)
    if log:
        room = (high / low) ** margin if high > low else 1.3
        return low / room, high * room
    room = margin * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def short(value: float) -> str:
    """A figure for an axis: 3,073, 12k, 3.5M, 0.02."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{float(f'{value:.4g}'):,.10g}".replace("-", "\u2212")


def alike(values: Sequence[float]) -> list[str]:
    """Figures for one axis, all with as many decimals as any of them needs."""
    texts = [short(value) for value in values]
    if any(text[-1].isalpha() for text in texts):
        return texts
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [f"{value:,.{decimals}f}".replace("-", "\u2212") for value in values]


def style(number: int | None) -> str:
    """The class of a series: its colour; the ninth and later ones are dashed. None is one of many, in grey."""
    if number is None:
        return "cn faint"
    return f"c{number % 8}" + (" dashed" if number >= 8 else "")


def cut(text: str, most: int) -> str:
    """With so many characters at most."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "\u2026"


class Chart:
    """A plot with two axes from `xs` and `ys`, in its own units of about a pixel.

    `title` and `alt` are read out where the picture cannot be seen. The axes end at `right`.
    """

    def __init__(
        self, title: str, alt: str, xs: Point, ys: Point, x_label: str, y_label: str, *,
        log_x: bool = False, log_y: bool = False, x_ticks: Sequence[float] | None = None, right: float = RIGHT,
    ) -> None:  # fmt: skip
        self.title, self.alt, self.x_label, self.y_label, self.x_ticks = title, alt, x_label, y_label, x_ticks
        self.x, self.y = Scale(*xs, LEFT, right, log_x), Scale(*ys, BOTTOM, TOP, log_y)
        self._body: list[Markup] = []
        self._over: list[Markup] = []

    def line(self, points: Sequence[Point], series: int | None) -> None:
        path = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points)
        self._body.append(Markup('<polyline class="line {}" points="{}"/>').format(style(series), path))

    def frontier(self, points: Sequence[Point]) -> None:
        """A dashed line in no arm's colour."""
        path = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points)
        self._body.append(Markup('<polyline class="line dashed cn" points="{}"/>').format(path))

    def band(self, points: Sequence[tuple[float, float, float]], series: int | None) -> None:
        """(x, low, high) as a shaded band."""
        there = [(a, low) for a, low, _ in points] + [(a, high) for a, _, high in reversed(points)]
        path = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in there)
        self._body.append(Markup('<polygon class="band {}" points="{}"/>').format(style(series), path))

    def dot(
        self,
        at: Point,
        series: int | None,
        tip: str,
        *,
        small: bool = False,
        hollow: bool = False,
        shift: float = 0,
    ) -> None:
        """A marker, unless it lies above the chart; `tip` is shown where a pointer rests on it, and `shift` moves
        it to the right."""
        if at[1] <= self.y.high:
            classes = style(series) + (" hollow" if hollow else "") + (" small" if small else "")
            x, r = self.x(at[0]) + shift, 2.6 if small else 4.2
            self._over.append(marker(x, self.y(at[1]), series, classes, tip, r))

    def dots(
        self, points: Sequence[Point], series: int | None, label: str, form: str, small: bool = False
    ) -> None:
        """A line with a marker at each point; `form` says of x and y (0 and 1) what the tip shows."""
        self.line(points, series)
        for at in points:
            self.dot(at, series, f"{label}: {form.format(*at)}", small=small)

    def whisker(self, x: float, low: float, high: float, series: int | None, shift: float = 0) -> None:
        """An upright interval."""
        at, top, bottom = self.x(x) + shift, self.y(high), self.y(low)
        span = Markup('<path class="whisker {}" d="M{:.1f} {:.1f}V{:.1f}"/>')
        self._body.append(span.format(style(series), at, bottom, top))

    def render(self) -> Markup:
        clip = f"clip{next(_ids)}"
        edge = f"M{LEFT - 4} {TOP - 4}H{self.x.end + 4:g}V{BOTTOM + 4}H{LEFT - 4}z"
        parts = [
            Markup('<clipPath id="{}"><path d="{}"/></clipPath>').format(clip, edge),
            *self._axes(),
            Markup('<g clip-path="url(#{})">{}</g>').format(clip, Markup("").join(self._body)),
            *self._over,
        ]
        return picture(self.title, self.alt, self.x.end + 16, 270, parts)

    def _axes(self) -> Iterable[Markup]:
        rows = self.y.ticks()
        for value, text in zip(rows, map(short, rows) if self.y.log else alike(rows), strict=True):
            at = self.y(value)
            yield Markup('<path class="grid" d="M{} {:.1f}H{:g}"/>').format(LEFT, at, self.x.end)
            yield words(LEFT - 6, at + 4, text, "tick", "end")
        for value in apart(self.x.ticks() if self.x_ticks is None else self.x_ticks, self.x):
            yield words(self.x(value), BOTTOM + 16, short(value), "tick", "middle")
        yield Markup('<path class="axis" d="M{} {}H{:g}"/>').format(LEFT, BOTTOM, self.x.end)
        yield words(self.x.end, BOTTOM + 36, self.x_label, "label", "end")
        yield words(LEFT - 46, TOP - 12, self.y_label, "label", "start")


def apart(ticks: Sequence[float], scale: Scale, room: float = 46) -> list[float]:
    """The ticks without those whose labels would touch the one before."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or abs(scale(tick) - scale(kept[-1])) >= room:
            kept.append(tick)
    return kept


def marker(x: float, y: float, series: int | None, classes: str, tip: str, r: float = 4.2) -> Markup:
    """Circle, square, diamond or triangle, by the number of the series; a circle for None."""
    d = {
        0: f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
        1: f"M{x - r * 0.9:.1f} {y - r * 0.9:.1f}h{1.8 * r:.1f}v{1.8 * r:.1f}h{-1.8 * r:.1f}z",
        2: f"M{x:.1f} {y - 1.3 * r:.1f}l{1.3 * r:.1f} {1.3 * r:.1f}l{-1.3 * r:.1f} {1.3 * r:.1f}"
        f"l{-1.3 * r:.1f} {-1.3 * r:.1f}z",
        3: f"M{x:.1f} {y - 1.2 * r:.1f}l{1.2 * r:.1f} {2.1 * r:.1f}h{-2.4 * r:.1f}z",
    }[(series or 0) % SHAPES]
    return Markup('<path class="dot {}" d="{}">{}</path>').format(classes, d, hint(tip))


def hint(tip: str) -> Markup:
    """What is shown where a pointer rests on the element that this is in."""
    return Markup("<title>{}</title>").format(tip) if tip else Markup("")


SMALL = 450  # units wide, which are pixels at 100 %


def words(x: float, y: float, text: str, classes: str, anchor: str) -> Markup:
    svg = Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>')
    return svg.format(x, y, classes, anchor, text)


def picture(
    title: str, alt: str, width: float, height: float, parts: Iterable[Markup], natural: bool = False
) -> Markup:
    """An SVG with a title and a description for those who do not see it. A `natural` one is as large as it says; a
    small one grows by half at most, so that its words stay as large as those around it."""
    n, sized = next(_ids), Markup(' class="small"') if width <= SMALL else ""
    if natural:
        sized = Markup(' class="natural" width="{}" height="{}"').format(width, height)
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-labelledby="t{} d{}"{}><title id="t{}">{}</title>'
        '<desc id="d{}">{}</desc>{}</svg>'
    ).format(width, height, n, n, sized, n, escape(title), n, escape(alt), Markup("").join(parts))


def alone(svg: Markup, css: str, title: str = "", legend: Sequence[tuple[str, int | None]] = ()) -> str:
    """A picture as a file of its own, for a README or a slide, with the style sheet that the page has, under its
    title and over its legend."""
    sheet = f"<style><![CDATA[{css}\n:root {{ background: var(--card); }}]]></style>"
    found = re.match(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"([^>]*)>', str(svg))
    assert found is not None
    width, height, named = float(found[1]), float(found[2]), found[3]
    keys, top = legend if len(legend) > 1 else (), 28.0 if title else 0.0
    head = words(8, 19, title, "name strong", "start") if title else Markup("")
    inner = f'<svg y="{top:g}" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}">'
    body = str(svg)[found.end() :]
    rows = Markup("").join(_key(name, series, top + height + 18 * i) for i, (name, series) in enumerate(keys))
    whole = top + height + 18 * len(keys) + (6 if keys else 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{ALONE * width:g}" height="{ALONE * whole:g}" '
        f'viewBox="0 0 {width:g} {whole:g}"{named}>{sheet}{head}'
        f"{inner}{body}{rows}</svg>\n"
    )


def _key(name: str, series: int | None, y: float) -> Markup:
    """A row of a legend."""
    key = Markup('<g transform="translate(10 {:g})">{}</g>').format(y, _sample(series))
    return key + words(48, y + 10, name, "under", "start")


def swatch(series: int | None) -> Markup:
    """The line and marker of a series, for a legend; a ring for None."""
    return Markup('<svg viewBox="0 0 30 12" class="swatch" aria-hidden="true">{}</svg>').format(_sample(series))


def _sample(series: int | None) -> Markup:
    if series is None:
        return marker(15, 6, 0, "cn hollow", "")
    line = Markup('<path class="line {}" d="M1 6H29"/>').format(style(series))
    return line + marker(15, 6, series, style(series), "", 3.8)
