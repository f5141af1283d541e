"""How long a training will take from here, in wall time: updates, and all that happens between and after them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aeattn.training.trainer import Trainer

FORWARD = 0.5  # of an update's time, a character: before an evaluation has been timed


class Ahead:
    """The time that is left, from the wall time of what this process has done so far."""

    def __init__(self, trainer: Trainer) -> None:
        self._begun, self._first = time.monotonic(), trainer.state.step
        self._trained = trainer.state.seconds

    def seconds(self, trainer: Trainer) -> float:
        """Seconds until the run is done; 0 before the first update."""
        state, settings = trainer.state, trainer.config.training
        made = state.step - self._first
        if made <= 0:
            return 0.0
        update = (time.monotonic() - self._begun) / made  # with its share of evaluations, samples and checkpoints
        if not trainer.evaluation.seconds:  # none so far: those to come count from now on
            update = (state.seconds - self._trained) / made
            update += 2 * settings.eval_chars * self._a_char(trainer) / max(1, settings.steps // 10)
        return update * (settings.steps - state.step) + self._last(trainer)

    def _last(self, trainer: Trainer) -> float:
        """Seconds of the last evaluation: the whole validation text, and a part of the training text."""
        chars = trainer.text.valid.chars + trainer.config.training.eval_chars
        return chars * self._a_char(trainer)

    def _a_char(self, trainer: Trainer) -> float:
        """Seconds to evaluate a character."""
        if trainer.evaluation.seconds:
            return trainer.evaluation.seconds / max(1, trainer.evaluation.chars)
        state, per_update = trainer.state, trainer.config.chars_per_step * trainer.text.train.chars_per_token
        made = max(1, state.step - self._first)
        return FORWARD * (state.seconds - self._trained) / made / per_update
