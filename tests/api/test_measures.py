"""What a TextModel computes of a text: losses as `aeattn evaluate` has them, logits, attention."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import aeattn
from aeattn.analysis.capture import attentions, rebuild
from aeattn.api.text_model import TextModel
from aeattn.cli import main
from aeattn.config.text import TextOptions
from aeattn.data import tales
from aeattn.data.tokenizer import CharTokenizer
from tests.conftest import VARIANTS, lively_model, tiny_config

LETTERS = "\n abcdefghi"
TRAINED = ["--steps", "2", "--batch", "2", "--context", "16", "--d-model", "16", "--n-heads", "2",
           "--bottleneck", "4", "--d-ff", "24", "--compile", "off", "--quiet"]  # fmt: skip


def _model(**changes: object) -> TextModel:
    return TextModel(lively_model(tiny_config(**changes)), CharTokenizer(LETTERS), TextOptions(lower=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two tokenizers, and a text that has what neither knows."""
    there = tmp_path_factory.mktemp("runs")
    (there / "train.txt").write_text(tales.generate(6_000)[0] + "é\r\n", encoding="utf-8")
    (there / "text.txt").write_bytes("\ufeffOnce upon a time,\r\nthe fox said: é and ☃. ".encode() * 5)
    for kind in ("char", "bytes", "bpe:300"):
        run = str(there / kind.partition(":")[0])
        assert main(["train", str(there / "train.txt"), *TRAINED, "--tokenizer", kind, "--out", run]) == 0
    return there


@pytest.mark.parametrize("kind", ["char", "bytes", "bpe"])
@pytest.mark.filterwarnings("ignore:.*characters unknown to the model")
def test_the_loss_is_that_of_the_command(kind: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, model = folder / "text.txt", aeattn.load(folder / kind)
    assert main(["evaluate", str(folder / kind), str(file), "--json", "--no-baseline", "--stride", "3"]) == 0
    expected = json.loads(capsys.readouterr().out)
    text = file.read_text(encoding="utf-8")
    for read in (text, file):
        assert model.loss(read) == expected["nats_per_char"]
        assert model.loss(read, per="byte") == expected["nats_per_byte"]
        assert model.loss(read, stride=3) == expected["sliding"]["nats_per_char"]
    assert model.loss(text, per="token") == pytest.approx(expected["nats_per_char"] * expected["chars"]
                                                          / expected["tokens"])  # fmt: skip


def test_unknown_characters_are_warned_of(folder: Path) -> None:
    with pytest.warns(UserWarning, match="2 characters unknown to the model were read as .*: '☃'"):
        aeattn.load(folder / "char").loss("a ☃ b ☃")


@given(st.text(LETTERS, min_size=2, max_size=50))
def test_the_loss_is_that_of_the_logits(text: str) -> None:
    model = _model()
    context, nats = model.config.context, []
    ids = model.encode(text)
    for start in range(0, len(ids) - 1, context):
        window = ids[start : start + context + 1]
        logits = model.logits(window[:-1])
        nats.append(nn.functional.cross_entropy(logits, window[1:], reduction="sum"))
    assert model.loss(text) == pytest.approx(float(sum(nats)) / (len(ids) - 1), rel=1e-4)
    assert model.loss(text) == pytest.approx(math.log(2) * model.loss(text) / math.log(2))


@pytest.mark.parametrize(
    ("given", "message"),
    [({"text": ""}, "at least 2 characters"), ({"text": "a"}, "at least 2 characters"),
     ({"text": "ab", "stride": 0}, "stride is 0: choose from 1 to the context, 16"),
     ({"text": "ab", "stride": 17}, "stride is 17"), ({"text": "ab", "per": "word"}, "choose char, byte or token"),
     ({"text": Path("no-such-file")}, "no-such-file")],
    ids=str,
)  # fmt: skip
def test_what_has_no_loss_is_said(given: dict[str, Any], message: str) -> None:
    with pytest.raises(aeattn.InputError, match=message):
        _model().loss(**given)


def test_texts_and_ids_are_the_same() -> None:
    model = _model()
    text, ids = "abc dea", _model().encode("abc dea")
    for same in (ids, ids.tolist(), ids.numpy(), ids.to(torch.uint8)):
        assert torch.equal(model.logits(same), model.logits(text))
        assert torch.equal(model.attention(same).weights, model.attention(text).weights)
        for at in (0.0, 0.8):
            assert model.generate(same, chars=9, temperature=at) == model.generate(text, chars=9, temperature=at)
        assert "".join(model.stream(same, chars=9)) == "".join(model.stream(text, chars=9))
    assert model.logits("ABC dea").shape == (7, 11)
    assert model.logits(ids[None]).shape == (1, 7, 11)
    assert model.generate([], chars=5) == model.generate("", chars=5)
    written = ["".join(column) for column in zip(*model.write([ids, "ab"], chars=5, seed=2), strict=True)]
    assert written == ["".join(c) for c in zip(*model.write([text, "ab"], chars=5, seed=2), strict=True)]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [([99], "ids that are not from 0 to 10"), ([-1], "ids that are not from 0 to 10"),
     ([0.5], "which are whole numbers"), (torch.zeros(2, 2, dtype=torch.int64), r"shape \(2, 2\)")],
    ids=str,
)  # fmt: skip
def test_ids_that_cannot_be_are_refused(prompt: Any, message: str) -> None:
    with pytest.raises(aeattn.InputError, match=message):
        _model().generate(prompt, chars=1)
    if isinstance(prompt, list):
        with pytest.raises(aeattn.InputError, match=r"whole numbers( from 0 to 10|: give)"):
            _model().logits(prompt)


