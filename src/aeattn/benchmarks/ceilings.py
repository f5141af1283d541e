"""What this machine can do at most: matrix products and memory, measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from aeattn.benchmarks.results import Ceilings

SECONDS = 0.4  # of measuring, for each figure
SIDE = 1024  # of a square product: large enough for the peak, small enough for the caches
MEMORY_NUMBERS = 1 << 26  # float32: 256 MiB, more than any cache


def ceilings(rows: int, width: int, wide: int) -> Ceilings:
    """Best rates: `gflops` of matrix products in float32 and bf16, of square matrices and of the feed-forward's
    shape (rows, width) @ (width, wide); `gigabytes_per_second` of copying memory, reading and writing counted."""
    gflops = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        shapes = {"square": (SIDE, SIDE, SIDE), "feed_forward": (rows, width, wide)}
        gflops[name] = {label: _product_gflops(shape, dtype) for label, shape in shapes.items()}
    source = torch.ones(MEMORY_NUMBERS)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    gigabytes = moved / best_seconds(lambda: target.copy_(source)) / 1e9
    return Ceilings(gflops, gigabytes, torch.get_num_threads())


def _product_gflops(shape: tuple[int, int, int], dtype: torch.dtype) -> float:
    rows, inner, columns = shape
    a, b = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
    out = torch.empty(rows, columns, dtype=dtype)
    return 2 * rows * inner * columns / best_seconds(lambda: torch.mm(a, b, out=out)) / 1e9


def best_seconds(work: Callable[[], object]) -> float:
    """The shortest time of many calls, after one to warm up: what the machine can do when nothing disturbs it."""
    work()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        work()
        best = min(best, time.perf_counter() - start)
    return best
