"""One text, wherever it stands: a string, a file, rows of a table; here, or in a data set of others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from aeattn.config.text import TextOptions
from aeattn.data import drawn
from aeattn.data import rows as batches
from aeattn.data.hub import RemoteFile
from aeattn.data.rows import Batch
from aeattn.data.splits import Blocks, Draw
from aeattn.data.tables import count_rows, ranges_of, table
from aeattn.data.text import normalise, read_chunks
from aeattn.data.threads import side_by_side
from aeattn.errors import InputError
from aeattn.files import Json, digest, sha256

CHUNK_CHARS = 1 << 20


@dataclass(frozen=True)
class Rows:
    """Which rows of a table are meant, and how they become running text.

    Attributes:
        column: that holds the text.
        end: what follows each row.
        side: the rows of one side, if these are parted.
    """

    column: str
    end: str
    side: Draw | Blocks | None = None

    def batches(self, path: Path) -> Iterator[Batch]:
        """The rows that are meant and have a text. Raises InputError."""
        with_text = map(batches.with_text, self._stretches(path))
        side = self.side
        found = drawn.of_side(path, self.column, side, with_text) if isinstance(side, Draw) else with_text
        return (batch for batch in found if len(batch))

    def _stretches(self, path: Path) -> Iterator[Batch]:
        """All rows, or those in the blocks that are meant."""
        if isinstance(self.side, Blocks):
            return ranges_of(path, self.column, self.side.ranges(count_rows(path, self.column)))
        return table(path).batches(path, self.column)

    def chunks(self, path: Path) -> Iterator[str]:
        """The text of these rows. Raises InputError."""
        return self._each(path, lambda batch: batches.running(batch, self.end))

    def characters(self, path: Path) -> Iterator[str]:
        """Its characters, in any order. Raises InputError."""
        for number, text in enumerate(self._each(path, batches.loose)):
            yield text
            if number == 0:
                yield self.end

    def _each(self, path: Path, text_of: Callable[[Batch], str]) -> Iterator[str]:
        return side_by_side(lambda batch: self._text(path, batch, text_of), self.batches(path))

    def _text(self, path: Path, batch: Batch, text_of: Callable[[Batch], str]) -> str:
        try:
            return text_of(batch)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: a text in the column {self.column!r} is not UTF-8 ({error.reason}, after "
                f"{_before(error)!r}); write the file again, as UTF-8"
            ) from error

    def identity(self) -> Json:
        facts: Json = {"column": self.column, "end": self.end}
        return facts if self.side is None else facts | {"side": self.side.identity()}


def _before(error: UnicodeDecodeError) -> str:
    return error.object[max(0, error.start - 40) : error.start].decode("utf-8", "ignore")


@dataclass(frozen=True)
class Document:
    """One text: a file here (`path`) or elsewhere (`remote`), or a string (`text`), and the part that is meant.

    Attributes:
        name: short, and unique on its side of a corpus.
        rows: how the file is read, where it is a table.
        more: what follows it, where a text lies in several files.
        limit: keep only so many characters of the part, counted after normalisation.
        skip: pass over so many of the part before them.
        start, stop: the part, as fractions of the normalised characters.
        floor_nats: the exact entropy of the whole document in nats, where it is known (tales).
        generated: drawn from a source of ours, in which passages that recur are nothing to warn of.
    """

    name: str
    path: Path | None = None
    text: str | None = None
    limit: int | None = None
    start: float = 0.0
    stop: float = 1.0
    floor_nats: float | None = None
    generated: bool = False
    rows: Rows | None = None
    remote: RemoteFile | None = None
    skip: int = 0
    more: tuple[Document, ...] = ()

    def chunks(self, options: TextOptions, report: Counter[str] | None = None) -> Iterator[str]:
        """The normalised text of the part that is meant, in chunks.

        `report` gains the characters dropped in the chunks that the part touches.
        """
        first, last = self._span(options)
        dropped: Counter[str] = Counter()
        at = 0  # normalised characters seen
        for chunk in normalise(self._raw(), options, dropped):
            piece = chunk[max(0, first - at) : max(0, last - at)]
            at += len(chunk)
            if piece:
                if report is not None:
                    report.update(dropped)
                yield piece
            dropped.clear()
            if at >= last:
                return

    def characters(self, options: TextOptions) -> Iterator[str]:
        """Chunks that hold the characters that the text has, not always in its order."""
        every = (self, *self.more)
        part = self.limit is not None or self.skip or (self.start, self.stop) != (0.0, 1.0)
        if part or options.unwrap or any(document.rows is None for document in every):
            return self.chunks(options)
        return normalise((chunk for document in every for chunk in document._loose()), options)

    def _loose(self) -> Iterator[str]:
        file = self.file()
        assert self.rows is not None
        assert file is not None
        return self.rows.characters(file)

    def identity(self) -> Json:
        """What a cache may take the document's text to be known by."""
        facts: Json = {"limit": self.limit, "start": self.start, "stop": self.stop}
        facts |= {"skip": self.skip} if self.skip else {}
        if self.rows is not None:
            facts["rows"] = self.rows.identity()
        if self.more:
            facts["more"] = [document.identity() for document in self.more]
        if self.remote is not None:
            return facts | {"remote": self.remote.identity()}
        if self.path is not None:
            stat = os.stat(self.path)
            times = {"mtime": stat.st_mtime_ns, "ctime": stat.st_ctime_ns}  # nobody can set the second
            return facts | {"path": _resolved(self.path), "size": stat.st_size, **times}
        text = (self.text or "").encode("utf-8", "surrogatepass")
        return facts | {"sha256": sha256(text)}

    def file(self) -> Path | None:
        """Where its file is on this machine, downloaded if need be; None for a string."""
        return self.remote.local() if self.remote is not None else self.path

    def _span(self, options: TextOptions) -> tuple[int, int]:
        """First character of the part and the one after its last; the end is open where nothing limits it."""
        first, last = 0, 1 << 62
        if (self.start, self.stop) != (0.0, 1.0):
            whole = replace(self, name="", limit=None, start=0.0, stop=1.0)
            total = _chars(whole, digest(whole.identity()), options)
            first, last = int(total * self.start), int(total * self.stop)
        first += self.skip
        return first, last if self.limit is None else min(last, first + self.limit)

    def _raw(self) -> Iterator[str]:
        for document in (self, *self.more):  # a file is fetched when it is its turn
            yield from document._own()

    def _own(self) -> Iterator[str]:
        size = CHUNK_CHARS if self.limit is None else min(CHUNK_CHARS, max(4096, self.skip + self.limit))
        file = self.file()
        if file is not None:
            return read_chunks(file, size) if self.rows is None else self.rows.chunks(file)
        text = self.text or ""
        return (text[at : at + size] for at in range(0, len(text), size))


def _resolved(path: Path) -> str:
    """`Path.resolve`, which looks at every folder of a path, for many files of few folders."""
    folder, name = os.path.split(path)
    if name in ("", os.curdir, os.pardir) or os.path.islink(path):
        return os.path.realpath(path)
    return os.path.join(_folder(folder if os.path.isabs(folder) else os.path.join(os.getcwd(), folder)), name)


@lru_cache(maxsize=1024)
def _folder(path: str) -> str:
    return os.path.realpath(path)


@lru_cache(maxsize=64)
def _chars(document: Document, _identity: str, options: TextOptions) -> int:
    """Characters of a whole text. Both of its sides ask, for their ids and for the tokenizer."""
    return sum(len(chunk) for chunk in document.chunks(options))
