"""What several processes would do, one after the other: together it is what one does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aeattn.config.run import RunConfig, TrainingConfig
from aeattn.errors import InputError
from aeattn.training.evaluate import score_windows, total
from aeattn.training.trainer import Trainer
from aeattn.training.world import World
from tests.training.test_trainer import SETTINGS, _trainer


def _in_world(alone: Trainer, world: World) -> Trainer:
    settings: TrainingConfig = replace(alone.config.training, eval_chars=200)
    return Trainer(RunConfig(alone.config.model, settings, alone.config.data), alone.text, world=world)


@pytest.fixture
def trainers(tmp_path: Path) -> list[Trainer]:
    """One that is alone, and two of a world of two, over two documents."""
    alone = _trainer(tmp_path, SETTINGS)
    first, cut = alone.text.valid.documents[0], 300
    halves = (replace(first, name="a", stop=cut, chars=cut, bytes=cut),
              replace(first, name="b", start=cut, chars=len(first) - cut, bytes=len(first) - cut))  # fmt: skip
    alone.text = replace(alone.text, valid=replace(alone.text.valid, documents=halves))
    return [_in_world(alone, world) for world in (World(), World(0, 2), World(1, 2))]


def test_all_have_the_same_weights_and_a_share_of_the_batch(trainers: list[Trainer]) -> None:
    alone, *both = trainers
    for trainer in both:
        for p, q in zip(alone.model.parameters(), trainer.model.parameters(), strict=True):
            assert torch.equal(p, q)
    rows = np.concatenate([trainer.loader.at(3) for trainer in both])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, alone.loader.at(3).numpy()))


def test_evaluations_of_all_processes_sum_to_that_of_one(trainers: list[Trainer]) -> None:
    alone, *both = trainers
    whole, sum_ = alone._evaluate(), total(trainer._evaluate() for trainer in both)
    assert all(len(trainer.file_scores) == 1 for trainer in both)
    assert (whole.tokens, whole.chars, whole.bytes) == (sum_.tokens, sum_.chars, sum_.bytes)
    assert whole.nats == pytest.approx(sum_.nats, rel=1e-12)


def test_evaluations_on_the_way_are_shared_too(trainers: list[Trainer]) -> None:
    scores = []
    for trainer in trainers:
        evaluate = trainer.hooks[1]
        evaluate.start(trainer)
        scores.append(score_windows(trainer.model, evaluate._windows, trainer.text.tokenizer))  # type: ignore[attr-defined]
    assert scores[0].tokens == scores[1].tokens + scores[2].tokens
    assert scores[0].nats == pytest.approx(scores[1].nats + scores[2].nats, rel=1e-6)


def test_what_differs_between_processes() -> None:
    assert World(0, 2).main
    assert not World(1, 2).main
    assert World(0, 2).seed(5) == World().seed(5) == 5
    assert World(1, 2).seed(5) != 5
    with pytest.raises(InputError, match="rank is 2 of 2"):
        World(2, 2)


def test_training_in_several_processes_is_refused_for_now(trainers: list[Trainer]) -> None:
    with pytest.raises(InputError, match="not yet summed"):
        trainers[1].run()
