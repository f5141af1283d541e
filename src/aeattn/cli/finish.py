"""What a person is told when a training is done."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aeattn.data.watch import clock
from aeattn.terminal.escaping import escape_controls
from aeattn.terminal.wrapping import wrap

if TYPE_CHECKING:
    from aeattn.training.evaluate import Score
    from aeattn.training.start import Training
    from aeattn.training.trainer import Trainer

LATE = 1.1  # times the minutes that were asked for


def finish(training: Training, score: Score) -> Sequence[str]:
    """Draw the learning curve, let the model generate, and return the lines to show."""
    from aeattn.api.load import load
    from aeattn.report import curve

    run, trainer, floor = training.run_folder, training.trainer, training.floor_nats
    settings = trainer.config.training
    curve.draw(curve.learning_curve(curve.read_points(run), floor), run.curve, run.path.name)
    passage = load(run.path).generate(chars=max(400, settings.sample_chars), seed=settings.seed)
    shown = wrap(escape_controls(passage.strip()), anywhere=True)  # it may not have learnt words yet
    lines = ["", *shown, "", *_losses(score, trainer.state.train_eval_nats, floor)]
    if trainer.minutes is not None:
        lines.append(_time(trainer, trainer.minutes))
    texts = [_from_here(name) for name in trainer.config.data.corpus] or ["tales"]
    commands = (["generate", str(run.path), "--prompt", "The "], ["evaluate", str(run.path), *texts],
                ["report", str(run.path)])  # fmt: skip
    return [
        *lines, f"learning curve: {run.curve}", f"run folder: {run.path}", "Next:",
        *(f"  {shlex.join(['aeattn', *command])}" for command in commands),
    ]  # fmt: skip


def _from_here(name: str) -> str:
    """The name of a text, or its path, which is short where it lies below the current folder."""
    try:
        return str(Path(name).relative_to(Path.cwd()))
    except (ValueError, OSError):  # it lies elsewhere, or this folder is gone
        return name


def _losses(score: Score, train: float | None, floor: float | None) -> list[str]:
    """How well the model predicts, in sentences."""
    if (nats := score.nats_per_char) is None:
        return []
    above = "" if floor is None else f", {nats - floor:.4f} above the entropy of the corpus"
    more = (
        f"{score.bits_per_char:.4f} bits/char, {score.nats_per_byte:.4f} nats/byte, "
        f"{score.bits_per_byte:.4f} bits/byte over {score.chars:,} characters"
    )
    alike = [] if train is None else [f"training, measured alike: {train:.4f} nats/char"]
    return [f"validation: {nats:.4f} nats/char, {more}{above}", *alike]


def _time(trainer: Trainer, minutes: float) -> str:
    took, asked = time.monotonic() - trainer.begun, 60 * minutes
    late = ": the machine was slower than when its updates were timed, or they were too few minutes"
    return f"time: {clock(took)} in all, {clock(asked)} asked for" + (late if took > LATE * asked else "")
