"""What counting alone achieves: n-gram models of characters, as a scale for the losses of larger models.

Each order interpolates with the one below, with the weights of Witten and Bell (1991, method C): where a
context h occurred c(h) times and was followed by t(h) different characters,

    p_n(x | h) = (c(h x) + t(h) p_{n-1}(x | h less its first character)) / (c(h) + t(h)),

and below the unigram stands the uniform distribution. So every distribution sums to one, and a character or a
context that never occurred has its share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aeattn.data.tokenizer import Ids

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

TRAIN_CHARS = 10_000_000  # what is counted of a longer training text: its beginning
_DENSE_CODES = 1 << 24  # up to here, counting into an array beats sorting


def ngram_baseline(
    train_ids: Ids,
    valid_ids: Ids,
    vocab_size: int,
    orders: Sequence[int] = (1, 2, 3, 4, 5),
    train_chars: int = TRAIN_CHARS,
) -> dict[int, float]:
    """Nats a character of n-gram models on the validation text.

    Counts the first `train_chars` characters of the training text. An order whose n-grams do not fit 64-bit
    codes (vocab_size ** order >= 2 ** 63) is left out. As for the language models, the first character is not
    predicted; the next few have what context there is.

    Args:
        train_ids, valid_ids: shapes (N,) and (M,), M >= 2; ids below vocab_size.
        vocab_size: V.
        orders: which to give; order n sees n - 1 characters.

    Returns:
        The loss of each order.
    """
    if len(valid_ids) < 2 or not orders or min(orders) < 1:
        raise ValueError("need at least two characters to validate on, and orders of at least 1")
    losses = ngram_nats(train_ids[:train_chars], valid_ids, vocab_size, max(orders))
    return {order: float(losses[order - 1].mean()) for order in orders if order <= len(losses)}


def ngram_nats(train_ids: Ids, valid_ids: Ids, vocab_size: int, max_order: int) -> list[Float64]:
    """Nats of each character but the first under orders 1, 2, ...: an array (M - 1,) for each order."""
    train, valid = np.asarray(train_ids, np.int64), np.asarray(valid_ids, np.int64)
    probability = np.full(len(valid), 1.0 / vocab_size)
    train_codes, valid_codes = np.zeros(len(train) + 1, np.int64), np.zeros(len(valid) + 1, np.int64)
    losses = []
    for order in range(1, max_order + 1):
        if vocab_size**order >= 1 << 63:
            break
        first = order - 1  # characters before it lack the context, and keep the order below
        train_codes = train_codes[:-1] * vocab_size + train[first:]  # of n-grams, by their last character
        valid_codes = valid_codes[:-1] * vocab_size + valid[first:]
        probability[first:] = _interpolated(train_codes, valid_codes, probability[first:], vocab_size, order)
        losses.append(-np.log(probability[1:]))
    return losses


def _interpolated(train_codes: Int64, valid_codes: Int64, below: Float64, vocab_size: int, order: int) -> Float64:
    """p_n of each n-gram in `valid_codes`, given p_{n-1}."""
    grams, counts = _count(train_codes, vocab_size**order)
    contexts, firsts, kinds = np.unique(grams // vocab_size, return_index=True, return_counts=True)
    totals = np.add.reduceat(counts, firsts) if len(firsts) else counts
    seen = _look_up(grams, counts, valid_codes)
    total = _look_up(contexts, totals, valid_codes // vocab_size)
    kind = _look_up(contexts, kinds, valid_codes // vocab_size)
    return np.where(total > 0, (seen + kind * below) / np.maximum(total + kind, 1), below)


def _count(codes: Int64, possible: int) -> tuple[Int64, Int64]:
    """The distinct codes, ascending, and how often each occurs."""
    if possible > _DENSE_CODES:
        values, counts = np.unique(codes, return_counts=True)
        return values, counts.astype(np.int64)
    table = np.bincount(codes, minlength=1)
    values = np.flatnonzero(table)
    return values.astype(np.int64), table[values].astype(np.int64)


def _look_up(keys: Int64, values: Int64, wanted: Int64) -> Int64:
    """The value of each wanted key, or 0 where there is no such key; `keys` ascend."""
    if not len(keys):
        return np.zeros_like(wanted)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)
