"""Byte-level BPE of the library `tokenizers`: ids are its ids, whatever the pieces in which a text comes.

One rule each. *Normalisation*: none of its own; the run's text options alone. *Special tokens*: never produced
from text, in which `<|endoftext|>` is thirteen characters; their ids decode to nothing. Added tokens that are not
special stand for their text. *Unknown characters*: none, every character has its bytes.

`tokenizer.json` is the library's own file. Reading ids needs no library; encoding does.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from aeattn.data.subwords_check import cuts, token_bytes
from aeattn.data.threads import side_by_side
from aeattn.data.tokenizer import Counts, Ids, Tokenizer
from aeattn.data.utf8 import begins_character, whole_characters
from aeattn.data.words import Border, WordTable, border_of
from aeattn.errors import InputError
from aeattn.files import digest

KNOWN_WORDS, LONGEST_WORD = 1 << 18, 64  # whose ids are remembered: some 50 MB at most
LONG = 1 << 12  # characters of a text for which a table of its words pays
WHOLE_CHARS = 20_000_000  # of a text that cannot be cut: the library takes some hundred bytes a character
_TOGETHER = 1 << 10  # bytes of words that are handed over as one text
_PROBE = "Hello,  World's\n\n\t12345 caf\u00e9 \u6f22\u5b57 \U0001f600\u200d!? <|x|> ...  \u00a0\x00e\u0301 "


def library() -> Any:
    """The module `tokenizers`. Raises InputError where it is not installed."""
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise InputError(
            "subwords need the package tokenizers: install it with pip install 'autoencoder-attention[data]'"
        ) from error
    return tokenizers


class SubwordTokenizer(Tokenizer):
    """A tokenizer from the library's JSON as a dictionary. Raises InputError for what cannot give back text."""

    learns = False

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values, self._bytes = dict(values), token_bytes(values)
        self._cut = cuts(values)
        self._known: dict[str, bytes] = {}
        self._lock = threading.Lock()  # of what is known
        plain = all(token["special"] for token in values.get("added_tokens") or ())
        self._border = border_of(self._cut, plain=plain)
        self._tables: list[WordTable] = []  # that nobody has at the moment

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(values)

    def to_dict(self) -> dict[str, Any]:
        return self._values

    @cached_property
    def digest(self) -> str:
        return digest(self._values)

    @property
    def vocab_size(self) -> int:
        return len(self._bytes)

    @cached_property
    def chars_per_token(self) -> Counts:
        every = np.frombuffer(b"".join(self._bytes), np.uint8)
        begun = np.concatenate([[0], np.cumsum(begins_character(every))])
        ends = np.cumsum(self.bytes_per_token)
        return np.asarray(begun[ends] - begun[ends - self.bytes_per_token], np.int64)

    @cached_property
    def bytes_per_token(self) -> Counts:
        return np.array([len(token) for token in self._bytes], np.int64)

    def decode(self, ids: npt.ArrayLike) -> str:
        """The text of `ids`, integers of any shape: see `Tokenizer.decode`."""
        array = np.asarray(ids).reshape(-1)
        if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= self.vocab_size):
            raise ValueError(f"ids must be integers from 0 to {self.vocab_size - 1}")
        return b"".join(map(self._bytes.__getitem__, array.tolist())).decode("utf-8", "replace")

    def encode(self, text: str, unknown: Counter[str] | None = None, strict: bool = False) -> Ids:
        """Ids (N,): see `Tokenizer.encode`."""
        text = whole_characters(text, unknown, strict)
        if len(text) >= LONG and self._border is not None:
            return self._by_table(text, self._border)
        words = [text] if self._cut is None else self._cut.split(text)
        with self._lock:
            return np.frombuffer(bytearray(b"".join(self._encoded(words))), self.dtype)

    def _by_table(self, text: str, border: Border) -> Ids:
        """The same, by a table that no other thread has meanwhile."""
        try:
            table = self._tables.pop()
        except IndexError:
            table = WordTable(border, self._ask, self.dtype)
        ids = table.ids(text)
        self._tables.append(table)
        return ids

    def _ask(self, words: list[bytes]) -> tuple[Ids, Counts]:
        """Ids of words, one after the other, and how many each has. Those that may stand together do: the library
        takes most of its time for what it does once a text."""
        assert self._border is not None
        texts: list[bytearray] = []
        for word in words:
            if texts and len(texts[-1]) < _TOGETHER and self._border.between(texts[-1][-1], word[0]):
                texts[-1] += word
            else:
                texts.append(bytearray(word))
        found = self._library.encode_batch_fast([text.decode() for text in texts], add_special_tokens=False)
        ids = np.array([i for encoding in found for i in encoding.ids], self.dtype)
        ends = np.cumsum([len(word) for word in words])
        counts = np.searchsorted(np.cumsum(self.bytes_per_token[ids]), ends, "right")
        return ids, np.diff(counts, prepend=0)

    def _encoded(self, words: list[str]) -> list[bytes]:
        """Ids of words as bytes. The library is asked for those alone that were not there before: most of a text
        is words that were, and it looks at every character."""
        if len(self._known) > KNOWN_WORDS:
            self._known.clear()
        known = self._known
        fresh = list({word for word in words if word not in known})
        found = self._library.encode_batch_fast(fresh, add_special_tokens=False) if fresh else []
        for word, encoding in zip(fresh, found, strict=True):
            known[word] = np.array(encoding.ids, self.dtype).tobytes()
        encoded = [known[word] for word in words]
        for word in fresh:
            if len(word) > LONGEST_WORD:
                del known[word]
        return encoded

    def encode_chunks(self, chunks: Iterable[str], unknown: Counter[str] | None = None) -> Iterator[Ids]:
        """Ids of one text that comes in chunks, cut where that makes no difference. Raises InputError for a text
        of more than `WHOLE_CHARS` that cannot be cut."""
        if self._border is None:
            yield from (self.encode(piece, unknown) for piece in self._pieces(chunks))
            return

        def encode(piece: str) -> tuple[Ids, Counter[str]]:
            found: Counter[str] = Counter()
            return self.encode(piece, found), found

        for ids, found in side_by_side(encode, self._pieces(chunks)):
            if unknown is not None:
                unknown.update(found)
            yield ids

    def _pieces(self, chunks: Iterable[str]) -> Iterator[str]:
        """The same text in pieces that can be encoded by themselves."""
        held: list[str] = []
        for chunk in chunks:
            at = 0 if self._cut is None else last_cut(chunk, self._cut)
            if at:
                yield "".join([*held, chunk[:at]])
                held.clear()
            held.append(chunk[at:])
            if sum(map(len, held)) > WHOLE_CHARS:
                raise InputError(_TOO_LONG)
        yield "".join(held)

    def encode_texts(self, texts: Sequence[str], unknown: Counter[str] | None = None) -> tuple[Ids, Counts]:
        found = [self.encode(text, unknown) for text in texts]
        counts = np.array([len(ids) for ids in found], np.int64)
        return np.concatenate([np.empty(0, self.dtype), *found]), counts

    def try_out(self) -> None:
        """Raise InputError where the library cannot read the file, or does not give back a text."""
        ids = self.encode(_PROBE)
        if self.decode(ids) != _PROBE or int(self.chars_per_token[ids].sum()) != len(_PROBE):
            raise InputError("it does not give back a text exactly: only byte-level BPE can be used")

    @cached_property
    def _library(self) -> Any:
        tokenizers = library()
        try:
            made = tokenizers.Tokenizer.from_str(json.dumps(self._values))
        except BaseException as error:  # the library's own Exception, or a panic, which is none
            if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            raise InputError(f"`tokenizers` cannot read it: {' '.join(str(error).split())[:150]}") from error
        made.no_padding()
        made.no_truncation()
        made.encode_special_tokens = True  # as text
        return made


_TOO_LONG = (
    f"a text of more than {WHOLE_CHARS:,} characters without a place where this tokenizer is known to cut, too "
    "much to encode at once: split the file, or train a tokenizer with --tokenizer bpe:N"
)


def last_cut(text: str, cut: re.Pattern[str]) -> int:
    """The last place at which the text may be cut, 0 for none."""
    window = 1 << 10
    while True:
        start = max(0, len(text) - window)
        places = [found.start() for found in cut.finditer(text, start)]
        if places or start == 0:
            return places[-1] if places else 0
        window *= 8
