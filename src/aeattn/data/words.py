"""The ids of a text's words by a table of those that were met before, all of a block at once.

Subwords never cross certain places of a text (`subwords_check.cuts`), and most of what stands between two of them
stood there before. A word of up to 16 bytes is compared as two 64-bit numbers, so nothing rests on a hash; longer
ones, and those that are new, are what the library is asked for. Shapes: C bytes of a block, W words, N ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from aeattn.data.lookup import Bytes, ByteTable
from aeattn.data.subwords_check import LETTERS, SPACES
from aeattn.data.tokenizer import Counts, Ids

LONGEST = 16  # bytes of a word that is in the table
_BITS = 18  # of the table's size
LONGEST_KEPT = 64  # of one that is remembered
MOST_IDS, MOST_OTHERS = 1 << 21, 1 << 17  # of all words in the table; words that are remembered beside it
_COUNT = np.uint64((1 << 24) - 1)
_MULTIPLIERS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)

Places = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Encode = Callable[[list[bytes]], tuple[Ids, Counts]]

_LETTERS = [*range(65, 91), *range(97, 123)]
_PUNCTUATION = [byte for byte in range(33, 127) if not chr(byte).isalnum() and chr(byte) != "'"]
# what is no word, as `subwords_check.SPACES` has it: bytes, and characters of two or three bytes
_WHITE = [9, 10, 11, 12, 13, 28, 29, 30, 31, 32]
_WIDE = "\x85\xa0\u1680\u180e\u2028\u2029\u202f\u205f\u2060\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x2010)))
_WIDE_WHITE = [int.from_bytes(character.encode()) for character in _WIDE]


class Border:
    """Where a text is cut: between bytes of which the second begins a word of some kind, and the first is one that
    ends whatever stands before such a word.

    Args:
        kinds: for each kind of word, the bytes that begin it, and those that may stand before.
    """

    def __init__(self, *kinds: tuple[Iterable[int], Iterable[int]]) -> None:
        flags = np.zeros(256, np.uint8)  # the lower half of a byte: what it begins; the upper: what it ends
        for number, (begins, ends) in enumerate(kinds):
            flags[list(begins)] |= np.uint8(1 << number)
            flags[list(ends)] |= np.uint8(16 << number)
        self._flags, self._table = flags.tolist(), ByteTable(flags)

    def find(self, content: Bytes) -> Places:
        """The places, in ascending order."""
        flags = self._table.take(content)
        places = np.flatnonzero(flags[:-1] >> 4 & flags[1:]) + 1
        last = content[places - 1]
        many = np.flatnonzero(last >= 128)
        if not len(many):
            return places
        two = content[places[many] - 2].astype(np.int64) << 8 | last[many]
        three = content[places[many] - 3].astype(np.int64) << 16 | two
        return np.delete(places, many[np.isin(two, _WIDE_WHITE) | np.isin(three, _WIDE_WHITE)])

    def between(self, last: int, first: int) -> bool:
        """Whether a text is cut between two ASCII characters."""
        return max(last, first) < 128 and self._flags[last] >> 4 & self._flags[first] != 0


def border_of(cut: re.Pattern[str] | None, *, plain: bool) -> Border | None:
    """That of a pattern of `subwords_check`; None for no pattern.

    Where tokens are `plain`, none but what merges make, GPT-2's pattern ends a word also where punctuation follows
    a letter: its letters go on with letters alone, and what it takes as punctuation has none.
    """
    if cut is SPACES:
        before_space = set(range(256)) - set(_WHITE)
        words = (b" \n", before_space)
        return Border(words, (_PUNCTUATION, _LETTERS)) if plain else Border(words)
    return Border((b" ", _LETTERS)) if cut is LETTERS else None


class WordTable:
    """Words and their ids, for one thread.

    Args:
        border: where words begin.
        encode: the ids of words that are not known yet, one after the other, and how many each has.
        dtype: of ids.
    """

    def __init__(self, border: Border, encode: Encode, dtype: np.dtype[Any]) -> None:
        self._border, self._encode, self._dtype = border, encode, dtype
        self._clear()

    def _clear(self) -> None:
        size = 1 << _BITS
        self._table = np.zeros((size, 4), np.uint64)  # a word: its 16 bytes, and `_packed`; 0 where there is none
        self._ids, self._used = np.empty(1 << 16, self._dtype), 0
        self._others: dict[bytes, Ids] = {}  # words for which there is no room in the table

    def ids(self, text: str) -> Ids:
        """The ids (N,) of a text without lone surrogates."""
        if self._used > MOST_IDS or len(self._others) > MOST_OTHERS:
            self._clear()
        content = np.frombuffer(text.encode(), np.uint8)
        if not len(content):
            return np.empty(0, self._dtype)
        begins = np.concatenate([np.zeros(1, np.int64), self._border.find(content)])
        words = _Words(content, begins)
        starts, counts = np.empty(len(begins), np.int64), np.empty(len(begins), np.int64)
        rest = self._take(words, np.arange(len(begins)), words.slots[0], starts, counts)
        rest = self._take(words, rest, words.slots[1][rest], starts, counts)
        every = self._ids
        if len(rest):
            every = np.concatenate([every[: self._used], *self._ask(words, rest, starts, counts)])
        ends = np.cumsum(counts)
        found: Ids = every[np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1])]
        return found

    def _take(self, words: _Words, which: Places, slots: Places, starts: Places, counts: Places) -> Places:
        """Note where the ids of those words are that are in these slots; returns the others."""
        first, second, packed, _ = self._table.take(slots, axis=0).T
        known = (packed & np.uint64(255)).view(np.int64) == words.lengths[which]
        known &= (first == words.first[which]) & (second == words.second[which])
        starts[which], counts[which] = packed >> np.uint64(32), packed >> np.uint64(8) & _COUNT
        rest: Places = which[~known]
        return rest

    def _ask(self, words: _Words, which: Places, starts: Places, counts: Places) -> list[Ids]:
        """The ids of words that are not in the table, which are to stand behind all that are; notes where."""
        texts = words.texts(which)
        places = dict(zip(reversed(texts), reversed(which.tolist()), strict=True))  # where each stands first
        fresh = [text for text in places if text not in self._others]
        others = [text for text in places if text in self._others]
        flat, sizes = self._encode(fresh) if fresh else (np.empty(0, self._dtype), np.empty(0, np.int64))
        own = [flat, *map(self._others.__getitem__, others)]
        ends = np.cumsum([0, *sizes.tolist(), *map(len, own[1:])])
        numbers = {text: number for number, text in enumerate([*fresh, *others])}
        number = np.array([numbers[text] for text in texts], np.int64)
        starts[which], counts[which] = self._used + ends[number], np.diff(ends)[number]
        for text in self._keep(words, np.array([places[text] for text in fresh], np.int64), flat, sizes):
            if len(text) <= LONGEST_KEPT:
                self._others[text] = flat[ends[numbers[text]] : ends[numbers[text] + 1]].copy()
        return own

    def _keep(self, words: _Words, which: Places, flat: Ids, sizes: Counts) -> list[bytes]:
        """Put new words in the table, for good; returns those for which there is no room."""
        while self._used + len(flat) > len(self._ids):
            self._ids = np.concatenate([self._ids, np.empty_like(self._ids)])
        self._ids[self._used : self._used + len(flat)] = flat
        starts = self._used + np.cumsum(sizes) - sizes
        self._used += len(flat)
        left = np.arange(len(which))
        short = words.lengths[which] <= LONGEST
        for slots in words.slots:
            slot = slots[which[left]]
            free = np.flatnonzero((self._table[slot, 2] == 0) & short[left])
            taken = free[np.unique(slot[free], return_index=True)[1]]  # of those that want the same, the first
            new = left[taken]
            packed = words.lengths[which[new]] | sizes[new] << 8 | starts[new] << 32
            self._table[slot[taken], 0] = words.first[which[new]]
            self._table[slot[taken], 1] = words.second[which[new]]
            self._table[slot[taken], 2] = packed.view(np.uint64)
            left = np.delete(left, taken)
        return words.texts(which[left])


class _Words:
    """The words of a block: where they begin, how long they are, their first bytes as numbers, and the two slots
    of a table in which each may be."""

    def __init__(self, content: Bytes, begins: Places) -> None:
        self._raw, self._begins = content.tobytes(), begins
        self.lengths = np.diff(begins, append=len(content))
        padded = np.concatenate([content, np.zeros(LONGEST, np.uint8)])
        eight = np.ndarray((len(content) + 9,), "<u8", buffer=padded, strides=(1,))
        short = np.minimum(self.lengths, LONGEST)
        self.first, self.second = eight[begins] & _MASKS[0][short], eight[begins + 8] & _MASKS[1][short]
        mixed = (self.first * _MULTIPLIERS[0] ^ self.second) * _MULTIPLIERS[1]
        self.slots = [(mixed >> np.uint64(shift)).view(np.int64) & (1 << _BITS) - 1 for shift in (64 - _BITS, 20)]

    def texts(self, which: Places) -> list[bytes]:
        begins = self._begins[which]
        ends = begins + self.lengths[which]
        return [self._raw[a:b] for a, b in zip(begins.tolist(), ends.tolist(), strict=True)]


def _masks() -> list[Words]:
    """For a word of 0 to 16 bytes, which bits of its first and of its second eight bytes are its own."""
    ones = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
    sizes = np.arange(LONGEST + 1)
    return [ones[np.minimum(sizes, 8)], ones[np.maximum(sizes - 8, 0)]]


_MASKS = _masks()
