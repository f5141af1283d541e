"""GPT-2's byte-level BPE (Radford et al. 2019), from wherever its file is at hand."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies

from aeattn.config.run import GPT2_TOKENS
from aeattn.data.subwords import library
from aeattn.data.tokenizer import register_tokenizer
from aeattn.data.tokenizer_file import FileTokenizer
from aeattn.errors import InputError
from aeattn.host import cache_dir

REPOSITORIES = ("openai-community/gpt2", "gpt2")  # on the hub, today's name and the one before
NAME = "tokenizer.json"


@register_tokenizer("gpt2")
class GPT2Tokenizer(FileTokenizer):
    """50,257 tokens."""

    reads_file = False

    @classmethod
    def check(cls, argument: str) -> None:
        if argument:
            raise InputError(f"the tokenizer gpt2 takes no argument, not {argument[:40]!r}: leave it out")
        library()
        find()

    @classmethod
    def make(cls, argument: str, chunks: Iterable[str]) -> Self:
        path = find()
        tokenizer = cls.read(path)
        if tokenizer.vocab_size != GPT2_TOKENS:
            raise InputError(
                f"{path}: has {tokenizer.vocab_size:,} tokens, GPT-2's tokenizer has {GPT2_TOKENS:,}: remove it, "
                "or name it as --tokenizer FILE"
            )
        return tokenizer


def find() -> Path:
    """Where GPT-2's tokenizer.json is. Raises InputError that says where it was looked for."""
    local = list(_local())
    for path in local:
        if path.is_file():
            return path
    found = _from_hub()
    if isinstance(found, Path):
        return found
    raise InputError(
        f"tokenizer gpt2: its {NAME} is not at {' or '.join(map(str, local))}, nor on the hub ({found}): put it "
        f"there, or name it as --tokenizer FILE"
    )


def _local() -> Iterator[Path]:
    if base := os.environ.get("AEATTN_CORPORA"):
        yield Path(base) / "gpt2" / NAME
    yield cache_dir() / "gpt2" / NAME


def _from_hub() -> Path | str:
    """The file in the hub's own cache, else downloaded into it, or why there is none."""
    try:
        from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    except ImportError:
        return "huggingface_hub is not installed"
    for repository in REPOSITORIES:
        if isinstance(known := try_to_load_from_cache(repository, NAME), str):
            return Path(known)
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, and its cache has none"
    if not _reachable(constants.ENDPOINT):
        return f"{constants.ENDPOINT} cannot be reached, and its cache has none"
    try:
        return Path(hf_hub_download(REPOSITORIES[0], NAME))
    except (OSError, ValueError, RuntimeError) as error:  # httpx's errors are none of ours to name
        return " ".join(str(error).split())[:120]


def _reachable(address: str) -> bool:
    """Whether the host's name is known, which fails at once where the hub's client would try for a minute."""
    if getproxies():
        return True
    with suppress(OSError):
        socket.getaddrinfo(urlsplit(address).hostname, 443)
        return True
    return False
