"""Where a run stands; when checkpoints are written, and the way back to one.

A checkpoint is taken in memory between two steps and written by a thread of its own, so that training does not
wait for the disk. What goes wrong there is raised by the next call.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from aeattn.config.run import weight_of_new
from aeattn.errors import Damaged, Diverged
from aeattn.files import remove
from aeattn.runs import checkpoint
from aeattn.runs.checkpoint import Found, Snapshot
from aeattn.runs.folder import RunFolder
from aeattn.runs.parts import whole
from aeattn.runs.weights import limits_of, to_bytes
from aeattn.training.evaluate import Score
from aeattn.training.hooks import Hook

if TYPE_CHECKING:
    from aeattn.training.trainer import Trainer

LARGEST_SHARE = 0.01  # of the time that checkpoints by time may take, all that their thread does included
RECENT = 0.9  # of the one that people are shown: the other trails some fifty updates behind, above validation
DEFAULT_MINUTES = 1.0  # between checkpoints, where no interval is given


@dataclass
class State:
    """What a checkpoint holds as JSON. `step` updates have been made, in so many seconds of training alone;
    losses in nats a token, those of evaluations in nats a character. `smooth_nats` is an average over about fifty
    updates, `recent_nats` over about ten, `last_nats` the loss of the last; `train_eval_nats` and `valid_nats` are
    of parts of both texts, measured alike. `passed_over` batches were left out in so many `rollbacks`.
    `unfinished`: what follows the last update, as an evaluation, was broken off by a signal, and is to be done."""

    step: int = 0
    seconds: float = 0.0
    smooth_nats: float | None = None
    valid_nats: float | None = None
    passed_over: int = 0
    rollbacks: int = 0
    unfinished: bool | None = None
    last_nats: float | None = None
    recent_nats: float | None = None
    train_eval_nats: float | None = None

    def take(self, loss: float) -> None:
        """Count an update whose batch had this loss."""
        self.smooth_nats = _averaged(self.smooth_nats, loss, weight_of_new(self.step))
        self.recent_nats = _averaged(self.recent_nats, loss, max(1 - RECENT, 1 / (self.step + 1)))
        self.last_nats = loss
        self.step += 1

    @property
    def moment(self) -> tuple[int, int, bool]:
        """By which a state is told from others of the same run."""
        return self.step, self.rollbacks, bool(self.unfinished)

    @property
    def batch(self) -> int:
        """The number of the batch for the next update."""
        return self.step + self.passed_over

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `vars`, whatever else is there. Raises InputError for what is no state."""
        numbers: dict[str, Any] = {field.name: values.get(field.name) for field in fields(cls)}
        for field in fields(cls):
            number = numbers[field.name]
            if not isinstance(number, int | float) and not (number is None and field.default is None):
                raise Damaged(f"state.json says no {field.name}: restore the checkpoint, or train again")
        return cls(**numbers)


def _averaged(before: float | None, loss: float, share: float) -> float:
    """An exponential average that begins as a plain mean, and so has no bias towards its first value."""
    return loss if before is None else (1 - share) * before + share * loss


