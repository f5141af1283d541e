"""Text in, text out, many at once: stop strings, streaming, memory."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeattn.config.text import TextOptions
from aeattn.data.tokenizer import CharTokenizer
from aeattn.errors import InputError
from aeattn.generation.engine import EngineKind
from aeattn.generation.stopping import Stopper
from aeattn.generation.text_model import TextModel
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
        (["a"], {"chars": -1}, "0 characters"),
        (["a"], {"stop": [""]}, "stop string is empty"),
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
