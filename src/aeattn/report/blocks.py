"""What a report is made of, before it becomes HTML or Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

CARDS = 12  # rows at most that a phone shows as cards, not as a table that scrolls

Key = tuple[str, int | None]
"""An entry of a legend: a name and the number of its style; None for a ring."""


@dataclass(frozen=True)
class Cell:
    """What a table shows, the number it sorts by, if it is one, and what is said of it in small print."""

    text: str
    value: float | None = None
    note: str = ""

    @property
    def pieces(self) -> list[str]:
        """The text in pieces that are never broken: a figure and its interval."""
        figure, bracket, interval = self.text.partition(" [")
        return [figure, *([f"[{interval}"] if bracket else [])] if self.value is not None else [self.text]


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

    @property
    def cards(self) -> bool:
        """Whether a phone shows each row as a card: of short tables that are wider than two columns."""
        return len(self.columns) > 2 and len(self.rows) <= CARDS

    @property
    def filled(self) -> Table:
        """Without the columns in which nothing stands."""
        empty = {i for i in range(len(self.columns)) if all(row[i].text in ("", "-") for row in self.rows)}
        keep = [i for i in range(len(self.columns)) if i not in empty or not self.rows]
        columns, rows = [self.columns[i] for i in keep], [[row[i] for i in keep] for row in self.rows]
        return Table(self.title, columns, rows, self.folded)


@dataclass(frozen=True)
class Figure:
    """An inline SVG under a `title`; `narrow` is what a phone shows instead, where one picture does not suit both.
    With a `name`, it is also written as a file, for the report in Markdown. It has a `legend` of its own where
    that of its group does not suit it."""

    svg: Markup
    caption: str = ""
    narrow: Markup | None = None
    title: str = ""
    name: str = ""
    legend: Sequence[Key] = ()

    @property
    def alt(self) -> str:
        """What the picture shows, in words."""
        found = re.search(r"<desc[^>]*>(.*?)</desc>", str(self.svg), re.DOTALL)
        return Markup(found.group(1)).unescape() if found else self.title


@dataclass(frozen=True)
class Figures:
    """Figures side by side where there is room, under a legend: `wide` ones and `full` ones below each other, the
    latter as wide as the page. What is `folded` is opened by that title, or is open from the start."""

    figures: Sequence[Figure]
    legend: Sequence[Key] = ()
    wide: bool = False
    full: bool = False
    folded: str = ""
    open: bool = False
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
    """Passages that one model generated: (heading, text)."""

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
    """What is `brief` stands in the Markdown, too, but for what is folded there."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)
    brief: bool = False

    @property
    def id(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A whole report. `answer` is its first sentence, of 25 words at most; `detail` is the same in full, and holds
    under `conditions`; `hero` is the picture under it, `facts` the small print, `notes` the caveats."""

    title: str
    question: str
    answer: str
    hero: Figures | None
    facts: Sequence[str]
    notes: Sequence[str]
    sections: Sequence[Section]
    conditions: str = ""
    detail: Sequence[str] = ()

    @property
    def pictures(self) -> list[tuple[Figure, Sequence[Key]]]:
        """The pictures that are also written as files, with their legends."""
        blocks = [self.hero, *(block for section in self.sections if section.brief for block in section.blocks)]
        groups = [block for block in blocks if isinstance(block, Figures) and not block.folded]
        return [
            (figure, figure.legend or group.legend) for group in groups for figure in group.figures if figure.name
        ]


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
    """The answer, the pictures beside it, and what is brief; every other table is in the page."""
    lines = [f"# {_line(page.title)}", "", _line(page.question), "", f"**{_line(page.answer)}**", ""]
    lines += [line for said in (*page.detail, page.conditions) if said for line in (_line(said), "")]
    lines += _images(page.hero) if page.hero else []
    lines += ["[The whole page](report.html), which opens in a browser offline, has every table and figure.", ""]
    for section in page.sections:
        body = [line for block in section.blocks for line in _markdown(block)] if section.brief else []
        lines += [f"## {section.title}", "", *body] if body else []
    lines += ["## Caveats", "", *(f"- {_line(note)}" for note in page.notes), ""] if page.notes else []
    lines += [" | ".join(map(_line, page.facts)), ""] if page.facts else []
    return "\n".join(lines).rstrip() + "\n"


def _markdown(block: Block) -> list[str]:
    if isinstance(block, Table) and not block.folded:
        marks = ["--:" if number else "---" for _, number in block.headings]
        head = [f"### {_line(block.title)}", ""] if block.title else []
        rows = [_row([heading for heading, _ in block.headings]), "|" + "|".join(marks) + "|"]
        return [*head, *rows, *(_row([_noted(cell) for cell in row]) for row in block.rows), ""]
    if isinstance(block, Figures) and not block.folded:
        return _images(block)
    if isinstance(block, Text):
        return [line for line in (_line(block.text), *(f"- {_line(item)}" for item in block.items)) if line] + [""]
    if isinstance(block, Samples):
        passages = [
            line for heading, text in block.passages for line in (f"{_line(heading)}:", "", *_fenced(text))
        ]
        return [*([f"### {_line(block.title)}", ""] if block.title else []), *passages]
    return []


def _noted(cell: Cell) -> str:
    return f"{cell.text} ({cell.note})" if cell.note else cell.text


def _images(block: Figures) -> list[str]:
    named = [figure for figure in block.figures if figure.name]
    return [line for f in named for line in (f"![{_line(f.alt)}]({f.name}.svg)", "")]


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
