"""What was claimed of the published experiment, and what the differences that bear on it say; sparsity beside
distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aeattn.compare.metrics import describe_measure
from aeattn.compare.results import ContrastResult
from aeattn.report.blocks import Block, Cell, Table, Text, with_interval


@dataclass(frozen=True)
class Claim:
    """A published claim: how a contrast's own claim begins that bears on it, and verdicts that speak for it."""

    name: str
    text: str
    begins: tuple[str, ...]
    holds: tuple[str, ...]


CLAIMS = (
    Claim("works", "It works.", ("It works", "Autoencoders make a better"), ("better",)),
    Claim("less is more", "Fewer and narrower autoencoders are better, more overfits.",
          ("Less is more", "More overfits"), ("better",)),
    Claim("sparser", "Attention is sparser.", ("Attention is sparser",), ("more",)),
    Claim("efficient", "The constraint makes the model efficient.", ("Efficient",), ("better",)),
    Claim("overhead", "There is an overhead, which may eat the gain.", ("The overhead",), ("worse",)),
)  # fmt: skip
OPEN = ("no difference found", "one seed", "no runs", "not measured", "not comparable")
OF_SPARSITY, OF_DISTANCE = "attention.gini", "attention.mean_distance"


def bearing(claim: Claim, contrasts: Sequence[ContrastResult]) -> list[ContrastResult]:
    """The contrasts that bear on a claim, primary ones first."""
    found = [c for c in contrasts if c.claim and c.claim.startswith(claim.begins)]
    return sorted(found, key=lambda c: not c.primary)


def verdict(claim: Claim, contrasts: Sequence[ContrastResult]) -> str:
    """One word or two, from the primary contrasts that bear on a claim, or else the exploratory ones."""
    found = bearing(claim, contrasts)
    deciding = [c for c in found if c.primary] or found
    said = ["holds" if c.verdict in claim.holds else "open" if c.verdict in OPEN else "fails" for c in deciding]
    if not said or all(c.verdict in OPEN[1:] for c in deciding):
        return "not measured"
    if len(set(said)) == 1:
        return {"holds": "holds", "fails": "does not hold", "open": "not decided"}[said[0]]
    return "holds in part" if "holds" in said else "does not hold, as far as it is decided"


def claim_blocks(contrasts: Sequence[ContrastResult], notes: Sequence[str] = ()) -> list[Block]:
    """A verdict for each published claim, the differences that it follows from, and notes on how those were
    measured; nothing where no difference bears on any of them."""
    found = {claim: bearing(claim, contrasts) for claim in CLAIMS}
    if not any(found.values()):
        return []
    rows = [
        [Cell(claim.name), Cell(claim.text), Cell(verdict(claim, contrasts)), Cell(_kind(bear))]
        for claim, bear in found.items()
    ]
    evidence = [
        [
            Cell(claim.name), *map(Cell, c.labels), Cell(describe_measure(c.measure).text), _difference(c),
            Cell(c.verdict), Cell(_kind([c])),
        ]
        for claim, bear in found.items()
        for c in bear
    ]  # fmt: skip
    about = (
        "A verdict follows from the primary differences that bear on a claim; where there are none, from the "
        "exploratory ones, and then it says where to look, not what is so."
    )
    claims = Table("", ["claim", "in words", "verdict", "from differences that are"], rows)
    columns = ["claim", "variant", "minus", "of", "#difference", "verdict", "kind"]
    follow = Table("What the verdicts follow from", columns, evidence)
    return [Text(about), claims, follow, *(Text(note, role="note") for note in notes), *_sparsity(contrasts)]


def _kind(contrasts: Sequence[ContrastResult]) -> str:
    if not contrasts:
        return "-"
    return "primary" if any(c.primary for c in contrasts) else "exploratory"


def _difference(contrast: ContrastResult) -> Cell:
    """With its interval and unit; the figure alone where it is the same with every seed."""
    if contrast.center is None or contrast.shown is None:
        return Cell("-")
    measure = describe_measure(contrast.measure)
    low, mean, high = (measure.signed(value) for value in (contrast.shown[0], contrast.center, contrast.shown[1]))
    ends = "" if contrast.shown[0] == contrast.shown[1] else f" [{low}, {high}]"
    return Cell(f"{mean} {measure.unit}".rstrip() + ends, contrast.center)


def _sparsity(contrasts: Sequence[ContrastResult]) -> list[Block]:
    """Differences of the Gini index beside those of the distance that attention reaches."""
    distance = {(c.arm, c.than): c for c in contrasts if c.measure == OF_DISTANCE}
    pairs = [(c, distance.get((c.arm, c.than))) for c in contrasts if c.measure == OF_SPARSITY]
    if not pairs:
        return []
    rows = [
        [
            Cell(gini.labels[0]), Cell(gini.labels[1]), with_interval(gini.center, gini.shown, "+.3f"),
            with_interval(reach.center, reach.shown, "+.1f") if reach else Cell("-"),
            Cell(_reading(gini, reach)),
        ]
        for gini, reach in pairs
    ]  # fmt: skip
    about = (
        "Wider attention is partly reach: a Gini index is read beside the mean distance of what is attended to."
    )
    columns = ["variant", "minus", "#Gini index", "#mean distance, tokens", "together"]
    return [Text(about), Table("Sparsity beside distance", columns, rows)]


def _reading(gini: ContrastResult, reach: ContrastResult | None) -> str:
    moved = "" if reach is None else {"more": "reaches farther", "less": "reaches less far"}.get(reach.verdict, "")
    sparse = {"more": "sparser", "less": "less sparse"}.get(gini.verdict, gini.verdict)
    return ", ".join(filter(None, (sparse, moved)))
