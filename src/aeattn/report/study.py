"""From several comparisons that are one study to the page that answers for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from aeattn.compare.results import ContrastResult
from aeattn.compare.study import Part, joint, parts_of
from aeattn.errors import InputError
from aeattn.report.answer import each, headline
from aeattn.report.blocks import Cell, Figures, Page, Section, Table, Text, shown, with_interval
from aeattn.report.claims import claim_blocks
from aeattn.report.data import Comparison, load
from aeattn.report.frontier import frontier_figures
from aeattn.report.overhead import with_steps


def make_page(path: Path) -> Page:
    """Raises InputError where no folder in this one is a comparison of which something has been concluded."""
    parts = parts_of(path)
    if not parts:
        raise InputError(f"{path} holds no comparison of which something has been concluded")
    found = with_joint(parts)
    primary = [contrast for _, contrasts in found for contrast in contrasts if contrast.primary]
    timed = [with_steps(contrasts, comparison.steps) for comparison, contrasts in found]
    every = [contrast for contrasts, _ in timed for contrast in contrasts]
    notes = [
        f"{part.folder.name}: {note}" for part, (_, notes) in zip(parts, timed, strict=True) for note in notes
    ]
    said = [c.sentence for c in primary]
    frontier = next(filter(None, (frontier_figures(comparison) for comparison, _ in found)), None)
    answer = headline(found)
    sections = [
        Section("Published claims", claim_blocks(every, notes), brief=True),
        Section(
            "Primary differences", [_about(parts, primary), _primary(primary), Text("In words:", said)], brief=True
        ),
        Section("Parts", [_parts(parts)], brief=True),
    ]
    return Page(
        title=f"A study in {len(parts)} {'part' if len(parts) == 1 else 'parts'}: {path.resolve().name}",
        question=" ".join(part.declaration.question for part in parts),
        answer=answer,
        detail=each(primary, answer) if len(primary) > 1 else [],
        hero=None if frontier is None else _hero(frontier),
        facts=[
            f"{part.folder.name}: {part.summary.runs.done} of {part.summary.runs.wanted} runs done"
            for part in parts
        ],
        notes=[f"{part.folder.name}: {note}" for part in parts for note in part.summary.notes],
        sections=[section for section in sections if section.blocks],
        conditions=_conditions({part.folder.name: part.summary.conditions for part in parts}),
    )


def with_joint(parts: Sequence[Part]) -> list[tuple[Comparison, list[ContrastResult]]]:
    """Each part, with its differences as corrected over all parts."""
    return list(zip([load(part.folder) for part in parts], joint(parts), strict=True))


def _hero(frontier: Figures) -> Figures:
    """Loss against bytes of cache, and against the speed of generation where that was measured."""
    return replace(frontier, figures=[replace(frontier.figures[0], name="report"), *frontier.figures[1:2]])


def _conditions(of_parts: Mapping[str, str]) -> str:
    """Those of each part, and once what all of them end with."""
    sentences = {name: said.split(". ") for name, said in of_parts.items()}
    from_the_end = zip(*(reversed(said) for said in sentences.values()), strict=False)
    same = len(list(takewhile(lambda said: len(set(said)) == 1, from_the_end)))
    apart = {name: said[: len(said) - same] for name, said in sentences.items()}
    parts = [f"{name}: {'. '.join(said)}" for name, said in apart.items() if said]
    return ". ".join([*parts, *next(iter(sentences.values()))[-same:]] if same else parts)


def _about(parts: list[Part], primary: list[ContrastResult]) -> Text:
    family = parts[0].declaration.family
    known = sum(c.p_value is not None for c in primary)
    return Text(
        f"Holm's correction counts {family} primary differences, of which {known} are known; the others count as "
        "not rejected. Intervals hold all at once at 95 %. Everything else, in the pages of the parts, is "
        "exploratory."
    )


def _primary(primary: list[ContrastResult]) -> Table:
    columns = ["variant", "minus", "of", "#seeds", "#books", "#difference, all at once", "#by seeds alone, 95 %",
               "#p", "#p, Holm", "verdict"]  # fmt: skip
    rows = [
        [
            Cell(c.labels[0]), Cell(c.labels[1]), Cell(c.measure), Cell(str(c.n), c.n),
            shown(c.two_way.books if c.two_way else None, ",.0f"), with_interval(c.center, c.shown, "+.4f"),
            with_interval(c.mean, c.interval, "+.4f"), shown(c.p_value, ".2g"), shown(c.p_holm, ".2g"),
            Cell(c.verdict),
        ]
        for c in primary
    ]  # fmt: skip
    return Table("", columns, rows)


def _parts(parts: list[Part]) -> Table:
    rows = [[Cell(part.folder.name), Cell(part.declaration.title), Cell(part.declaration.hash[:12]),
             Cell((part.declaration.commit or "-")[:12]), Cell(f"{part.folder.name}/report.html")]
            for part in parts]  # fmt: skip
    return Table("Each has a page of its own", ["part", "title", "declaration", "commit", "page"], rows)
