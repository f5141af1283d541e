"""Where a training step's time goes, by PyTorch's profiler."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from torch.profiler import ProfilerActivity, profile

from aeattn.benchmarks.timing import Work

STEPS = 3
OTHER = "other"

# part: beginnings of the names of operators whose own time belongs to it; the first that fits counts
PARTS: Mapping[str, tuple[str, ...]] = {
    "matrix products": ("aten::mm", "aten::addmm", "mkldnn::"),
    "batched products": ("aten::bmm", "aten::baddbmm"),
    "attention kernels": ("aeattn::attend", "aten::_scaled_dot_product"),
    "elementwise": ("## Call CompiledFxGraph", "CompiledFunction", "graph_", "aeattn::gelu"),
    "copies": ("aten::copy_", "aten::clone", "aten::cat", "aten::stack", "aten::contiguous"),
    "optimizer": ("Optimizer.", "aten::_foreach", "aten::_fused_adam", "aten::lerp", "aten::linalg_vector_norm"),
}


def parts(work: Work) -> dict[str, float]:
    """The share of each part in the time of a step, summing to 1. The products inside Muon count as products."""
    work()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(STEPS):
            work()
    shares: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        shares[part_of(event.key)] += float(event.self_cpu_time_total)
    whole = sum(shares.values()) or 1.0
    return {name: shares[name] / whole for name in (*PARTS, OTHER)}


def part_of(operator: str) -> str:
    """The part that an operator's own time belongs to."""
    return next((part for part, names in PARTS.items() if operator.startswith(names)), OTHER)
