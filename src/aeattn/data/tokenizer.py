"""Text to ids and back: what a tokenizer is, the kinds there are, and the one of characters.

A kind is registered under a name, in a file of the user's own or in this package's `data/tokenizer_NAME.py`:

    @aeattn.register_tokenizer("bytes")
    class ByteTokenizer(aeattn.Tokenizer): ...

A setting names it as `kind` or `kind:argument`, or is the path of a tokenizer.json; `tokenizer.json` names it as
`kind`, save where it is a file of the library `tokenizers`, which has a `model`. Shapes: N ids, V tokens.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from aeattn.data.lookup import ByteTable
from aeattn.data.utf8 import characters_in, check_vocabulary, codes, joined, listed, parted
from aeattn.errors import Damaged, InputError
from aeattn.files import digest, read_bytes
from aeattn.host import named_path

Ids = npt.NDArray[np.integer[Any]]
Counts = npt.NDArray[np.int64]

_KIND = "characters"
_MAX_FILE_BYTES = 128 << 20  # every Unicode character, or the largest file of subwords, takes less as JSON
_LONG = 1 << 14  # characters of a text for which a large table pays
_MARK = 255  # no id of a vocabulary of fewer characters


class Tokenizer(Protocol):
    """What reads and writes ids. A class of one's own inherits from this for the defaults.

    Tokens stand side by side: decode(a) + decode(b) is decode(a + b), save where a character is split between
    them; `decode` shows a part of one as U+FFFD.

    `learns` says whether `make` looks at the text, `reads_file` whether its argument is a path. Stable: all of it.
    """

    learns, reads_file = True, False

    @property
    def vocab_size(self) -> int:
        """V: ids run from 0 to V - 1."""
        ...

    @property
    def chars_per_token(self) -> Counts:
        """Characters that begin in each token, (V,)."""
        ...

    @property
    def bytes_per_token(self) -> Counts:
        """Bytes of each token in UTF-8, (V,)."""
        ...

    def encode(self, text: str, unknown: Counter[str] | None = None, strict: bool = False) -> Ids:
        """Ids (N,) of a text, of type `dtype`. `unknown` gains how often each character occurs that cannot
        be encoded; where there are any, `strict` raises InputError."""
        ...

    def decode(self, ids: npt.ArrayLike) -> str:
        """The text of ids. Raises ValueError for ids outside the vocabulary."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """For tokenizer.json: `kind`, and what `from_dict` needs."""
        ...

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`. Raises InputError for what that cannot have written."""
        ...

    @classmethod
    def make(cls, argument: str, chunks: Iterable[str]) -> Self:
        """A tokenizer for a normalised training text, which comes in chunks; `argument` is what a setting says
        after `kind:`. Raises InputError."""
        ...

    @classmethod
    def check(cls, argument: str) -> None:
        """Raises InputError for an argument that cannot be, before any text is read."""
        return

    def encode_chunks(self, chunks: Iterable[str], unknown: Counter[str] | None = None) -> Iterator[Ids]:
        """Ids of one text that comes in chunks; in sum the same wherever it was cut. A tokenizer whose tokens may
        lie across a border sees to that."""
        return (self.encode(chunk, unknown) for chunk in chunks)

    def encode_texts(self, texts: Sequence[str], unknown: Counter[str] | None = None) -> tuple[Ids, Counts]:
        """Ids of whole texts, one after the other, and how many each has."""
        found = [np.concatenate([np.empty(0, self.dtype), *self.encode_chunks([t], unknown)]) for t in texts]
        return np.concatenate([np.empty(0, self.dtype), *found]), np.array([len(ids) for ids in found], np.int64)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest unsigned integer type that holds every id."""
        return np.min_scalar_type(self.vocab_size - 1)

    @property
    def digest(self) -> str:
        """Changes with whatever changes ids: texts in the cache are known by it."""
        return digest(self.to_dict())

    @property
    def substitute(self) -> str:
        """What stands for each character that cannot be encoded."""
        return "\ufffd"


# -- kinds -----------------------------------------------------------------------------------------------

KINDS = ("char", "bytes", "bpe:N", "gpt2")  # of ours, as they are written
TOKENIZERS: dict[str, type[Tokenizer]] = {}
T = TypeVar("T", bound=type[Tokenizer])


def register_tokenizer(*kinds: str) -> Callable[[T], T]:
    """A decorator: the names under which settings and files know a class of tokenizers. Raises InputError for a
    name that another class has. Stable: all of this."""

    def register(cls: T) -> T:
        for kind in kinds:
            known = TOKENIZERS.setdefault(kind, cls)
            if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise InputError(f"two tokenizers are called {kind!r}: rename one")
            TOKENIZERS[kind] = cls
        return cls

    return register


def tokenizer_kind(spec: str) -> tuple[type[Tokenizer], str]:
    """The class and the argument that a setting, `kind`, `kind:argument` or a path, names. Raises InputError."""
    kind, colon, argument = spec.partition(":")
    if not (_known(kind) and (colon or "/" not in kind)) and is_path(spec):
        kind, argument = "file", spec
    if not _known(kind):
        raise InputError(
            f"no tokenizer is called {kind[:40]!r}: choose {', '.join(KINDS)}, a tokenizer.json (a path with a "
            "slash, or one that ends in .json), or name the file that registers it with --plugin"
        )
    return TOKENIZERS[kind], argument


def _known(kind: str) -> bool:
    """Whether there is such a kind; ours is imported."""
    ours = f"aeattn.data.tokenizer_{kind}"
    if kind not in TOKENIZERS and kind.isidentifier() and importlib.util.find_spec(ours):
        importlib.import_module(ours)
    return kind in TOKENIZERS


def is_path(spec: str) -> bool:
    """Whether a setting that names no kind is the path of a file."""
    return "/" in spec or os.sep in spec or spec.endswith(".json")


def file_of(spec: str) -> Path | None:
    """The file that a setting of the kind `file` names. Raises InputError for what is no setting."""
    kind, argument = tokenizer_kind(spec)
    return named_path(argument) if kind.reads_file else None


def make_tokenizer(spec: str, chunks: Iterable[str]) -> Tokenizer:
    """The tokenizer that a setting names, for a training text in chunks. Raises InputError."""
    cls, argument = tokenizer_kind(spec)
    return cls.make(argument, chunks)


def tokenizer_from_dict(values: object) -> Tokenizer:
    """Inverse of `Tokenizer.to_dict`. Raises InputError for what no tokenizer has written."""
    if isinstance(values, Mapping) and "kind" not in values and "model" in values:
        return tokenizer_kind("file")[0].from_dict(values)
    if not isinstance(values, Mapping) or not isinstance(values.get("kind"), str):
        raise InputError("not a tokenizer: expected an object with its 'kind'")
    return tokenizer_kind(values["kind"])[0].from_dict(values)


def load_tokenizer(path: Path) -> Tokenizer:
    """Reads the tokenizer.json of a run. Raises InputError where it is missing or is something else."""
    try:
        content = read_bytes(path, _MAX_FILE_BYTES)
        if len(content) > _MAX_FILE_BYTES:
            raise InputError(f"{path}: too large for a tokenizer; give the file that a training run wrote")
        return tokenizer_from_dict(json.loads(content.decode("utf-8")))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except InputError as error:
        raise InputError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path}: not JSON ({error}); give the file that a training run wrote") from error


# -- characters ------------------------------------------------------------------------------------------


@register_tokenizer("char", _KIND)
class CharTokenizer(Tokenizer):
    """A fixed vocabulary of characters: a sorted string, in which the id of a character is its place.

    Characters outside the vocabulary are read as the *substitute*: the space if the vocabulary has one, else the
    newline, else its first character.

    Args:
        characters: the vocabulary: at least one character, strictly ascending by code point.

    Raises:
        InputError: the vocabulary is empty, unsorted, has duplicates, or holds a lone surrogate.
    """

    def __init__(self, characters: str) -> None:
        check_vocabulary(characters)
        self.characters = characters

    @classmethod
    def make(cls, argument: str, chunks: Iterable[str]) -> CharTokenizer:
        if argument:
            raise InputError(f"the tokenizer of characters takes no argument, not {argument[:40]!r}: leave it out")
        return cls.from_chunks(chunks)

    @classmethod
    def from_chunks(cls, chunks: Iterable[str]) -> CharTokenizer:
        """The vocabulary of the characters that occur in `chunks`; raises InputError if there are none."""
        characters = characters_in(chunks)
        if not characters:
            raise InputError("no characters to make a vocabulary of: the text is empty; give more text")
        return cls(characters)

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    @property
    def substitute(self) -> str:
        return next((c for c in " \n" if c in self.characters), self.characters[0])

    @cached_property
    def chars_per_token(self) -> Counts:
        return np.ones(self.vocab_size, np.int64)

    @cached_property
    def bytes_per_token(self) -> Counts:
        return np.array([len(c.encode()) for c in self.characters], np.int64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CharTokenizer) and other.characters == self.characters

    def __hash__(self) -> int:
        return hash(self.characters)

    def __repr__(self) -> str:
        return f"CharTokenizer({self.characters!r})"

    def encode(self, text: str, unknown: Counter[str] | None = None, strict: bool = False) -> Ids:
        """Ids (len(text),): see `Tokenizer.encode`."""
        if len(text) >= _LONG and self.vocab_size < _MARK:
            ids = self._encode_bytes(text)
            if ids is not None:
                return ids
        if strict or unknown is not None:
            found = self.unknown_counts(text)
            if strict and found:
                raise InputError(f"characters outside the vocabulary: {listed(found)}; remove or replace them")
            if unknown is not None:
                unknown.update(found)
        if self.vocab_size <= 256 and text.isascii():
            translated = text.encode("ascii").translate(self._ascii_table)
            return np.frombuffer(bytearray(translated), dtype=np.uint8)
        return self._id_of_code.take(codes(text), mode="clip")

    def _encode_bytes(self, text: str) -> Ids | None:
        """The ids of a long text whose other characters than ASCII are few; None where any is unknown."""
        if text.isascii():
            ids = self._ascii_bytes.take(text.encode("ascii"))
            return ids if ids.max() < _MARK else None
        if (found := parted(text)) is None:
            return None
        content, places, others = found
        ids, points = self._ascii_bytes.take(content), codes(others)
        begins = content[places] >= 0xC0
        ids[places] = 0
        if ids.max() == _MARK or not self._known_code.take(points, mode="clip").all():
            return None
        ids[places[begins]] = self._id_of_code.take(points, mode="clip")
        return np.delete(ids, places[~begins])

    def encode_texts(self, texts: Sequence[str], unknown: Counter[str] | None = None) -> tuple[Ids, Counts]:
        if type(self).encode is not CharTokenizer.encode:  # whose tokens may be others
            return super().encode_texts(texts, unknown)
        return self.encode("".join(texts), unknown), np.array(list(map(len, texts)), np.int64)

    def decode(self, ids: npt.ArrayLike) -> str:
        """The text of `ids`, integers of any shape: see `Tokenizer.decode`."""
        array = np.asarray(ids).reshape(-1)
        if array.size == 0:
            return ""
        if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= self.vocab_size:
            raise ValueError(f"ids must be integers from 0 to {self.vocab_size - 1}")
        if array.dtype == np.uint8 and self.characters.isascii():
            return array.tobytes().translate(self._ascii_of_id).decode("ascii")
        return self._codes.take(array).tobytes().decode("utf-32-le")

    def unknown_counts(self, text: str) -> Counter[str]:
        """How many times each character outside the vocabulary occurs in `text`."""
        if text.isascii():
            rest = text.encode("ascii").translate(None, self._ascii_known)
            return Counter({chr(code): count for code, count in Counter(rest).items()})
        points = codes(text)
        unknown = points[~self._known_code.take(points, mode="clip")]
        values, counts = np.unique(unknown, return_counts=True)
        return Counter({chr(v): int(n) for v, n in zip(values, counts, strict=True)})

    def to_dict(self) -> dict[str, Any]:
        return {"kind": _KIND, "characters": list(self.characters)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CharTokenizer:
        """Inverse of `to_dict`; raises InputError for anything that `to_dict` cannot have written."""
        if not isinstance(values, Mapping) or set(values) != {"kind", "characters"}:
            raise InputError("not a tokenizer: expected an object of 'kind' and 'characters' alone")
        if values["kind"] != _KIND:
            raise InputError(f"a tokenizer of kind {values['kind']!r} is not known; expected {_KIND!r}")
        return cls(joined(values["characters"]))

    # Lookup tables, made at first use.

    @cached_property
    def _codes(self) -> npt.NDArray[np.uint32]:
        return codes(self.characters)

    @cached_property
    def _id_of_code(self) -> Ids:
        """Id of every code point up to the highest of the vocabulary, and one more entry for all above."""
        table = np.full(int(self._codes[-1]) + 2, self.characters.index(self.substitute), self.dtype)
        table[self._codes] = np.arange(self.vocab_size)
        return table

    @cached_property
    def _known_code(self) -> npt.NDArray[np.bool_]:
        table = np.zeros(int(self._codes[-1]) + 2, np.bool_)
        table[self._codes] = True
        return table

    @cached_property
    def _ascii_table(self) -> bytes:
        return self._id_of_code.take(np.arange(256), mode="clip").astype(np.uint8).tobytes()

    @cached_property
    def _ascii_bytes(self) -> ByteTable:
        """The same, with _MARK for what is not in the vocabulary."""
        known = self._known_code.take(np.arange(256), mode="clip")
        return ByteTable(np.where(known, np.frombuffer(self._ascii_table, np.uint8), np.uint8(_MARK)))

    @cached_property
    def _ascii_known(self) -> bytes:
        return "".join(c for c in self.characters if c.isascii()).encode("ascii")

    @cached_property
    def _ascii_of_id(self) -> bytes:
        return self.characters.encode("ascii").ljust(256, b"?")
