"""Texts to ids on disk, in constant memory, by a build that goes on where it was stopped, however it was."""

from __future__ import annotations

import os
import struct
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from aeattn.config.text import TextOptions
from aeattn.data.corpora import Document
from aeattn.data.fetch import Progress
from aeattn.data.small import Group, in_groups
from aeattn.data.sole import Places
from aeattn.data.sums import Sums, sums_of
from aeattn.data.threads import ahead
from aeattn.data.tokenizer import Tokenizer
from aeattn.data.watch import Watch
from aeattn.errors import InputError
from aeattn.files import Json, beside, read_json, sealed, to_json, unseal

JOURNAL_SECONDS, JOURNAL_BYTES = 5.0, 256 << 20

_PIECE, _MANY = 4 << 20, 1 << 12  # bytes, or pieces of them, that are written and hashed at once
_AHEAD = 8 << 20  # bytes of a document that is worth a thread that reads it
_ROW = struct.Struct("=3q")


class _Appended:
    """A file that grows by a thread of its own, which hashes as well. What `sums` has not seen of it goes."""

    def __init__(self, path: Path, sums: Sums) -> None:
        self.path, self.sums = path, sums
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self._file.truncate(sums.bytes)
        self._file.seek(sums.bytes)
        self._thread, self._waiting = ThreadPoolExecutor(1), deque[Future[None]]()
        self._held: list[bytes | memoryview] = []
        self._size = 0

    def add(self, content: bytes | memoryview) -> None:
        """Add to its end what nobody changes any more."""
        self._held.append(content)
        self._size += len(content)
        if self._size >= _PIECE or len(self._held) >= _MANY:
            self._pass_on()

    def _pass_on(self) -> None:
        while len(self._waiting) > 1:
            self._waiting.popleft().result()
        small = self._size < _PIECE
        pieces: list[bytes | memoryview] = [b"".join(self._held)] if small else self._held
        self._waiting.append(self._thread.submit(self._write, pieces))
        self._held, self._size = [], 0

    def _write(self, pieces: list[bytes | memoryview]) -> None:
        first = self.sums.bytes
        for content in pieces:
            self.sums.update(content)
            view = memoryview(content)
            while len(view):
                view = view[self._file.write(view) :]
        if hasattr(os, "posix_fadvise"):  # on its way to the disk at once, not all of it when the end waits for it
            os.posix_fadvise(self._file.fileno(), first, self.sums.bytes - first, os.POSIX_FADV_DONTNEED)

    def flush(self) -> None:
        """Wait until all of it is in the file. Raises OSError."""
        self._pass_on()
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._file.close()


