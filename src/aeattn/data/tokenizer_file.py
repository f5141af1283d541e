"""A tokenizer.json of the library `tokenizers`, as it is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from aeattn.data.subwords import SubwordTokenizer
from aeattn.data.tokenizer import register_tokenizer
from aeattn.errors import InputError
from aeattn.files import Json, read_bytes
from aeattn.host import named_path

MOST_BYTES = 32 << 20  # of a file: the largest vocabularies in use take less


@register_tokenizer("file")
class FileTokenizer(SubwordTokenizer):
    """`--tokenizer FILE`."""

    reads_file = True

    @classmethod
    def check(cls, argument: str) -> None:
        if not argument:
            raise InputError("the tokenizer file needs a path: name a tokenizer.json")
        cls.read(named_path(argument))

    @classmethod
    def make(cls, argument: str, chunks: Iterable[str]) -> Self:
        return cls.read(named_path(argument))

    @classmethod
    def read(cls, path: Path) -> Self:
        """The tokenizer of a file. Raises InputError, with its name, for one that cannot be used."""
        try:
            tokenizer = cls(_parsed(path))
            tokenizer.try_out()
        except InputError as error:
            raise InputError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error
        return tokenizer


def _parsed(path: Path) -> Json:
    try:
        if path.exists() and not path.is_file():
            raise InputError("is no file: name a tokenizer.json")
        content = read_bytes(path, MOST_BYTES)
        if len(content) > MOST_BYTES:
            raise InputError(
                f"too large for a tokenizer (more than {MOST_BYTES >> 20} MiB): name a tokenizer.json"
            )
        values = json.loads(content.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({str(error)[:100]}): name a tokenizer.json of `tokenizers`") from error
    if not isinstance(values, dict):
        raise InputError("not a tokenizer of `tokenizers`: expected an object with its 'model'")
    return values


def _without_duplicates(pairs: list[tuple[str, Any]]) -> Json:
    """A dictionary. Raises InputError for a key that stands twice, of which a reader would keep one."""
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InputError(f"{twice[:40]!r} stands there twice: mend the file")
    return values
