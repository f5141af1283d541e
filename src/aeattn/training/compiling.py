"""Compiling the training step: where it can be done, where it pays, and keeping what was compiled.

PyTorch keeps compiled graphs in a folder and takes them from there in a later process. Which steps are in it is
noted beside them, because whether compiling pays depends on it.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from aeattn import nn
from aeattn.config.model import ModelConfig
from aeattn.config.run import CompileMode, TrainingConfig
from aeattn.errors import InputError
from aeattn.host import cache_dir, cxx
from aeattn.kernels.build import SWITCH
from aeattn.training.compiled_cache import PLACE, put_aside, remove_torn

Step = Callable[[Tensor, Tensor], Tensor]  # inputs and targets, both (B, T), to a loss

COMPILE_SECONDS = 35.0  # what compiling a small model costs on two cores, the first time
CACHED_SECONDS = 3.0  # and where it has been compiled before
COMPILE_GAIN = 0.4  # the part of a CPU step's time that it saves


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile has what it needs here."""
    if device.type == "cpu":
        return cxx() is not None
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None


def pays_to_compile(mode: CompileMode, device: torch.device, eager_seconds: float, cached: bool = False) -> bool:
    """Whether to compile a training of `eager_seconds`. Raises InputError if told to where it cannot be."""
    if mode != "auto":
        if mode == "on":
            check_compiler(device)
        return mode == "on"
    cost = CACHED_SECONDS if cached else COMPILE_SECONDS
    return can_compile(device) and eager_seconds * COMPILE_GAIN > cost


def check_compiler(device: torch.device) -> None:
    """Raise InputError where there is none."""
    if not can_compile(device):
        raise InputError("compiling needs a C++ compiler such as g++: install one, or drop --compile on")


def seconds_ahead(settings: TrainingConfig, step_seconds: float) -> float:
    """The time that a training would take without compiling.

    Minutes are the user's to spend, and compiling is not counted among them: it pays as soon as it takes less time
    than they do.
    """
    if settings.minutes is None:
        return settings.steps * step_seconds
    return settings.minutes * 60 / COMPILE_GAIN


def compile_step(step: Step, device: torch.device, accumulate: int = 1, *, built_before: bool = False) -> Step:
    """`torch.compile` of a training step.

    On a CPU random numbers stay PyTorch's own: those that the compiler makes take longer than the step. With
    `built_before`, because something was built for this very processor, the compiler's trials of that, a second at
    every start, are left out. On a GPU the step becomes CUDA graphs, which small models need: launching their
    kernels takes longer than running them. Accumulated gradients would be overwritten by the next replay, so there
    are none of these then.
    """
    if not gc.isenabled():  # a `Startup`
        gc.freeze()  # PyTorch collects garbage when it has compiled, and need not look through what was imported
    if device.type == "cuda":
        return torch.compile(step, options={"triton.cudagraphs": accumulate == 1})
    return torch.compile(
        step, options={"fallback_random": True, **({"cpp.vec_isa_ok": True} if built_before else {})}
    )


def compile_safely(
    compile_: Callable[[], Step], try_out: Callable[[Step], None], say: Callable[[str], None]
) -> Step | None:
    """A compiled step that has been tried out, forward and backward; None where it cannot be had.

    Whatever the compiler raises may come of its cache, in which processes that were killed leave torn files: those
    are removed first, and after a failure everything is put aside and compiled anew, once.
    """
    if torn := remove_torn():
        say(f"{len(torn)} compiled file(s) of a process that was killed are compiled anew")
    try:
        return _tried(compile_(), try_out)
    except Exception as error:
        aside, reason = put_aside(), _reason(error)
    if aside is not None:
        say(f"what was compiled cannot be used ({reason}): it is compiled anew, and the old kept in {aside}")
        _forget_compiled()
        try:
            return _tried(compile_(), try_out)
        except Exception as error:
            reason = _reason(error)
    _forget_compiled()
    say(f"PyTorch cannot compile the training step here ({reason}): training goes on without")
    return None


def _tried(step: Step, try_out: Callable[[Step], None]) -> Step:
    try_out(step)
    return step


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:150]}" if lines else type(error).__name__


def _forget_compiled() -> None:
    """What this process holds of it."""
    from torch._inductor.utils import clear_caches

    torch._dynamo.reset()
    clear_caches()


class CompiledBefore:
    """Whether a step like this one has been compiled on this machine: same model, batch, precision, threads,
    device, PyTorch, and source of the layers."""

    def __init__(self, config: ModelConfig, batch: int, dtype: torch.dtype, device: torch.device) -> None:
        self._facts = {
            "model": asdict(config),
            "batch": batch,
            "dtype": str(dtype),
            "device": str(device),
            "torch": torch.__version__,
            "kernel": os.environ.get(SWITCH),
            "threads": torch.get_num_threads(),
            "place": os.environ.get(PLACE),
        }

    @cached_property
    def _mark(self) -> Path:
        source = b"".join(path.read_bytes() for path in sorted(Path(nn.__path__[0]).rglob("*.py")))
        facts = {**self._facts, "source": hashlib.sha256(source).hexdigest()}
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
        return cache_dir() / "compiled" / f"{key}.known"

    def __bool__(self) -> bool:
        return self._mark.exists()

    def note(self) -> None:
        """Remember that it is so now; a cache that cannot be written to is no error."""
        with suppress(OSError):
            self._mark.parent.mkdir(parents=True, exist_ok=True)
            self._mark.touch()
