"""Optimizers, their parameter groups, and the learning rate's course.

Matrices inside blocks go to Muon (Jordan et al. 2024); embeddings, the output matrix, gains and taps to AdamW.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from aeattn.config.run import TrainingConfig
from aeattn.nn.projection import Projection
from aeattn.runs.parts import local, own_rows, part_like, whole
from aeattn.training.processes import connected
from aeattn.training.world import ALONE, World


class BatchedMuon(Muon):
    """`torch.optim.Muon`, with the matrices of one shape orthogonalised together.

    A small model has many small matrices, and three products of five iterations each cost more to start
    than to compute. Transposed shapes go together too. The result is that of the parent, which is the
    slow twin, within bf16 rounding. Several processes share the matrices; their gradients differ from those of one
    in the last bit, which the iteration in bf16 makes a thousand times larger, and in float32 leaves as it is.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        world: World = ALONE,
        dtype: torch.dtype = torch.bfloat16,
        **settings: Any,
    ) -> None:
        super().__init__(parameters, **settings)
        self.world, self.dtype = world, dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            shapes = _by_shape(p for p in group["params"] if p.grad is not None)
            updates = self._orthogonal([self._wide_updates(same, group) for same in shapes], group)
            for same, update in zip(shapes, updates, strict=True):
                _apply(same, update, group)
        return loss

    def _wide_updates(self, parameters: list[Tensor], group: dict[str, Any]) -> Tensor:
        """Momentum of matrices of one shape, transposed where they are high: (N, rows <= columns)."""
        momentum = group["momentum"]
        gradients = [local(p.grad) for p in parameters if p.grad is not None]
        buffers = [local(self._buffer(p)) for p in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        updates = torch._foreach_lerp(gradients, buffers, momentum) if group["nesterov"] else buffers
        updates = [whole(part_like(u, p)) for u, p in zip(updates, parameters, strict=True)]
        return torch.stack([u if u.shape[0] <= u.shape[1] else u.T for u in updates])

    def _orthogonal(self, stacks: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """All stacks orthogonalised: of several processes, each does its part of every stack and gets the rest."""

        def turn(x: Tensor) -> Tensor:
            x = x.to(self.dtype)
            return orthogonalise(x, group["ns_coefficients"], group["ns_steps"], group["eps"]) if len(x) else x

        processes = connected(self.world)
        if processes is None:
            return [turn(stack) for stack in stacks]
        parts = [padded(turn(part_of(stack, self.world)), stack, self.world) for stack in stacks]
        return joined_parts(processes.collect(torch.cat([part.flatten() for part in parts])), stacks, self.world)

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _apply(parameters: list[Tensor], updates: Tensor, group: dict[str, Any]) -> None:
    for parameter, update in zip(parameters, updates.to(parameters[0].dtype), strict=True):
        rows = local(parameter)
        rows.mul_(1 - group["lr"] * group["weight_decay"])
        turned = own_rows(update if parameter.shape[0] <= parameter.shape[1] else update.T, parameter)
        rows.add_(turned, alpha=-_scaled(group["lr"], group["adjust_lr_fn"], parameter.shape))


# -- shares of several processes ------------------------------------------------------------------------------


def part_of(stack: Tensor, world: World) -> Tensor:
    """The matrices of a stack (N, ...) that this process orthogonalises: perhaps none."""
    each = -(-len(stack) // world.size)
    return stack[each * world.rank : each * (world.rank + 1)]


def padded(part: Tensor, stack: Tensor, world: World) -> Tensor:
    """A part with as many matrices as every other has, zeros behind its own."""
    missing = -(-len(stack) // world.size) - len(part)
    return torch.cat([part, part.new_zeros(missing, *stack.shape[1:])]) if missing else part


def joined_parts(sent: list[Tensor], stacks: list[Tensor], world: World) -> list[Tensor]:
    """The stacks, from what each process sent: its padded parts of all of them, one behind the other."""
    whole, place, sent_ = [], 0, torch.stack(sent)
    for stack in stacks:
        numbers = -(-len(stack) // world.size) * stack[0].numel()
        parts = sent_[:, place : place + numbers].reshape(-1, *stack.shape[1:])
        whole.append(parts[: len(stack)])
        place += numbers
    return whole


# -- the iteration --------------------------------------------------------------------------------------------


def _by_shape(parameters: Iterable[Tensor]) -> list[list[Tensor]]:
    groups: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
    for parameter in parameters:
        groups[tuple(sorted(parameter.shape))].append(parameter)
    return list(groups.values())


def orthogonalise(x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Newton-Schulz iteration towards the nearest orthogonal matrices of x (N, rows <= columns), in its own type
    (Jordan et al. 2024, "Muon: an optimizer for hidden layers")."""
    a, b, c = coefficients
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _scaled(rate: float, rule: str | None, shape: torch.Size) -> float:
    """The rate for a matrix of this shape (out, in), by Muon's own rule or that which matches AdamW's step."""
    rows, columns = shape
    if rule == "match_rms_adamw":
        return rate * 0.2 * math.sqrt(max(rows, columns))
    return rate * math.sqrt(max(1.0, rows / columns))


def make_optimizers(model: nn.Module, config: TrainingConfig, world: World = ALONE) -> list[Optimizer]:
    """One optimizer a rule, over every parameter of the model once. Biases, gains and taps do not decay."""
    matrices = block_matrices(model) if config.optimizer == "muon" else []
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    decay = decaying(model)
    groups = [
        {"params": [p for p in rest if id(p) in decay], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if id(p) not in decay], "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    optimizers: list[Optimizer] = [AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)]
    if matrices:
        optimizers.append(
            BatchedMuon(
                matrices,
                world=world,
                dtype=torch.float32 if config.precision == "fp32" else torch.bfloat16,
                lr=config.matrix_learning_rate,
                weight_decay=config.weight_decay,
                momentum=config.momentum,
            )
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def clip_gradients(optimizers: Iterable[Optimizer], largest: float) -> float:
    """The norm of all gradients together, after AdamW's part of them is scaled down to a norm of at most
    `largest`. Muon's updates have a norm of their own, whatever that of the gradient."""
    norms = []
    for optimizer in optimizers:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norms.append(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
        if not isinstance(optimizer, Muon):
            nn.utils.clip_grads_with_norm_(parameters, largest, norms[-1])
    return float(torch.stack([whole(norm) for norm in norms]).norm())


def block_matrices(model: nn.Module) -> list[Tensor]:
    """The weights of linear layers inside blocks: what Muon is for."""
    blocks = model.get_submodule("blocks")
    return [m.weight for m in blocks.modules() if isinstance(m, nn.Linear)]


def decaying(model: nn.Module) -> set[int]:
    """Ids of the parameters that decay, by what they are, whatever their shape.

    That are the weights of linear layers and embeddings, and in projections, which may be a user's own, bare
    parameters of two or more dimensions: matrices, perhaps one a head. Biases, gains, slopes and the taps of
    convolutions do not.
    """
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Linear | nn.Embedding)]
    projections = [m for m in model.modules() if isinstance(m, Projection)]
    bare = [p for m in projections for p in m.parameters(recurse=False) if p.ndim >= 2]
    return {id(p) for p in (*weights, *bare)}


def rate_factor(step: int, config: TrainingConfig) -> float:
    """The fraction of the peak learning rate for update `step`, counted from 0.

    A linear warm-up, then: `constant`; `linear` or `cosine` from the peak to `final_rate` at the last step;
    `wsd` (warm-up, stable, decay; Hu et al. 2024), flat until the last `decay` of all steps, then linear.
    """
    warmup = min(1.0, (step + 1) / max(1.0, config.warmup * config.steps))
    return warmup * (config.final_rate + (1 - config.final_rate) * _fall(step / config.steps, config))


def _fall(progress: float, config: TrainingConfig) -> float:
    """From 1 to 0 as progress goes from 0 to 1."""
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "cosine":
        return 0.5 + 0.5 * math.cos(math.pi * progress)
    share = config.decay if config.schedule == "wsd" else 1.0
    return min(1.0, (1 - progress) / share) if share > 0 else 1.0


def set_rates(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Set every group's learning rate to `factor` times its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
