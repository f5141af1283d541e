"""What a report is made of, before it becomes HTML or Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup


@dataclass(frozen=True)
class Cell:
    """What a table shows, and the number it sorts by, if it is one."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """`columns` are headings; those that begin with `#` hold numbers, and lose the sign."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False
    kind: str = "table"

    @property
    def headings(self) -> list[tuple[str, bool]]:
        """Heading, and whether numbers stand under it."""
        return [(column.removeprefix("#"), column.startswith("#")) for column in self.columns]


@dataclass(frozen=True)
class Figure:
    """An inline SVG; `narrow` is what a phone shows instead, where one picture does not suit both."""

    svg: Markup
    caption: str = ""
    narrow: Markup | None = None


Key = tuple[str, int | None]
"""An entry of a legend: a name and the number of its style; None for a ring."""


@dataclass(frozen=True)
class Figures:
    """Figures side by side where there is room, under a legend."""

    figures: Sequence[Figure]
    legend: Sequence[Key] = ()
    wide: bool = False
    kind: str = "figures"


@dataclass(frozen=True)
class Text:
    """A paragraph, or a list of `items`."""

    text: str
    items: Sequence[str] = ()
    role: str = "plain"
    kind: str = "text"


@dataclass(frozen=True)
class Samples:
    """Passages that one model wrote: (heading, text)."""

    title: str
    passages: Sequence[tuple[str, str]]
    kind: str = "samples"


@dataclass(frozen=True)
class Code:
    """A file as it is, folded away."""

    title: str
    text: str
    kind: str = "code"


Block = Table | Figures | Text | Samples | Code


@dataclass(frozen=True)
class Section:
    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def id(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A whole report. `answer` is its first sentence, which holds under `conditions`, `hero` the picture under it,
    `facts` the small print."""

    title: str
    question: str
    answer: str
    hero: Block | None
    facts: Sequence[str]
    notes: Sequence[str]
    sections: Sequence[Section]
    conditions: str = ""


def shown(value: float | None, form: str = ",.4f") -> Cell:
    """A number as a cell; a dash where there is none."""
    return Cell("-") if value is None else Cell(format(value, form), float(value))


def with_interval(mean: float | None, interval: Sequence[float] | None, form: str = ".4f") -> Cell:
    """`mean [low, high]`, sorted by the mean."""
    if mean is None or interval is None:
        return shown(mean, form)
    return Cell(f"{mean:{form}} [{interval[0]:{form}}, {interval[1]:{form}}]", float(mean))


# -- Markdown ------------------------------------------------------------------------------------------------


def to_markdown(page: Page) -> str:
    """The answer, notes and every table; pictures are in the page beside it."""
    lines = [f"# {_line(page.title)}", "", _line(page.question), "", f"**{_line(page.answer)}**", ""]
    lines += [_line(page.conditions), ""] if page.conditions else []
    lines += [" | ".join(map(_line, page.facts)), ""]
    lines += [f"- {_line(note)}" for note in page.notes] + ([""] if page.notes else [])
    for section in page.sections:
        body = [line for block in section.blocks for line in _markdown(block)]
        lines += [f"## {section.title}", "", *body] if body else []
    return "\n".join(lines).rstrip() + "\n"


def _markdown(block: Block) -> list[str]:
    if isinstance(block, Table):
        marks = ["--:" if number else "---" for _, number in block.headings]
        head = [f"### {_line(block.title)}", ""] if block.title else []
        rows = [_row([heading for heading, _ in block.headings]), "|" + "|".join(marks) + "|"]
        return [*head, *rows, *(_row([cell.text for cell in row]) for row in block.rows), ""]
    if isinstance(block, Text):
        return [line for line in (_line(block.text), *(f"- {_line(item)}" for item in block.items)) if line] + [""]
    if isinstance(block, Samples):
        passages = [
            line for heading, text in block.passages for line in (f"{_line(heading)}:", "", *_fenced(text))
        ]
        return [f"### {_line(block.title)}", "", *passages]
    if isinstance(block, Code):
        return [f"### {_line(block.title)}", "", *_fenced(block.text)]
    return []


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_line(cell).replace("|", "\\|") for cell in cells) + " |"


def _line(text: str) -> str:
    """On one line, without what Markdown would read as HTML or a link."""
    return re.sub(r"([<`\[\]])", r"\\\1", " ".join(text.split()))


def _fenced(text: str) -> list[str]:
    """A block that no run of backticks in the text can end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, text, fence, ""]
