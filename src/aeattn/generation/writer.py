"""From prompts to text: many at once, as it is written, by any engine. Needs no PyTorch.

Memory does not grow with the text: an engine keeps a window of each sequence, and what has been written is passed
on and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from aeattn.config.generation import DEFAULTS
from aeattn.config.model import ModelConfig
from aeattn.config.text import TextOptions
from aeattn.data.decoder import Decoder
from aeattn.data.text import normalise_text
from aeattn.data.tokenizer import Ids, Tokenizer
from aeattn.errors import InputError
from aeattn.generation.engine import Decoding, Engine
from aeattn.generation.sampling import Sampling
from aeattn.generation.stopping import Stopper

CACHE_BYTES = 1 << 29  # that the caches of one batch take, unless one sequence takes more


class Options(TypedDict, total=False):
    """How text is drawn (`Writer.write`): keyword arguments of everything that generates."""

    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    stop: Sequence[str]


class Passage:
    """One text that is being written: ids come in; at most `chars` characters, up to a stop string, come out."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str], chars: int | None) -> None:
        self.decoder, self.stopper, self.left = Decoder(tokenizer), Stopper(stops), chars
        self.done = chars == 0

    def push(self, ids: npt.NDArray[np.integer[Any]]) -> str:
        if self.done:
            return ""
        text = self.decoder.push(ids)
        if self.left is not None:
            text = text[: self.left]
            self.left -= len(text)
        passed = self.stopper.push(text)
        self.done = self.stopper.done or self.left == 0
        return passed + self.stopper.close() if self.done else passed


