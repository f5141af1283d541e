"""Data sets by name: which files are theirs, under which terms, and fetching them when they are read.

The library `datasets` says which files belong to which split, of a repository on the hub as of a folder in the
hub's layout. The files themselves are read as they are: nothing is converted or kept twice. What is downloaded
lies in the hub's own cache, where a download that was interrupted goes on.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from aeattn.data.opening import extra
from aeattn.errors import InputError
from aeattn.files import Json, cached_json, digest
from aeattn.host import YES, cache_dir

PREFIX = "hf:"
SITE = "https://huggingface.co/datasets"
HELD_OUT = ("validation", "valid", "val", "dev", "test")  # splits to validate on, the first that is there

_PART = r"[\w.-]+"
_REMOTE = re.compile(
    rf"(?P<repository>{_PART}(/{_PART})?)(@(?P<revision>refs/[^/:]+/[^/:]+|[^/:]+))?"
    r"(/(?P<config>[^/:]+))?(:(?P<column>.+))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Name:
    """`hf:NAME[@REVISION][/CONFIG][:COLUMN]`, in its parts; `repository` may be a folder here."""

    repository: str
    revision: str | None = None
    config: str | None = None
    column: str | None = None
    here: bool = False

    def __str__(self) -> str:
        parts = (("@", self.revision), ("/", self.config), (":", self.column))
        return PREFIX + self.repository + "".join(f"{sign}{part}" for sign, part in parts if part)

    @property
    def short(self) -> str:
        """The last part of its name."""
        return Path(self.repository).name


def parse(text: str) -> Name:
    """The parts of a name that begins with `hf:`. A folder that is there wins, with or without a CONFIG behind it.
    Raises InputError."""
    name = text.removeprefix(PREFIX)
    path, _, column = name.rpartition(":")
    if not path or "/" in column or Path(name).expanduser().is_dir():
        path, column = name, ""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return Name(str(folder.absolute()), column=column or None, here=True)
    written_as_path = path.startswith(("/", ".", "~")) or (folder.parent / "README.md").is_file()
    if written_as_path and folder.parent.is_dir() and folder.parent != Path():
        return Name(str(folder.parent.absolute()), config=folder.name, column=column or None, here=True)
    if name.startswith(("/", ".", "~")):
        raise InputError(f"{text}: there is no such folder; check the path")
    found = _REMOTE.fullmatch(name)
    if found is None:
        raise InputError(f"{text} is no name of a data set: write hf:OWNER/NAME[@REVISION][/CONFIG][:COLUMN]")
    return Name(found["repository"], found["revision"], found["config"], found["column"])


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository on the hub, as it is in one commit; `size` in bytes."""

    repository: str
    commit: str
    name: str
    size: int

    def identity(self) -> Json:
        """What a cache may take it to be known by."""
        return asdict(self)

    def local(self) -> Path:
        """Where it is on this machine; downloaded, or the rest of it, where it is not. Raises InputError."""
        known = self.cached()
        if known is not None:
            return known
        with _explained(f"{PREFIX}{self.repository}"):
            hub = _hub()
            return Path(hub.hf_hub_download(self.repository, self.name, repo_type="dataset", revision=self.commit))

    def cached(self) -> Path | None:
        """Where it is, if it has been downloaded."""
        found = _hub().try_to_load_from_cache(
            self.repository, self.name, repo_type="dataset", revision=self.commit
        )
        return Path(found) if isinstance(found, str) else None


File: TypeAlias = Path | RemoteFile


