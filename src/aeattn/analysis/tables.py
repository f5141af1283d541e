"""What was measured of a run, as rows of text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from aeattn.analysis.results import MEASURES, Ablation, AttentionMeasures, CodeMeasures, Distribution, Inspection

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
HEADINGS = ("H/max", "exp(H)", "Gini", "top 1", "top 4", "top 16", "distance")
UNITS = {"effective_chars": 1, "mean_distance": 1}  # measures that are shown with so many decimals, not three


def headline(result: Inspection) -> str:
    """What was read, in one line."""
    text = result.text
    return (
        f"{text.queries:,} characters in {text.windows:,} windows of {text.context:,}, each with at "
        f"least {text.first_query:,} before it; {result.loss.all:.4f} nats/char"
    )


def tables(result: Inspection) -> list[Table]:
    """Title, columns and rows of each table: heads, heads without the first position, losses, projections."""
    heads = [(name.replace("/", "."), head) for name, head in result.by_head.items()]
    every: list[tuple[str, AttentionMeasures]] = [*heads, ("mean", result.attention)]
    attention = [[*_measures(name, head), number(head.first_share, 3)] for name, head in every]
    without_first = [_measures(name, head.without_first) for name, head in every]
    codes = ("projection", "width", "rank", "dead", "off", "linear", "read-out R2", "PCA R2")
    kept = ("kept", "nats/char", "more than with all")
    return [
        ("attention", ("layer.head", *HEADINGS, "first"), attention),
        ("attention without the first position", ("layer.head", *HEADINGS), without_first),
        ("loss when only some weights are kept", kept, _losses(result.loss)),
        ("codes", codes, [_projection(p) for p in result.projections]),
    ]


def _measures(name: str, of: Distribution) -> Sequence[str]:
    return [name, *(number(getattr(of, measure), UNITS.get(measure, 3)) for measure in MEASURES)]


def _losses(loss: Ablation) -> list[Sequence[str]]:
    named = [
        *((f"top {k}", nats) for k, nats in loss.top.items()),
        *((f"nearest {k}", nats) for k, nats in loss.nearest.items()),
        ("all but the first", loss.without_first),
        *((f"top 4 in layer {i} alone", nats) for i, nats in enumerate(loss.top4_in_layer, start=1)),
    ]
    rows = [(name, number(nats, 4), f"{nats - loss.all:+.4f}") for name, nats in named]
    return [("all", number(loss.all, 4), ""), *rows]


def _projection(p: CodeMeasures) -> Sequence[str]:
    head = "" if p.head is None else f".{p.head + 1}"
    counts = [number(count, 0) for count in (p.dead, p.saturated_below, p.saturated_above)]
    name = f"{p.layer + 1}{head} {p.projection}, {p.kind}"
    return [
        name, str(p.width), number(p.effective_rank, 1), *counts, number(p.readout_r2, 3), number(p.pca_r2, 3),
    ]  # fmt: skip


def number(value: float | None, digits: int) -> str:
    """A figure with so many decimals; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"
