"""What happens around updates: one list of hooks, in the order in which they are called."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from aeattn.config.run import TrainingConfig
from aeattn.config.text import TextOptions
from aeattn.errors import BadValidation, Diverged, Spike
from aeattn.generation.model_writer import model_writer
from aeattn.runs.folder import RunFolder
from aeattn.runs.random_state import untouched
from aeattn.terminal.progress import Reporter, Status
from aeattn.training.ahead import Ahead
from aeattn.training.evaluate import Score, Windows, pass_along, sample_windows, score_windows, total

if TYPE_CHECKING:
    from aeattn.training.trainer import Trainer


class Hook:
    """Something that happens around updates. It does nothing: override what you need.

    `trainer` has `state` (step, smooth_nats, valid_nats, seconds), `config`, `model`, `optimizers`, `text` and
    `world`. Time spent in hooks is not counted as training. Whatever draws random numbers does so in
    `runs.random_state.untouched`, or training goes on with others. What takes seconds and can be broken off
    belongs in `with trainer.stop.promptly()`: a signal ends it, and a resumed run does that step's hooks again.
    Of several processes, the main one alone has hooks but those that guard, evaluate and save.

    Stable: the methods, and of `trainer` what is named here.
    """

    def start(self, trainer: Trainer) -> None:
        """Before the first update, when everything is compiled and settled."""

    def before_update(self, trainer: Trainer, loss: float, norm: float) -> None:
        """Between a gradient and its use. Raise errors.Spike to pass its batch over, errors.Diverged to stop."""

    def after_update(self, trainer: Trainer) -> None:
        """After each update, of which `trainer.state.step` have been made."""

    def evaluated(self, trainer: Trainer, score: Score) -> None:
        """After an evaluation: of a part of the validation text, and at the end of the whole of it."""

    def sampled(self, trainer: Trainer, text: str) -> None:
        """After the model has generated a passage."""

    def end(self, trainer: Trainer, score: Score) -> None:
        """After the last evaluation."""

    def say(self, text: str, warning: bool = False) -> None:
        """What whoever watches should know."""

    # -- for what keeps the state of a training ----------------------------------------------------------

    def save(self, trainer: Trainer) -> bool:
        """Keep this moment, to go on from it in another process; whether that was done."""
        return False

    def roll_back(self, trainer: Trainer) -> bool:
        """Set the trainer back to where it can pass over the batch that is next; whether that was done."""
        return False

    def kept(self, trainer: Trainer) -> str:
        """Where the last good state is, in words."""
        return ""

    def close(self) -> None:
        """In the end, whatever happened."""


REGISTERED: list[type[Hook]] = []  # by plug-ins
H = TypeVar("H", bound=type[Hook])


def register_hook(kind: H) -> H:
    """A decorator: have a hook, made without arguments, in every training of this process.

    Args:
        kind: A subclass of Hook.

    Returns:
        The same class.

    Raises:
        TypeError: What is no subclass of Hook.

    Stable: all of this.
    """
    if not (isinstance(kind, type) and issubclass(kind, Hook)):
        raise TypeError(f"{kind!r} is no class of hooks: derive it from aeattn.Hook")
    if kind not in REGISTERED:
        REGISTERED.append(kind)
    return kind


def due(trainer: Trainer, every: int | None) -> bool:
    """Whether something is to be done after this update; None is a tenth of the run. The end has evaluation,
    sample and checkpoint of its own."""
    step, steps = trainer.state.step, trainer.config.training.steps
    every = _interval(steps, every)
    return 0 < step < steps and every > 0 and step % every == 0


def _interval(steps: int, every: int | None) -> int:
    return -(-steps // 10) if every is None else every


class Guard(Hook):
    """No update from a loss or a gradient that is no finite number, nor, if asked for, from a leap."""

    def before_update(self, trainer: Trainer, loss: float, norm: float) -> None:
        state = trainer.state
        check(loss, norm, state.smooth_nats, trainer.config.training, state.rollbacks)


def check(loss: float, norm: float, smooth_nats: float | None, settings: TrainingConfig, rollbacks: int) -> None:
    """Raise Diverged where the loss or the gradient's norm is no finite number.

    With `spike_factor`, raise Spike instead while rollbacks are left, and also where the loss exceeds that many
    times the smoothed one (cf. Chowdhery et al. 2022, "PaLM", section 5.1).
    """
    finite = math.isfinite(loss) and math.isfinite(norm)
    what = f"gradient norm is {norm}" if math.isfinite(loss) and not finite else f"loss is {loss:.6g}"
    if settings.spike_factor and rollbacks < settings.spike_rollbacks:
        if not finite or (smooth_nats is not None and loss > settings.spike_factor * smooth_nats):
            raise Spike(what)
    elif not finite:
        raise Diverged(what)


class Evaluate(Hook):
    """The losses on the same part of the validation text, and on one of the training text as large, every
    `eval_every` updates: so they can be compared. The loss of a batch cannot, which is from before its update and
    with dropout."""

    seconds, chars = 0.0, 0  # that the last evaluation took, of so many characters

    def start(self, trainer: Trainer) -> None:
        settings, context = trainer.config.training, trainer.config.model.context
        self._valid, self._train = (
            sample_windows(side, context, settings.eval_chars) for side in (trainer.text.valid, trainer.text.train)
        )

    def after_update(self, trainer: Trainer) -> None:
        if not due(trainer, trainer.config.training.eval_every):
            return
        begun = time.monotonic()
        score = self._score(trainer, self._valid)
        trainer.state.valid_nats = score.nats_per_char
        if not math.isfinite(score.nats_per_char or 0.0):
            raise BadValidation(f"validation loss is {score.nats_per_char} after step {trainer.state.step}")
        trainer.state.train_eval_nats = self.of_training(trainer)
        self.seconds, self.chars = time.monotonic() - begun, 2 * score.chars
        trainer.evaluated(score)

    def of_training(self, trainer: Trainer) -> float | None:
        """The loss on a part of the training text, in nats a character, measured as on the validation text."""
        return self._score(trainer, self._train).nats_per_char

    def _score(self, trainer: Trainer, windows: list[Windows]) -> Score:
        def share() -> Score:
            score = score_windows(trainer.model, trainer.world.share(windows), trainer.text.tokenizer)
            pass_along(trainer.model, len(windows), trainer.world)
            return score

        return total(trainer.together(share))


class Sample(Hook):
    """A passage in the middle of training, every `sample_every` updates, and one at the end."""

    def after_update(self, trainer: Trainer) -> None:
        if due(trainer, trainer.config.training.sample_every):
            self._sample(trainer)

    def end(self, trainer: Trainer, score: Score) -> None:
        if trainer.config.training.sample_every != 0:
            self._sample(trainer)

    def _sample(self, trainer: Trainer) -> None:
        settings, model = trainer.config.training, trainer.model
        writer = model_writer(model.eval(), trainer.text.tokenizer, TextOptions(), engine="simple")
        with trainer.stop.promptly(), untouched(trainer.device):
            text = writer.generate(chars=settings.sample_chars, seed=settings.seed)
        model.train()
        trainer.sampled(text)


class Report(Hook):
    """Tells a reporter. `floor_nats` is the lowest possible loss, where the text's true entropy is known."""

    def __init__(self, reporter: Reporter, floor_nats: float | None = None) -> None:
        self.reporter, self.floor_nats = reporter, floor_nats
        self._ahead: Ahead | None = None

    def start(self, trainer: Trainer) -> None:
        self._ahead = Ahead(trainer)

    def after_update(self, trainer: Trainer) -> None:
        self.reporter.status(self._status(trainer))

    def evaluated(self, trainer: Trainer, score: Score) -> None:
        status = self._status(trainer)
        over = trainer.state.step >= trainer.config.training.steps  # this was the last evaluation
        self.reporter.evaluated(replace(status, seconds_left=0.0) if over else status)

    def sampled(self, trainer: Trainer, text: str) -> None:
        self.reporter.sample(trainer.state.step, text)

    def say(self, text: str, warning: bool = False) -> None:
        (self.reporter.warn if warning else self.reporter.note)(text)

    def _status(self, trainer: Trainer) -> Status:
        state, steps, nats = trainer.state, trainer.config.training.steps, trainer.train_nats
        seconds = state.seconds / state.step if state.step else 0.0
        return Status(
            step=state.step,
            steps=steps,
            train_nats=math.nan if nats is None else nats,
            valid_nats=state.valid_nats,
            floor_nats=self.floor_nats,
            chars_per_second=trainer.config.tokens_per_step * trainer.text.train.chars_per_token / seconds
            if seconds
            else 0.0,
            seconds_left=self._ahead.seconds(trainer) if self._ahead else seconds * (steps - state.step),
            last_nats=trainer.per_char(state.last_nats),
            recent_nats=trainer.per_char(state.recent_nats),
            train_eval_nats=state.train_eval_nats,
        )


