"""What the user names, resolved into documents: named corpora, files, folders and globs.

A corpus is read in two sides, one to train on and one to validate on. Each is a list of documents, and a
document gives its normalised text in chunks, so that no text need fit in memory.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aeattn.config.convert import check_choice
from aeattn.config.run import RowsAre
from aeattn.config.text import TextOptions
from aeattn.data import fetch, hub, sets, sides
from aeattn.data.documents import Document as Document
from aeattn.data.documents import Rows
from aeattn.data.files import distinct, find, passed_over, stem, texts_under
from aeattn.data.sides import Sides
from aeattn.data.tables import UnknownColumn, choose, format_of, table
from aeattn.errors import InputError
from aeattn.host import named_path

ABOUT = {
    "tales": "built-in stories whose entropy is known (the default; nothing to download)",
    "books": "public-domain novels, those of other authors to validate on",
    "shakespeare": "the customary file of plays, its last tenth to validate on",
    "bookcorpus": "the data set of that name, by way of Hugging Face (asks before it downloads)",
    fetch.TEST_BOOKS: "novels for declared judgements alone: nothing is chosen by them",
}
NAMES = tuple(ABOUT)
BOOKCORPUS = "hf:bookcorpus/bookcorpus@refs/convert/parquet:text"
ROW_ENDS = {"texts": "\n\n", "lines": "\n"}  # what follows a row that is a text, and one of a running text

_TRAIN_FOLDER, _VALID_FOLDERS = "train", ("valid", "validation", "val", "test")
TALES_CHARS, TALES_VALID_CHARS = 10_000_000, 500_000  # how much of the endless tales is taken


@dataclass(frozen=True)
class Corpus:
    """Documents to train on and to validate on, how to normalise them, and what the user should know."""

    name: str
    train: tuple[Document, ...]
    valid: tuple[Document, ...]
    options: TextOptions
    notes: tuple[str, ...] = ()
    pinned: Mapping[str, str] = field(default_factory=dict)  # names of data sets, with the commits that were found


@dataclass(frozen=True)
class Recipe:
    """A corpus and what is made of it, under one name."""

    corpus: tuple[str, ...]
    options: TextOptions
    limit_chars: int | None
    about: str = ""


RECIPES = {
    "books10m": Recipe(
        corpus=("books",),
        options=TextOptions(
            ascii=True, lower=True, unwrap=True, keep="abcdefghijklmnopqrstuvwxyz0123456789 \n.,;:!?'\"()-"
        ),
        limit_chars=132_326,
        about="books in lower-case ASCII, the beginning of each: close to the published experiment's data",
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
    column: str | None = None,
    rows: RowsAre = "auto",
    split: str | None = None,
    tales_chars: int = TALES_CHARS,
    tales_valid_chars: int = TALES_VALID_CHARS,
    progress: fetch.Progress | None = None,
) -> Corpus:
    """Turns names, files, folders and globs into a corpus.

    A named corpus, and a folder that holds `train` and `valid`, bring both sides. Files, and those of all
    other folders, are pooled; where nothing else is to validate on, about a tenth of them is: whole files,
    never an author's on both sides, and whole rows of tables, or the last tenth of a single text.

    Args:
        names: any of `NAMES`, files, folders (searched for texts and tables of texts) and globs; `tales` if empty.
        valid: the same for validation; replaces what the names would have given.
        recipe: a key of `RECIPES`; sets options and limit, and names where none are given.
        options: how to normalise; wins over the recipe's.
        limit_chars: keep only so many characters of each training document; wins over the recipe's.
        seed: draws the validation files of a folder, and the tales.
        column: of tables, that holds the text; guessed if None.
        rows: whether each row of a table is a text, or all are lines of one.
        split: of data sets by name, to train on.
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
    reader = _Reader(options, limit_chars, seed, tales_chars, tales_valid_chars, progress, column, rows, split)
    train, held_out = reader.both_sides(names, split=not valid)
    if valid:
        held_out = reader.valid_side(valid)
        train = reader.without(train, held_out)
    _refuse_empty(names, train, held_out)
    if limit_chars is not None:
        train = [replace(document, limit=limit_chars, floor_nats=None) for document in train]
    title = recipe or "+".join(map(title_of, names))
    named = _named(train + held_out)
    return Corpus(title, named[: len(train)], named[len(train) :], options, tuple(reader.notes), reader.pinned)


def title_of(name: str) -> str:
    """What a text is called in short."""
    return hub.parse(name).short if name.startswith(hub.PREFIX) else Path(name).name or name


def unpinned(name: str) -> str:
    """The same name for all commits of a data set."""
    name = BOOKCORPUS if name == "bookcorpus" else name
    if not name.startswith(hub.PREFIX):
        return name
    return str(replace(hub.parse(name), revision=None, column=None))


