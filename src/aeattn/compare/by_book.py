"""Losses book by book, and the intervals that follow from a model of seeds and books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aeattn.compare import intervals
from aeattn.compare.intervals import Floats, Pooled, TwoWay
from aeattn.compare.metrics import LOSSES
from aeattn.compare.records import Record, Valid
from aeattn.compare.results import TwoWayResult

Runs = Mapping[int, Record]  # by seed
Books = Mapping[str, float]

OF_BOOKS = (*LOSSES, "beyond_gap")  # measures that each book has


def books(record: Record, measure: str) -> Books:
    """A measure of `OF_BOOKS` of each book, in nats a character."""
    if measure == "beyond_gap":
        beyond, trained = books(record, "beyond_nats"), books(record, "trained_nats")
        return {name: nats - trained[name] for name, nats in beyond.items() if name in trained}
    text = text_of(record, measure)
    files = text.files if text else ()
    return {f.name: f.nats_per_char for f in files if f.nats_per_char is not None and f.chars}


def text_of(record: Record, measure: str) -> Valid | None:
    """The losses on the text that a measure of `LOSSES` is of."""
    return record.valid if measure == "valid_nats" else record.judged.get(measure.removesuffix("_nats"))


def pooled(arms: Sequence[Runs], measure: str) -> Pooled | None:
    """Over all arms that have runs, and the seeds and books that are common to them."""
    there = [runs for runs in arms if runs]
    table = _table(there, measure) if measure in OF_BOOKS and len(there) > 1 else None
    return None if table is None else intervals.pooled(table)


def difference(
    ours: Runs, theirs: Runs, seeds: Sequence[int], measure: str, arms: Pooled | None
) -> TwoWayResult | None:
    """Of two arms over these seeds; None where books or seeds are too few, or no book has this measure."""
    if measure not in OF_BOOKS or len(seeds) < 2:
        return None
    pair = [{seed: runs[seed] for seed in seeds} for runs in (ours, theirs)]
    table = _table(pair, measure)
    found = None if table is None else intervals.two_way(table[0] - table[1], arms)
    return None if table is None or found is None else _result(found, *table.shape[1:])


def _table(arms: Sequence[Runs], measure: str) -> Floats | None:
    """(arms, seeds, books) of the seeds and books that all arms have; None where there are none."""
    seeds = sorted(set.intersection(*map(set, arms)))
    found = [[books(runs[seed], measure) for seed in seeds] for runs in arms]
    each = [set(table) for row in found for table in row]
    names = sorted(set.intersection(*each)) if each else []
    if not names:
        return None
    return np.array([[[table[name] for name in names] for table in row] for row in found], float)


def _result(found: TwoWay, seeds: int, count: int) -> TwoWayResult:
    return TwoWayResult(
        mean=found.mean,
        error=found.error,
        df=found.df,
        p=found.p,
        interval=found.interval(),
        simultaneous=None,
        seeds=seeds,
        books=count,
        sd={"seeds": found.sd_seeds, "books": found.sd_books, "rest": found.sd_rest},
    )
