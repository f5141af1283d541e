"""From what the user names to documents."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeattn.config.text import TextOptions
from aeattn.data import fetch, manifest
from aeattn.data.corpora import RECIPES, Corpus, Document, documents_to_evaluate, resolve
from aeattn.data.files import FORMATS
from aeattn.data.manifest import author_of, sha256_of, shipped
from aeattn.data.splits import TextFile, split_files
from aeattn.data.text import normalise_text
from aeattn.errors import InputError

LETTERS = "abcdefghij"


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, an empty cache, and an empty current folder."""
    monkeypatch.setenv("AEATTN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AEATTN_CORPORA", raising=False)
    monkeypatch.setattr(fetch, "SOURCE_URL", "file:///nowhere/{owner}/{repository}/{commit}/{path}")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def tales(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[int, int, str]]:
    """A stand-in for the generator of tales, and a list of the calls to it."""
    calls: list[tuple[int, int, str]] = []

    def generate(chars: int, seed: int = 0, stream: str = "train") -> tuple[str, float]:
        calls.append((chars, seed, stream))
        return f"{stream} {seed}: Once.\n".ljust(chars, "x"), 0.5 * chars

    module = ModuleType("aeattn.data.tales")
    module.__file__ = str(tmp_path / "tales" / "__init__.py")
    write(tmp_path / "tales", words="version 1")
    module.generate = generate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aeattn.data.tales", module)
    return calls


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def names(corpus: Corpus) -> tuple[list[str], list[str]]:
    return [d.name for d in corpus.train], [d.name for d in corpus.valid]


def read(documents: tuple[Document, ...], options: TextOptions | None = None) -> list[str]:
    return ["".join(document.chunks(options or TextOptions())) for document in documents]


# Documents


@settings(deadline=None)
@given(st.text(LETTERS + " \n\r", max_size=80), st.none() | st.integers(1, 40), st.booleans())
def test_two_parts_of_a_document_are_the_whole(text: str, limit: int | None, unwrap: bool) -> None:
    options = TextOptions(unwrap=unwrap)
    whole = normalise_text(text, options)
    parts = [Document("a", text=text, stop=0.9), Document("a", text=text, start=0.9)]
    assert "".join(read(tuple(parts), options)) == whole
    assert len(read((parts[0],), options)[0]) == int(len(whole) * 0.9)
    assert read((Document("a", text=text, limit=limit),), options) == [whole[:limit]]


def test_a_limit_counts_normalised_characters_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aeattn.data.documents.CHUNK_CHARS", 7)
    report: Counter[str] = Counter()
    options = TextOptions(keep=LETTERS)
    document = Document("a", text="ab *" * 100, limit=51, start=0.5)
    assert "".join(document.chunks(options, report)) == ("ab" * 26)[:51]
    assert 25 <= report["*"] <= 28  # what was dropped around the part, not in the whole text


# Named corpora


def test_tales_are_the_default_and_are_generated_once(tales: list[tuple[int, int, str]]) -> None:
    for _ in range(2):
        corpus = resolve(seed=3, tales_chars=500, tales_valid_chars=70)
        assert names(corpus) == (["tales-train"], ["tales-valid"])
        assert corpus.name == "tales"
        assert read(corpus.train)[0].startswith("train 3: Once.")
        assert [d.floor_nats for d in (*corpus.train, *corpus.valid)] == [250.0, 35.0]
    assert tales == [(500, 3, "train"), (70, 3, "valid")]
    resolve(["tales"], seed=4, tales_chars=500, tales_valid_chars=70)
    assert len(tales) == 4


def test_another_grammar_is_another_text(tales: list[tuple[int, int, str]], tmp_path: Path) -> None:
    resolve(tales_chars=500, tales_valid_chars=70)
    write(tmp_path / "tales", words="version 2")
    resolve(tales_chars=500, tales_valid_chars=70)
    assert len(tales) == 4


def test_tales_have_a_known_floor_only_as_they_are(tales: list[tuple[int, int, str]]) -> None:
    lowered = resolve(options=TextOptions(lower=True), tales_chars=500, tales_valid_chars=70)
    assert [d.floor_nats for d in (*lowered.train, *lowered.valid)] == [None, None]
    limited = resolve(limit_chars=100, tales_chars=500, tales_valid_chars=70)
    assert tales[-1] == (100, 0, "train")
    assert [d.floor_nats for d in (*limited.train, *limited.valid)] == [None, 35.0]


