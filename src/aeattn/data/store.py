"""Texts as ids on disk: encoded once in constant memory, then read through a memory map.

A store is two files: the ids, one after the other as a C array, and a JSON file that says what they are. The
JSON file is written last, so a store without one is not a store. Stores and vocabularies are cached under
names that are hashes of all that they depend on; an entry that is broken is made again.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aeattn.config.text import TextOptions
from aeattn.data.corpora import Corpus, Document
from aeattn.data.fetch import Progress
from aeattn.data.manifest import sha256_of
from aeattn.data.overlap import Overlap, overlap
from aeattn.data.tokenizer import Ids, Tokenizer, load_tokenizer, make_tokenizer
from aeattn.errors import InputError
from aeattn.host import cache_dir, whole_file

_VERSION = 2  # of the files' layout and of what normalisation does; part of every cache key


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
    def open(cls, path: Path, verify: bool = False) -> TokenStore:
        """Opens the store whose ids are at `path`.

        Raises:
            InputError: it is not there, incomplete or damaged; `verify` looks for flipped bits as well.
        """
        try:
            facts = json.loads(_facts_path(path).read_text(encoding="utf-8"))
            documents = tuple(StoredDocument(**document) for document in facts["documents"])
            ids = _map(path, np.dtype(facts["dtype"]), facts["count"])
            counts = Counter(facts["unknown"]), Counter(facts["dropped"])
            sha256 = str(facts["sha256"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: not a whole store of ids ({error}); build it again") from error
        if verify and hashlib.sha256(ids.data).hexdigest() != sha256:
            raise InputError(f"{path}: the ids are not those that were written; build the store again")
        return cls(ids, documents, *counts, sha256)

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
    """Writes the ids of the documents, one after the other, to `path`, in memory that does not grow."""
    unknown: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    digest = hashlib.sha256()
    stored: list[StoredDocument] = []
    with whole_file(path) as partial, open(partial, "wb") as file:
        for document in documents:
            tokens = chars = size = 0
            for chunk in document.chunks(options, dropped):
                ids = tokenizer.encode(chunk, unknown).astype(tokenizer.dtype, copy=False)
                file.write(ids.data)
                digest.update(ids.data)
                tokens, chars, size = tokens + len(ids), chars + len(chunk), size + _bytes_of(chunk)
            start = stored[-1].stop if stored else 0
            stored.append(StoredDocument(document.name, start, start + tokens, chars, size))
    facts = {
        "dtype": tokenizer.dtype.name,
        "count": stored[-1].stop if stored else 0,
        "documents": [asdict(document) for document in stored],
        "unknown": dict(unknown.most_common()),
        "dropped": dict(dropped.most_common()),
        "sha256": digest.hexdigest(),
    }
    _write_json(_facts_path(path), facts)
    return TokenStore.open(path)


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def cached_store(
    documents: Sequence[Document], tokenizer: Tokenizer, options: TextOptions, folder: Path | None = None
) -> TokenStore:
    """The store of the documents, from the cache if it is there and whole.

    An entry is known by the documents (path, size and time of change, or checksum of the text; and the part
    that is meant), the options and the vocabulary.
    """
    facts = {"documents": _identities(documents), "options": options.to_dict()}
    facts |= {"tokenizer": tokenizer.digest}
    path = (folder or cache_dir() / "stores") / f"{_key(facts)}.ids"
    try:
        return TokenStore.open(path, verify=True)
    except InputError:
        return build_store(documents, tokenizer, options, path)


def cached_tokenizer(
    documents: Sequence[Document], options: TextOptions, spec: str = "char", folder: Path | None = None
) -> Tokenizer:
    """The tokenizer that `spec` (`kind` or `kind:argument`) names, made for the documents, from the cache if it is
    there. An argument that is a file counts by its content."""
    argument = Path(spec.partition(":")[2])
    facts: dict[str, Any] = {"documents": _identities(documents), "options": options.to_dict(), "tokenizer": spec}
    facts |= {"argument": sha256_of(argument)} if argument.is_file() else {}
    path = (folder or cache_dir() / "tokenizers") / f"{_key(facts)}.json"
    with suppress(InputError):
        return load_tokenizer(path)
    tokenizer = make_tokenizer(spec, (chunk for d in documents for chunk in d.chunks(options)))
    _write_json(path, tokenizer.to_dict())
    return tokenizer


def prepare(
    corpus: Corpus,
    tokenizer: Tokenizer | None = None,
    progress: Progress | None = None,
    *,
    spec: str = "char",
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


def cached_overlap(
    train: TokenStore, valid: TokenStore, tokenizer: Tokenizer, folder: Path | None = None
) -> Overlap:
    """`overlap` of two stores, from the cache if it is there."""
    places = [[asdict(d) for d in store.documents] for store in (train, valid)]
    key = _key({"sha256": [train.sha256, valid.sha256], "places": places, "tokenizer": tokenizer.digest})
    path = (folder or cache_dir() / "overlaps") / f"{key}.json"
    try:
        return Overlap(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        found = overlap(train.texts(), valid.texts(), tokenizer)
        _write_json(path, asdict(found))
        return found


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


def _identities(documents: Sequence[Document]) -> list[list[Any]]:
    return [[document.name, document.identity()] for document in documents]


def _key(facts: Mapping[str, Any]) -> str:
    everything = {"version": _VERSION, "unicode": unicodedata.unidata_version, **facts}
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:32]


def _facts_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _write_json(path: Path, facts: Mapping[str, Any]) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps(facts), encoding="utf-8")


def _map(path: Path, dtype: np.dtype[Any], count: int) -> Ids:
    if path.stat().st_size != count * dtype.itemsize:
        raise ValueError(f"{path.stat().st_size:,} bytes instead of {count * dtype.itemsize:,}")
    return np.memmap(path, dtype, mode="r") if count else np.empty(0, dtype)
