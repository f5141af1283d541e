"""Texts as ids on disk: encoded once in constant memory, then read through a memory map.

A store is an entry of the cache: the ids, one after the other as a C array, and a JSON file that says what they
are; where documents are many, a third that says where they stand. Stores and vocabularies have names that are
hashes of all that they depend on. `sole.py` tells how a store is built, `sums.py` how it is verified.
"""

from __future__ import annotations

import errno
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aeattn.config.text import TextOptions
from aeattn.data.build import Build, characters_of, chunks_of, expected_bytes
from aeattn.data.corpora import Corpus, Document
from aeattn.data.fetch import Progress
from aeattn.data.overlap import Overlap, overlap
from aeattn.data.small import in_groups
from aeattn.data.sole import Places, made_once, sole
from aeattn.data.stored import (
    Documents,
    StoredDocument,
    Stretch,
    Texts,
    chars_of,
    places_digest,
    read_rows,
    write_documents,
)
from aeattn.data.sums import check, mark_seen, sums_of
from aeattn.data.text import FOLDED
from aeattn.data.tokenizer import (
    CharTokenizer,
    Ids,
    Tokenizer,
    make_tokenizer,
    tokenizer_from_dict,
    tokenizer_kind,
)
from aeattn.data.utf8 import characters_in, check_vocabulary
from aeattn.data.watch import Watch
from aeattn.errors import InputError
from aeattn.files import Json, cached_json, digest, read_cached, replacing, sha256_of, sync, write_cached
from aeattn.host import cache_dir

_VERSION = 4  # of the files' layout and of what normalisation does; part of every cache key
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FEW_DOCUMENTS = 1000  # stand among the facts of a store
WORTH_NOTING = 16 << 20  # bytes of a document whose characters are noted


@dataclass(frozen=True)
class TokenStore:
    """The ids of one or more documents.

    Attributes:
        ids: shape (N,), of the tokenizer's type; a read-only memory map.
        documents: where each document stands.
        unknown: how often each character outside the vocabulary was replaced by the substitute.
        dropped: how often normalisation dropped each character.
        sha256: of the ids' bytes.
        folded: how often each character was spelt in ASCII, under such keys as "é→e".
    """

    ids: Ids
    documents: Sequence[StoredDocument]
    unknown: Counter[str]
    dropped: Counter[str]
    sha256: str
    folded: Counter[str] = field(default_factory=Counter)

    @classmethod
    def at(cls, path: Path, facts: Json) -> TokenStore:
        """The store whose ids are at `path`, of which `build_store` noted these facts."""
        known = facts["documents"]
        documents: Sequence[StoredDocument] = (
            tuple(StoredDocument(**document) for document in known)
            if isinstance(known, list)
            else Documents(_documents_file(path), known["count"])
        )
        dtype: np.dtype[Any] = np.dtype(facts["dtype"])
        ids = np.memmap(path, dtype, mode="r") if path.stat().st_size else np.empty(0, dtype)
        dropped, folded = (
            Counter({kind: n for kind, n in facts["dropped"].items() if (FOLDED in kind[1:]) is wanted})
            for wanted in (False, True)
        )
        return cls(ids, documents, Counter(facts["unknown"]), dropped, facts["sha256"], folded)

    @cached_property
    def chars(self) -> int:
        """Characters of all texts."""
        return chars_of(self.documents)

    @property
    def chars_per_token(self) -> float:
        """The mean; exactly 1 where tokens are characters."""
        return self.chars / len(self.ids) if len(self.ids) else 1.0

    def texts(self) -> Texts[Ids]:
        """Name and ids of each document, made when they are asked for."""
        return Texts(self.documents, np.asarray(self.ids))

    @contextmanager
    def passages(self) -> Iterator[Texts[Ids | Stretch]]:
        """The same to be read from end to end: of a memory map, what has been read once would stay in memory."""
        path = getattr(self.ids, "filename", None)
        if path is None:
            yield Texts(self.documents, self.ids)
            return
        with open(path, "rb", buffering=0) as file:
            yield Texts(self.documents, Stretch(file, self.ids.dtype, 0, len(self.ids)))