def test_corpora_are_looked_for_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "corpora/books/train", one="1" * 50, two="2")
    write(tmp_path / "corpora/books/valid", three="3" * 50)
    write(tmp_path / "corpora/shakespeare", input=LETTERS * 2)
    monkeypatch.setenv("AEATTN_CORPORA", str(tmp_path / "corpora"))
    assert names(resolve(["books"])) == (["one", "two"], ["three"])
    shakespeare = resolve(["shakespeare"])
    assert names(shakespeare) == (["shakespeare"], ["shakespeare"])
    assert read(shakespeare.train + shakespeare.valid) == ["abcdefghijabcdefgh", "ij"]
    both = resolve(["books", "shakespeare"], valid=["shakespeare"])
    assert names(both) == (["one", "two", "shakespeare"], ["shakespeare"])
    assert read(both.train)[-1] == "abcdefghijabcdefgh"


def test_a_corpus_that_is_nowhere_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="connect to the network, or set AEATTN_CORPORA"):
        resolve(["books"])
    monkeypatch.setenv("AEATTN_CORPORA", str(tmp_path))
    with pytest.raises(InputError, match="AEATTN_CORPORA"):
        resolve(["shakespeare"])


def test_a_recipe_sets_what_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "corpora/books/train", one="He’s\n«HERE»!\n\n_Now_.\n" * 9000)
    write(tmp_path / "corpora/books/valid", two="He’s\n«HERE»!\n\n_Now_.\n" * 9000)
    monkeypatch.setenv("AEATTN_CORPORA", str(tmp_path / "corpora"))
    corpus = resolve(recipe="books10m")
    assert corpus.name == "books10m"
    (train,), (valid,) = read(corpus.train, corpus.options), read(corpus.valid, corpus.options)
    assert valid.startswith('he\'s "here"!\nnow. he\'s "here"!\n')
    assert train == valid[:132_326]
    assert len(set(RECIPES["books10m"].options.keep or "")) == 49
    other = resolve([str(tmp_path / "corpora/books")], recipe="books10m", options=TextOptions(), limit_chars=9)
    assert (other.options, other.train[0].limit, other.valid[0].limit) == (TextOptions(), 9, None)
    with pytest.raises(InputError, match="recipe is 'bananas': choose one of books10m"):
        resolve(recipe="bananas")
    with pytest.raises(InputError, match="at least 1"):
        resolve(limit_chars=0)
    with pytest.raises(InputError, match="seed"):
        resolve(seed=-1)


# Files, folders and globs


def test_a_single_file_is_split_in_order(tmp_path: Path) -> None:
    corpus = resolve([str(write(tmp_path, a=LETTERS) / "a.txt")])
    assert read(corpus.train + corpus.valid) == ["abcdefghi", "j"]
    assert read(resolve([str(tmp_path / "a.txt")], limit_chars=4).train) == ["abcd"]


def test_a_folder_is_split_by_whole_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", **{name: name * 100 for name in LETTERS})
    write(folder / "deeper", **{name: name * 110 for name in LETTERS})
    (folder / "z.txt.gz").write_bytes(gzip.compress(b"z" * 90))
    (folder / "picture.png").write_bytes(b"\0")
    corpus = resolve([str(folder)], seed=1)
    train, valid = names(corpus)
    assert len(train) + len(valid) == 21
    assert "f/a" in train + valid
    assert "deeper/a" in train + valid
    assert "z" in train + valid
    assert 100 <= sum(map(len, read(corpus.valid))) <= 330
    assert names(resolve([str(folder)], seed=1)) == (train, valid)
    assert any(names(resolve([str(folder)], seed=seed)) != (train, valid) for seed in range(2, 5))
    found = resolve([str(folder / "**" / "[a-c].txt")])
    assert sorted(d.name for d in found.train + found.valid) == [
        f"{f}/{n}" for f in ("deeper", "f") for n in "abc"
    ]


