"""How fast characters become ids, as a text is read: with a count of the characters that are not known."""

from __future__ import annotations

from collections import Counter

import numpy as np

from aeattn.benchmarks.ceilings import best_seconds
from aeattn.data.tokenizer import CharTokenizer

CHARS = 4 << 20
# alphabets: letters and stops, and such with Greek, Cyrillic and Chinese
ALPHABETS = {"ascii": range(32, 127), "unicode": [*range(32, 127), *range(0x391, 0x450), *range(0x4E00, 0x4F00)]}


def encoding() -> dict[str, float]:
    """Megabytes of UTF-8 a second, for each alphabet."""
    return {name: _speed("".join(map(chr, alphabet))) for name, alphabet in ALPHABETS.items()}


def _speed(alphabet: str) -> float:
    drawn = np.random.default_rng(0).integers(len(alphabet), size=CHARS)
    text, tokenizer = "".join(np.array(list(alphabet))[drawn]), CharTokenizer(alphabet)
    return len(text.encode()) / best_seconds(lambda: tokenizer.encode(text, Counter())) / 1e6