@dataclass(frozen=True)
class Prepared:
    """A corpus ready to train on."""

    tokenizer: Tokenizer
    train: TokenStore
    valid: TokenStore
    notes: list[str]


def build_store(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    options: TextOptions,
    path: Path,
    progress: Progress | None = None,
    what: str = "a text",
) -> TokenStore:
    """The ids of the documents, one after the other, at `path`: those that are there, if they are whole.

    `progress` is told now and then how far the encoding of `what` is. Raises InputError.
    """
    facts = _known(path, progress)
    if facts is None:
        with _refusals(path), sole(path, progress) as places:
            facts = _known(path, progress) if path.exists() else None  # another process has made it meanwhile
            if facts is None:
                facts = _build(documents, tokenizer, options, path, places, progress, what)
    return TokenStore.at(path, facts)


def _known(path: Path, progress: Progress | None) -> Json | None:
    """The facts of a store that is there and whole."""

    def whole(facts: Json) -> None:
        if not isinstance(facts["documents"], list):
            check(_documents_file(path), facts["documents"])
        check(path, facts, progress)

    return read_cached(_facts_file(path), whole)


def _build(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    options: TextOptions,
    path: Path,
    places: Places,
    progress: Progress | None,
    what: str,
) -> Json:
    """Encodes the documents; returns the facts. What is worth going on from stays where it is stopped."""
    build = Build(documents, tokenizer, options, places, progress, what)
    try:
        facts = build.run()
        facts["documents"] = _place_documents(path, places, documents)
        sync(places.partial)
        places.partial.replace(path)
        mark_seen(path)
        write_cached(_facts_file(path), facts)
        places.remove()
        return facts
    except OSError as error:
        raise _full(path, error, build.bytes_to_come()) from error
    except InputError:
        build.has_journal = False
        raise
    finally:
        build.close()
        if not build.has_journal:
            places.remove()


def _place_documents(path: Path, places: Places, documents: Sequence[Document]) -> Json | list[Json]:
    if len(documents) <= FEW_DOCUMENTS:
        return [asdict(document) for document in read_rows(places.rows, documents)]
    with replacing(_documents_file(path)) as file:
        write_documents(file, places.rows, documents)
    mark_seen(_documents_file(path))
    return {"count": len(documents), **sums_of(_documents_file(path)).facts()}