@pytest.mark.parametrize("side", ["valid", "validation", "val", "test"])
def test_a_folder_that_is_split_already_stays_so(tmp_path: Path, side: str) -> None:
    folder = tmp_path / "f"
    write(folder / "train", one="1", two="2" * 9)
    write(folder / side, one="3")
    corpus = resolve([str(folder)])
    assert read(corpus.train + corpus.valid) == ["1", "2" * 9, "3"]
    assert corpus.notes == ()
    write(folder, stray="4" * 5)
    assert "1 file(s) outside" in resolve([str(folder)]).notes[0]
    extra = write(tmp_path / "g", more="5" * 7) / "more.txt"
    assert names(resolve([str(folder), str(extra)])) == (
        ["train/one", "two", "more"],
        [f"{side}/one"],
    )
    assert names(resolve([str(extra)], valid=[str(folder)])) == (["more"], ["one"])


def test_named_validation_wins_and_is_not_trained_on(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", a="aa", b="bbb", c="cccc")
    corpus = resolve([str(folder)], valid=[str(folder / "b.txt")])
    assert names(corpus) == (["a", "c"], ["b"])
    assert corpus.notes == ("not trained on, because validated on: 1 file(s)",)
    with pytest.raises(InputError, match="no text is left to train on"):
        resolve([str(folder / "b.txt")], valid=[str(folder)])


def test_files_given_twice_count_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", a="aa", b="bbb", c="aa")
    corpus = resolve([str(folder), str(folder / "b.txt")], valid=[str(write(tmp_path, v="v") / "v.txt")])
    assert names(corpus)[0] == ["a", "b"]
    assert len(corpus.notes) == 2
    assert all("is the same text as" in note for note in corpus.notes)


def authors(documents: Iterable[Document]) -> set[str | None]:
    return {author_of(d.path) for d in documents if d.path}


def test_authors_stay_on_one_side(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", **{name: name * 100 for name in LETTERS * 2})
    lines = [f"{name}.txt\t{'early' if name < 'f' else name}" for name in LETTERS]
    (folder / "MANIFEST.tsv").write_text("\n".join(["file\tauthor", *lines]) + "\n")
    (tmp_path / "MANIFEST.tsv").write_text("file\tauthor\nf/a.txt\tj\n")
    for seed in range(20):
        corpus = resolve([str(folder)], seed=seed)
        assert not authors(corpus.train) & authors(corpus.valid)


def test_texts_of_one_author_are_split_all_the_same(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", a="aaa", b="bbbb")
    (folder / "MANIFEST.tsv").write_text("file\tauthor\na.txt\tAnn\nb.txt\tAnn\n")
    corpus = resolve([str(folder)])
    assert (len(corpus.train), len(corpus.valid)) == (1, 1)
    assert "one author" in corpus.notes[0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 1000), st.sampled_from(["x", "y", None])), min_size=2, max_size=12))
def test_every_split_has_two_sides(made: list[tuple[int, str | None]]) -> None:
    files = [TextFile(Path(f"/f/{n}.txt"), size, author) for n, (size, author) in enumerate(made)]
    train, valid, notes = split_files(files, seed=5)
    assert train
    assert valid
    assert sorted(train + valid, key=files.index) == files
    if not notes:
        assert not {f.author for f in train if f.author} & {f.author for f in valid if f.author}
    moved = [TextFile(Path("/elsewhere") / f.path.name, f.size, f.author) for f in files]
    assert [f.path.name for f in split_files(moved, seed=5)[1]] == [f.path.name for f in valid]


def test_authors_are_known_by_the_manifest_or_by_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(shipped()) == 101
    assert {"file", "title", "author", "year", "bytes", "sha256", "source"} == set(shipped()[0])
    path = write(tmp_path, renamed="call me\n") / "renamed.txt"
    assert author_of(path) is None
    row = {"bytes": "8", "author": "Melville, Herman", "sha256": sha256_of(path)}
    monkeypatch.setattr("aeattn.data.manifest._by_bytes", lambda: {8: [row]})
    assert author_of(path) == "Melville, Herman"


def test_a_corpus_wins_over_a_folder_of_its_name(tales: list[tuple[int, int, str]], tmp_path: Path) -> None:
    write(tmp_path / "here/tales", a="aa", b="bb b")
    corpus = resolve(["tales"], tales_chars=9, tales_valid_chars=9)
    assert "write ./tales" in corpus.notes[0]
    folder = resolve(["./tales"])
    assert sorted(d.name for d in folder.train + folder.valid) == ["a", "b"]


