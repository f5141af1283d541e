"""Where a run stands, apart from tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from aeattn.errors import Damaged


@dataclass
class State:
    """What a checkpoint holds as JSON. `step` updates have been made, in so many seconds of training alone;
    losses in nats a character. `passed_over` batches were left out in so many `rollbacks`. `unfinished`: what
    follows the last update, as an evaluation, was broken off by a signal, and is to be done."""

    step: int = 0
    seconds: float = 0.0
    smooth_nats: float | None = None
    valid_nats: float | None = None
    passed_over: int = 0
    rollbacks: int = 0
    unfinished: bool | None = None

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