def _facts_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _documents_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.documents")


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Raises InputError for what the file system refuses."""
    try:
        yield
    except OSError as error:
        raise _full(path, error, 0) from error


def _full(path: Path, error: OSError, size: int) -> InputError:
    needed = f"; about {size / 1e6:,.0f} MB more are needed" if size >= 1e6 and error.errno in _FULL else ""
    return InputError(
        f"cannot write {path} ({error.strerror or error}){needed}; set AEATTN_CACHE to a folder with room"
    )


def cached_store(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    options: TextOptions,
    progress: Progress | None = None,
    what: str = "a text",
) -> TokenStore:
    """The store of the documents, from the cache if it is there and whole.

    An entry is known by the documents (path, size and time of change, or checksum of the text; and the part
    that is meant), the options and the vocabulary. See `build_store`.
    """
    key = _key(documents, options, tokenizer=tokenizer.digest)
    path = cache_dir() / "stores" / f"{key}.ids"
    return build_store(documents, tokenizer, options, path, progress, what)


def cached_tokenizer(
    documents: Sequence[Document], options: TextOptions, spec: str = "char", progress: Progress | None = None
) -> Tokenizer:
    """The tokenizer that `spec` (`kind` or `kind:argument`) names, made for the documents, from the cache if it is
    there, or made at once if its kind does not learn. An argument that is a file counts by its content. Raises
    InputError."""
    if not tokenizer_kind(spec)[0].learns:
        return make_tokenizer(spec, ())
    argument = Path(spec.partition(":")[2])
    content = {"argument": sha256_of(argument)} if argument.is_file() else {}
    key = _key(documents, options, tokenizer=spec, **content)

    def make() -> Json:
        of_characters = tokenizer_kind(spec)[0] is CharTokenizer
        made = make_tokenizer(spec, _looked_through(documents, options, progress, of_characters)).to_dict()
        if key != _key(documents, options, tokenizer=spec, **content):
            raise InputError("a text changed while it was read; wait until it is written, then try again")
        return made

    path = cache_dir() / "tokenizers" / f"{key}.json"
    return tokenizer_from_dict(made_once(path, make, tokenizer_from_dict, progress))


def _looked_through(
    documents: Sequence[Document], options: TextOptions, progress: Progress | None, of_characters: bool
) -> Iterator[str]:
    """The text of all documents in chunks, or, if only its characters matter, such as hold these."""
    watch = Watch(progress, "looking through the training text", sum(map(expected_bytes, documents)))
    for found in in_groups(documents, options):
        if not isinstance(found, Document):
            yield from watch.over(["".join(found.texts)])
        elif of_characters and found.text is None and expected_bytes(found) >= WORTH_NOTING:
            yield _characters(found, options, watch)
        else:
            yield from watch.over((characters_of if of_characters else chunks_of)(found, options))


def _characters(document: Document, options: TextOptions, watch: Watch) -> str:
    """Those of a large document, each once: the cache keeps them, so that a command that is killed has not looked
    through it for nothing."""
    key = _key([document], options)

    def look() -> Json:
        found = characters_in(watch.over(characters_of(document, options)))
        if key != _key([document], options):
            raise InputError(
                f"{document.name} changed while it was read; wait until it is written, then try again"
            )
        return {"characters": found}

    path = cache_dir() / "characters" / f"{key}.json"
    if path.exists():
        watch.add(expected_bytes(document), worked=False)
    return str(cached_json(path, look, lambda values: check_vocabulary(values["characters"] or " "))["characters"])


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
        tokenizer = cached_tokenizer(corpus.train, corpus.options, spec, progress)
    train = cached_store(corpus.train, tokenizer, corpus.options, progress, "the training text")
    valid = cached_store(corpus.valid, tokenizer, corpus.options, progress, "the validation text")
    for side, store in (("training", train), ("validation", valid)):
        if not len(store.ids):
            raise InputError(f"the {side} text is empty after normalisation; give more text, or keep more of it")
    notes = [*corpus.notes, *_notes("training", train), *_notes("validation", valid)]
    if not all(document.generated for document in corpus.valid) and (
        note := cached_overlap(train, valid, tokenizer, progress).note()
    ):
        notes.append(note)
    return Prepared(tokenizer, train, valid, notes)


def cached_overlap(
    train: TokenStore, valid: TokenStore, tokenizer: Tokenizer, progress: Progress | None = None
) -> Overlap:
    """`overlap` of two stores, from the cache if it is there."""
    places = [places_digest(store.documents) for store in (train, valid)]
    facts = {"sha256": [train.sha256, valid.sha256], "places": places, "tokenizer": tokenizer.digest}
    path = cache_dir() / "overlaps" / f"{digest({'version': _VERSION, **facts})[:32]}.json"

    def make() -> Json:
        watch = Watch(progress, "comparing the training text with the validation text", train.chars)
        with train.passages() as known, valid.passages() as sought:
            return asdict(overlap(known, sought, tokenizer, watch.add))

    return Overlap(**made_once(path, make, lambda found: Overlap(**found), progress))


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


def _key(documents: Sequence[Document], options: TextOptions, **more: str) -> str:
    """The name of an entry: a hash of all that it depends on."""
    facts = {"version": _VERSION, "unicode": unicodedata.unidata_version, "options": options.to_dict(), **more}
    found = hashlib.sha256(digest(facts).encode())
    for document in documents:
        found.update(digest([document.name, document.identity()]).encode())
    return found.hexdigest()[:32]
