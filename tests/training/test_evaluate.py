"""Evaluation predicts every character but the first exactly once, and sums right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aeattn.config.text import TextOptions
from aeattn.data.corpora import Document
from aeattn.data.store import TokenStore, build_store
from aeattn.data.tokenizer import CharTokenizer
from aeattn.training import evaluate as evaluating
from aeattn.training.evaluate import (
    Score,
    evaluate,
    evaluate_store,
    sample_windows,
    score_windows,
    total,
)
from tests.conftest import lively_model, tiny_config

LETTERS, ELEVEN = CharTokenizer("abcde"), CharTokenizer("abcdefghijk")
MODEL = lively_model(tiny_config())
IDS = np.random.default_rng(0).integers(0, 11, 75).astype(np.uint8)


def _by_hand(ids: np.ndarray[tuple[int], np.dtype[np.uint8]], starts: dict[int, int]) -> float:
    """The summed loss where prediction i (of character i + 1) sees characters from starts[i] on."""
    nats = 0.0
    with torch.inference_mode():
        for i, start in starts.items():
            seen = torch.from_numpy(ids[start : i + 1].astype(np.int64)).unsqueeze(0)
            nats += F.cross_entropy(MODEL(seen)[0, -1:], torch.tensor([int(ids[i + 1])])).item()
    return nats


def test_fixed_windows_equal_predictions_one_by_one() -> None:
    score = evaluate(MODEL, IDS, 16, ELEVEN)
    assert score.chars == 74
    assert score.nats == pytest.approx(_by_hand(IDS, {i: i // 16 * 16 for i in range(74)}), rel=1e-5)


def test_a_stride_of_one_sees_all_the_context_there_is() -> None:
    score = evaluate(MODEL, IDS, 16, ELEVEN, stride=1)
    assert score.chars == 74
    assert score.nats == pytest.approx(_by_hand(IDS, {i: max(0, i - 15) for i in range(74)}), rel=1e-5)
    assert evaluate(MODEL, IDS, 16, ELEVEN, stride=16) == evaluate(MODEL, IDS, 16, ELEVEN)


def test_evaluation_restores_training_mode_and_is_repeatable() -> None:
    model = lively_model(tiny_config(dropout=0.5)).train()
    assert evaluate(model, IDS, 16, ELEVEN) == evaluate(model, IDS, 16, ELEVEN)
    assert model.training


def test_an_evaluation_that_fails_restores_training_mode() -> None:
    model = lively_model(tiny_config(dropout=0.5)).train()
    with pytest.raises(IndexError):
        evaluate(model, IDS | 128, 16, ELEVEN)
    assert model.training


def _store(tmp_path: Path) -> TokenStore:
    documents = [Document(name=n, text=t) for n, t in (("a", "abcde" * 30), ("b", "edcba" * 7), ("c", "a"))]
    return build_store(documents, LETTERS, TextOptions(), tmp_path / "ids")


def test_documents_are_scored_one_by_one(tmp_path: Path) -> None:
    scores = dict(evaluate_store(MODEL, _store(tmp_path), 16, LETTERS))
    assert {name: score.chars for name, score in scores.items()} == {"a": 149, "b": 34, "c": 0}
    assert scores["c"].nats_per_char is None
    assert total(scores.values()).chars == 183


def test_a_sample_of_everything_is_everything(tmp_path: Path) -> None:
    store = _store(tmp_path)
    whole = total(score for _, score in evaluate_store(MODEL, store, 16, LETTERS))
    sampled = score_windows(MODEL, sample_windows(store, 16, 10_000), LETTERS)
    assert sampled.chars == whole.chars
    assert sampled.nats == pytest.approx(whole.nats, rel=1e-6)
    part = score_windows(MODEL, sample_windows(store, 16, 60), LETTERS)
    assert 30 < part.chars <= 64


@pytest.mark.parametrize("tokens", [1, 16, 40, 10_000])
def test_passes_change_no_score(tokens: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tmp_path)
    windows = sample_windows(store, 16, 10_000)
    in_one = score_windows(MODEL, windows, LETTERS)
    monkeypatch.setattr(evaluating, "CPU_TOKENS", tokens)
    in_passes = score_windows(MODEL, windows, LETTERS)
    assert in_passes.chars == in_one.chars
    assert in_passes.nats == pytest.approx(in_one.nats, rel=1e-6)


def test_scores_in_both_units() -> None:
    score = Score(2.0, 3, 4, 5) + Score(1.0, 1, 2, 3)
    assert score.nats_per_char == 0.5
    assert score.bits_per_char == pytest.approx(0.7213, abs=1e-4)
    assert (score.nats_per_token, score.bits_per_byte) == (0.75, pytest.approx(0.5410, abs=1e-4))
