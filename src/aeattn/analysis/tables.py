"""What was measured of a run, as rows of text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aeattn.analysis.names import MEASURES

Table = tuple[str, Sequence[str], list[Sequence[str]]]
HEADINGS = ("H/max", "exp(H)", "Gini", "top 1", "top 4", "top 16", "distance")
UNITS = {"effective_chars": 1, "mean_distance": 1}  # measures that are shown with so many decimals, not three


def headline(result: dict[str, Any]) -> str:
    """What was read, in one line."""
    text, nats = result["text"], result["loss"]["all"]
    return (
        f"{text['queries']:,} characters in {text['windows']:,} windows of {text['context']:,}, each with at "
        f"least {text['first_query']:,} before it; {nats:.4f} nats/char"
    )


def tables(result: dict[str, Any]) -> list[Table]:
    """Title, columns and rows of each table: heads, heads without the first position, losses, projections."""
    return [
        ("attention", ("layer.head", *HEADINGS, "first"), _heads(result, whole=True)),
        ("attention without the first position", ("layer.head", *HEADINGS), _heads(result, whole=False)),
        (
            "loss when only some weights are kept",
            ("kept", "nats/char", "more than with all"),
            _losses(result["loss"]),
        ),
        (
            "codes",
            ("projection", "width", "rank", "dead", "off", "linear", "read-out R2", "PCA R2"),
            [_projection(p) for p in result["projections"]],
        ),
    ]


def _heads(result: dict[str, Any], *, whole: bool) -> list[Sequence[str]]:
    named = [
        (f"{layer['layer'] + 1}.{head['head'] + 1}", head) for layer in result["layers"] for head in layer["heads"]
    ]
    return [_head(name, head, whole) for name, head in [*named, ("mean", result["attention"])]]


def _head(name: str, head: dict[str, Any], whole: bool) -> Sequence[str]:
    of = head if whole else head["without_first"]
    shown = [number(of[measure], UNITS.get(measure, 3)) for measure in MEASURES]
    return [name, *shown, *([number(head["first_share"], 3)] if whole else [])]


def _losses(loss: dict[str, Any]) -> list[Sequence[str]]:
    named = [("all", loss["all"])]
    named += [(f"top {k}", nats) for k, nats in loss["top"].items()]
    named += [(f"nearest {k}", nats) for k, nats in loss["nearest"].items()]
    named += [("all but the first", loss["without_first"])]
    named += [(f"top 4 in layer {i + 1} alone", nats) for i, nats in enumerate(loss["top4_in_layer"])]
    return [(name, number(nats, 4), "" if name == "all" else f"{nats - loss['all']:+.4f}") for name, nats in named]


def _projection(p: dict[str, Any]) -> Sequence[str]:
    head = "" if p["head"] is None else f".{p['head'] + 1}"
    counts = [_count(p[name]) for name in ("dead", "saturated_below", "saturated_above")]
    name = f"{p['layer'] + 1}{head} {p['projection']}, {p['kind']}"
    return [
        name, str(p["width"]), number(p["effective_rank"], 1), *counts, number(p["readout_r2"], 3),
        number(p["pca_r2"], 3),
    ]  # fmt: skip


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def number(value: float | None, digits: int) -> str:
    """A figure with so many decimals; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"
