"""How much of the validation text stands in the training text too: a book twice, a long quotation.

Both texts are read in small letters and with every run of white space as one. A *shingle* is a passage of 64
neighbouring characters, whatever their tokens; the share of the validation text that is shared is the share of its
shingles that occur anywhere in the training text. Shingles are compared by 64-bit hashes.

Of large texts a sample of shingles is compared, chosen by what they hold (`shingles.py`): a shingle is looked at
on both sides or on neither, so the share is an unbiased estimate. The sample has 8,000 shingles or more, and
2**17 or more where the validation text has 2**22 tokens; the standard error of the share is then at most 0.006 and
0.0014. Memory is bounded by the sample.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aeattn.data.decoder import Decoder
from aeattn.data.shingles import SHINGLE, Bytes, Coder, Hashes, Places, Texts, Wanted, blocks, scramble
from aeattn.data.stored import Stretch
from aeattn.data.threads import side_by_side
from aeattn.data.tokenizer import Ids, Tokenizer

BLOCK_TOKENS = 1 << 18  # decoded at once
WHOLE_VALID_TOKENS, WHOLE_TRAIN_TOKENS = 1 << 18, 1 << 26  # compared in full, at most
FEW_DOCUMENTS = 200  # compared one by one, at most
MOST_NAMED = 1000  # documents with a share of their own

_FILTER_BITS = 22
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that multiplication by it loses nothing modulo 2**64
_SPACE_CODE = ord(" ")
_NONE: Hashes = np.empty(0, np.uint64)


@dataclass(frozen=True)
class Overlap:
    """What validation text is in the training text.

    Attributes:
        share: of the shingles of all validation documents, from 0 to 1.
        documents: the same for each validation document; of very many, for those that share most.
        sources: the training documents that hold them, each with its part of all that was found, from 0 to 1; of
            very many, those that hold most.
    """

    share: float
    documents: dict[str, float]
    sources: dict[str, float]

    def note(self) -> str | None:
        """One line for the user, where a half per cent is shared, or 5 % of some document."""
        worst = sorted(self.documents.items(), key=lambda item: -item[1])[:3]
        if self.share < 0.005 and not (worst and worst[0][1] >= 0.05):
            return None
        shares = ", ".join(f"{name}: {_percent(share)}" for name, share in worst if share > 0)
        source = max(self.sources, key=lambda name: self.sources[name])
        return (
            f"{_percent(self.share)} of the validation text occurs in the training text ({shares}; "
            f"most of it in {source}): validation losses will be too good"
        )


def overlap(
    train: Texts, valid: Texts, tokenizer: Tokenizer, seen: Callable[[int], None] = lambda _: None
) -> Overlap:
    """Compares documents given as ids, as the texts that these stand for.

    Args:
        train, valid: name and ids (N,) of each document; memory maps will do.
        tokenizer: what the ids mean.
        seen: is told of so many characters more of the training text that have been looked at.
    """
    known, sought = (sum(len(ids) for _, ids in texts) for texts in (train, valid))
    in_full = known <= WHOLE_TRAIN_TOKENS and sought <= WHOLE_VALID_TOKENS
    if in_full and len(train) + len(valid) <= FEW_DOCUMENTS:
        return _overlap_in_full(train, valid, tokenizer)
    return _overlap_of_samples(train, valid, tokenizer, 0 if in_full else sample_bits(sought), seen)


def sample_bits(tokens: int) -> int:
    """One shingle in 2**bits is looked at, of a validation text of so many tokens."""
    if tokens <= 1 << 16:
        return 0
    return 3 if tokens <= 1 << 18 else max(5, (tokens >> 18).bit_length())


def _overlap_of_samples(
    train: Texts, valid: Texts, tokenizer: Tokenizer, bits: int, seen: Callable[[int], None]
) -> Overlap:
    """By as many threads as there are processors: numpy's loops run side by side."""
    coder = Coder(tokenizer)
    wanted = Wanted(valid, coder, bits)
    found = np.zeros(len(wanted.distinct), np.bool_)
    hits = np.zeros(len(train), np.int64)

    def find(block: tuple[Bytes, int]) -> tuple[Places, Places, int]:
        return *wanted.find(*block), len(block[0])

    for places, documents, length in side_by_side(find, blocks(train, coder)):
        found[places] = True
        np.add.at(hits, documents, 1)
        seen(length)
    shared = found[np.searchsorted(wanted.distinct, wanted.hashes)] if len(found) else np.empty(0, np.bool_)
    per_document = np.bincount(wanted.documents, minlength=len(valid))
    shares = np.bincount(wanted.documents, shared, minlength=len(valid)) / np.maximum(per_document, 1)
    return Overlap(
        share=_mean(shared),
        documents=_named(valid, shares),
        sources={name: part for name, part in _named(train, hits / max(1, hits.sum())).items() if part},
    )


