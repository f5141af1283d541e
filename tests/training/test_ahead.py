"""Time: what is left in wall time, and how many updates fit into so many minutes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from aeattn.runs.folder import RunFolder
from aeattn.training import ahead
from aeattn.training.ahead import Ahead, fit
from aeattn.training.saving import State
from aeattn.training.trainer import Trainer
from tests.training.test_trainer import SETTINGS, _trainer, _training

A_CHAR, SAMPLE, UPDATE = 1e-5, 0.01, 0.1


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    monkeypatch.setattr(ahead, "_time_evaluation", lambda *_: A_CHAR)
    monkeypatch.setattr(ahead, "_time_sample", lambda *_: SAMPLE)
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    made = _trainer(tmp_path, replace(SETTINGS, eval_every=None, sample_every=None))
    made.begun = 1000.0 - 5.0
    return made


def _total(trainer: Trainer, found: dict[str, int]) -> float:
    """Seconds that all of it takes, counted one by one."""
    evaluations, samples = 10, 10 + 1
    if every := found.get("sample_every"):
        samples = found["steps"] // every + 1
    chars = found["eval_chars"]
    evaluated = 2 * chars * evaluations + trainer.text.valid.chars + chars
    return 5.0 + found["steps"] * UPDATE + evaluated * A_CHAR + samples * SAMPLE + ahead.FINISH_SECONDS


@pytest.mark.parametrize("minutes", [0.5, 2.0, 60.0])
def test_all_of_a_training_takes_the_minutes_that_were_asked_for(trainer: Trainer, minutes: float) -> None:
    fitting = fit(trainer, minutes, UPDATE)
    assert fitting.note is None
    assert 60 * minutes - 1 < _total(trainer, fitting.settings) <= 60 * minutes + 0.1
    share = 2 * 10 * fitting.settings["eval_chars"] * A_CHAR / (60 * minutes)
    assert share <= ahead.MOST_EVALUATING


def test_too_few_minutes_say_why(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_time_evaluation", lambda *_: 0.1)  # a very slow machine
    fitting = fit(trainer, 0.5, UPDATE)
    assert fitting.note is not None
    assert fitting.note.startswith("minutes is 0.5: too little, this will take about 1:")
    assert "5 s to start" in fitting.note
    assert "data.limit_valid_chars" in fitting.note
    assert fitting.settings["steps"] == pytest.approx(ahead.LEAST_TRAINING * 30 / UPDATE, abs=1)
    assert fitting.settings["eval_chars"] == trainer.config.model.context


def test_what_the_user_has_set_stays(trainer: Trainer) -> None:
    trainer.settle(eval_every=7, sample_every=0)
    assert set(fit(trainer, 1.0, UPDATE).settings) == {"steps"}


def test_the_time_left_is_wall_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    trainer = _trainer(tmp_path, replace(SETTINGS, steps=100))
    left = Ahead(trainer)
    assert left.seconds(trainer) == 0.0
    trainer.evaluation.seconds, trainer.evaluation.chars = 2.0, 1000
    trainer.state.step, trainer.state.seconds, now = 50, 10.0, 40.0  # thirty of them not of training
    last = (trainer.text.valid.chars + trainer.config.training.eval_chars) * 2.0 / 1000
    assert left.seconds(trainer) == pytest.approx(40.0 + last)


def test_the_shown_average_follows_a_falling_loss_and_begins_without_a_bias() -> None:
    state, losses = State(), [4.0 * 0.98**step for step in range(200)]
    for at, loss in enumerate(losses[:10], start=1):
        state.take(loss)
        assert state.recent_nats == pytest.approx(sum(losses[:at]) / at)
    for loss in losses[10:]:
        state.take(loss)
    assert state.smooth_nats is not None
    assert state.recent_nats is not None
    assert state.step == 200
    assert losses[-1] == state.last_nats < state.recent_nats < 1.3 * losses[-1] < state.smooth_nats


def test_both_texts_are_measured_alike(tmp_path: Path) -> None:
    training = _training(tmp_path, replace(SETTINGS, eval_every=2, steps=4))
    trainer = training.trainer
    training.run()
    lines = RunFolder(training.run_folder.path).read_metrics()
    scored = [line for line in lines if "valid_nats" in line]
    assert [line["step"] for line in scored] == [2, 4]
    assert all(line["train_eval_nats"] > 0 for line in scored)
    assert trainer.evaluation.of_training(trainer) == pytest.approx(scored[-1]["train_eval_nats"])
    assert {"last_nats", "recent_nats", "train_nats"} <= set(lines[0])
