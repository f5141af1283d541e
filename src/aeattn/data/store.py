"""Texts as ids on disk: encoded once in constant memory, then read through a memory map.

A store is an entry of the cache: the ids, one after the other as a C array, and a JSON file that says what they
are. Stores and vocabularies have names that are hashes of all that they depend on.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aeattn.config.text import TextOptions
from aeattn.data.corpora import Corpus, Document
from aeattn.data.fetch import Progress
from aeattn.data.overlap import Overlap, overlap
from aeattn.data.tokenizer import Ids, Tokenizer, make_tokenizer, tokenizer_from_dict, tokenizer_kind
from aeattn.errors import InputError
from aeattn.files import Json, cached, cached_json, digest, sha256_of
from aeattn.host import cache_dir

_VERSION = 3  # of the files' layout and of what normalisation does; part of every cache key


@dataclass(frozen=True)
class StoredDocument:
    """A document: ids[start:stop] of its store, and the characters and bytes (in UTF-8) of its text."""

    name: str
    start: int
    stop: int
    chars: int
    bytes: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class TokenStore:
    """The ids of one or more documents.

    Attributes:
        ids: shape (N,), of the tokenizer's type; a read-only memory map.
        documents: where each document stands.
        unknown: how often each character outside the vocabulary was replaced by the substitute.
        dropped: how often normalisation dropped each character.
        sha256: of the ids' bytes.
    """

    ids: Ids
    documents: tuple[StoredDocument, ...]
    unknown: Counter[str]
    dropped: Counter[str]
    sha256: str

    @classmethod
    def at(cls, path: Path, facts: Json) -> TokenStore:
        """The store whose ids are at `path`, of which `build_store` noted these facts."""
        documents = tuple(StoredDocument(**document) for document in facts["documents"])
        dtype: np.dtype[Any] = np.dtype(facts["dtype"])
        ids = np.memmap(path, dtype, mode="r") if path.stat().st_size else np.empty(0, dtype)
        return cls(ids, documents, Counter(facts["unknown"]), Counter(facts["dropped"]), facts["sha256"])

    @property
    def chars(self) -> int:
        """Characters of all texts."""
        return sum(document.chars for document in self.documents)

    @property
    def chars_per_token(self) -> float:
        """The mean; exactly 1 where tokens are characters."""
        return self.chars / len(self.ids) if len(self.ids) else 1.0

    def texts(self) -> list[tuple[str, Ids]]:
        """Name and ids of each document."""
        return [(document.name, self.ids[document.start : document.stop]) for document in self.documents]


@dataclass(frozen=True)
class Prepared:
    """A corpus ready to train on."""

    tokenizer: Tokenizer
    train: TokenStore
    valid: TokenStore
    notes: list[str]


def build_store(
    documents: Sequence[Document], tokenizer: Tokenizer, options: TextOptions, path: Path
) -> TokenStore:
    """The ids of the documents, one after the other, at `path`: those that are there, if they are whole."""
    return TokenStore.at(path, cached(path, lambda partial: _encode(documents, tokenizer, options, partial)))


def _encode(documents: Sequence[Document], tokenizer: Tokenizer, options: TextOptions, path: Path) -> Json:
    """Writes the ids, in memory that does not grow; returns what else is to be known of them."""
    unknown: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    stored: list[StoredDocument] = []
    with path.open("wb") as file:
        for document in documents:
            tokens = 0
            counted = _Counted(document.chunks(options, dropped))
            for found in tokenizer.encode_chunks(counted, unknown):
                file.write(found.astype(tokenizer.dtype, copy=False).data)
                tokens += len(found)
            chars, size = counted.chars, counted.bytes
            start = stored[-1].stop if stored else 0
            stored.append(StoredDocument(document.name, start, start + tokens, chars, size))
    return {
        "dtype": tokenizer.dtype.name,
        "documents": [asdict(document) for document in stored],
        "unknown": dict(unknown.most_common()),
        "dropped": dict(dropped.most_common()),
    }


class _Counted:
    """Chunks of a text, its characters and bytes counted as they pass."""

    def __init__(self, chunks: Iterator[str]) -> None:
        self._chunks, self.chars, self.bytes = chunks, 0, 0

    def __iter__(self) -> Iterator[str]:
        for chunk in self._chunks:
            self.chars, self.bytes = self.chars + len(chunk), self.bytes + _bytes_of(chunk)
            yield chunk


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def cached_store(documents: Sequence[Document], tokenizer: Tokenizer, options: TextOptions) -> TokenStore:
    """The store of the documents, from the cache if it is there and whole.

    An entry is known by the documents (path, size and time of change, or checksum of the text; and the part
    that is meant), the options and the vocabulary.
    """
    key = _key({**_facts(documents, options), "tokenizer": tokenizer.digest})
    return build_store(documents, tokenizer, options, cache_dir() / "stores" / f"{key}.ids")


def cached_tokenizer(documents: Sequence[Document], options: TextOptions, spec: str = "char") -> Tokenizer:
    """The tokenizer that `spec` (`kind` or `kind:argument`) names, made for the documents, from the cache if it is
    there, or made at once if its kind does not learn. An argument that is a file counts by its content."""
    if not tokenizer_kind(spec)[0].learns:
        return make_tokenizer(spec, ())
    argument = Path(spec.partition(":")[2])
    content = {"argument": sha256_of(argument)} if argument.is_file() else {}
    key = _key({**_facts(documents, options), "tokenizer": spec, **content})

    def make() -> Json:
        return make_tokenizer(spec, (chunk for d in documents for chunk in d.chunks(options))).to_dict()

    path = cache_dir() / "tokenizers" / f"{key}.json"
    return tokenizer_from_dict(cached_json(path, make, tokenizer_from_dict))


def prepare(
    corpus: Corpus, tokenizer: Tokenizer | None = None, progress: Progress | None = None, *, spec: str = "char"
) -> Prepared:
    """Both sides of a corpus as ids, and what the user should know of them.

    The tokenizer that `spec` names is made for the training documents, unless `tokenizer` brings another.

    Raises:
        InputError: nothing is left of the training or the validation text after normalisation, or there is no
            such tokenizer.
    """
    if progress:
        progress(f"reading {len(corpus.train) + len(corpus.valid):,} texts")
    if tokenizer is None:
        tokenizer = cached_tokenizer(corpus.train, corpus.options, spec)
    train = cached_store(corpus.train, tokenizer, corpus.options)
    valid = cached_store(corpus.valid, tokenizer, corpus.options)
    for side, store in (("training", train), ("validation", valid)):
        if not len(store.ids):
            raise InputError(f"the {side} text is empty after normalisation; give more text, or keep more of it")
    notes = [*corpus.notes, *_notes("training", train), *_notes("validation", valid)]
    if not all(document.generated for document in corpus.valid) and (
        note := cached_overlap(train, valid, tokenizer).note()
    ):
        notes.append(note)
    return Prepared(tokenizer, train, valid, notes)


def cached_overlap(train: TokenStore, valid: TokenStore, tokenizer: Tokenizer) -> Overlap:
    """`overlap` of two stores, from the cache if it is there."""
    places = [[asdict(d) for d in store.documents] for store in (train, valid)]
    key = _key({"sha256": [train.sha256, valid.sha256], "places": places, "tokenizer": tokenizer.digest})
    path = cache_dir() / "overlaps" / f"{key}.json"

    def make() -> Json:
        return asdict(overlap(train.texts(), valid.texts(), tokenizer))

    return Overlap(**cached_json(path, make, lambda found: Overlap(**found)))


def _notes(side: str, store: TokenStore) -> list[str]:
    notes = []
    if store.dropped:
        notes.append(f"{side} text: {_summary(store.dropped)} dropped in normalising")
    if store.unknown:
        notes.append(f"{side} text: {_summary(store.unknown)} not in the vocabulary, read as the substitute")
    return notes


def _summary(counts: Counter[str]) -> str:
    shown = ", ".join(f"{character!r} {count:,}" for character, count in counts.most_common(5))
    more = f", {len(counts) - 5} kinds more" if len(counts) > 5 else ""
    return f"{counts.total():,} characters ({shown}{more})"


def _facts(documents: Sequence[Document], options: TextOptions) -> Json:
    return {"documents": [[d.name, d.identity()] for d in documents], "options": options.to_dict()}


def _key(facts: Json) -> str:
    return digest({"version": _VERSION, "unicode": unicodedata.unidata_version, **facts})[:32]
