"""What became of a text on its way to a model: what was dropped, folded, unknown, duplicated, shared.

One record for training, for evaluation and for a run's environment.json, and one table of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from aeattn.config.text import TextOptions
from aeattn.data import drawn
from aeattn.data import rows as batches
from aeattn.data.documents import Document, Rows
from aeattn.data.drawn import Sample
from aeattn.data.overlap import Overlap
from aeattn.data.rows import Batch, Hashes
from aeattn.data.sole import made_once
from aeattn.data.splits import Draw
from aeattn.data.store import TokenStore
from aeattn.data.text import normalise_text
from aeattn.data.threads import side_by_side
from aeattn.files import Json, digest
from aeattn.host import cache_dir

MOST_HASHES = 1 << 21  # of rows on both sides; where there are more, those in a fixed part of all values are kept
_SHOWN = 5
_VERSION = 1


@dataclass(frozen=True)
class Side:
    """One side of a text, after normalisation.

    Attributes:
        texts: files, and rows of tables that are texts of their own.
        chars, bytes: of all of them, the latter in UTF-8.
        dropped, folded, unknown: how often each character was left out, was spelt in ASCII ("é→e"), and stood
            outside the vocabulary: the commonest, and "" for all others.
        duplicates: texts that stand on this side once more, letter for letter.
        repeated: the names of files with such texts, the commonest.
    """

    texts: int
    chars: int
    bytes: int
    dropped: dict[str, int]
    folded: dict[str, int]
    unknown: dict[str, int]
    duplicates: int
    repeated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quality:
    """Of the text that is trained on, if it is there, and of the one that is validated or evaluated on.

    Attributes:
        shared_texts: texts of the second that stand in the first, letter for letter.
        overlap: the part of the second's passages that stand in the first, from 0 to 1; None if not known.
        one_in: duplicates are estimated from so many rows.
    """

    train: Side | None
    valid: Side
    shared_texts: int
    overlap: float | None
    one_in: int = 1

    def to_dict(self) -> Json:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Json) -> Quality:
        """What `to_dict` gave."""
        sides = {side: Side(**values[side]) if values[side] else None for side in ("train", "valid")}
        return cls(**{**values, **sides})

    def rows(self) -> list[tuple[str, ...]]:
        """The table: what, training text (if there), other text. Lines of zeros are left out."""
        sides = [side for side in (self.train, self.valid) if side is not None]
        lines: list[tuple[str, ...]] = [
            ("texts", *(f"{side.texts:,}" for side in sides)),
            ("characters", *(f"{side.chars:,}" for side in sides)),
        ]
        for what in ("dropped", "folded", "unknown"):
            lines.append((f"{what} characters", *(_shown(getattr(side, what)) for side in sides)))
        about = "about " if self.one_in > 1 else ""
        lines.append(("duplicate texts", *(_duplicates(side, about) for side in sides)))
        blank = [""] * (len(sides) - 1)
        lines.append(("texts of both", *blank, f"{about if self.shared_texts else ''}{self.shared_texts:,}"))
        if self.overlap is not None:
            lines.append(("passages of both", *blank, _percent(self.overlap)))
        return [line for line in lines if set(line[1:]) - {"0", "", "0 %"}]


def quality(
    train: tuple[Sequence[Document], TokenStore] | None,
    valid: tuple[Sequence[Document], TokenStore],
    options: TextOptions,
    overlap: Overlap | None = None,
) -> Quality:
    """The record of a text, from its documents and their stores. Rows of tables are looked through once, and what
    is found is cached. Raises InputError."""
    sides = [side for side in (train, valid) if side is not None]
    found = _cached_rows([documents for documents, _ in sides], options)
    files = _equal_files([store for _, store in sides])
    made = []
    for number, (_, store) in enumerate(sides):
        names = Counter(found["repeated"][number]) + files[number]
        made.append(
            Side(
                texts=found["texts"][number] + len(store.documents) - found["tables"][number],
                chars=store.chars,
                bytes=sum(document.bytes for document in store.documents),
                dropped=_commonest(store.dropped),
                folded=_commonest(store.folded),
                unknown=_commonest(store.unknown),
                duplicates=found["duplicates"][number] + files[number].total(),
                repeated=tuple(name for name, _ in names.most_common(3)),
            )
        )
    shared = found["shared"] + (_shared_files(*(store for _, store in sides)) if train else 0)
    first = made[0] if train is not None else None
    return Quality(first, made[-1], shared, overlap.share if overlap else None, found["one_in"])


def _commonest(counts: Counter[str]) -> dict[str, int]:
    shown = dict(counts.most_common(_SHOWN))
    rest = counts.total() - sum(shown.values())
    return shown | ({"": rest} if rest else {})


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _shown(counts: dict[str, int]) -> str:
    kinds = " ".join(f"{kind!r}" for kind in counts if kind) + (" ..." if "" in counts else "")
    return f"{sum(counts.values()):,} ({kinds})" if counts else "0"


def _duplicates(side: Side, about: str) -> str:
    where = f" ({', '.join(side.repeated)})" if side.repeated else ""
    return f"{about}{side.duplicates:,}{where}" if side.duplicates else "0"


# -- files: what is alike has as many characters and the same ids ------------------------------------------


def _equal_files(stores: Sequence[TokenStore]) -> list[Counter[str]]:
    """For each store, the documents that are another of it once more, by name."""
    return [Counter(name for name, before in _known(store) if before) for store in stores]


def _known(store: TokenStore) -> Iterator[tuple[str, bool]]:
    sizes = Counter((document.chars, len(document)) for document in store.documents)
    seen: set[bytes] = set()
    for document in store.documents:
        if document.chars and sizes[document.chars, len(document)] > 1:
            value = _digest(store, document)
            yield document.name, value in seen
            seen.add(value)


def _shared_files(train: TokenStore, valid: TokenStore) -> int:
    sizes = {(document.chars, len(document)) for document in valid.documents if document.chars}
    known = {_digest(train, d) for d in train.documents if (d.chars, len(d)) in sizes}
    return sum(_digest(valid, d) in known for d in valid.documents if known and d.chars)


def _digest(store: TokenStore, document: Any) -> bytes:
    return blake2b(np.ascontiguousarray(store.ids[document.start : document.stop]).data, digest_size=16).digest()


# -- rows of tables ----------------------------------------------------------------------------------------


def _cached_rows(sides: Sequence[Sequence[Document]], options: TextOptions) -> Json:
    """Texts and duplicates among the rows of both sides, as one JSON object."""
    tables = [[d for d in documents if _of_texts(d)] for documents in sides]
    facts = [[(d.name, d.identity()) for d in documents] for documents in tables]
    key = digest({"version": _VERSION, "tables": facts, "options": options.to_dict()})[:32]
    if not any(tables):
        return _summary([_Sample() for _ in sides], tables)
    return made_once(
        cache_dir() / "quality" / f"{key}.json",
        lambda: _summary([_sample(documents, options) for documents in tables], tables),
        lambda values: values["one_in"],
    )


def _of_texts(document: Document) -> bool:
    """Whether it is a table whose rows are texts, and all of it is meant."""
    whole = document.limit is None and not document.skip and (document.start, document.stop) == (0.0, 1.0)
    return document.rows is not None and document.rows.end == "\n\n" and whole and not document.more


class _Sample:
    """Hashes of rows, each with the number of its document: those whose lowest `bits` bits are 0."""

    def __init__(self) -> None:
        self.bits = self.texts = 0
        self.hashes: Hashes = np.empty(0, np.uint64)
        self.owners = np.empty(0, np.int32)
        self._new: list[tuple[Hashes, int]] = []
        self._waiting = self._least_bits = 0

    def add(self, found: Sample, owner: int) -> None:
        self.texts += found.texts
        self._least_bits = max(self._least_bits, found.bits)
        self._new.append((found.hashes, owner))
        self._waiting += len(found.hashes)
        if self._waiting > MOST_HASHES // 4:
            self.settle()

    def settle(self, bits: int = 0) -> None:
        """Put all in two arrays, sampled as far as is needed, or by so many bits."""
        new = [(np.full(len(kept), owner, np.int32), kept) for kept, owner in self._new]
        self.owners = np.concatenate([self.owners, *(owners for owners, _ in new)])
        self.hashes = np.concatenate([self.hashes, *(kept for _, kept in new)])
        self._new, self._waiting = [], 0
        self._sample(max(bits, self._least_bits, self.bits))
        while len(self.hashes) > MOST_HASHES // 2:
            self._sample(self.bits + 1)

    def _sample(self, bits: int) -> None:
        self.bits = bits
        kept = self.hashes & np.uint64((1 << bits) - 1) == 0
        self.hashes, self.owners = self.hashes[kept], self.owners[kept]


def _sample(documents: Sequence[Document], options: TextOptions) -> _Sample:
    found = _Sample()
    for owner, document in enumerate(documents):
        path = document.file()
        assert document.rows is not None
        assert path is not None
        found.add(_of_table(path, document.rows, options), owner)
    found.settle()
    return found


def _of_table(path: Path, rows: Rows, options: TextOptions) -> Sample:
    """The hashes of its normalised texts."""
    if (
        options == TextOptions()
        and isinstance(rows.side, Draw)
        and (known := drawn.sample(path, rows.column, rows.side))
    ):
        return known
    found = Sample()
    for hashes in side_by_side(lambda batch: _hashes(batch, options), rows.batches(path)):
        found.add(hashes)
    found.settle()
    return found


def _hashes(batch: Batch, options: TextOptions) -> Hashes:
    """Those of the normalised texts; without options, of the texts as they are."""
    if options == TextOptions():
        return batches.hashes(batch)
    return batches.hashes(_normalised(batches.texts(batch), options))


def _normalised(texts: list[str], options: TextOptions) -> list[str]:
    """Each text by itself; all at once where no step looks beyond the character that stands between them."""
    mark = "\0"
    joined = mark.join(texts)
    if options.unwrap or joined.count(mark) >= len(texts):
        return [normalise_text(text, options) for text in texts]
    kept = None if options.keep is None else options.keep + mark
    return normalise_text(joined, replace(options, keep=kept)).split(mark)


def _summary(samples: Sequence[_Sample], tables: Sequence[Sequence[Document]]) -> Json:
    bits = max(sample.bits for sample in samples)
    for sample in samples:
        sample.settle(bits)
    again = [_again(sample.hashes) for sample in samples]
    shared = int(np.isin(samples[-1].hashes, samples[0].hashes).sum()) if len(samples) > 1 else 0
    repeated = [
        {tables[side][owner].name: count for owner, count in Counter(sample.owners[mask].tolist()).most_common(3)}
        for side, (sample, mask) in enumerate(zip(samples, again, strict=True))
    ]
    return {
        "texts": [sample.texts for sample in samples],
        "tables": [len(documents) for documents in tables],
        "duplicates": [int(mask.sum()) << bits for mask in again],
        "repeated": repeated,
        "shared": shared << bits,
        "one_in": 1 << bits,
    }


def _again(hashes: Hashes) -> batches.Mask:
    """Which of them were there before."""
    mask = np.ones(len(hashes), np.bool_)
    mask[np.unique(hashes, return_index=True)[1]] = False
    return mask
