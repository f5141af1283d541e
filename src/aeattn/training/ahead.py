"""How long a training will take from here, in wall time: updates, and all that happens between and after them; and
how many updates fit into so many minutes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aeattn.config.text import TextOptions
from aeattn.data.watch import clock
from aeattn.generation.model_writer import model_writer
from aeattn.runs.random_state import untouched
from aeattn.training.evaluate import sample_windows, score_windows

if TYPE_CHECKING:
    from aeattn.training.trainer import Trainer

FORWARD = 0.5  # of an update's time, a character: where no evaluation has been timed
TIMES = 10  # that a run is evaluated, and a sample drawn, unless its settings say otherwise
MOST_EVALUATING, MOST_SAMPLING = 0.2, 0.1  # of the minutes that there are
LEAST_TRAINING = 0.25  # of them: with less, too few have been given
FINISH_SECONDS = 3.0  # for the learning curve and a passage, when all is trained
PROBE_WINDOWS = 16  # evaluated to time evaluations
PROBE_CHARS = 16  # written to time samples


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
            update += 2 * settings.eval_chars * self._a_char(trainer) / max(1, settings.steps // TIMES)
        return update * (settings.steps - state.step) + last_evaluation(trainer, self._a_char(trainer))

    def _a_char(self, trainer: Trainer) -> float:
        """Seconds to evaluate a character."""
        if trainer.evaluation.seconds:
            return trainer.evaluation.seconds / max(1, trainer.evaluation.chars)
        made = max(1, trainer.state.step - self._first)
        return forward(trainer, (trainer.state.seconds - self._trained) / made)


def forward(trainer: Trainer, update: float) -> float:
    """Seconds to evaluate a character, guessed from those of an update."""
    return FORWARD * update / (trainer.config.tokens_per_step * trainer.text.train.chars_per_token)


def last_evaluation(trainer: Trainer, a_char: float) -> float:
    """Seconds of the last evaluation: the whole validation text, and a part of the training text."""
    return (trainer.text.valid.chars + trainer.config.training.eval_chars) * a_char


@dataclass(frozen=True)
class Fit:
    """What fits into the minutes that were given: settings that follow, and what the user should know, if anything
    does not."""

    settings: dict[str, Any]
    note: str | None = None


def fit(trainer: Trainer, minutes: float, update: float) -> Fit:
    """How many updates of so many seconds fit, when start, evaluations, samples and the end have had their time.

    Evaluations and samples on the way become smaller or fewer where they would take more than a fifth and a tenth
    of it. The last evaluation, of the whole validation text, does not: where little is left, all takes longer.
    """
    settings, a_char = trainer.config.training, _time_evaluation(trainer, update)
    sample = _time_sample(trainer)
    asked, spent = 60 * minutes, time.monotonic() - trainer.begun
    left, found, chars, times = max(0.0, asked - spent), {}, settings.eval_chars, TIMES
    if settings.eval_every is None:
        most = int(MOST_EVALUATING * left / (2 * TIMES * a_char))
        chars = max(trainer.config.model.context, min(chars, most))
        found["eval_chars"] = chars
    if settings.sample_every is None:
        times = max(1, min(TIMES, int(MOST_SAMPLING * left / sample) if sample else TIMES))
    evaluation, last = 2 * chars * a_char, (trainer.text.valid.chars + chars) * a_char
    between = evaluation / settings.eval_every if settings.eval_every else 0.0
    between += sample / settings.sample_every if settings.sample_every else 0.0
    fixed = last + FINISH_SECONDS + sample
    fixed += TIMES * evaluation if settings.eval_every is None else 0.0
    fixed += times * sample if settings.sample_every is None else 0.0
    training = max(left - fixed, LEAST_TRAINING * asked)
    steps = max(1, int(training / (update + between)))
    if settings.sample_every is None and times < TIMES:
        found["sample_every"] = -(-steps // times)
    note, total = None, spent + fixed + steps * (update + between)
    if total > 1.1 * asked:
        note = (
            f"minutes is {minutes:g}: too little, this will take about {clock(total)}: {spent:.0f} s to start, "
            f"{last:.0f} s for the validation text of {trainer.text.valid.chars:,} characters at the end "
            "(--set data.limit_valid_chars=N reads less of it), and updates have at least a quarter of the time"
        )
    return Fit({"steps": steps, **found}, note)


def _time_evaluation(trainer: Trainer, update: float) -> float:
    """Seconds to evaluate a character."""
    if trainer.sharded:  # all processes would have to
        return forward(trainer, update) / trainer.world.size
    context = trainer.config.model.context
    windows = sample_windows(trainer.text.valid, context, PROBE_WINDOWS * context)
    score_windows(trainer.model, windows[:1], trainer.text.tokenizer)
    begun = time.perf_counter()
    score = score_windows(trainer.model, windows, trainer.text.tokenizer)
    return (time.perf_counter() - begun) / max(1, score.chars) / trainer.world.size


def _time_sample(trainer: Trainer) -> float:
    """Seconds to draw a sample."""
    settings, model = trainer.config.training, trainer.model
    if trainer.sharded or settings.sample_every == 0 or not settings.sample_chars:
        return 0.0
    writer = model_writer(model.eval(), trainer.text.tokenizer, TextOptions(), engine="simple")
    with untouched(trainer.device):
        writer.generate(chars=1)
        begun = time.perf_counter()
        writer.generate(chars=PROBE_CHARS)
    model.train()
    return (time.perf_counter() - begun) / PROBE_CHARS * settings.sample_chars
