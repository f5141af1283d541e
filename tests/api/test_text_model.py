"""Generation: the cache and the window change nothing, and bad prompts are refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeattn.api.text_model import TextModel
from aeattn.config.text import TextOptions
from aeattn.data.tokenizer import CharTokenizer
from aeattn.errors import InputError
from aeattn.terminal.escaping import escape_controls
from tests.conftest import lively_model, tiny_config

TOKENIZER = CharTokenizer("\n abcdefghi")


def _model(**changes: object) -> TextModel:
    return TextModel(lively_model(tiny_config(**changes)), TOKENIZER, TextOptions(lower=True))


def test_a_context_of_one_character() -> None:
    model = TextModel(lively_model(tiny_config(context=1, conv=0)), TOKENIZER, TextOptions())
    assert len(model.generate("a", chars=5)) == 6


@given(st.text("abc \n", max_size=40), st.integers(0, 30), st.integers(0, 2**63 - 1))
def test_generation_is_reproducible_and_keeps_the_prompt(prompt: str, chars: int, seed: int) -> None:
    model = _model()
    text = model.generate(prompt, chars=chars, seed=seed)
    assert text.startswith(prompt)
    assert len(text) == len(prompt) + chars
    assert text == model.generate(prompt, chars=chars, seed=seed)
    assert text == prompt + "".join(model.stream(prompt, chars=chars, seed=seed))


def test_samples_differ_and_the_first_is_that_of_one_alone() -> None:
    model = _model()
    samples = ["".join(column) for column in zip(*model.write(["ab"] * 3, chars=40, seed=1), strict=True)]
    assert len(set(samples)) == 3
    assert samples[0] == "".join(model.stream("ab", chars=40, seed=1))


def test_an_endless_stream_can_be_cut_anywhere() -> None:
    assert len("".join(itertools.islice(_model().stream("a"), 50))) == 50


def test_prompts_are_read_as_the_texts_were_and_unknown_characters_refused() -> None:
    model = _model()
    assert model.generate("ABC", chars=0) == "abc"
    with pytest.raises(InputError, match="z"):
        model.generate("abz", chars=1)
    for bad in (
        {"temperature": -1.0},
        {"seed": -1},
        {"top_k": 0},
        {"chars": -1},
        {"chars": float("nan")},
        {"chars": 1.5},
        {"chars": "3"},
    ):
        with pytest.raises(InputError):
            model.generate("a", **{"chars": 1, **bad})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "odd", [b"ab", None, 1.5, [0.5], [True], {1, 2}, [[1], [2, 3]], torch.tensor([True]), torch.tensor([1j]),
            torch.zeros(2, dtype=torch.long, device="meta"), torch.tensor([1, 2]).to_sparse()],
)  # fmt: skip
def test_what_is_neither_a_text_nor_ids_is_refused(odd: Any) -> None:
    model = _model()
    for call in (model.generate, model.logits, model.attention, model.encode, model.read_prompt):
        with pytest.raises(InputError, match=r"no text|neither a text nor ids"):
            call(odd)


def test_ids_of_any_whole_type_are_the_same() -> None:
    model, ids = _model(), np.array([3, 1, 2])
    for same in (ids.astype(np.uint64), ids.astype(np.int8), [3, 1, 2], (3, 1, 2), ids[::-1][::-1]):
        assert torch.equal(model.logits(same), model.logits(torch.tensor([3, 1, 2])))


def test_top_k_beyond_the_vocabulary_keeps_all_of_it() -> None:
    model = _model()
    assert model.generate("a", chars=20, top_k=999) == model.generate("a", chars=20)


def test_logits_of_one_text_or_many() -> None:
    model, ids = _model(), torch.tensor([1, 2, 3])
    assert torch.allclose(model.logits(ids), model.logits(ids.unsqueeze(0))[0])


def test_a_tokenizer_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="damaged"):
        TextModel(lively_model(tiny_config()), CharTokenizer("abc"), TextOptions())


def test_control_characters_are_escaped() -> None:
    assert escape_controls("a\x1b[31mb\tc\n\x9b\u202e\x00é") == "a\\x1b[31mb\tc\n\\x9b\\u202e\\x00é"
