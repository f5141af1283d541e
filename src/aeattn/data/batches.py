"""Training batches as a pure function of (seed, step), and fixed windows for evaluation.

Shapes: B windows in a batch, T characters of context, N characters of text.
A window is T + 1 neighbouring ids: inputs are its first T, targets its last T.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from aeattn.data.shingles import scramble
from aeattn.data.tokenizer import Ids, Tokenizer
from aeattn.errors import InputError

Int64 = npt.NDArray[np.int64]

IGNORED = -1  # the target of a position that is not scored
WHOLE_ORDER = 1 << 22  # windows of an epoch whose order is drawn as a whole
_ROUNDS = 6  # of the network that orders more
_SHOWN = 8  # windows of a batch that are named


class TrainBatches:
    """Random windows of a text, without replacement within an epoch.

    Epoch e cuts the text into windows whose predictions do not overlap, from a random offset (the phase), and
    visits each window once, in random order. Phase and order depend on (seed, e) alone, by way of the raw
    bits of a counter-based generator (Philox 4x64), which are the same on every platform and version. A batch
    that an epoch cannot fill goes on with the next. Nothing is kept between steps, so a resumed run sees the
    very batches that an uninterrupted one sees. Windows may span the border of two documents.

    The order of more than WHOLE_ORDER windows is never written out, so that a step on a text of any size takes the
    same time and memory.

    Args:
        ids: the training text, shape (N,); a memory map will do.
        batch: windows in a batch.
        context: T.
        seed: from 0 to 2**64 - 1.

    Raises:
        InputError: the text is shorter than context + 1 characters.
    """

    def __init__(self, ids: Ids, *, batch: int, context: int, seed: int) -> None:
        if batch < 1 or context < 1 or not 0 <= seed < 1 << 64:
            raise InputError("batch and context must be at least 1, and the seed from 0 to 2**64 - 1")
        if len(ids) < context + 1:
            raise InputError(
                f"text has {len(ids):,} characters, a context of {context:,} needs at least {context + 1:,}: "
                "give more text or lower --context"
            )
        self.ids, self.batch, self.context, self.seed = ids, batch, context, seed
        self.windows = max(1, (len(ids) - context) // context)  # in an epoch, whatever its phase
        self._phases = min(context, len(ids) - self.windows * context)
        self._starts: dict[int, Int64] = {}

    def at(self, step: int) -> Int64:
        """Batch number `step`, counted from 0: shape (B, T + 1)."""
        return self.shard(step, 0, 1)

    def shard(self, step: int, rank: int, world: int) -> Int64:
        """Rows rank::world of the batch: what worker `rank` of `world` takes."""
        starts = self.starts(step)[rank::world]
        window = np.arange(self.context + 1)
        return np.asarray(self.ids[starts[:, None] + window], np.int64)

    def starts(self, step: int) -> Int64:
        """Where the windows of the batch begin in the text, shape (B,)."""
        if step < 0:
            raise ValueError(f"step must not be negative, but is {step}")
        first = step * self.batch
        epochs, places = np.divmod(np.arange(first, first + self.batch), self.windows)
        starts = np.empty(self.batch, np.int64)
        for epoch in np.unique(epochs):
            rows = epochs == epoch
            starts[rows] = self._starts_at(int(epoch), places[rows])
        return starts

    def where(self, step: int) -> str:
        """The places of the batch's windows, in words."""
        starts = self.starts(step).tolist()
        shown = ", ".join(f"{start:,}" for start in starts[:_SHOWN])
        more = f" and {len(starts) - _SHOWN} more" if len(starts) > _SHOWN else ""
        return f"windows at characters {shown}{more} of the training text"

    def epoch(self, step: int) -> float:
        """How many times the text has been gone through before `step`."""
        return step * self.batch / self.windows

    def _starts_at(self, epoch: int, places: Int64) -> Int64:
        """Starts of the windows that an epoch visits at these places of its order."""
        if self.windows <= WHOLE_ORDER:
            return self._epoch_starts(epoch)[places]
        bits = np.random.Philox(key=np.array([self.seed, epoch], np.uint64)).random_raw(1 + _ROUNDS)
        return int(bits[0]) % self._phases + self.context * permuted(places, self.windows, bits[1:])

    def _epoch_starts(self, epoch: int) -> Int64:
        """Starts of all windows of an epoch, in the order of the visit; the last two asked for are kept."""
        if epoch not in self._starts:
            while len(self._starts) > 1:
                del self._starts[min(self._starts)]
            key = np.array([self.seed, epoch], np.uint64)
            bits = np.random.Philox(key=key).random_raw(self.windows + 1)
            phase = int(bits[0]) % self._phases
            self._starts[epoch] = phase + self.context * np.argsort(bits[1:], kind="stable")
        return self._starts[epoch]


