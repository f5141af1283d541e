"""What was measured of a run, as rows of text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aeattn.analysis.results import MEASURES, Ablation, AttentionMeasures, CodeMeasures, Distribution, Inspection

HEADINGS = ("H/max", "exp(H)", "Gini", "top\u00a01", "top\u00a04", "top\u00a016", "distance")
UNITS = {"effective_chars": 1, "mean_distance": 1}  # measures that are shown with so many decimals, not three
WEIGHTS = (
    "Means over the measured tokens. H/max: entropy of a query's weights, as a part of the largest there can be; "
    "exp(H): tokens that even weights would be spread over; Gini: 0 for even weights, 1 for a single one; top k: "
    "share of the k largest weights; distance: tokens that the weights look back"
)


class Table(NamedTuple):
    """One table: the first column holds names, the others figures. `legend` says what they are."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    legend: str


def headline(result: Inspection) -> str:
    """What was read, in one line."""
    text = result.text
    return (
        f"Read: {text.queries:,} tokens in {text.windows:,} windows of {text.context:,}, each with at "
        f"least {text.first_query:,} before it; {result.loss.all:.4f} nats/char"
    )


def conclusion(result: Inspection) -> str:
    """What is to be learnt from the tables, in two sentences."""
    most = max(result.loss.top)
    said = (
        f"With the {most} largest weights of each query alone, the loss is {result.loss.top[most]:.4f} nats/char, "
        f"{signed(result.loss.top[most] - result.loss.all)} against all weights; without the first position, "
        f"{signed(result.loss.without_first - result.loss.all)}."
    )
    share = None if result.codes is None else result.codes.effective_rank_share
    return said + (
        "" if share is None else f" Codes use {100 * share:.0f} % of the directions of their bottleneck."
    )


def tables(result: Inspection) -> list[Table]:
    """Heads, heads without the first position, losses, projections."""
    heads = [(name.replace("/", "."), head) for name, head in result.by_head.items()]
    every: list[tuple[str, AttentionMeasures]] = [*heads, ("mean", result.attention)]
    attention = [[*_measures(name, head), number(head.first_share, 3)] for name, head in every]
    without_first = [_measures(name, head.without_first) for name, head in every]
    codes = ("projection", "width", "rank", "dead", "off", "linear", "read-out\u00a0R2", "PCA\u00a0R2")
    return [
        Table("Attention", ("layer.head", *HEADINGS, "first"), attention,
              f"{WEIGHTS}; first: share of the first position."),
        Table("Attention without the first position", ("layer.head", *HEADINGS), without_first,
              "The same where the first position, on which heads rest that look at nothing, is left out."),
        Table("Loss with some of the weights alone", ("weights kept", "nats/char", "against all"),
              _losses(result.loss),
              "The kept weights of each query are made to sum to one again; nothing is trained further."),
        Table("Codes", codes, [_projection(p) for p in result.projections],
              "rank: equally strong directions that the code uses; dead: units that hardly move; off, linear: "
              "units that GELU switches off, or passes, nearly always; read-out R2: how much of its input a "
              "linear map finds in the code; PCA R2: the same for as many principal components."),
    ]  # fmt: skip


def _measures(name: str, of: Distribution) -> Sequence[str]:
    return [name, *(number(getattr(of, measure), UNITS.get(measure, 3)) for measure in MEASURES)]


def _losses(loss: Ablation) -> list[Sequence[str]]:
    named = [
        *((f"top {k}", nats) for k, nats in loss.top.items()),
        *((f"nearest {k}", nats) for k, nats in loss.nearest.items()),
        ("all but the first", loss.without_first),
        *((f"top 4 in layer {i} alone", nats) for i, nats in enumerate(loss.top4_in_layer, start=1)),
    ]
    rows = [(name, number(nats, 4), signed(nats - loss.all)) for name, nats in named]
    return [("all", number(loss.all, 4), ""), *rows]


def _projection(p: CodeMeasures) -> Sequence[str]:
    head = "" if p.head is None else f".{p.head + 1}"
    counts = [number(count, 0) for count in (p.dead, p.saturated_below, p.saturated_above)]
    name = f"{p.layer + 1}{head} {p.projection}, {p.kind}"
    return [
        name, str(p.width), number(p.effective_rank, 1), *counts, number(p.readout_r2, 3), number(p.pca_r2, 3),
    ]  # fmt: skip


def signed(value: float) -> str:
    """A difference of losses, never a zero below zero."""
    return f"{round(value, 4) + 0.0:+.4f}"


def number(value: float | None, digits: int) -> str:
    """A figure with so many decimals; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"
