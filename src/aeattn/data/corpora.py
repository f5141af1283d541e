"""What the user names, resolved into documents: named corpora, files, folders and globs.

A corpus is read in two sides, one to train on and one to validate on. Each is a list of documents, and a
document gives its normalised text in chunks, so that no text need fit in memory.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path

from aeattn.config.text import TextOptions
from aeattn.data import fetch
from aeattn.data.files import distinct, find, passed_over, texts_under
from aeattn.data.manifest import author_of
from aeattn.data.splits import VALID_SHARE, TextFile, split_files
from aeattn.data.text import normalise, read_chunks
from aeattn.errors import InputError
from aeattn.files import Json, sha256

NAMES = ("tales", "books", "shakespeare", "bookcorpus", fetch.TEST_BOOKS)
BOOKCORPUS_CHARS = 11_321_226  # nine tenths of it are the 10,189,103 characters of the published experiment
CHUNK_CHARS = 1 << 20

_TRAIN_FOLDER, _VALID_FOLDERS = "train", ("valid", "validation", "val", "test")
TALES_CHARS, TALES_VALID_CHARS = 10_000_000, 500_000  # how much of the endless tales is taken


@dataclass(frozen=True)
class Document:
    """One text: a file (`path`) or a string (`text`), and the part of it that is meant.

    Attributes:
        name: short, and unique on its side of a corpus.
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
    skip: int = 0

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

    def identity(self) -> Json:
        """What a cache may take the document's text to be known by."""
        facts: Json = {"limit": self.limit, "start": self.start, "stop": self.stop}
        facts |= {"skip": self.skip} if self.skip else {}
        if self.path is not None:
            stat = self.path.stat()
            times = {"mtime": stat.st_mtime_ns, "ctime": stat.st_ctime_ns}  # nobody can set the second
            return facts | {"path": str(self.path.resolve()), "size": stat.st_size, **times}
        text = (self.text or "").encode("utf-8", "surrogatepass")
        return facts | {"sha256": sha256(text)}

    def _span(self, options: TextOptions) -> tuple[int, int]:
        """First character of the part and the one after its last; the end is open where nothing limits it."""
        first, last = 0, 1 << 62
        if (self.start, self.stop) != (0.0, 1.0):
            total = sum(len(chunk) for chunk in normalise(self._raw(), options))
            first, last = int(total * self.start), int(total * self.stop)
        first += self.skip
        return first, last if self.limit is None else min(last, first + self.limit)

    def _raw(self) -> Iterator[str]:
        size = CHUNK_CHARS if self.limit is None else min(CHUNK_CHARS, max(4096, self.skip + self.limit))
        if self.path is not None:
            return read_chunks(self.path, size)
        text = self.text or ""
        return (text[at : at + size] for at in range(0, len(text), size))


