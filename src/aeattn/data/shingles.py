"""Passages of large texts by samples, at a few nanoseconds a character.

A text becomes one byte a character, its *code*: the same for a capital and its small letter, and for all white
space; letters outside ASCII share 127 codes. Whether a passage of SHINGLE codes is looked at depends on those
codes alone (their polynomial modulo 256, with random codes, falls below a bound), so that the same passages are
chosen wherever they stand; only those that are chosen are hashed to 64 bits.

Shapes: N ids, C codes of a block, P places in it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from aeattn.data.decoder import Decoder
from aeattn.data.lookup import Bytes as Bytes
from aeattn.data.lookup import ByteTable
from aeattn.data.stored import Stretch
from aeattn.data.tokenizer import Ids, Tokenizer
from aeattn.kernels import texts as kernel

Places = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Texts = Sequence[tuple[str, Ids | Stretch]]  # name and ids of each document

SHINGLE = 64  # characters; a power of two
BLOCK = 1 << 19  # codes at once, which stay in a processor's cache
MOST_ANCHOR_BITS = 8  # of the sampling that the polynomial does

_END = 0  # the code that stands after each document
_CODES = np.random.Generator(np.random.Philox(key=64)).permutation(np.arange(1, 256)).astype(np.uint8)
_SPACE = _CODES[ord(" ")]
_OTHERS = 127  # codes for letters outside ASCII
_NEAR_BITS, _BEGIN_BITS = 24, 20  # bitmaps that refuse most passages before they are hashed as a whole
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Coder:
    """The codes of texts that are given as ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._of_point = np.zeros(sys.maxunicode + 1, np.uint8)  # 0 where one was not met yet
        self._of_byte: ByteTable | None = None
        texts = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
        self._partial = np.array(["\ufffd" in text for text in texts])  # tokens that may be a part of a character
        self._first_partial = int(np.argmax(self._partial)) if self._partial.any() else tokenizer.vocab_size
        self._flat = self._of_text("".join(texts))
        self._lengths = np.array([len(text) for text in texts], np.int32)
        self._starts = (np.cumsum(self._lengths) - self._lengths).astype(np.int32)
        if tokenizer.dtype == np.uint8 and (self._lengths == 1).all():
            self._of_byte = ByteTable(np.pad(self._flat, (0, 256 - tokenizer.vocab_size)))

    def pieces(self, ids: Ids | Stretch) -> Iterator[Bytes]:
        """Those of a document, piece by piece."""
        decoder = Decoder(self.tokenizer)
        for first in range(0, len(ids), BLOCK):
            piece = np.asarray(ids[first : first + BLOCK])
            if decoder.waits or self._has_partial(piece):
                yield self._of_text(decoder.push(piece))
            elif self._of_byte is not None:
                yield self._of_byte.take(piece.view(np.uint8))
            else:
                yield self._of_tokens(piece)
        if decoder.waits:
            yield self._of_text(decoder.close())

    def _has_partial(self, ids: Ids) -> bool:
        """Whether any may be a part of a character."""
        return bool(len(ids) and int(ids.max()) >= self._first_partial and self._partial[ids].any())

    def _of_tokens(self, ids: Ids) -> Bytes:
        """Those of tokens that are whole characters, by tables: the library would take ten times as long."""
        lengths = self._lengths[ids]
        ends = np.cumsum(lengths, dtype=np.int32)
        before = self._starts[ids] - (ends - lengths)
        codes: Bytes = self._flat[np.repeat(before, lengths) + np.arange(lengths.sum(), dtype=np.int32)]
        return codes

    def _of_text(self, text: str) -> Bytes:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        codes = self._of_point.take(points)
        if not codes.all():
            new = np.flatnonzero(np.bincount(points[codes == 0]))
            self._of_point[new] = [_code(chr(point)) for point in new]
            codes = self._of_point.take(points)
        return codes


def _code(character: str) -> int:
    plain = ord(" ") if character.isspace() else ord(character.lower()[0])
    return int(_CODES[plain if plain < 128 else 128 + plain * 0x9E3779B1 % (1 << 32) % _OTHERS])


def blocks(texts: Texts, coder: Coder) -> Iterator[tuple[Bytes, int]]:
    """The codes (C,) of documents one after the other, a run of white space as one, and which document a block
    begins in. 0 stands after each document; a document that goes on in the next block does so SHINGLE - 1 codes
    earlier."""
    held: list[Bytes] = []
    length = first = 0
    for index, (_, ids) in enumerate(texts):
        space = False
        for piece in coder.pieces(ids):
            codes, space = _squeezed(piece, space)
            held.append(codes)
            length += len(codes)
            if length >= BLOCK:
                block = np.concatenate(held)
                yield block, first
                held, first = [_last_codes(block)], index
                length = len(held[0])
        held.append(np.zeros(1, np.uint8))
        length += 1
    if held:
        yield np.concatenate(held), first


def _squeezed(codes: Bytes, after_space: bool) -> tuple[Bytes, bool]:
    """Without the white space that follows white space; and whether the next piece follows any."""
    if not len(codes):
        return codes, after_space
    if kernel.pays(len(codes)):
        return kernel.squeezed(codes, int(_SPACE), after_space), bool(codes[-1] == _SPACE)
    space = codes == _SPACE
    again = np.empty(len(codes), np.bool_)
    again[0], again[1:] = space[0] and after_space, space[1:] & space[:-1]
    return codes[~again] if again.any() else codes, bool(space[-1])


def _last_codes(block: Bytes) -> Bytes:
    """The last codes of the document that a block ends in: too few for a passage."""
    tail = block[-(SHINGLE - 1) :]
    ends = np.flatnonzero(tail == _END)
    return tail[ends[-1] + 1 :] if len(ends) else tail