class Writing:
    """Passages that are being written: an iterator over what comes next, a string for each prompt.

    Strings are several characters long, or empty where a passage has ended or may be about to, or waits for the
    batches before its own. `start` begins a batch, from one passage to below another.
    """

    def __init__(
        self,
        start: Callable[[int, int], Decoding],
        tokenizer: Tokenizer,
        passages: list[Passage],
        block: int,
        at_once: int,
    ) -> None:
        self.start, self.passages, self.block, self.at_once = start, passages, block, at_once
        self._begin(0)
        self.longest_token = max(1, int(tokenizer.chars_per_token.max()))
        self.chars = 0  # written so far, over all passages

    @property
    def cache_bytes(self) -> int:
        """Bytes that the caches of all passages of a batch really take."""
        return self.decoding.cache_bytes

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        while all(passage.done for passage in self.batch):
            if self.first + len(self.batch) == len(self.passages):
                raise StopIteration
            self._begin(self.first + len(self.batch))
        ids = self.decoding.write(self._tokens())
        pieces = [""] * len(self.passages)
        for at, (passage, row) in enumerate(zip(self.batch, ids, strict=True), start=self.first):
            pieces[at] = passage.push(row)
        self.chars += sum(map(len, pieces))
        return pieces

    def _begin(self, first: int) -> None:
        self.first, self.batch = first, self.passages[first : first + self.at_once]
        self.decoding = self.start(first, first + len(self.batch))

    def _tokens(self) -> int:
        """How many to draw now: no more than will be needed."""
        left = [passage.left for passage in self.batch if not passage.done]
        wanted = max((n for n in left if n is not None), default=None)
        return self.block if wanted is None else max(1, min(self.block, wanted // self.longest_token))


class Writer:
    """An engine together with its tokenizer."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer, options: TextOptions) -> None:
        self.engine, self.tokenizer, self.options = engine, tokenizer, options

    def read_prompt(self, prompt: str) -> str:
        """The prompt as the model's texts were normalised. Raises InputError for what it cannot read."""
        return read_prompt(prompt, self.tokenizer, self.options)

    def write(
        self,
        prompts: Sequence[str | Ids],
        *,
        chars: int | None = None,
        temperature: float = DEFAULTS.temperature,
        top_k: int | None = DEFAULTS.top_k,
        top_p: float | None = DEFAULTS.top_p,
        seed: int = DEFAULTS.seed,
        stop: Sequence[str] = DEFAULTS.stop,
    ) -> Writing:
        """Go on after each prompt, a text or its ids, all at once, or in batches where their caches would take too
        much memory: at most `chars` new characters each; endless, and in one batch, where that is None.

        Temperature 0 is greedy; `top_k` and `top_p` of None keep all. An empty prompt starts as after a line
        break, if the vocabulary has one, else after its first token.
        A passage ends before the first of the `stop` strings. Each has random numbers of its own, so it is the
        same whatever is written beside it. Raises InputError for prompts or sampling that cannot be.
        """
        if not prompts or (chars is not None and not (isinstance(chars, Integral) and chars >= 0)):
            said = f"{len(prompts)} prompts, {chars!r} characters"
            raise InputError(f"{said}: choose at least 1 prompt, and a whole number of characters, 0 or more")
        stops = [self.read_prompt(text) for text in ([stop] if isinstance(stop, str) else stop)]
        if "" in stops:
            raise InputError("a stop string is empty, once it is normalised: name at least one character")
        sampling = Sampling(temperature, top_k, top_p)
        ids = [self._ids(prompt) for prompt in prompts]
        passages = [Passage(self.tokenizer, stops, chars) for _ in prompts]
        engine = self.engine

        def start(first: int, last: int) -> Decoding:
            return engine.start(ids[first:last], sampling, seed, first)

        at_once = len(ids) if chars is None else max(1, CACHE_BYTES // engine.sequence_bytes)
        return Writing(start, self.tokenizer, passages, engine.block, at_once)

    def generate(self, prompt: str | Ids = "", *, chars: int = DEFAULTS.chars, **options: Unpack[Options]) -> str:
        """The prompt and `chars` new characters: fewer where a string of `stop` comes first."""
        writing = self.write([prompt], chars=chars, **options)
        head = self.read_prompt(prompt) if isinstance(prompt, str) else self.tokenizer.decode(prompt)
        return head + "".join(pieces[0] for pieces in writing)

    def _ids(self, prompt: str | Ids) -> Ids:
        """Raises InputError for what the tokenizer does not know."""
        if isinstance(prompt, str):
            text = self.read_prompt(prompt)
            return self.tokenizer.encode(text) if text else start_ids(self.tokenizer)
        if prompt.ndim != 1 or not np.issubdtype(prompt.dtype, np.integer):
            what = f"shape {prompt.shape}, type {prompt.dtype}"
            raise InputError(f"a prompt of ids has {what}: give whole numbers (T,)")
        most = self.tokenizer.vocab_size - 1
        if len(prompt) and not 0 <= prompt.min() <= prompt.max() <= most:
            raise InputError(f"a prompt has ids that are not from 0 to {most}: encode the text anew")
        return prompt.astype(self.tokenizer.dtype) if len(prompt) else start_ids(self.tokenizer)


def start_ids(tokenizer: Tokenizer) -> Ids:
    """What a text begins after: a line break, if the vocabulary has one, else its first token."""
    try:
        return tokenizer.encode("\n", strict=True)
    except InputError:
        return np.zeros(1, tokenizer.dtype)


def check_vocabulary(config: ModelConfig, tokenizer: Tokenizer) -> None:
    """Raises InputError where model and tokenizer do not belong together."""
    if config.vocab_size != tokenizer.vocab_size:
        raise InputError(
            f"tokenizer.json has {tokenizer.vocab_size} tokens, config.json {config.vocab_size}: it is another "
            "run's, or damaged: restore it"
        )


def text_of(given: object) -> str:
    """Raises InputError for what is no text."""
    if not isinstance(given, str):
        raise InputError(f"{repr(given)[:100]} is no text: give a string")
    return given


def read_prompt(prompt: str, tokenizer: Tokenizer, options: TextOptions) -> str:
    """The prompt, normalised as the model's texts were. Raises InputError for characters that it does not know."""
    text = normalise_text(text_of(prompt), replace(options, keep=None, unwrap=False))
    tokenizer.encode(text, strict=True)
    return text