def documents_to_evaluate(
    names: Sequence[str],
    options: TextOptions,
    seed: int = 0,
    progress: fetch.Progress | None = None,
    *,
    column: str | None = None,
    rows: RowsAre = "auto",
    split: str | None = None,
) -> tuple[Document, ...]:
    """The texts that names, files, folders and globs mean to someone who evaluates: whole files, and the
    validation side of what has two sides. Raises InputError as `resolve` does."""
    reader = _Reader(options, None, seed, TALES_CHARS, TALES_VALID_CHARS, progress, column, rows, split)
    documents = reader.valid_side(names)
    if not documents:
        raise InputError(f"no text to evaluate in {', '.join(names)}; give other texts")
    return _named(documents)


def _recipe(name: str) -> Recipe:
    check_choice(name, RECIPES, "recipe")
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
    column: str | None
    rows: RowsAre
    split: str | None
    pinned: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def both_sides(self, names: Sequence[str], split: bool) -> Sides:
        """Training and validation documents; loose ones are pooled, and split together (if at all)."""
        train, valid, loose = self._read(names, split)
        valid = valid if split else []
        pooled = self._split(loose) if split and not valid else (loose, [])
        return train + pooled[0], valid + pooled[1]

    def valid_side(self, names: Sequence[str]) -> list[Document]:
        """Documents of the names given for validation alone."""
        _, valid, loose = self._read(names, split=False, held_out=True)
        return valid + loose

    def _read(
        self, names: Sequence[str], split: bool, held_out: bool = False
    ) -> tuple[list[Document], list[Document], list[Document]]:
        """Both sides of the names that have them, and the documents that the others mean."""
        train: list[Document] = []
        valid: list[Document] = []
        loose: list[Path] = []
        for name in names:
            found = self._data_set(name, split, held_out) if _is_data_set(name) else self._sides_of(name)
            if found is None:
                loose += find(name, NAMES)
                self.notes += passed_over(name)
            else:
                train += found[0]
                valid += found[1]
        return train, valid, self._documents(distinct(loose, self.notes), {named_path(n) for n in names})

    def without(self, train: list[Document], valid: list[Document]) -> list[Document]:
        """The training documents that are not validated on; those of named corpora are split already."""
        whole = [d for d in valid if d.start == 0.0 and (d.rows is None or d.rows.side is None)]
        held_out = {d.path.resolve() for d in whole if d.path}
        kept = [d for d in train if not (d.path and d.path.resolve() in held_out)]
        if len(kept) < len(train):
            self.notes.append(f"not trained on, because validated on: {len(train) - len(kept)} file(s)")
        return kept

    def _sides_of(self, name: str) -> Sides | None:
        """Both sides of a named corpus, or of a folder that has both; None for what is yet to be split."""
        makers: dict[str, Callable[[], Sides]] = {
            "tales": self._tales,
            "books": lambda: self._folders(self._corpus_folder("books"), apart=fetch.TEST_BOOKS),
            fetch.TEST_BOOKS: lambda: ([], self._documents(texts_under(self._corpus_folder(fetch.TEST_BOOKS)))),
            "shakespeare": lambda: _in_order(self._corpus_folder("shakespeare") / "input.txt", "shakespeare"),
        }
        if name in makers:
            if Path(name).exists():
                self.notes.append(f"{name} is the corpus of that name; write ./{name} for the one here")
            return makers[name]()
        folder = named_path(name)
        if (folder / _TRAIN_FOLDER).is_dir() and any((folder / v).is_dir() for v in _VALID_FOLDERS):
            return self._folders(folder)
        return None

    def _tales(self) -> Sides:
        chars = min(self.tales_chars, self.limit or self.tales_chars)
        sides = []
        for stream, size in (("train", chars), ("valid", self.tales_valid_chars)):
            path, nats = fetch.tales(size, self.seed, stream, self.progress)
            floor = nats if self.options == TextOptions() else None
            sides.append([Document(f"tales-{stream}", path=path, floor_nats=floor, generated=True)])
        return sides[0], sides[1]

    def _data_set(self, given: str, split: bool, held_out: bool) -> Sides:
        """Both sides of a data set by name; for whoever evaluates, the one that is held out, or all of it."""
        name = hub.parse(self._bookcorpus() if given == "bookcorpus" else given)
        found = hub.listing(name)
        train, valid = ([], found.held_out(self.split)) if held_out else found.sides(self.split)
        hub.ask_leave(found, [*train, *valid], self.progress)
        as_lines = self.rows == "lines" or (self.rows == "auto" and name.short == "bookcorpus")
        end = ROW_ENDS["lines" if as_lines else "texts"]
        first, second, column = sets.documents(found, train, valid, self.column, end)
        self.notes += [f"{given}: the text is the column {column!r}"] if column else []
        if not name.here:
            self.pinned[given] = str(replace(found.name, column=column))
        if held_out:
            whole = self.split is not None or found.own is not None or not as_lines
            return [], second if whole else sides.in_blocks(second)[1]
        if not second and (split or as_lines):
            first, second = sides.in_blocks(first) if as_lines else sides.split(first, self.seed, self.notes)
        return [sets.joined(first)] if self.limit and first else first, second

    def _bookcorpus(self) -> str:
        """Where BookCorpus is: under $AEATTN_CORPORA, in the hub's layout, or on the hub."""
        base = os.environ.get("AEATTN_CORPORA")
        folder = Path(base or ".") / "bookcorpus"
        return f"{hub.PREFIX}{folder.absolute()}" if base and folder.is_dir() else BOOKCORPUS

    def _corpus_folder(self, name: str) -> Path:
        wanted = {"shakespeare": "input.txt", fetch.TEST_BOOKS: ""}.get(name, "train")
        base = os.environ.get("AEATTN_CORPORA")
        if base and (Path(base) / name / wanted).exists():
            return Path(base) / name
        if base:
            self.notes.append(f"no {name}/{wanted} under AEATTN_CORPORA ({base}); using the download cache")
        return fetch.fetch_corpus(name, self.progress)

    def _folders(self, folder: Path, apart: str = "") -> Sides:
        """The two sides of a folder; other files in it are noted, but for those of the corpus `apart`."""
        held_out = next(folder / v for v in _VALID_FOLDERS if (folder / v).is_dir())
        train, valid = texts_under(folder / _TRAIN_FOLDER), texts_under(held_out)
        known = folder.parent / apart if apart else folder
        others = set(texts_under(folder)) - set(train) - set(valid)
        if beside := sum(not (apart and path.is_relative_to(known)) for path in others):
            self.notes.append(f"{folder}: {beside} file(s) outside train/ and {held_out.name}/ are left out")
        self.notes += passed_over(str(folder))
        return self._documents(distinct(train, self.notes)), self._documents(distinct(valid, self.notes))

    def _documents(self, paths: Iterable[Path], named: Container[Path] = ()) -> list[Document]:
        """Documents that are yet to be named. A table whose text is not known is passed over, unless all are such
        or it was `named`."""
        read: Counter[str] = Counter()
        documents, unknown = [], []
        for path in paths:
            if format_of(path) is None:
                documents.append(Document("", path=path))
                continue
            try:
                column = choose(table(path).columns(path), self.column, str(path))
            except UnknownColumn as error:
                if self.column is not None or path in named:
                    raise
                unknown.append(error)
                continue
            read[column] += 1
            documents.append(Document("", path=path, rows=Rows(column, self._row_end())))
        if unknown and not documents:
            raise unknown[0]
        self.notes += [f"passed over: {error}" for error in unknown]
        self.notes += [
            f"the text is the column {column!r} of {count:,} table(s)" for column, count in read.items()
        ]
        return documents

    def _row_end(self) -> str:
        return ROW_ENDS["lines" if self.rows == "lines" else "texts"]

    def _split(self, documents: list[Document]) -> Sides:
        if self.rows != "lines":
            return sides.split(documents, self.seed, self.notes)
        tables = [document for document in documents if document.rows is not None]
        files = [document for document in documents if document.rows is None]
        train, valid = sides.in_blocks(tables)
        others = sides.split(files, self.seed, self.notes) if len(files) > 1 or not tables else (files, [])
        return train + others[0], valid + others[1]


def _is_data_set(name: str) -> bool:
    return name == "bookcorpus" or name.startswith(hub.PREFIX)


def _in_order(path: Path, name: str) -> Sides:
    return sides.in_order(Document(name, path=path))


def _named(documents: list[Document]) -> tuple[Document, ...]:
    """Gives each document without a name the shortest ending of its path, less its ending, that no other has."""
    places = {d.path: d.path.with_name(stem(d.path.name)).parts for d in documents if d.path}
    names: dict[Path, str] = {}
    unnamed, depth = set(places), 0
    while unnamed:
        depth += 1
        endings = Counter(parts[-depth:] for parts in places.values())
        for path in tuple(unnamed):
            parts = places[path]
            if endings[parts[-depth:]] == 1 or depth >= len(parts):
                names[path] = "/".join(parts[-depth:])
                unnamed.discard(path)
    return tuple(d if d.name or not d.path else replace(d, name=names[d.path]) for d in documents)
