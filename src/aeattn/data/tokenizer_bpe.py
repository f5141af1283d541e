"""Byte-level BPE, its merges learned from the training text (Sennrich et al. 2016; bytes as in GPT-2, 2019).

The library `tokenizers` learns them. Which merges depends on the text alone, not on how it comes in chunks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Self

from aeattn.data.subwords import SubwordTokenizer, library
from aeattn.data.subwords_check import ALPHABET, SPACES
from aeattn.data.tokenizer import register_tokenizer
from aeattn.errors import InputError

LEARN_CHARS = 200_000_000  # that merges are learned from: the text's beginning, so that memory has a bound
MOST_TOKENS = 1_000_000
PIECE_CHARS = 1 << 15  # that are handed over at once
MOST_BYTES = 64  # of a token: a line of dashes needs no token of its own
OFTEN = 2  # how often a pair must occur to become a token


@register_tokenizer("bpe")
class LearnedTokenizer(SubwordTokenizer):
    """`bpe:N`: 256 bytes, and N - 256 merges."""

    learns = True

    @classmethod
    def check(cls, argument: str) -> None:
        library()
        _size(argument)

    @classmethod
    def make(cls, argument: str, chunks: Iterable[str]) -> Self:
        size = _size(argument)
        tokenizer = cls(json.loads(_learn(size, chunks)))
        if tokenizer.vocab_size < size:
            raise InputError(
                f"bpe:{size}: the training text supports only {tokenizer.vocab_size:,} tokens: choose at most "
                f"bpe:{max(257, tokenizer.vocab_size)}, or give more text"
            )
        return tokenizer


def _size(argument: str) -> int:
    least = len(ALPHABET) + 1
    whole = argument.isascii() and argument.isdigit() and len(argument) < 10
    if not whole or not least <= int(argument) <= MOST_TOKENS:
        raise InputError(
            f"tokenizer bpe:{argument[:40]}: choose bpe:N with N, the size of the vocabulary, from {least} "
            f"(256 bytes and a merge) to {MOST_TOKENS:,}"
        )
    return int(argument)


def _learn(size: int, chunks: Iterable[str]) -> str:
    """The library's JSON of a tokenizer with at most `size` tokens."""
    tokenizers = library()
    level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer, made.decoder = level, tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, min_frequency=OFTEN, show_progress=False, special_tokens=[],
        initial_alphabet=level.alphabet(), max_token_length=MOST_BYTES,
    )  # fmt: skip
    made.train_from_iterator(_pieces(chunks), trainer)
    return str(made.to_str())


def _pieces(chunks: Iterable[str]) -> Iterator[str]:
    """The beginning of the text in pieces that end where words end, wherever the chunks did."""
    left = LEARN_CHARS
    held = ""
    for chunk in chunks:
        text, held = held + chunk[:left], ""
        left -= len(chunk[:left])
        start = 0
        for space in SPACES.finditer(text):
            if space.start() - start >= PIECE_CHARS:
                yield text[start : space.start()]
                start = space.start()
        held = text[start:]
        if left <= 0:
            break
    if held:
        yield held
