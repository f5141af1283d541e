"""Small texts by the hundred: what is done for each, beyond its bytes, would take most of the time."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aeattn.config.text import TextOptions
from aeattn.data.documents import Document
from aeattn.data.opening import GZIP, ZSTANDARD, check_unchanged
from aeattn.data.text import normalise, read_chunks
from aeattn.data.threads import side_by_side

SMALL_BYTES = 1 << 15
MOST_TEXTS, MOST_BYTES = 256, 1 << 20  # that are read together

Stat = os.stat_result


@dataclass(frozen=True)
class Group:
    """Some texts that were read together.

    Attributes:
        texts: normalised, each whole.
        dropped: in normalising, as `normalise` reports it.
        files: the path of each that is a file, and what the system said of it before it was read.
    """

    texts: list[str]
    dropped: Counter[str]
    files: list[tuple[Path, Stat]]

    def check_unchanged(self) -> None:
        """Raises InputError where a file is no longer as it was."""
        for path, before in self.files:
            check_unchanged(path, before)


def in_groups(documents: Iterable[Document], options: TextOptions) -> Iterator[Group | Document]:
    """The documents in their order, small ones in groups, which are read by threads. Raises InputError."""

    def read(found: list[tuple[Document, Stat | None]] | Document) -> Group | Document:
        return _read(found, options) if isinstance(found, list) else found

    return side_by_side(read, _groups(documents))


def _groups(documents: Iterable[Document]) -> Iterator[list[tuple[Document, Stat | None]] | Document]:
    group: list[tuple[Document, Stat | None]] = []
    size = 0
    for document in documents:
        found = _size(document)
        if group and (found is None or len(group) == MOST_TEXTS or size > MOST_BYTES):
            yield group
            group, size = [], 0
        if found is None:
            yield document
        else:
            group.append((document, found[1]))
            size += found[0]
    if group:
        yield group


def _size(document: Document) -> tuple[int, Stat | None] | None:
    """Of a whole text that is a string or a plain file, and small; None for any other."""
    part = document.limit is not None or document.skip or (document.start, document.stop) != (0.0, 1.0)
    if part or document.rows or document.remote or document.more:
        return None
    if document.text is not None or document.path is None:
        size, found = len(document.text or ""), None
    else:
        try:
            found = os.stat(document.path)
        except (OSError, ValueError):
            return None
        size = found.st_size if stat.S_ISREG(found.st_mode) else SMALL_BYTES + 1
    return (size, found) if size <= SMALL_BYTES else None


def _read(documents: list[tuple[Document, Stat | None]], options: TextOptions) -> Group:
    dropped: Counter[str] = Counter()
    texts, files = [], []
    for document, found in documents:
        if found is not None and document.path is not None:
            files.append((document.path, found))
        texts.append(_text(document, found, options, dropped))
    return Group(texts, dropped, files)


def _text(document: Document, found: Stat | None, options: TextOptions, dropped: Counter[str]) -> str:
    """The text as `Document.chunks` gives it."""
    text = document.text or ""
    if found is not None and document.path is not None:
        known = _plain(document.path, found)
        if known is None:  # what is compressed, or wrong
            known = "".join(read_chunks(document.path))
        text = known
    if options == TextOptions() and "\r" not in text:
        return text.replace("\ufeff", "")
    own: Counter[str] = Counter()
    text = "".join(normalise([text], options, own))
    if text:
        dropped.update(own)
    return text


def _plain(path: Path, found: Stat) -> str | None:
    """The text of a file in UTF-8; None where `read_chunks` has to look at it."""
    try:
        with open(path, "rb", buffering=0) as file:
            content = file.read(SMALL_BYTES + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError):
        return None
    packed = content.startswith((GZIP, ZSTANDARD)) or path.suffix in (".gz", ".zst")
    return None if packed or len(content) != found.st_size or "\0" in text else text
