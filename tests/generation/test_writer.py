"""Text in, text out, many at once: stop strings, streaming, memory."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeattn.api.text_model import TextModel
from aeattn.config.text import TextOptions
from aeattn.data.decoder import Decoder
from aeattn.data.tokenizer import CharTokenizer, Ids, Tokenizer
from aeattn.errors import InputError
from aeattn.generation.engine import EngineKind
from aeattn.generation.stopping import Stopper
from aeattn.generation.writer import Writer
from tests.conftest import lively_model, tiny_config

TOKENIZER = CharTokenizer("\n abcdefghi")


def _model(engine: EngineKind = "auto", **changes: object) -> TextModel:
    return TextModel(lively_model(tiny_config(**changes)), TOKENIZER, TextOptions(lower=True), engine=engine)


@given(
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=3),
    st.lists(st.text("abc", max_size=4), max_size=8),
)
def test_a_text_ends_before_the_first_stop_string(stops: list[str], pieces: list[str]) -> None:
    stopper, text = Stopper(stops), "".join(pieces)
    passed = "".join(stopper.push(piece) for piece in pieces) + stopper.close()
    first = next((end for end in range(len(text) + 1) if any(text[:end].endswith(stop) for stop in stops)), None)
    complete = [stop for stop in stops if first is not None and text[:first].endswith(stop)]
    assert passed == (text if first is None else text[: first - max(map(len, complete))])
    assert stopper.done == (first is not None)


@pytest.mark.parametrize("engine", ["fast", "simple"])
def test_stop_strings_end_each_passage_by_itself(engine: EngineKind) -> None:
    model, prompts = _model(engine), ["ab", "", "c" * 30]
    free = ["".join(column) for column in zip(*model.write(prompts, chars=200, seed=2), strict=True)]
    stops = ["gif", "ff\n"]
    writing = model.write(prompts, chars=200, seed=2, stop=stops)
    stopped = ["".join(column) for column in zip(*writing, strict=True)]
    expected = [min((text.split(stop)[0] for stop in stops), key=len) for text in free]
    assert stopped == expected
    assert writing.chars == sum(map(len, stopped)) < 600
    assert (
        model.generate("ab", chars=200, seed=2, stop="gif") == "ab" + free[0].split("gif")[0]
    )  # one needs no list
    assert model.generate("ab", chars=200, seed=2, stop=stops) == "ab" + expected[0]


def test_many_prompts_are_each_as_if_alone_but_for_their_random_numbers() -> None:
    model = _model()
    first = "".join(pieces[0] for pieces in model.write(["abc", "d"], chars=50, seed=4))
    assert first == "".join(model.stream("abc", chars=50, seed=4))
    greedy = list(zip(*model.write(["abc", "d", "abc"], chars=50, temperature=0), strict=True))
    assert greedy[0] == greedy[2]


def test_what_cannot_be_written_is_refused() -> None:
    for prompts, more, message in (
        ([], {}, "at least 1 prompt"),
        (["a"], {"chars": -1}, "a whole number of characters"),
        (["a"], {"stop": [""]}, "stop string is empty"),
        (["a"], {"stop": ["a", "\ufeff"]}, "stop string is empty"),  # a byte-order mark is dropped
        (["a"], {"stop": ["xyz"]}, "outside the vocabulary"),
        (["a", "xyz"], {}, "outside the vocabulary"),
    ):
        with pytest.raises(InputError, match=message):
            _model().write(prompts, **more)  # type: ignore[arg-type]


def test_memory_does_not_grow_with_the_text() -> None:
    writing = iter(_model().write(["a"]))
    for _ in itertools.islice(writing, 50):
        pass
    tracemalloc.start()
    try:
        for _ in itertools.islice(writing, 1000):  # 64,000 characters
            pass
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()


class Bytes(Tokenizer):
    """Characters of up to four tokens."""

    vocab_size = 256
    bytes_per_token = np.ones(256, np.int64)
    chars_per_token = (np.arange(256) & 0xC0 != 0x80).astype(np.int64)

    def encode(self, text: str, unknown: Counter[str] | None = None, strict: bool = False) -> Ids:
        return np.frombuffer(bytearray(text.encode()), np.uint8)

    def decode(self, ids: npt.ArrayLike) -> str:
        return np.asarray(ids, np.uint8).tobytes().decode("utf-8", "replace")


@given(st.text(max_size=20) | st.binary(max_size=30), st.lists(st.integers(0, 5), max_size=20))
def test_characters_of_several_tokens_come_whole(text: str | bytes, cuts: list[int]) -> None:
    tokenizer = Bytes()
    data = text.encode() if isinstance(text, str) else text
    ids = np.frombuffer(data, np.uint8)
    edges = np.cumsum([0, *cuts])
    decoder = Decoder(tokenizer)
    pieces = [decoder.push(part) for part in (*(ids[a:b] for a, b in pairwise(edges)), ids[edges[-1] :])]
    assert "".join(pieces) + decoder.close() == data.decode("utf-8", "replace")
    if isinstance(text, str) and "\ufffd" not in text:
        assert "\ufffd" not in "".join(pieces)


def test_a_limit_counts_characters_not_tokens() -> None:
    class Engine:  # says the same to everybody
        name, latent, block, sequence_bytes = "made up", False, 7, 1

        def start(self, prompts: Sequence[Ids], sampling: object, seed: int, first: int) -> Engine:
            self.left = [list("né€😀ab\n".encode() * 9) for _ in prompts]
            return self

        def write(self, n: int) -> Ids:
            taken = [row[:n] for row in self.left]
            self.left = [row[n:] for row in self.left]
            return np.array(taken, np.int32)

        cache_bytes = 0

    writer = Writer(Engine(), Bytes(), TextOptions())  # type: ignore[arg-type]
    for chars in range(30):
        writing = writer.write(["x", "€"], chars=chars)
        texts = ["".join(column) for column in zip(*writing, strict=True)]
        assert texts == (["" + ("né€😀ab\n" * 9)[:chars]] * 2 if chars else [])
        assert writing.chars == 2 * chars
    assert "".join(p[0] for p in writer.write(["x"], chars=40, stop=["😀a"])) == "né€"


def test_nothing_is_dropped_out_while_writing() -> None:
    model = _model("simple", dropout=0.5)
    text, logits = model.generate("abc", chars=40), model.logits(torch.tensor([1, 2, 3]))
    model.train()
    assert model.generate("abc", chars=40) == text
    assert torch.equal(model.logits(torch.tensor([1, 2, 3])), logits)
    assert model.model.training


def test_arguments_that_nobody_knows_are_refused() -> None:
    with pytest.raises(TypeError, match="temprature"):
        _model().generate("a", temprature=0.5)  # type: ignore[call-arg]


@pytest.mark.parametrize("engine", ["fast", "simple"])
def test_batches_bound_the_memory_and_change_no_text(engine: EngineKind, monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = _model(engine), ["ab", "", "c" * 30, "d", "e"]
    together = model.write(prompts, chars=70, seed=2, stop=["gif"])
    expected = ["".join(column) for column in zip(*together, strict=True)]
    monkeypatch.setattr("aeattn.generation.writer.CACHE_BYTES", 2 * model.writer().engine.sequence_bytes + 1)
    writing = model.write(prompts, chars=70, seed=2, stop=["gif"])
    assert writing.cache_bytes < together.cache_bytes * 5
    assert ["".join(column) for column in zip(*writing, strict=True)] == expected
    assert writing.chars == together.chars
    assert list(model.write(prompts, chars=0)) == []