class Save(Hook):
    """Checkpoints in a run folder, its config as it was settled, and at the end the model. Of several processes,
    all have this hook; the main one alone touches the folder, and on the way back tells the others what it reads.
    """

    def __init__(self, run: RunFolder, trainer: Trainer) -> None:
        self.run, self.config, self.settings = run, trainer.config, trainer.config.training
        self.anchors = self.settings.spike_every if self.settings.spike_factor else 0
        self.main = trainer.world.main
        self._saved: tuple[int, int, bool] | None = None  # of what is on the disk, or on its way there
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[float] | None = None
        self._cost, self._last = 0.0, time.monotonic()

    # -- forth -------------------------------------------------------------------------------------------

    def start(self, trainer: Trainer) -> None:
        if trainer.config != self.config:
            self.config = trainer.config
            if self.main:
                self.run.write_config(trainer.config)
        if self.anchors and trainer.state.step == 0:
            self.write(trainer)

    def after_update(self, trainer: Trainer) -> None:
        step = trainer.state.step
        if step >= trainer.config.training.steps:
            return
        if trainer.world.on_main(lambda: self.due(step)) if trainer.sharded else self.main and self.due(step):
            self.write(trainer)

    def end(self, trainer: Trainer, score: Score) -> None:
        weights = {name: whole(tensor) for name, tensor in trainer.model.state_dict().items()}
        if self.main:
            self.run.publish(to_bytes(weights))  # a kill may have come before that

    def save(self, trainer: Trainer) -> bool:
        self.write(trainer)
        self.wait()
        return self.main

    @property
    def seconds_between(self) -> float:
        """The interval by time: stretched where a checkpoint takes long, infinite where only steps count."""
        minutes = self.settings.checkpoint_minutes
        if minutes is None:
            minutes = DEFAULT_MINUTES if self.settings.checkpoint_every is None else 0.0
        return max(60 * minutes, self._cost / LARGEST_SHARE) if minutes else math.inf

    def due(self, step: int) -> bool:
        """Whether a checkpoint is to be written after this step. Raises what went wrong with the last one."""
        if self._pending is not None and self._pending.done():
            self.wait()
        by_step = any(every and step % every == 0 for every in (self.settings.checkpoint_every, self.anchors))
        return by_step or (self._pending is None and time.monotonic() - self._last >= self.seconds_between)

    def write(self, trainer: Trainer) -> None:
        """Write a checkpoint of this moment in the background; a moment that was saved is not saved again.

        Raises Diverged where weights or the optimizers' state are no finite numbers.
        """
        if not (self.main or trainer.sharded) or trainer.state.moment == self._saved:
            return
        start = time.monotonic()
        self.wait()
        try:
            facts = {**vars(trainer.state), "config": trainer.config.to_dict()}
            snapshot = checkpoint.take(self.run, trainer.model, trainer.optimizers, facts)
        except checkpoint.NotFinite as error:
            raise Diverged(f"{error} holds NaN or infinity") from error
        self._saved, self._cost = trainer.state.moment, time.monotonic() - start
        if self.main:
            self._pending = self._writer.submit(self._commit, snapshot)

    def _commit(self, snapshot: Snapshot) -> float:
        start = time.monotonic()
        checkpoint.commit(self.run, snapshot, self.settings.keep_checkpoints, self.anchors)
        return time.monotonic() - start

    def wait(self) -> None:
        """Until the last checkpoint is on the disk; raises what went wrong."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            try:
                self._cost += pending.result()
            except BaseException:
                self._saved = None
                raise
            self._last = time.monotonic()

    def close(self) -> None:
        self._writer.shutdown()

    def kept(self, trainer: Trainer) -> str:
        if self._pending is not None:
            futures.wait([self._pending])  # it may be the last good one
        found = checkpoint.all_checkpoints(self.run)
        return f"the last good state is checkpoint {found[-1].name}" if found else "no checkpoint was written yet"

    # -- and back ----------------------------------------------------------------------------------------

    def restore(self, trainer: Trainer, found: Found | None) -> None:
        """Go back to a checkpoint, or to the start if there is none: weights, optimizers, random states, logs.

        Raises InputError where it does not fit.
        """
        trainer.state = State() if found is None else State.from_dict(found.state)
        if found is not None:
            checkpoint.restore(found, trainer.model, trainer.optimizers)
            self._saved = trainer.state.moment
        if self.main:
            self._restore_folder(trainer.state.step, found)

    def _restore_folder(self, step: int, found: Found | None) -> None:
        if found is not None:
            checkpoint.prune(self.run, step, self.settings.keep_checkpoints, self.anchors)
        for name in checkpoint.LOGS:
            self.run.restore_log(name, b"" if found is None else found.files[name])

    def roll_back(self, trainer: Trainer) -> bool:
        """Go back to the newest anchor, to pass over the batch that is next.

        Anchors are the checkpoints of steps that `spike_every` divides. Every course of a run has them, however
        often it was interrupted or saved in between. Raises Diverged if there is none.
        """
        before = trainer.state
        found = trainer.world.on_main(lambda: self._anchor(trainer))
        if found is None:
            raise Diverged("there is no checkpoint to go back to: it")
        self.restore(trainer, found)
        back = trainer.state
        if self.main:
            for newer in checkpoint.all_checkpoints(self.run):
                if checkpoint.step_of(newer) > back.step:
                    remove(newer)
        back.passed_over, back.rollbacks = before.batch + 1 - back.step, before.rollbacks + 1
        return True

    def _anchor(self, trainer: Trainer) -> Found | None:
        self.wait()
        checkpoints = checkpoint.all_checkpoints(self.run)
        anchor = checkpoint.newest_anchor(checkpoints, self.anchors, before=trainer.state.step)
        return None if anchor is None else checkpoint.read(anchor, limits_of(trainer.config.model))