@dataclass(frozen=True)
class Listing:
    """The files of a data set, split by split.

    Attributes:
        name: with the commit that its revision stands for, where it is on the hub.
        splits: name and bytes of the files of each.
        licence: as its card says, or "".
        gated: whether its owners let in only who has accepted their terms.
    """

    name: Name
    splits: Mapping[str, list[tuple[str, int]]]
    licence: str = ""
    gated: bool = False

    @property
    def own(self) -> str | None:
        """Its own split to validate on."""
        return next((name for name in HELD_OUT if name in self.splits), None)

    def sides(self, split: str | None) -> tuple[list[File], list[File]]:
        """The files to train on, and those of a split to validate on, if there is one. Raises InputError."""
        wanted = split or ("train" if "train" in self.splits or len(self.splits) != 1 else next(iter(self.splits)))
        held_out = self.own if self.own != wanted else None
        return self.files(wanted), self.files(held_out) if held_out else []

    def held_out(self, split: str | None) -> list[File]:
        """The files of this split; without one, of what is held out, else those to train on. Raises InputError."""
        if split is not None:
            return self.files(split)
        return self.files(self.own) if self.own else self.sides(None)[0]

    def files(self, split: str) -> list[File]:
        """The files of a split. Raises InputError."""
        if split not in self.splits:
            there = ", ".join(self.splits)
            raise InputError(f"{self.name} has no split {split!r}; name another with --split: {there}")
        if self.name.here:
            return [Path(name) for name, _ in self.splits[split]]
        commit = self.name.revision or ""
        return [RemoteFile(self.name.repository, commit, file, size) for file, size in self.splits[split]]


def listing(name: Name) -> Listing:
    """The files of a data set. One commit of it is asked for once only: what is known of it is cached.

    Raises InputError for a data set, revision or configuration that is not there, is gated, or out of reach.
    """
    if name.here:
        with _explained(str(name)):
            found = _splits(name).items()
            return Listing(name, {s: [(file, Path(file).stat().st_size) for file in files] for s, files in found})
    about = None
    if not _COMMIT.fullmatch(name.revision or ""):
        name, about = _pinned(name)

    def ask() -> Json:
        with _explained(str(name)):
            return _ask(name, about)

    key = digest([name.repository, name.revision, name.config])[:32]
    known = cached_json(cache_dir() / "hub" / f"{key}.json", ask, lambda values: values["splits"])
    sizes = {split: [(file, size) for file, size in files] for split, files in known["splits"].items()}
    return Listing(name, sizes, known["licence"], known["gated"])


def _pinned(name: Name) -> tuple[Name, Any]:
    """The name with the commit that its revision stands for now, or, without a network, when last asked; and what
    the hub says of it."""
    path = cache_dir() / "hub" / f"{digest([name.repository, name.revision])[:32]}.commit.json"
    try:
        with _explained(str(name)):
            about = _hub().HfApi().dataset_info(name.repository, revision=name.revision, files_metadata=True)
    except Unreachable:
        if not path.exists():
            raise
        known = cached_json(path, dict, lambda values: values["commit"])
        return replace(name, revision=known["commit"]), None
    path.unlink(missing_ok=True)
    cached_json(path, lambda: {"commit": about.sha})
    return replace(name, revision=about.sha), about


def _ask(name: Name, about: Any) -> Json:
    about = about or _hub().HfApi().dataset_info(name.repository, revision=name.revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in about.siblings or ()}
    card = about.card_data.to_dict() if about.card_data else {}
    licence = card.get("license") or ""
    splits = {
        split: [(file, sizes.get(file, 0)) for file in (_in_repository(url, name) for url in files)]
        for split, files in _splits(name).items()
    }
    licence = ", ".join(licence) if isinstance(licence, list) else str(licence)
    return {"splits": splits, "licence": licence, "gated": bool(about.gated)}


def _in_repository(url: str, name: Name) -> str:
    """The path in the repository of hf://datasets/OWNER/NAME@COMMIT/PATH."""
    return url.split(f"{name.repository}@{name.revision}/", 1)[-1]


def _splits(name: Name) -> dict[str, list[str]]:
    """Paths, or addresses on the hub, of the files of each split."""
    datasets = extra("datasets", str(name))
    datasets.disable_progress_bars()
    found = datasets.load_dataset_builder(
        name.repository, name=name.config, revision=name.revision, cache_dir=str(cache_dir() / "datasets")
    )
    return {str(split): list(map(str, files)) for split, files in (found.config.data_files or {}).items()}