@dataclass(frozen=True)
class Corpus:
    """Documents to train on and to validate on, how to normalise them, and what the user should know."""

    name: str
    train: tuple[Document, ...]
    valid: tuple[Document, ...]
    options: TextOptions
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A corpus and what is made of it, under one name."""

    corpus: tuple[str, ...]
    options: TextOptions
    limit_chars: int | None


RECIPES = {
    "books10m": Recipe(
        corpus=("books",),
        options=TextOptions(
            ascii=True, lower=True, unwrap=True, keep="abcdefghijklmnopqrstuvwxyz0123456789 \n.,;:!?'\"()-"
        ),
        limit_chars=132_326,
    )
}


def resolve(
    names: Sequence[str] = (),
    *,
    valid: Sequence[str] = (),
    recipe: str | None = None,
    options: TextOptions | None = None,
    limit_chars: int | None = None,
    seed: int = 0,
    tales_chars: int = TALES_CHARS,
    tales_valid_chars: int = TALES_VALID_CHARS,
    progress: fetch.Progress | None = None,
) -> Corpus:
    """Turns names, files, folders and globs into a corpus.

    A named corpus, and a folder that holds `train` and `valid`, bring both sides. Files, and those of all
    other folders, are pooled; where nothing else is to validate on, about a tenth of them is: whole files,
    never an author's on both sides, or the last tenth of a single file.

    Args:
        names: any of `NAMES`, files, folders (searched for .txt and .txt.gz) and globs; `tales` if empty.
        valid: the same for validation; replaces what the names would have given.
        recipe: a key of `RECIPES`; sets options and limit, and names where none are given.
        options: how to normalise; wins over the recipe's.
        limit_chars: keep only so many characters of each training document; wins over the recipe's.
        seed: draws the validation files of a folder, and the tales.
        tales_chars, tales_valid_chars: size of the generated text.
        progress: is told of downloads.

    Raises:
        InputError: nothing is found under a name, or what is found is no text.
    """
    if limit_chars is not None and limit_chars < 1:
        raise InputError(f"the limit of characters must be at least 1, not {limit_chars}")
    if seed < 0:
        raise InputError(f"the seed must not be negative, but is {seed}")
    if recipe is not None:
        chosen = _recipe(recipe)
        names = names or chosen.corpus
        options = chosen.options if options is None else options
        limit_chars = chosen.limit_chars if limit_chars is None else limit_chars
    names = tuple(names) or ("tales",)
    options = options or TextOptions()
    reader = _Reader(options, limit_chars, seed, tales_chars, tales_valid_chars, progress)
    train, held_out = reader.both_sides(names, split=not valid)
    if valid:
        held_out = reader.valid_side(valid)
        train = reader.without(train, held_out)
    _refuse_empty(names, train, held_out)
    if limit_chars is not None:
        train = [replace(document, limit=limit_chars, floor_nats=None) for document in train]
    title = recipe or "+".join(Path(name).name or name for name in names)
    named = _named(train + held_out)
    return Corpus(title, named[: len(train)], named[len(train) :], options, tuple(reader.notes))


def documents_to_evaluate(
    names: Sequence[str], options: TextOptions, seed: int = 0, progress: fetch.Progress | None = None
) -> tuple[Document, ...]:
    """The texts that names, files, folders and globs mean to someone who evaluates: whole files, and the
    validation side of what has two sides. Raises InputError as `resolve` does."""
    reader = _Reader(options, None, seed, TALES_CHARS, TALES_VALID_CHARS, progress)
    documents = reader.valid_side(names)
    if not documents:
        raise InputError(f"no text to evaluate in {', '.join(names)}; give other texts")
    return _named(documents)


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise InputError(f"unknown recipe {name!r}; the recipes are {', '.join(RECIPES)}")
    return RECIPES[name]


def _refuse_empty(names: Sequence[str], train: list[Document], valid: list[Document]) -> None:
    if not train:
        raise InputError(f"no text is left to train on in {', '.join(names)}; give other texts")
    if not valid:
        raise InputError(f"no text to validate on in {', '.join(names)}; name some with --valid")


@dataclass
class _Reader:
    """The state of one `resolve`: its settings, and the notes made on the way."""

    options: TextOptions
    limit: int | None
    seed: int
    tales_chars: int
    tales_valid_chars: int
    progress: fetch.Progress | None
    notes: list[str] = field(default_factory=list)

    def both_sides(self, names: Sequence[str], split: bool) -> tuple[list[Document], list[Document]]:
        """Training and validation documents; loose files are pooled, and split together (if at all)."""
        train, valid, loose = self._read(names)
        valid = valid if split else []
        pooled = self._split(loose) if split and not valid else (_documents(loose), [])
        return train + pooled[0], valid + pooled[1]

    def valid_side(self, names: Sequence[str]) -> list[Document]:
        """Documents of the names given for validation alone."""
        _, valid, loose = self._read(names)
        return valid + _documents(loose)

    def _read(self, names: Sequence[str]) -> tuple[list[Document], list[Document], list[Path]]:
        """Both sides of the names that have them, and the files that the others mean."""
        train: list[Document] = []
        valid: list[Document] = []
        loose: list[Path] = []
        for name in names:
            sides = self._sides_of(name)
            if sides is None:
                loose += find(name, NAMES)
                self.notes += passed_over(name)
            else:
                train += sides[0]
                valid += sides[1]
        return train, valid, distinct(loose, self.notes)

    def without(self, train: list[Document], valid: list[Document]) -> list[Document]:
        """The training documents that are not validated on; those of named corpora are split already."""
        held_out = {d.path.resolve() for d in valid if d.path and d.start == 0.0}
        kept = [d for d in train if not (d.path and d.path.resolve() in held_out)]
        if len(kept) < len(train):
            self.notes.append(f"not trained on, because validated on: {len(train) - len(kept)} file(s)")
        return kept

    def _sides_of(self, name: str) -> tuple[list[Document], list[Document]] | None:
        """Both sides of a named corpus, or of a folder that has both; None for what is yet to be split."""
        makers: dict[str, Callable[[], tuple[list[Document], list[Document]]]] = {
            "tales": self._tales,
            "books": lambda: self._folders(self._corpus_folder("books"), apart=fetch.TEST_BOOKS),
            fetch.TEST_BOOKS: lambda: ([], _documents(texts_under(self._corpus_folder(fetch.TEST_BOOKS)))),
            "shakespeare": lambda: _in_order(self._corpus_folder("shakespeare") / "input.txt", "shakespeare"),
            "bookcorpus": self._bookcorpus,
        }
        if name in makers:
            if Path(name).exists():
                self.notes.append(f"{name} is the corpus of that name; write ./{name} for the one here")
            return makers[name]()
        folder = Path(name)
        if (folder / _TRAIN_FOLDER).is_dir() and any((folder / v).is_dir() for v in _VALID_FOLDERS):
            return self._folders(folder)
        return None

    def _tales(self) -> tuple[list[Document], list[Document]]:
        chars = min(self.tales_chars, self.limit or self.tales_chars)
        sides = []
        for stream, size in (("train", chars), ("valid", self.tales_valid_chars)):
            path, nats = fetch.tales(size, self.seed, stream, self.progress)
            floor = nats if self.options == TextOptions() else None
            sides.append([Document(f"tales-{stream}", path=path, floor_nats=floor, generated=True)])
        return sides[0], sides[1]

    def _bookcorpus(self) -> tuple[list[Document], list[Document]]:
        chars = max(BOOKCORPUS_CHARS, ceil((self.limit or 0) / (1 - VALID_SHARE)))
        return _in_order(fetch.fetch_bookcorpus(chars, self.progress), "bookcorpus")

    def _corpus_folder(self, name: str) -> Path:
        wanted = {"shakespeare": "input.txt", fetch.TEST_BOOKS: ""}.get(name, "train")
        base = os.environ.get("AEATTN_CORPORA")
        if base and (Path(base) / name / wanted).exists():
            return Path(base) / name
        if base:
            self.notes.append(f"no {name}/{wanted} under AEATTN_CORPORA ({base}); using the download cache")
        return fetch.fetch_corpus(name, self.progress)

    def _folders(self, folder: Path, apart: str = "") -> tuple[list[Document], list[Document]]:
        """The two sides of a folder; other files in it are noted, but for those of the corpus `apart`."""
        held_out = next(folder / v for v in _VALID_FOLDERS if (folder / v).is_dir())
        train, valid = texts_under(folder / _TRAIN_FOLDER), texts_under(held_out)
        known = folder.parent / apart if apart else folder
        others = set(texts_under(folder)) - set(train) - set(valid)
        if beside := sum(not (apart and path.is_relative_to(known)) for path in others):
            self.notes.append(f"{folder}: {beside} file(s) outside train/ and {held_out.name}/ are left out")
        self.notes += passed_over(str(folder))
        return _documents(distinct(train, self.notes)), _documents(distinct(valid, self.notes))

    def _split(self, paths: list[Path]) -> tuple[list[Document], list[Document]]:
        if len(paths) < 2:
            return _in_order(paths[0]) if paths else ([], [])
        files = [TextFile(path, path.stat().st_size, author_of(path)) for path in paths]
        train, valid, notes = split_files(files, self.seed)
        self.notes += notes
        return _documents(file.path for file in train), _documents(file.path for file in valid)


def _documents(paths: Iterable[Path]) -> list[Document]:
    """Documents that are yet to be named."""
    return [Document("", path=path) for path in paths]


def _in_order(path: Path, name: str = "") -> tuple[list[Document], list[Document]]:
    """The first nine tenths of a file to train on, and the rest to validate on."""
    whole = Document(name, path=path)
    cut = 1.0 - VALID_SHARE
    return [replace(whole, stop=cut)], [replace(whole, start=cut)]


def _named(documents: list[Document]) -> tuple[Document, ...]:
    """Gives each document without a name the shortest ending of its path, less .txt, that no other has."""
    places = {d.path: d.path.with_name(_stem(d.path.name)).parts for d in documents if d.path}

    def shortest(path: Path | None) -> str:
        parts = places[path] if path else ()
        endings = (parts[-depth:] for depth in range(1, len(parts) + 1))
        alone = (end for end in endings if sum(p[-len(end) :] == end for p in places.values()) == 1)
        return "/".join(next(alone, parts))

    return tuple(d if d.name else replace(d, name=shortest(d.path)) for d in documents)


def _stem(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".txt") or name
