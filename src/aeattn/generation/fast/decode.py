"""The whole decoding loop in one compiled call: sample, append, forget half of a full context, read on."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from aeattn.generation.fast.elementwise import exponential_double
from aeattn.generation.fast.forward import forward, read_out
from aeattn.generation.fast.kernels import compiled
from aeattn.generation.fast.layout import ROWS


@compiled
def choose(logits, chances, order, temperature, top_k, top_p, uniform):
    """The next id from logits (V,): `sampling.probabilities` and `sampling.choose` for one row.

    `top_k` of 0 and `top_p` of 0 keep all. `chances` (V,) in float64 and `order` (V,) are room to work.
    """
    n, best = logits.shape[0], 0
    for i in range(1, n):
        if logits[i] > logits[best]:
            best = i
    if temperature == 0.0:
        return best
    highest, total = np.float64(logits[best]), 0.0
    for i in range(n):
        chances[i] = exponential_double((np.float64(logits[i]) - highest) / temperature)
    if top_k > 0 or top_p > 0.0:
        keep_likeliest(chances, order, top_k, top_p)
    for i in range(n):
        total += chances[i]
    wanted, passed, chosen = uniform * total, 0.0, best
    for i in range(n):
        if chances[i] > 0.0:
            passed += chances[i]
            chosen = i
            if passed > wanted:
                break
    return chosen


@compiled
def keep_likeliest(chances, order, top_k, top_p):
    """Set all but the `top_k` likeliest, and of these all beyond the mass `top_p`, to 0. Ties: the lower id."""
    n = chances.shape[0]
    limit = min(top_k, n) if top_k > 0 else n
    mass = 0.0
    for i in range(n):
        order[i] = i
        mass += chances[i]
    if limit < n:
        select(chances, order, 0, limit)
        mass = 0.0
        for rank in range(limit):
            mass += chances[order[rank]]
    kept, before = limit, 0.0
    if top_p > 0.0:
        kept = 0
        while kept < limit and before < top_p * mass:
            if limit == n:
                select(chances, order, kept, kept + 1)
            before += chances[order[kept]]
            kept += 1
    for rank in range(kept, n):
        chances[order[rank]] = 0.0


@compiled
def select(chances, order, start, stop):
    """Bring the likeliest of `order[start:]` to places `start` to `stop`, in order; the others stay in theirs."""
    for rank in range(start, stop):
        best = rank
        for i in range(rank + 1, order.shape[0]):
            if chances[order[i]] > chances[order[best]]:
                best = i
        chosen = order[best]
        for i in range(best, rank, -1):
            order[i] = order[i - 1]
        order[rank] = chosen


@compiled
def keep_logits(m, work, logits, row, r):
    for i in range(m.vocabulary):
        logits[row, i] = work[m.logits + r * m.logits_row + i]


@compiled
def read_row(model, layers, weights, caches, work, indices, windows, lengths, logits, row):
    """Read the whole window of one sequence anew: its cache, and the logits of what comes next."""
    m = model[0]
    rows, places = np.full(ROWS, row, np.int64), np.empty(ROWS, np.int64)
    for i in range(row * m.cache_numbers, (row + 1) * m.cache_numbers):
        caches[i] = np.float32(0.0)
    start, n_rows = 0, 0
    while start < lengths[row]:
        n_rows = min(ROWS, lengths[row] - start)
        for r in range(n_rows):
            places[r] = start + r
        forward(model, layers, weights, caches, work, indices, windows[row, start:], rows, places, n_rows)
        start += n_rows
    for i in range(m.width):
        work[m.x + i] = work[m.x + (n_rows - 1) * m.row + i]
    read_out(model, weights, work, 1)
    keep_logits(m, work, logits, row, 0)


@compiled
def append(context, windows, lengths, row, new):
    """Take a character into a window. True where the window was full, and must be read again."""
    full = lengths[row] == context
    if full:
        half = max(1, context // 2) if context > 1 else 0
        for i in range(half):
            windows[row, i] = windows[row, context - half + i]
        lengths[row] = half
    windows[row, lengths[row]] = new
    lengths[row] += 1
    return full


def _fingerprint() -> int:
    """Of everything that is compiled: code kept on disk is only good for the very same sources."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return zlib.crc32(b"".join(source.read_bytes() for source in sources))


def _make_write(fingerprint: int) -> Any:
    """The one function that is called from outside. What it closes over is part of its name on disk."""

    def write(
        model, layers, weights, caches, work, indices, windows, lengths, logits, uniforms, out,
        first, last, fresh, temperature, top_k, top_p,
    ):  # fmt: skip
        """Draw `out.shape[1]` new ids for the sequences from `first` to below `last`, and go on to the logits
        after; where they are `fresh`, read their windows first."""
        m = model[0]
        chances, order = np.empty(m.vocabulary, np.float64), np.empty(m.vocabulary, np.int64)
        ids, rows, places = np.empty(ROWS, np.int32), np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
        steps = out.shape[1] + min(0, fingerprint)
        if fresh:
            for row in range(first, last):
                read_row(model, layers, weights, caches, work, indices, windows, lengths, logits, row)
        for step in range(steps):
            waiting = 0
            for row in range(first, last):
                new = choose(logits[row], chances, order, temperature, top_k, top_p, uniforms[row, step])
                out[row, step] = new
                if append(m.context, windows, lengths, row, new):
                    read_row(model, layers, weights, caches, work, indices, windows, lengths, logits, row)
                else:
                    ids[waiting], rows[waiting], places[waiting] = new, row, lengths[row] - 1
                    waiting += 1
                if waiting == ROWS or (row == last - 1 and waiting > 0):
                    forward(model, layers, weights, caches, work, indices, ids, rows, places, waiting)
                    read_out(model, weights, work, waiting)
                    for r in range(waiting):
                        keep_logits(m, work, logits, rows[r], r)
                    waiting = 0

    return compiled(write, keep=True)


write = _make_write(_fingerprint())