# What is no text


@pytest.mark.parametrize("ending", ["json", "html", "xml", "JSON", "json.gz", "parquet.gz", "arrow.zst"])
def test_files_of_markup_are_refused_with_a_hint(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a.{ending}").write_text('{"text": "once"}\n' * 50)
    for name in (f"a.{ending}", f"*.{ending}"):
        with pytest.raises(InputError, match=rf"a\.{ending} is .* cannot be learnt as it is: "):
            resolve([str(tmp_path / name)])
        with pytest.raises(InputError, match="cannot be learnt as it is"):
            documents_to_evaluate([str(tmp_path / name)], TextOptions())


def test_files_that_are_passed_over_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", a="aa", b="bbb")
    for name in ("one.json", "two.md", "three.xml", "four.pdf", "MANIFEST.tsv", ".hidden"):
        (folder / name).write_text("x")
    expected = f"4 file(s) passed over that are no {FORMATS}: four.pdf, one.json, three.xml and 1 more"
    assert resolve([str(folder)]).notes == (f"{folder}: {expected}",)
    corpus = resolve([f"{folder}/*"])
    assert [note for note in corpus.notes if "passed over" in note] == [
        f"{folder}/*: 2 file(s) passed over that are no {FORMATS}: one.json, three.xml"
    ]
    assert not [d for side in names(corpus) for d in side if "json" in d or "xml" in d]


def test_the_manifest_of_the_texts_own_folder_alone_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "f", a="aa") / "a.txt"
    with open(tmp_path / "MANIFEST.tsv", "wb") as file:  # another user's, and larger than memory
        file.truncate(1 << 40)
    assert author_of(path) is None
    with open(path.with_name("MANIFEST.tsv"), "wb") as file:
        file.truncate(1 << 40)
    assert author_of(path) is None
    path.with_name("MANIFEST.tsv").write_text("file\tauthor\na.txt\tAnn\n")
    manifest._authors_in.cache_clear()
    assert author_of(path) == "Ann"


# Bad input


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shakespere", "did you mean 'shakespeare'"),
        ("Books", "did you mean 'books'"),
        (
            "missing/file.txt",
            "no such file or folder: missing/file.txt; corpora with a name are tales, books",
        ),
        ("*.md", "no files match"),
        ("empty", r"no \.txt, \.parquet, .* files under empty"),
        ("picture.png", "not a text file"),
        ("latin.txt", "not UTF-8 at byte 3"),
    ],
)
def test_bad_names_say_what_is_wrong_in_a_line(tmp_path: Path, name: str, message: str) -> None:
    here = tmp_path / "here"
    (here / "empty").mkdir()
    (here / "picture.png").write_bytes(b"\x89PNG\0\0")
    (here / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    for arguments in ({"names": [name]}, {"names": ["latin.txt"], "valid": [name]}):
        with pytest.raises(InputError) as caught:
            resolve(**arguments)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=message):
        resolve([name])


def test_an_import_brings_nothing_along() -> None:
    code = "import sys, aeattn.data.store, aeattn.data.ngram; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_hidden_files_and_repeated_matches_do_not_count(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", a="aa", b="bbb")
    (folder / "._a.txt").write_bytes(b"\0\0")
    corpus = resolve([str(tmp_path / "**")])
    assert sorted(d.name for d in corpus.train + corpus.valid) == ["a", "b"]
    assert corpus.notes == ()


def test_texts_to_evaluate_are_whole_files_and_validation_sides(tmp_path: Path) -> None:
    both = tmp_path / "both"
    for side in ("train", "valid"):
        (both / side).mkdir(parents=True)
        (both / side / "book.txt").write_text(f"{side} text")
    (tmp_path / "loose.txt").write_text("loose text")
    documents = documents_to_evaluate([str(tmp_path / "loose.txt"), str(both)], TextOptions())
    texts = {"".join(document.chunks(TextOptions())) for document in documents}
    assert texts == {"loose text", "valid text"}
    with pytest.raises(InputError, match=r"nowhere\.txt"):
        documents_to_evaluate([str(tmp_path / "nowhere.txt")], TextOptions())