class Lines(Hook):
    """Metrics and samples as they are logged. What belongs to one step is written together: a signal may break off
    an evaluation or a sample, and a resumed run does all of that step again."""

    def __init__(self) -> None:
        self._metrics: list[dict[str, Any]] = []
        self._samples: list[tuple[int, str]] = []

    def write(self, metrics: Sequence[dict[str, Any]], samples: Sequence[tuple[int, str]]) -> None:
        """Lines of metrics, and samples with their steps: all that there is of these steps."""

    def after_update(self, trainer: Trainer) -> None:
        settings = trainer.config.training
        eval_every = _interval(settings.steps, settings.eval_every)
        if not due(trainer, eval_every) and due(trainer, max(1, (eval_every or settings.steps) // 10)):
            self._note(trainer, {})
        self._write()

    def end(self, trainer: Trainer, score: Score) -> None:
        self._write()

    def evaluated(self, trainer: Trainer, score: Score) -> None:
        over = {"valid_chars": score.chars, "valid_bytes": score.bytes}
        self._note(
            trainer, {"valid_nats": score.nats_per_char, "train_eval_nats": trainer.state.train_eval_nats, **over}
        )

    def sampled(self, trainer: Trainer, text: str) -> None:
        self._samples.append((trainer.state.step, text))

    def _note(self, trainer: Trainer, more: dict[str, Any]) -> None:
        state = trainer.state
        line = {
            "step": state.step,
            "chars": round(state.step * trainer.config.tokens_per_step * trainer.text.train.chars_per_token),
            "seconds": round(state.seconds, 3),
            "train_nats": trainer.train_nats,
            "recent_nats": trainer.per_char(state.recent_nats),
            "last_nats": trainer.per_char(state.last_nats),
        }
        self._metrics.append(line | more)

    def _write(self) -> None:
        if self._metrics or self._samples:
            self.write(self._metrics, self._samples)
            self._metrics, self._samples = [], []


class Log(Lines):
    """Metrics and samples in a run folder."""

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self.run = run

    def write(self, metrics: Sequence[dict[str, Any]], samples: Sequence[tuple[int, str]]) -> None:
        for line in metrics:
            self.run.append_metrics(line)
        for step, text in samples:
            self.run.append_sample(step, text)
