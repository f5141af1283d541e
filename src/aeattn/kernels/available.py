"""Whether this package's own kernels can be used here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from aeattn.errors import InputError
from aeattn.host import cpu_has, cxx
from aeattn.kernels.build import SWITCH, warn_slower

LANES = 16  # a width must be a multiple of it
# what of these the processor must have, for each type of numbers
NEEDED = {torch.float32: ("avx512f", "avx2"), torch.bfloat16: ("avx512_bf16",)}


def in_use() -> str:
    """Whose kernels compute on this machine: they round differently."""
    ours = os.environ.get(SWITCH) != "off" and cpu_has(*NEEDED[torch.float32]) and cxx() is not None
    return "aeattn" if ours else "PyTorch"


def can_load(load: Callable[[], object], dtype: torch.dtype) -> bool:
    """Whether kernels for this type of numbers can run here, and `load` gets the one; it may compile it first."""
    if dtype not in NEEDED or os.environ.get(SWITCH) == "off" or not cpu_has(*NEEDED[dtype]):
        return False
    try:
        load()
    except (OSError, InputError) as error:
        warn_slower(str(error))
        return False
    return True


def transformed() -> bool:
    """Whether a transform of `torch.func` is at work: they see through PyTorch's operators, not through ours."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None


def gradients_again(
    twin: Callable[..., Tensor | list[Tensor]],
    inputs: Sequence[Tensor | None],
    gradients: Tensor | Sequence[Tensor],
) -> tuple[Tensor | None, ...]:
    """The gradients of an operator's inputs by its slow twin, so that they can be differentiated in their turn."""
    out = twin(*inputs)
    wanted = [x for x in inputs if x is not None and x.requires_grad]
    found = iter(torch.autograd.grad(out, wanted, gradients, create_graph=True))
    return tuple(None if x is None or not x.requires_grad else next(found) for x in inputs)


def constant(function: Callable[..., bool]) -> Callable[..., bool]:
    """For what never changes while a process runs: PyTorch's compiler calls it and does not look inside, as by
    `torch.compiler.assume_constant_result`, which would load that compiler, a second's work, for those who never
    compile."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