class _Counted:
    """Chunks of a text less its first `skipped` characters; all are counted as they pass."""

    def __init__(self, chunks: Iterable[str], skipped: int, watch: Watch) -> None:
        self._chunks, self._skipped, self._watch = chunks, skipped, watch
        self.chars = self.bytes = 0

    def __iter__(self) -> Iterator[str]:
        for chunk in self._chunks:
            before, size = self.chars, _bytes_of(chunk)
            self.chars, self.bytes = self.chars + len(chunk), self.bytes + size
            self._watch.add(size, worked=before >= self._skipped)
            if self.chars > self._skipped:
                yield chunk[max(0, self._skipped - before) :]


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class Build:
    """One build of an entry: `run`, then `close`. Raises InputError for a text that cannot be read or changes,
    OSError where the file system refuses.

    Args:
        documents, tokenizer, options: what the ids are made from.
        places: where it keeps what it has; `known` there is gone on from.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        tokenizer: Tokenizer,
        options: TextOptions,
        places: Places,
        progress: Progress | None = None,
        what: str = "a text",
    ) -> None:
        self.documents, self.tokenizer, self.options, self.places = documents, tokenizer, options, places
        self.watch = Watch(progress, f"encoding {what}", sum(map(expected_bytes, documents)))
        known = _known(places, len(documents)) or _nothing()
        self._done, self._passed = known.documents, known.passed
        self.unknown, self.dropped = known.unknown, known.dropped
        self.ids, self.rows = _Appended(places.partial, known.ids), _Appended(places.rows, known.rows)
        if progress and known.ids.bytes:
            progress(f"encoding {what}: going on after {known.ids.bytes:,} bytes of ids")
        cuts_chunks = type(tokenizer).encode_chunks is not Tokenizer.encode_chunks
        self._chars = tokenizer.chars_per_token if cuts_chunks else None
        self._tokens = known.ids.bytes // tokenizer.dtype.itemsize
        self._noted_at, self._noted_bytes, self.has_journal = time.monotonic(), known.ids.bytes, known.noted

    def run(self) -> Json:
        """All that is to be known of the ids, which lie at `places.partial`."""
        for document in islice(self.documents, self._done):
            self.watch.add(expected_bytes(document), worked=False)
        if self._passed:
            self._encode(self.documents[self._done])
        for found in in_groups(islice(self.documents, self._done, None), self.options):
            self._encode_group(found) if isinstance(found, Group) else self._encode(found)
        self.ids.flush()
        self.rows.flush()
        return {
            "dtype": self.tokenizer.dtype.name,
            "unknown": dict(self.unknown.most_common()),
            "dropped": dict(self.dropped.most_common()),
            **self.ids.sums.facts(),
        }

    def _encode(self, document: Document) -> None:
        before = _identity(document)
        dropped: Counter[str] = Counter()
        counted = _Counted(chunks_of(document, self.options, dropped), self._passed, self.watch)
        for ids in self.tokenizer.encode_chunks(counted, self.unknown):
            if not len(ids):
                continue
            self.ids.add(ids.astype(self.tokenizer.dtype, copy=False).data.cast("B"))
            self._tokens += len(ids)
            # where its chunks are its own, what has been encoded is what the ids stand for
            own = None if self._chars is None else self._passed + int(self._chars[ids].sum())
            self._passed = counted.chars if own is None else own
            self._note()
        if before != _identity(document):
            raise InputError(
                f"{document.path}: changed while it was read; wait until it is written, then try again"
            )
        self.dropped.update(dropped)
        self.rows.add(_ROW.pack(self._tokens, counted.chars, counted.bytes))
        self._done, self._passed = self._done + 1, 0

    def _encode_group(self, group: Group) -> None:
        ids, counts = self.tokenizer.encode_texts(group.texts, self.unknown)
        group.check_unchanged()
        self.ids.add(ids.astype(self.tokenizer.dtype, copy=False).data.cast("B"))
        self.dropped.update(group.dropped)
        sizes = list(map(_bytes_of, group.texts))
        ends = self._tokens + np.cumsum(counts)
        numbers = np.column_stack([ends, list(map(len, group.texts)), sizes]).astype(np.int64)
        self.rows.add(numbers.tobytes())
        self.watch.add(sum(sizes))
        self._tokens, self._done = int(ends[-1]), self._done + len(counts)
        self._note()

    def _note(self) -> None:
        """Write the journal, if it is time."""
        now, size = time.monotonic(), self._tokens * self.tokenizer.dtype.itemsize
        if now - self._noted_at < JOURNAL_SECONDS and size - self._noted_bytes < JOURNAL_BYTES:
            return
        self.ids.flush()
        self.rows.flush()
        files = {name: {"bytes": s.bytes, "sha256": s.sha256} for name, s in self._sums().items()}
        values = {"documents": self._done, "passed": self._passed, **files,
                  "unknown": dict(self.unknown), "dropped": dict(self.dropped)}  # fmt: skip
        fresh = beside(self.places.journal)
        fresh.write_bytes(to_json(sealed(values)))  # not waited for: what is torn is found out, and made again
        fresh.replace(self.places.journal)
        self._noted_at, self._noted_bytes, self.has_journal = time.monotonic(), size, True

    def _sums(self) -> dict[str, Sums]:
        return {"ids": self.ids.sums, "rows": self.rows.sums}

    def bytes_to_come(self) -> int:
        """Of ids, about: as many for each byte of text as so far."""
        size = self._tokens * self.tokenizer.dtype.itemsize
        ratio = size / self.watch.done if self.watch.done and size else self.tokenizer.dtype.itemsize
        return round(max(0, self.watch.total - self.watch.done) * ratio)

    def close(self) -> None:
        self.ids.close()
        self.rows.close()


def chunks_of(document: Document, options: TextOptions, report: Counter[str] | None = None) -> Iterator[str]:
    """`Document.chunks`; of a large text, read by a thread while others are made use of."""
    return _ahead(document, document.chunks(options, report))


def characters_of(document: Document, options: TextOptions) -> Iterator[str]:
    """The same of `Document.characters`."""
    return _ahead(document, document.characters(options))


def _ahead(document: Document, chunks: Iterator[str]) -> Iterator[str]:
    return ahead(chunks) if expected_bytes(document) >= _AHEAD else chunks


def expected_bytes(document: Document) -> int:
    """About how much text a document has, as far as is known without reading it. Raises InputError."""
    size = len(document.text or "")
    if document.text is None and document.remote is not None:
        size = document.remote.size
    elif document.text is None and document.path is not None:
        with _readable():
            size = os.stat(document.path).st_size
    size = round(size * (document.stop - document.start))
    return size if document.limit is None else min(size, document.limit)


def _identity(document: Document) -> Json:
    """That of a file; a string stays as it is."""
    with _readable():
        return {} if document.text is not None else document.identity()


@contextmanager
def _readable() -> Iterator[None]:
    """Raises InputError for a file that is not there."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); check the path") from error


@dataclass(frozen=True)
class _Known:
    """What a build goes on from: documents that are done, characters of the next that are."""

    documents: int
    passed: int
    unknown: Counter[str]
    dropped: Counter[str]
    ids: Sums
    rows: Sums
    noted: bool


def _nothing() -> _Known:
    return _Known(0, 0, Counter(), Counter(), Sums(), Sums(), noted=False)


def _known(places: Places, documents: int) -> _Known | None:
    """What the journal says, if the files are what it says of them."""
    try:
        values = read_json(places.journal, "")
        whole = unseal(values, required=True) and values["documents"] <= documents
        ids, rows = (
            _as_noted(path, values[name]) for name, path in (("ids", places.partial), ("rows", places.rows))
        )
        if whole and ids and rows:
            unknown, dropped = (Counter[str](values[name]) for name in ("unknown", "dropped"))
            return _Known(values["documents"], values["passed"], unknown, dropped, ids, rows, noted=True)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    places.remove()
    return None


def _as_noted(path: Path, facts: Json) -> Sums | None:
    """The checksums of a file's beginning, if they are those of the journal."""
    found = sums_of(path, facts["bytes"])
    return found if found.sha256 == facts["sha256"] else None