def test_a_prompt_longer_than_the_context_is_read_from_its_end() -> None:
    model = _model()
    ids = model.encode("abcdefghi abcdefghi abcdefghi")
    assert model.generate(ids, chars=8)[-8:] == model.generate(ids[-16:], chars=8)[-8:]


@pytest.mark.parametrize("name", VARIANTS)
def test_attention_is_what_the_model_mixes_by(name: str) -> None:
    model = _model(**VARIANTS[name])
    maps = model.attention("abc dea\nb")
    config = model.config
    assert maps.weights.shape == (config.n_layers, config.n_heads, 9, 9)
    assert maps.tokens == tuple("abc dea\nb")
    assert torch.allclose(maps.weights.sum(dim=-1), torch.ones(()), atol=1e-5)
    assert torch.equal(maps.weights, maps.weights.tril())
    attention, x = attentions(model.model)[0], torch.randn(1, 9, 16)
    ids = torch.zeros(1, 9, dtype=torch.int64)
    with torch.inference_mode():
        out, weights = attention.with_weights(x, ids)
        assert torch.allclose(out, rebuild(attention, x, ids), atol=1e-4)
    assert torch.allclose(weights.sum(dim=-1), torch.ones(()), atol=1e-5)


def test_attention_of_what_is_too_long_or_nothing_is_refused() -> None:
    for text in ("", "a" * 17, torch.zeros(1, 3, dtype=torch.int64)):
        with pytest.raises(aeattn.InputError, match="give from 1 to the context, 16"):
            _model().attention(text)


def test_weights_trained_on_are_those_that_write_and_count() -> None:
    model = _model(zero_init=False)
    before, text = model.loss("abc def"), model.generate("abc", chars=20, temperature=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    ids = model.encode("abc def")[None]
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[0, 1:])
        loss.backward()
        optimizer.step()
    assert model.loss("abc def") < before
    assert model.generate("abc", chars=20, temperature=0) != text


def test_results_are_ordinary_tensors() -> None:
    model = _model()
    head = nn.Linear(11, 1)
    head(model.logits("abc").mul_(2)).sum().backward()
    assert head.weight.grad is not None
    weights = model.attention("abc").weights
    assert not weights.mul_(2).is_inference()
    assert not any(p.grad is not None for p in model.parameters())
