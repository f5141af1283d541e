"""What several processes send each other at an update: gradients, the loss, and whether any was asked to stop.

All gradients travel as one vector when the backward pass is over, not in pieces while it runs, as
DistributedDataParallel sends them: docs/design.md says why.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

import torch
from torch import Tensor

from aeattn.config.run import GradientKind
from aeattn.runs.parts import is_part
from aeattn.training.processes import connected
from aeattn.training.signals import Interrupted
from aeattn.training.world import World


class Exchange:
    """Makes the gradients of all processes their mean; processes have equal shares of every batch."""

    def __init__(self, world: World, parameters: Sequence[Tensor], gradients: GradientKind = "fp32") -> None:
        self.processes, self.parameters = connected(world), parameters
        self.dtype = torch.bfloat16 if gradients == "bf16" else torch.float32

    def average(self, loss: float, asked: int | None) -> float:
        """The mean loss. Raises Interrupted in all processes where one of them was asked to stop by the signal
        `asked`."""
        if self.processes is None:
            return loss
        told = torch.tensor([loss, asked == signal.SIGINT, asked == signal.SIGTERM], dtype=torch.float64)
        self.processes.add_up(told)
        total, interrupts, terminations = map(float, told)
        if interrupts or terminations:
            raise Interrupted(signal.SIGTERM if terminations else signal.SIGINT)
        if not any(map(is_part, self.parameters)):  # or FSDP has done so
            self.average_gradients()
        return total / self.processes.size

    def average_gradients(self) -> None:
        assert self.processes is not None
        with_gradients = [p for p in self.parameters if p.grad is not None]
        vector = torch.cat([p.grad.flatten() for p in with_gradients if p.grad is not None])
        sent = vector.div_(self.processes.size).to(self.dtype)
        self.processes.add_up(sent)
        pieces = torch.split(sent.to(vector.dtype), [p.numel() for p in with_gradients])
        for parameter, piece in zip(with_gradients, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)
