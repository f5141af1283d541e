"""Data sets by name: a folder in the hub's layout, and stand-ins for the hub itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import errors

from aeattn.config.run import DataConfig, RunConfig
from aeattn.config.text import TextOptions
from aeattn.data import hub
from aeattn.data.corpora import Corpus, Document, documents_to_evaluate, resolve, title_of
from aeattn.data.hub import Name, parse
from aeattn.errors import InputError
from aeattn.training.plan import corpus_of, located, pinned, plan
from aeattn.training.world import World

COMMIT = "c0ffee" * 6 + "c0de"
CARD = """---
license: cc0-1.0
configs:
- config_name: plain
  data_files:
  - {split: train, path: data/train-*}
  - {split: validation, path: data/validation-*}
- config_name: loose
  data_files: loose/*.parquet
---
"""


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("AEATTN_CORPORA", raising=False)
    monkeypatch.delenv(hub.YES, raising=False)
    monkeypatch.chdir(tmp_path)


def shard(path: Path, name: str, count: int) -> list[str]:
    texts = [f"{name} {number} " + "x" * 40 for number in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": list(range(count)), "title": ["t"] * count, "text": texts}), path)
    return texts


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "some" / "set"
    shard(folder / "data/train-00000-of-00002.parquet", "first", 3)
    shard(folder / "data/train-00001-of-00002.parquet", "second", 70)
    shard(folder / "data/validation-00000-of-00001.parquet", "held out", 4)
    shard(folder / "loose/one.parquet", "one", 20)
    shard(folder / "loose/two.parquet", "two", 30)
    (folder / "README.md").write_text(CARD)
    return folder


def texts(documents: tuple[Document, ...]) -> list[str]:
    whole = "".join(chunk for document in documents for chunk in document.chunks(TextOptions()))
    return [" ".join(text.split()[:-1]) for text in whole.split("\n\n") if text]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf:owner/name", Name("owner/name")),
        ("hf:name", Name("name")),
        ("hf:owner/name/config", Name("owner/name", None, "config")),
        ("hf:name@main/config:a b", Name("name", "main", "config", "a b")),
        ("hf:o/n@refs/convert/parquet", Name("o/n", "refs/convert/parquet")),
        ("hf:o/n@refs/convert/parquet/c:t", Name("o/n", "refs/convert/parquet", "c", "t")),
        ("hf:o/n@v1.0:a:b", Name("o/n", "v1.0", None, "a:b")),
    ],
)
def test_names_have_parts(text: str, name: Name) -> None:
    assert parse(text) == name
    assert str(name) == text
    assert title_of(text) == name.short


def test_a_folder_in_the_layout_of_the_hub(repository: Path, tmp_path: Path) -> None:
    for name in ("hf:some/set/plain", f"hf:{repository}/plain", "hf:./some/set/plain:text"):
        corpus = resolve([name])
        assert texts(corpus.train) == [f"first {n}" for n in range(3)] + [f"second {n}" for n in range(70)]
        assert texts(corpus.valid) == [f"held out {n}" for n in range(4)]
        assert [d.name for d in corpus.train] == ["train-00000-of-00002", "train-00001-of-00002"]
        assert any("the text is the column 'text'" in note for note in corpus.notes)
        assert corpus.name == "set"
    assert texts(documents_to_evaluate([f"hf:{repository}/plain"], TextOptions())) == texts(corpus.valid)
    train = documents_to_evaluate([f"hf:{repository}/plain"], TextOptions(), split="train")
    assert texts(train) == texts(corpus.train)
    titles = resolve([f"hf:{repository}/plain:title"]).train
    assert "".join(chunk for document in titles for chunk in document.chunks(TextOptions())) == "t\n\n" * 73
    assert parse("hf:some/set") == Name(str(repository), here=True)


def test_a_limit_counts_over_all_files_of_a_data_set(repository: Path) -> None:
    corpus = resolve([f"hf:{repository}/plain"], limit_chars=1000)
    (train,) = corpus.train
    assert sum(map(len, train.chunks(TextOptions()))) == 1000
    assert texts(corpus.train)[:5] == ["first 0", "first 1", "first 2", "second 0", "second 1"]
    assert len(train.identity()["more"]) == 1


def test_without_a_split_to_validate_on_rows_are_drawn(repository: Path) -> None:
    corpus = resolve([f"hf:{repository}/loose"])
    train, valid = texts(corpus.train), texts(corpus.valid)
    assert sorted([*train, *valid]) == sorted(
        f"{name} {n}" for name, n in [("one", 20), ("two", 30)] for n in range(n)
    )
    assert 2 <= len(valid) <= 8
    other = repository.parent / "other.txt"
    other.write_text("another text")
    whole = resolve([f"hf:{repository}/loose"], valid=[str(other)])
    assert len(texts(whole.train)) == 50
    assert len(texts(resolve([str(other)], valid=[f"hf:{repository}/loose"]).valid)) == 50


def test_books_in_a_row_are_split_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shard(tmp_path / "corpora/bookcorpus/train-00000.parquet", "sentence", 1000)
    monkeypatch.setenv("AEATTN_CORPORA", str(tmp_path / "corpora"))
    corpus = resolve(["bookcorpus"], column="text")
    whole = ["".join(c for d in side for c in d.chunks(TextOptions())) for side in (corpus.train, corpus.valid)]
    assert [len(text.splitlines()) for text in whole] == [700, 100]
    assert set(whole[0].splitlines()) < set(lines)
    evaluated = documents_to_evaluate(["bookcorpus"], TextOptions())
    assert "".join(c for d in evaluated for c in d.chunks(TextOptions())) == whole[1]


def refused(message: str, *names: str, **options: Any) -> None:
    with pytest.raises(InputError, match=message) as caught:
        resolve(list(names), **options)
    assert "\n" not in str(caught.value)


def test_what_a_folder_has_not_is_refused(repository: Path, tmp_path: Path) -> None:
    refused("which configuration\\? Name one as hf:NAME/CONFIG: 'plain', 'loose'", f"hf:{repository}")
    refused("there is no such configuration; Name one as .*'plain'", f"hf:{repository}/nope")
    refused("the column 'nope' is not there", f"hf:{repository}/plain:nope")
    refused("the column 'id' holds numbers", f"hf:{repository}/plain:id")
    refused("has no split 'dev'; .*--split: train, validation", f"hf:{repository}/plain", split="dev")
    refused("there is no such folder", "hf:./nowhere/at/all")
    refused("is no name of a data set", "hf:a/b/c/d")
    (tmp_path / "empty").mkdir()
    refused("holds no files of data", "hf:./empty")
    (tmp_path / "empty/empty.py").write_text("")
    refused("is a script, which is not run; try hf:NAME@refs/convert/parquet", "hf:./empty")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(b"\x89PNG")
    refused(r"a\.png is no text", "hf:./pictures")
    path = repository / "data/train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"train-00001-of-00002\.parquet: broken Parquet file"):
        texts(resolve([f"hf:{repository}/plain"]).train)


# The hub


@pytest.fixture
def remote(repository: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for the hub that has the repository; returns what is asked of it."""
    asked: list[str] = []
    kept: set[str] = set()
    files = [path.relative_to(repository).as_posix() for path in sorted(repository.rglob("*.parquet"))]

    def dataset_info(self: object, name: str, *, revision: str | None, files_metadata: bool) -> Any:
        asked.append(f"info {revision}")
        return SimpleNamespace(
            sha=COMMIT, gated=False, card_data=SimpleNamespace(to_dict=lambda: {"license": "cc0-1.0"}),
            siblings=[SimpleNamespace(rfilename=file, size=(repository / file).stat().st_size) for file in files],
        )  # fmt: skip

    def builder(path: str, **options: Any) -> Any:
        asked.append("builder")
        assert options["revision"] == COMMIT
        where = f"hf://datasets/{path}@{COMMIT}/"
        splits = {
            split: [where + file for file in files if f"/{split}" in file] for split in ("train", "validation")
        }
        return SimpleNamespace(config=SimpleNamespace(data_files=splits))

    def download(name: str, file: str, *, repo_type: str, revision: str) -> str:
        asked.append(f"download {file}")
        kept.add(file)
        return str(repository / file)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    cached: Callable[..., object] = lambda name, file, **_: str(repository / file) if file in kept else None  # noqa: E731
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    return asked


def test_a_data_set_of_the_hub_is_fetched_file_by_file_when_it_is_read(
    remote: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hub.YES, "1")
    said: list[str] = []
    corpus = resolve(["hf:owner/set@main"], progress=said.append)
    assert remote == ["info main", "builder", "download data/train-00000-of-00002.parquet"]
    assert said[0].startswith(f"hf:owner/set@{COMMIT}: 3 file(s), ")
    assert said[0].endswith("licence cc0-1.0")
    assert said[1] == "terms and card: https://huggingface.co/datasets/owner/set"
    assert [d.name for d in corpus.train] == ["set/data/train-00000-of-00002", "set/data/train-00001-of-00002"]
    assert len(texts(corpus.train)) == 73
    assert remote[-1] == "download data/train-00001-of-00002.parquet"
    remote.clear()
    known = corpus.pinned["hf:owner/set@main"]
    assert known == f"hf:owner/set@{COMMIT}:text"
    assert texts(resolve([known]).valid) == texts(corpus.valid)
    assert remote == ["download data/validation-00000-of-00001.parquet"]  # nothing is asked of a commit twice
    identity = corpus.train[0].identity()
    assert identity["remote"]["commit"] == COMMIT
    assert identity["rows"]["column"] == "text"


def test_a_run_keeps_the_commit(remote: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hub.YES, "1")
    data = located(DataConfig(corpus=("hf:owner/set",), valid=("hf:owner/set",)))
    corpus: Corpus = corpus_of(data, 0)
    kept = pinned(data, corpus.pinned)
    assert kept.corpus == kept.valid == (f"hf:owner/set@{COMMIT}:text",)


def test_of_several_processes_one_asks_the_hub(
    remote: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hub.YES, "1")
    config = RunConfig(data=DataConfig(corpus=("hf:owner/set@main",)))
    told: list[Any] = []

    class Main(World):
        def on_main(self, work: Callable[[], Any]) -> Any:
            told.append(work())
            return told[-1]

    class Other(World):
        def on_main(self, work: Callable[[], Any]) -> Any:
            return told.pop(0)

    first = plan(config, out=tmp_path / "run", world=Main(0, 2))
    assert remote.count("info main") == 1
    remote.clear()
    monkeypatch.delenv(hub.YES)  # nobody asks the other process, nor does it ask the hub
    second = plan(config, out=tmp_path / "run", world=Other(1, 2))
    assert remote == []
    assert second.config == first.config
    assert second.config.data.corpus == (f"hf:owner/set@{COMMIT}:text",)
    assert texts(second.corpus.train) == texts(first.corpus.train)
    monkeypatch.delenv(hub.YES)
    monkeypatch.setattr(hub.RemoteFile, "cached", lambda _: None)
    with pytest.raises(InputError, match="there is nobody to ask"):
        plan(config, out=tmp_path / "run", world=Main(0, 2))


def test_nothing_is_downloaded_unasked(remote: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    refused(r"3 file\(s\), .* licence cc0-1\.0: there is nobody to ask; add --yes", "hf:owner/set")
    assert not any("download" in each for each in remote)
    for answer, goes_on in (("n\n", False), ("y\n", True)):
        terminal = SimpleNamespace(isatty=lambda: True, readline=lambda answer=answer: answer)
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        if goes_on:
            assert resolve(["hf:owner/set"]).train
        else:
            refused("is not downloaded", "hf:owner/set")


def test_without_a_network_what_is_known_is_used(remote: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hub.YES, "1")
    wanted = texts(resolve(["hf:owner/set"]).train)

    def offline(*_: object, **__: object) -> None:
        raise errors.OfflineModeIsEnabled("Cannot reach the hub: offline mode is enabled.")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", offline)
    assert texts(resolve(["hf:owner/set"]).train) == wanted
    refused("hf:owner/other cannot be reached .*; unset HF_HUB_OFFLINE, or name files", "hf:owner/other")


def _answer(kind: type[Exception], status: int) -> Exception:
    response = SimpleNamespace(status_code=status, headers={}, request=None)
    return kind("no\nsuch thing", response=response)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (lambda: _answer(errors.GatedRepoError, 403), "is gated: accept its terms at https://.*owner/set, "),
        (lambda: _answer(errors.RepositoryNotFoundError, 404), "there is no such data set; if it is private"),
        (lambda: DatasetNotFoundError("Dataset 'x' doesn't exist"), "there is no such data set"),
        (lambda: DatasetNotFoundError("Dataset 'x' is a gated dataset on the Hub."), "is gated"),
        (lambda: _answer(errors.RevisionNotFoundError, 404), "there is no such revision; check"),
        (lambda: _answer(errors.HfHubHTTPError, 503), "cannot be reached .*; connect to the network"),
        (lambda: ConnectionError("no\nroute"), "cannot be reached \\(no\\); connect to the network"),
        (lambda: TimeoutError("too long"), "cannot be reached \\(too long\\)"),
        (lambda: ValueError("odd\nthings"), "cannot be read \\(odd\\)"),
    ],
)  # fmt: skip
def test_what_goes_wrong_on_the_hub_is_said_in_a_line(
    remote: list[str], monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception], message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error()

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub.HfApi, "dataset_info", fail)
        refused(message, "hf:owner/set")
    monkeypatch.setenv(hub.YES, "1")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    refused(message, "hf:owner/set")


def test_a_missing_package_is_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused(r"needs the package datasets: pip install 'autoencoder-attention\[data\]'", f"hf:{repository}/plain")