def _hub() -> Any:
    hub = extra("huggingface_hub", "a data set of the hub")
    if not sys.stderr.isatty():
        hub.utils.disable_progress_bars()
    return hub


# -- leave to download -------------------------------------------------------------------------------------


def ask_leave(found: Listing, files: list[File], say: Callable[[str], None] | None) -> None:
    """Show licence, size and terms of what is to be downloaded, and ask whether it may be.

    Nothing is asked for what is here already, nor where $AEATTN_YES is set. Raises InputError where the answer is
    no, and where nobody can be asked.
    """
    missing = [file for file in files if isinstance(file, RemoteFile) and file.cached() is None]
    if not missing:
        return
    lines = _terms(found, missing)
    if say:
        for line in lines:
            say(line)
    if os.environ.get(YES):
        return
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError(f"{lines[0]}: there is nobody to ask; add --yes to download it")
    print("download it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError(f"{found.name} is not downloaded")


def _terms(found: Listing, missing: list[RemoteFile]) -> list[str]:
    size = sum(file.size for file in missing)
    licence = f"licence {found.licence}" if found.licence else "its card names no licence"
    gated = "; gated: its owners' terms have to be accepted there" if found.gated else ""
    return [
        f"{found.name}: {len(missing)} file(s), {_bytes(size)} to download; {licence}",
        f"terms and card: {SITE}/{found.name.repository}{gated}",
    ]


def _bytes(size: int) -> str:
    scale, unit = next(((s, u) for s, u in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if size >= s), (1, "bytes"))
    return f"{size / scale:.3g} {unit}"


# -- what the libraries say --------------------------------------------------------------------------------


class Unreachable(InputError):
    """There is no way to the hub now."""


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Raises InputError for whatever goes wrong in `datasets`, in the client of the hub, or in the network."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise _explanation(error, what) from error


def _explanation(error: Exception, what: str) -> InputError:
    kinds = {cls.__name__ for each in _causes(error) for cls in type(each).__mro__}
    lines = str(error).splitlines() or [type(error).__name__]
    said, text = lines[0][:200], str(error)
    if "GatedRepoError" in kinds or "gated dataset" in text:
        terms = f"accept its terms at {SITE}/{what.removeprefix(PREFIX).split('@')[0]}"
        return InputError(f"{what} is gated: {terms}, then `hf auth login`")
    if "RevisionNotFoundError" in kinds:
        return InputError(f"{what}: there is no such revision; check what follows the @")
    if kinds & {"DatasetNotFoundError", "RepositoryNotFoundError", "HFValidationError"}:
        return InputError(f"{what}: there is no such data set; if it is private, `hf auth login` first")
    if kinds & {"OfflineModeIsEnabled", *_NETWORK}:
        mend = "unset HF_HUB_OFFLINE" if "OfflineModeIsEnabled" in kinds | set(re.findall(r"\w+", text)) else (
            "connect to the network, and call it again: what is downloaded is kept"
        )  # fmt: skip
        return Unreachable(f"{what} cannot be reached ({said}); {mend}, or name files that are here")
    if "EntryNotFoundError" in kinds:
        return InputError(f"{what}: a file of it is gone ({said}); name another revision")
    if available := re.search(r"(?:Available|available configs): \[(.*?)\]", text):
        ask = "which configuration?" if "missing" in text else "there is no such configuration;"
        return InputError(f"{what}: {ask} Name one as hf:NAME/CONFIG: {available[1]}")
    if "scripts are no longer supported" in text:
        return InputError(f"{what} is a script, which is not run; try hf:NAME@refs/convert/parquet")
    if kinds & {"EmptyDatasetError", "DataFilesNotFoundError", "FileNotFoundError"}:
        return InputError(f"{what} holds no files of data ({said}); check the name")
    return InputError(f"{what} cannot be read ({said}); check the name, or give files")


_NETWORK = {
    "ConnectionError", "ConnectError", "NetworkError", "TransportError", "TimeoutError", "Timeout",
    "LocalEntryNotFoundError", "HfHubHTTPError",
}  # fmt: skip


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