def permuted(places: Int64, count: int, keys: npt.NDArray[np.uint64]) -> Int64:
    """What stands at `places` of a random order of range(count), none of which is written out: a Feistel network,
    a bijection of numbers of an even count of bits, is gone through until the number is below `count`
    (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).

    Args:
        places: from 0 to count - 1, any shape.
        keys: one a round; each choice is another order.
    """
    half = np.uint64(((count - 1).bit_length() + 1) // 2)
    mask = (np.uint64(1) << half) - np.uint64(1)
    found = places.astype(np.uint64)
    outside = np.ones(found.shape, np.bool_)
    while outside.any():
        left, right = found[outside] >> half, found[outside] & mask
        for key in keys:
            left, right = right, left ^ (scramble(right ^ key) & mask)
        found[outside] = left << half | right
        outside = found >= count
    return found.astype(np.int64)


def eval_windows(ids: Ids, start: int, stop: int, context: int, batch: int = 64) -> Iterator[tuple[Int64, Int64]]:
    """Neighbouring windows of the document ids[start:stop], which score each of its predictions once.

    A document of n characters has n - 1 predictions: its first character is given, not predicted. The last
    window is padded, with id 0 in the inputs and IGNORED in the targets. Yields what `sliding_windows` does.
    """
    return sliding_windows(ids, start, stop, context, context, batch)


def sliding_windows(
    ids: Ids, start: int, stop: int, context: int, stride: int, batch: int = 64
) -> Iterator[tuple[Int64, Int64]]:
    """Overlapping windows of the document ids[start:stop], which score each of its predictions once.

    Each window begins `stride` characters after the one before, and scores its last `stride` predictions
    alone (the first window scores all), so that each is made from more than context - stride characters,
    where the document has as many before it. The other targets are IGNORED.

    Yields:
        inputs, targets: int64, each of shape (at most `batch`, T).
    """
    if not 1 <= stride <= context or batch < 1:
        raise ValueError(f"need 1 <= stride <= context and batch >= 1, got {stride}, {context}, {batch}")
    if not 0 <= start <= stop <= len(ids):
        raise ValueError(f"need 0 <= start <= stop <= {len(ids)}, got {start} and {stop}")
    count = count_windows(stop - start, context, stride)
    for first in range(0, count, batch):
        firsts = start + stride * np.arange(first, min(first + batch, count))
        yield _windows_at(ids, firsts, stop, context, scored_from=context - stride, whole=start)


def before_text(tokenizer: Tokenizer) -> int:
    """The token that a text is taken to follow where its first token is to be predicted: that of a line's end."""
    ids = tokenizer.encode("\n")
    return int(ids[-1]) if len(ids) else 0


def rolling_windows(ids: Ids, before: int, context: int, batch: int = 64) -> Iterator[tuple[Int64, Int64]]:
    """Windows that score every token of a document once, the first after the token `before`, as
    lm-evaluation-harness has them: neighbouring ones, of which the last is moved back until it is whole.

    Yields what `sliding_windows` does.
    """
    joined = np.concatenate([np.array([before], np.int64), ids])
    whole, rest = divmod(len(ids), context)
    for first in range(0, whole, batch):
        firsts = context * np.arange(first, min(first + batch, whole))
        yield _windows_at(joined, firsts, len(joined), context, scored_from=0, whole=0)
    if rest:
        last = max(0, len(ids) - context)
        unscored = context - rest if whole else 0
        yield _windows_at(joined, np.array([last]), len(joined), context, scored_from=unscored, whole=-1)


def count_windows(chars: int, context: int, stride: int) -> int:
    """How many windows `sliding_windows` makes of a document."""
    predictions = chars - 1
    return 1 + -(-max(0, predictions - context) // stride) if predictions > 0 else 0


def _windows_at(
    ids: Ids, firsts: Int64, stop: int, context: int, scored_from: int, whole: int
) -> tuple[Int64, Int64]:
    """Windows that begin at `firsts`; scored from column `scored_from` on, the one at `whole` in full."""
    column = np.arange(context)
    places = firsts[:, None] + column  # of the inputs; targets stand one to the right
    inside = places + 1 < stop
    inputs = np.where(inside, ids[np.minimum(places, stop - 1)].astype(np.int64), 0)
    scored = inside & ((column >= scored_from) | (firsts == whole)[:, None])
    targets = np.where(scored, ids[np.minimum(places + 1, stop - 1)].astype(np.int64), IGNORED)
    return inputs, targets
