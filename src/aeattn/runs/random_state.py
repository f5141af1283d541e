"""The generators that training draws from, on the CPU and on the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from aeattn.errors import InputError

PREFIX = "random."


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The state of every generator, by the name of what it belongs to."""
    states = {f"{PREFIX}cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[f"{PREFIX}{device.type}"] = torch.get_device_module(device).get_rng_state()
    return states


def set_random_states(states: Mapping[str, Tensor]) -> None:
    """The inverse. Raises InputError for what no generator can be in."""
    for name, state in states.items():
        kind = name.removeprefix(PREFIX)
        try:
            (torch if kind == "cpu" else torch.get_device_module(kind)).set_rng_state(state)
        except (RuntimeError, TypeError, AttributeError, AssertionError) as error:
            reason = (str(error).splitlines() or ["unknown"])[0][:100]
            raise InputError(f"the random state of {kind[:20]!r} cannot be restored here ({reason})") from error


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside, the generators go on as if nothing had been."""
    states = random_states(device)
    try:
        yield
    finally:
        set_random_states(states)