def chosen(codes: Bytes, bits: int) -> Places:
    """Where the passages begin that are looked at, (P,): about one in 2**bits, for bits up to MOST_ANCHOR_BITS."""
    if len(codes) < SHINGLE:
        return np.empty(0, np.int64)
    if not bits:
        return np.arange(len(codes) - SHINGLE + 1)
    sums, scaled, length = codes.copy(), np.empty_like(codes), 1
    while length < SHINGLE:  # that of 2n codes = that of the first n * 5**n + that of the others
        left = len(sums) - length
        np.multiply(sums[:left], np.uint8(pow(5, length, 256)), out=scaled[:left])
        sums, scaled = np.add(scaled[:left], sums[length:], out=scaled[:left]), sums
        length *= 2
    return np.flatnonzero(sums < 1 << (8 - bits))


def inside(codes: Bytes, places: Places, first: int) -> tuple[Places, Places]:
    """Those places whose passage ends before its document does, and the document of each."""
    ends = np.flatnonzero(codes == _END)
    before = np.searchsorted(ends, places)
    if len(ends):
        whole = np.append(ends, len(codes))[before] - places >= SHINGLE
        places, before = places[whole], before[whole]
    return places, first + before


class Wanted:
    """The passages of some documents, one in 2**bits of them, to be found in others.

    Attributes:
        hashes: those of all of them, one after the other, (P,).
        documents: the document of each, (P,).
        distinct: each hash once, in ascending order.
    """

    def __init__(self, texts: Texts, coder: Coder, bits: int) -> None:
        self._bits = min(bits, MOST_ANCHOR_BITS)
        more = np.uint64((1 << (bits - self._bits)) - 1)  # the rest of the sampling goes by the hash
        self._near = np.zeros(1 << _NEAR_BITS, np.bool_)  # of a part of a passage, in which most differ already
        self._begins = np.zeros(1 << _BEGIN_BITS, np.bool_)  # of the first eight codes
        hashes: list[Hashes] = [np.empty(0, np.uint64)]
        documents: list[Places] = [np.empty(0, np.int64)]
        for codes, first in blocks(texts, coder):
            places, of = inside(codes, chosen(codes, self._bits), first)
            hashed = _hash(codes, places, SHINGLE)
            kept = hashed & more == 0
            hashes.append(hashed[kept])
            documents.append(of[kept])
            self._near[_glance(codes, places[kept])] = True
            if not self._bits and len(places):
                self._begins[_beginnings(codes)[places]] = True
        self._near_bits = np.packbits(self._near, bitorder="little")
        self.hashes, self.documents = np.concatenate(hashes), np.concatenate(documents)
        self.distinct = np.unique(self.hashes)

    def find(self, codes: Bytes, first: int) -> tuple[Places, Places]:
        """Which of `distinct` occur in a block, as often as they do, and the document of each."""
        places, documents = inside(codes, self.likely(codes), first)
        hashed = _hash(codes, places, SHINGLE)
        at = np.searchsorted(self.distinct, hashed)
        at[at == len(self.distinct)] = 0
        same = self.distinct[at] == hashed if len(self.distinct) else np.zeros(len(at), np.bool_)
        return at[same], documents[same]

    def likely(self, codes: Bytes) -> Places:
        """Where passages begin that are looked at, less most of those that are not wanted."""
        if self._bits and kernel.pays(len(codes)):
            return kernel.likely(codes, 1 << (8 - self._bits), self._near_bits)
        places = chosen(codes, self._bits) if self._bits else self._begun(codes)
        near: Places = places[self._near[_glance(codes, places)]]
        return near

    def _begun(self, codes: Bytes) -> Places:
        """Of all places those whose first eight codes begin something that is wanted."""
        if len(codes) < SHINGLE:
            return np.empty(0, np.int64)
        return np.flatnonzero(self._begins[_beginnings(codes)[: len(codes) - SHINGLE + 1]])


def _glance(codes: Bytes, places: Places) -> Places:
    """A number below 2**_NEAR_BITS of some of the codes of each passage: the first, the last, and some between."""
    mixed = np.zeros(len(places), np.uint64)
    if len(places):
        eight = np.ndarray((len(codes) - 7,), "<u8", buffer=np.ascontiguousarray(codes), strides=(1,))
        for first in (0, SHINGLE // 2 - 4, SHINGLE - 8):
            mixed = (mixed ^ eight[places + first]) * _MULTIPLIER
    return _top(mixed, _NEAR_BITS)


def _beginnings(codes: Bytes) -> Places:
    """A number below 2**_BEGIN_BITS of the eight codes from each place on."""
    eight = np.ndarray((len(codes) - 7,), "<u8", buffer=np.ascontiguousarray(codes), strides=(1,))
    return _top(eight * _MULTIPLIER, _BEGIN_BITS)


def _hash(codes: Bytes, places: Places, length: int) -> Hashes:
    """64 bits of the `length` codes from each place on, which differ (but once in 2**64) where the codes do."""
    hashed = np.zeros(len(places), np.uint64)
    if len(places):
        words = np.lib.stride_tricks.sliding_window_view(codes, length)[places].view("<u8")
        for column in range(words.shape[1]):
            hashed = scramble(hashed ^ words[:, column])
    return hashed


def _top(hashes: Hashes, bits: int) -> Places:
    return (hashes >> np.uint64(64 - bits)).view(np.int64)


def scramble(values: Hashes) -> Hashes:
    """A bijection of 64-bit numbers that lets every bit depend on all (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
