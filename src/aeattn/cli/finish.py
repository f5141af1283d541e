"""What a person is told when a training is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aeattn.training.evaluate import Score
    from aeattn.training.start import Training


def finish(training: Training, score: Score) -> Sequence[str]:
    """Draw the learning curve, let the model generate, and return the lines to show."""
    from aeattn.api.load import load
    from aeattn.report import curve

    run, settings, floor = training.run_folder, training.trainer.config.training, training.floor_nats
    curve.draw(curve.learning_curve(curve.read_points(run), floor), run.curve, run.path.name)
    passage = load(run.path).generate(chars=max(400, settings.sample_chars), temperature=0.7, seed=settings.seed)
    lines = [f"\n{passage.strip()}\n"]
    if (nats := score.nats_per_char) is not None:
        above = "" if floor is None else f", {nats - floor:.4f} above the entropy of the corpus"
        bits = (
            f"{score.bits_per_char:.4f} bits/char, {score.nats_per_byte:.4f} nats/byte, "
            f"{score.bits_per_byte:.4f} bits/byte over {score.chars:,} characters"
        )
        lines.append(f"validation: {nats:.4f} nats/char, {bits}{above}")
    more = f"more: aeattn generate {run.path}"
    return [*lines, f"run folder: {run.path}", f"learning curve: {run.curve}", more]