def _named(texts: Texts, values: npt.NDArray[np.float64]) -> dict[str, float]:
    """The documents' names with their values; of very many, those of the largest, in the documents' order."""
    most = np.sort(np.argsort(-values, kind="stable")[:MOST_NAMED])
    return {texts[int(index)][0]: float(values[index]) for index in most}


def _overlap_in_full(train: Texts, valid: Texts, tokenizer: Tokenizer) -> Overlap:
    codes = _Codes(tokenizer)
    hashes = [np.concatenate([_NONE, *_hashes(ids, codes)]) for _, ids in valid]
    wanted = np.unique(np.concatenate([_NONE, *hashes]))
    found = np.zeros(len(wanted), np.bool_)
    sources: Counter[str] = Counter()
    for name, ids in train:
        sources[name] += _mark(wanted, found, _hashes(ids, codes))
    shared = [found[np.searchsorted(wanted, own)] for own in hashes]
    names = [name for name, _ in valid]
    total = sources.total() or 1
    return Overlap(
        share=_mean(np.concatenate([np.empty(0, np.bool_), *shared])),
        documents={name: _mean(mask) for name, mask in zip(names, shared, strict=True)},
        sources={name: count / total for name, count in sources.items() if count},
    )


def _mark(wanted: Hashes, found: npt.NDArray[np.bool_], blocks: Iterator[Hashes]) -> int:
    """Marks the wanted hashes that occur in the blocks; returns how many of the blocks' are wanted."""
    shift = np.uint64(64 - _FILTER_BITS)
    maybe = np.zeros(1 << _FILTER_BITS, np.bool_)  # most hashes are refused by their top bits alone
    maybe[wanted >> shift] = True
    hits = 0
    for block in blocks:
        likely = block[maybe[block >> shift]]
        places = np.minimum(np.searchsorted(wanted, likely), max(0, len(wanted) - 1))
        matched = places[wanted[places] == likely] if len(wanted) else places
        found[matched] = True
        hits += len(matched)
    return hits


class _Codes:
    """For each character of a text 64 bits that are the same for a capital and its small letter, and for all white
    space."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._table = np.zeros(sys.maxunicode + 1, np.uint64)  # of code points; 0 where one was not met yet

    def of(self, ids: Ids | Stretch) -> Iterator[npt.NDArray[np.uint64]]:
        """Those of a document, block by block."""
        decoder = Decoder(self.tokenizer)
        for first in range(0, len(ids), BLOCK_TOKENS):
            yield self._look_up(decoder.push(np.asarray(ids[first : first + BLOCK_TOKENS])))
        yield self._look_up(decoder.close())

    def _look_up(self, text: str) -> npt.NDArray[np.uint64]:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        new = np.flatnonzero(np.bincount(points[self._table[points] == 0]))
        plain = [_SPACE_CODE if chr(c).isspace() else ord(chr(c).lower()[0]) for c in new]
        self._table[new] = scramble(np.array(plain, np.uint64))
        found: npt.NDArray[np.uint64] = self._table[points]
        return found


def _hashes(ids: Ids | Stretch, codes: _Codes) -> Iterator[Hashes]:
    """The hashes of a document's shingles, block by block."""
    tail: npt.NDArray[np.uint64] = _NONE  # the last SHINGLE - 1 characters of all before
    space_before, space_code = np.zeros(1, np.bool_), scramble(np.array([_SPACE_CODE], np.uint64))
    for block in codes.of(ids):
        space = np.concatenate([space_before, block == space_code])
        space_before = space[-1:]
        text = np.concatenate([tail, block[~(space[1:] & space[:-1])]])
        tail = text[-(SHINGLE - 1) :]
        yield _shingle_hashes(text)


def _shingle_hashes(text: npt.NDArray[np.uint64]) -> Hashes:
    """A polynomial hash modulo 2**64 of each SHINGLE neighbouring numbers, by doubling the length.

    hash of 2n characters at i = (hash of n at i) * M**n + (hash of n at i + n)
    """
    hashed, length = text, 1
    while length < SHINGLE:
        if len(hashed) <= length:
            return _NONE
        power = np.uint64(pow(_MULTIPLIER, length, 1 << 64))
        hashed = hashed[:-length] * power + hashed[length:]
        length *= 2
    return scramble(hashed)


def _mean(mask: npt.NDArray[np.bool_]) -> float:
    return float(mask.mean()) if mask.size else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
