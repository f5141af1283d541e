"""From prompts to text: many at once, as it is written, by any engine. Needs no PyTorch.

Memory does not grow with the text: an engine keeps a window of each sequence, and what has been written is passed
on and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from aeattn.config.model import ModelConfig
from aeattn.config.text import TextOptions
from aeattn.data.text import normalise_text
from aeattn.data.tokenizer import Ids, Tokenizer
from aeattn.errors import InputError
from aeattn.generation.engine import Decoding, Engine
from aeattn.generation.sampling import Sampling
from aeattn.generation.stopping import Stopper


class Writing:
    """Passages that are being written: an iterator over what comes next, a string for each prompt.

    Strings are several characters long, or empty where a passage has ended or may be about to.
    """

    def __init__(
        self, decoding: Decoding, tokenizer: Tokenizer, rows: list[Stopper], chars: int | None, block: int
    ):
        self.decoding, self.tokenizer, self.rows, self.block = decoding, tokenizer, rows, block
        self.left = chars
        self.chars = 0  # written so far, over all passages

    @property
    def cache_bytes(self) -> int:
        """Bytes that the caches of all passages really take."""
        return self.decoding.cache_bytes

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        if all(row.done for row in self.rows):
            raise StopIteration
        if self.left == 0:
            return self._finish()
        n = self.block if self.left is None else min(self.block, self.left)
        ids = self.decoding.write(n)
        self.left = None if self.left is None else self.left - n
        return self._count([row.push(self.tokenizer.decode(i)) for row, i in zip(self.rows, ids, strict=True)])

    def _finish(self) -> list[str]:
        pieces = ["" if row.done else row.close() for row in self.rows]
        for row in self.rows:
            row.done = True
        if not any(pieces):
            raise StopIteration
        return self._count(pieces)

    def _count(self, pieces: list[str]) -> list[str]:
        self.chars += sum(map(len, pieces))
        return pieces


class Writer:
    """An engine together with its characters."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer, options: TextOptions) -> None:
        self.engine, self.tokenizer, self.options = engine, tokenizer, options

    def read_prompt(self, prompt: str) -> str:
        """The prompt as the model's texts were normalised. Raises InputError for what it cannot read."""
        return read_prompt(prompt, self.tokenizer, self.options)

    def write(
        self,
        prompts: Sequence[str],
        *,
        chars: int | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Writing:
        """Go on after each prompt, all at once: at most `chars` new characters each, endless where that is None.

        An empty prompt starts as after a line break, if the vocabulary has one, else after its first character.
        A passage ends before the first of the `stop` strings. Each has random numbers of its own, so it is the
        same whatever is written beside it. Raises InputError for prompts or sampling that cannot be.
        """
        if not prompts or (chars is not None and chars < 0):
            raise InputError(f"{len(prompts)} prompts, {chars} characters: choose at least 1 prompt, 0 characters")
        if "" in stop:
            raise InputError("a stop string is empty: name at least one character")
        sampling = Sampling(temperature, top_k, top_p)
        ids = [self._read(prompt) for prompt in prompts]
        rows = [Stopper([self.read_prompt(text) for text in stop]) for _ in prompts]
        decoding = self.engine.start(ids, sampling, seed)
        return Writing(decoding, self.tokenizer, rows, chars, self.engine.block)

    def _read(self, prompt: str) -> Ids:
        text = self.read_prompt(prompt)
        return self.tokenizer.encode(text) if text else start_ids(self.tokenizer)


def start_ids(tokenizer: Tokenizer) -> Ids:
    """What a text begins after: a line break, if the vocabulary has one, else its first token."""
    try:
        return tokenizer.encode("\n", strict=True)
    except InputError:
        return np.zeros(1, tokenizer.dtype)


def check_vocabulary(config: ModelConfig, tokenizer: Tokenizer) -> None:
    """Raises InputError where model and characters do not belong together."""
    if config.vocab_size != tokenizer.vocab_size:
        raise InputError(
            f"tokenizer.json has {tokenizer.vocab_size} characters, config.json {config.vocab_size}: "
            "the run folder is damaged, restore it"
        )


def read_prompt(prompt: str, tokenizer: Tokenizer, options: TextOptions) -> str:
    """The prompt, normalised as the model's texts were. Raises InputError for characters that it does not know."""
    text = normalise_text(prompt, replace(options, keep=None, unwrap=False))
    tokenizer.encode(text, strict=True)
    return text
