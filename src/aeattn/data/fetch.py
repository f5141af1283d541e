"""Texts that are neither the user's files nor shipped: downloaded or generated once, then kept in a cache.

Each is an entry of the cache: whole, verified whenever it is used, and made anew where it is not what it was.
Several processes and threads may do this at once.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aeattn.data import manifest
from aeattn.errors import InputError
from aeattn.files import cache_entry, cached, sha256, sha256_of, warn_of_damage
from aeattn.host import cache_dir

SOURCE_URL = "https://github.com/{owner}/{repository}/raw/{commit}/{path}"
TIMEOUT_SECONDS = 30.0
TEST_BOOKS = "books/test"  # for judgements alone: no part of the corpus `books`, and fetched when it is named

Progress = Callable[[str], None]

# Notes of the transcribers in the source's files, which are not part of the books.
_NOTES = {
    "541_the_age_of_innocence.txt": r"\s+A Note on the Text\n.*",
    "599_vanity_fair.txt": r"\[_Transcriber's Note: The name of the Greek[^]]*\] ",
    "805_this_side_of_paradise.txt": r"\s+Appendix: Production notes.*",
}


def fetch_corpus(name: str, progress: Progress | None = None) -> Path:
    """The cached folder of a named corpus; what it lacks is downloaded and checked against its checksum."""
    folder = cache_dir() / "corpora"
    rows = [row for row in manifest.shipped() if row["file"].startswith(f"{name}/")]
    if name != TEST_BOOKS:
        rows = [row for row in rows if not row["file"].startswith(f"{TEST_BOOKS}/")]
    missing = [row for row in rows if not _is_whole(folder / row["file"], row["sha256"])]
    for number, row in enumerate(missing, start=1):
        if progress:
            progress(f"downloading {row['file']} ({number} of {len(missing)})")
        _fetch_file(row, folder / row["file"])
    return folder / name


def _is_whole(path: Path, wanted: str) -> bool:
    if path.is_file() and sha256_of(path) != wanted:
        warn_of_damage(f"{path} is not what was downloaded")
        return False
    return path.is_file()


def _fetch_file(row: manifest.Row, path: Path) -> None:
    url = source_url(row["source"])
    data = _download(url)
    if sha256(data) != row["sha256"]:
        data = as_listed(path.name, data)
    if sha256(data) != row["sha256"]:
        raise InputError(f"{url} is not the text it was (checksum differs); {_mend(row['file'])}")
    with cache_entry(path) as partial:
        partial.write_bytes(data)


def source_url(source: str) -> str:
    """Where `owner/repository@commit:path` can be downloaded."""
    owner, repository, commit, path = re.split(r"[/@:]", source, maxsplit=3)
    return SOURCE_URL.format(owner=owner, repository=repository, commit=commit, path=path)


def as_listed(name: str, data: bytes) -> bytes:
    """The source's file made into the one that the manifest lists; Shakespeare's is listed as it is.

    Of the books, no-break spaces become spaces, three newlines at most follow each other, one ends the text,
    and three transcribers' notes go.
    """
    if name == "input.txt":
        return data
    text = data.decode("utf-8", errors="replace").replace("\xa0", " ")
    if pattern := _NOTES.get(name):
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    return (re.sub("\n{4,}", "\n\n\n", text).strip() + "\n").encode()


def _download(url: str) -> bytes:
    import http.client
    import urllib.request  # slow to import, and seldom needed

    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            data: bytes = response.read()
            return data
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"cannot download {url} ({reason}); {_mend(url)}") from error


def _mend(what: str) -> str:
    folder = "shakespeare/" if "shakespeare" in what else "books/train and books/valid"
    return f"connect to the network, or set AEATTN_CORPORA to a folder that holds {folder}"


def tales(chars: int, seed: int, stream: str, progress: Progress | None = None) -> tuple[Path, float]:
    """The cached text of the built-in corpus, and its exact entropy in nats (of the whole text)."""
    module: Any = importlib.import_module("aeattn.data.tales")

    def generate(partial: Path) -> dict[str, float]:
        if progress:
            progress(f"writing {chars:,} characters of tales ({stream})")
        text, nats = module.generate(chars, seed=seed, stream=stream)
        partial.write_text(text, encoding="utf-8", newline="\n")
        return {"nats": nats, "chars": len(text)}

    path = cache_dir() / "tales" / f"{stream}_{chars}_{seed}_{_version(module)}.txt"
    return path, float(cached(path, generate)["nats"])


def _version(module: Any) -> str:
    """Changes with grammar and words of the tales: others are another text."""
    sources = sorted(p for p in Path(module.__file__).parent.iterdir() if p.suffix in (".py", ".txt"))
    return sha256(b"".join(source.read_bytes() for source in sources))[:12]
