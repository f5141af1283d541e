"""Attention maps of a short passage in few bytes: lower triangles of 8 bits a weight, as base64."""

from __future__ import annotations

import base64
import math

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
LABEL = 8  # characters of a token that are shown beside a map


def pack(weights: Float32) -> tuple[tuple[str, ...], ...]:
    """Causal weights (layers, heads, T, T) as a string for each head of each layer."""
    rows, columns = np.tril_indices(weights.shape[-1])
    bytes_ = (weights[..., rows, columns] * 255).round().astype(np.uint8)
    return tuple(tuple(base64.b64encode(head.tobytes()).decode("ascii") for head in layer) for layer in bytes_)


def unpack(packed: str) -> Float32:
    """The weights (T, T) of one head, from 0 to 1, to within 1/510. Raises ValueError for what is no triangle."""
    values = np.frombuffer(base64.b64decode(packed, validate=True), np.uint8)
    time = (math.isqrt(8 * len(values) + 1) - 1) // 2
    if time * (time + 1) // 2 != len(values):
        raise ValueError(f"{len(values)} weights are no lower triangle")
    weights = np.zeros((time, time), np.float32)
    weights[np.tril_indices(time)] = values / 255
    return weights


def shortened(label: str) -> str:
    """A token's text as long as there is room for."""
    return label if len(label) <= LABEL else f"{label[: LABEL - 1]}\u2026"
