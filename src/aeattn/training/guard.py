"""What stands between a gradient and the weights: no update from a loss or a gradient that is no finite number,
and, if asked for, none from a loss that leaps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aeattn.config.run import TrainingConfig

_SHOWN = 8


class Diverged(Exception):
    """The loss or its gradient is no finite number. The message names the step and the batch."""


class BadValidation(Diverged):
    """The validation loss is no finite number: what has been learnt is not worth saving."""


class Spike(Exception):
    """The loss of a batch leaps, and the config says to go back and pass it over."""


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


def name_windows(starts: Sequence[int]) -> str:
    """A batch by the places of its windows in the training text."""
    shown = ", ".join(f"{start:,}" for start in starts[:_SHOWN])
    more = f" and {len(starts) - _SHOWN} more" if len(starts) > _SHOWN else ""
    return f"windows at characters {shown}{more} of the training text"
