"""Compiling the training step: where it can be done, where it pays, and keeping what was compiled.

PyTorch keeps compiled graphs in a folder and takes them from there in a later process. Which steps are in it is
noted beside them, because whether compiling pays depends on it.
"""

from __future__ import annotations

import copy
import gc
import importlib.util
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeattn import kernels, nn
from aeattn.config.model import ModelConfig
from aeattn.config.run import CompileMode, TrainingConfig
from aeattn.errors import Diverged, InputError, Spike
from aeattn.files import digest, sha256
from aeattn.host import cache_dir, cxx, freeze
from aeattn.kernels.build import SWITCH
from aeattn.kernels.causal_attention import is_ready
from aeattn.runs.random_state import untouched
from aeattn.training.ahead import fit
from aeattn.training.compiled_cache import PLACE, put_aside, remove_torn

if TYPE_CHECKING:
    from aeattn.training.trainer import Trainer

Step = Callable[[Tensor, Tensor], Tensor]  # inputs and targets, both (B, T), to a loss

PROBE_STEPS = 3  # timed before deciding whether to compile, or how many steps fit into some minutes
PROBE_SHARE, MOST_PROBES = 0.03, 200  # the part of these minutes in which steps are timed, and how many at most
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


def seconds_ahead(settings: TrainingConfig, step_seconds: float, spent: float = 0.0) -> float:
    """The time that a training would take without compiling: what is left of the minutes, where those are given,
    of which so many seconds are spent."""
    if settings.minutes is None:
        return settings.steps * step_seconds
    return max(0.0, settings.minutes * 60 - spent)


def compile_step(step: Step, device: torch.device, accumulate: int = 1, *, built_before: bool = False) -> Step:
    """`torch.compile` of a training step.

    On a CPU random numbers stay PyTorch's own: those that the compiler makes take longer than the step. With
    `built_before`, because something was built for this very processor, the compiler's trials of that, a second at
    every start, are left out. On a GPU the step becomes CUDA graphs, which small models need: launching their
    kernels takes longer than running them. Accumulated gradients would be overwritten by the next replay, so there
    are none of these then.
    """
    if not gc.isenabled():  # a `Startup`
        freeze()  # PyTorch collects garbage when it has compiled, and need not look through what was imported
    step = _apart(step)
    if device.type == "cuda":
        return torch.compile(step, options={"triton.cudagraphs": accumulate == 1})
    return torch.compile(
        step, options={"fallback_random": True, **({"cpp.vec_isa_ok": True} if built_before else {})}
    )


def _apart(step: Step) -> Step:
    """With a code object of its own: of one code object PyTorch compiles eight variants at most, and a ninth model
    would train without, and without a word."""
    if not isinstance(step, MethodType):
        return step
    shared = step.__func__
    own = FunctionType(
        shared.__code__.replace(), shared.__globals__, shared.__name__, shared.__defaults__, shared.__closure__
    )
    return MethodType(own, step.__self__)


def prepare(trainer: Trainer) -> None:
    """Compile, and settle what `auto` and `minutes` leave open, from the time of the first steps.

    A resumed run finds everything settled, so that it computes as it did before.
    """
    if trainer.sharded:  # weights come and go between blocks, which a compiled step cannot have
        trainer.settle(compile="off")
    settings = trainer.config.training
    if settings.minutes is None and settings.compile != "auto":
        use_compiler(trainer, settings.compile == "on")
        return
    seconds, decided = time_updates(trainer), trainer.world.on_main  # whatever others have measured

    def pays() -> bool:
        spent, cached = time.monotonic() - trainer.begun, _mark(trainer).exists()
        planned = seconds_ahead(settings, seconds, spent)
        return pays_to_compile(settings.compile, trainer.device, planned, cached)

    wanted = decided(pays)
    use_compiler(trainer, wanted)
    trainer.settle(compile="on" if trainer.compiled else "off")
    if (minutes := settings.minutes) is not None:
        probes = decided(lambda: int(min(MOST_PROBES, PROBE_SHARE * minutes * 60 / max(seconds, 1e-6))))
        update = time_updates(trainer, max(PROBE_STEPS, probes), mean=True)
        fitting = decided(lambda: fit(trainer, minutes, update))
        trainer.settle(minutes=None, **fitting.settings)
        if fitting.note:
            trainer.say(fitting.note, warning=True)


def time_updates(trainer: Trainer, probes: int = PROBE_STEPS, mean: bool = False) -> float:
    """Seconds of one update, the least or the mean of a few that are taken back."""
    weights, state = copy.deepcopy(trainer.model.state_dict()), replace(trainer.state)
    times: list[float] = []
    with untouched(trainer.device), suppress(Diverged, Spike):  # which training itself will meet again
        for _ in range(probes):
            start = time.perf_counter()
            trainer.update()
            times.append(time.perf_counter() - start)
    trainer.model.load_state_dict(weights)
    trainer.model.zero_grad(set_to_none=True)
    for optimizer in trainer.optimizers:
        optimizer.state.clear()
    trainer.state = state
    return sum(times[1:]) / len(times[1:]) if mean and times[1:] else min(times, default=0.0)


def use_compiler(trainer: Trainer, wanted: bool) -> None:
    """Compile the step, if that is wanted, before any clock starts: `seconds` are those of training alone."""
    if not wanted:
        return
    check_compiler(trainer.device)
    if trainer.compiler_note:
        trainer.say(trainer.compiler_note)
    mark = _mark(trainer)
    if not mark.exists():
        trainer.say("compiling the training step (the first time takes about half a minute)")
    if _compile_safely(trainer):
        note(mark)
    else:
        trainer.loss = trainer.plain_loss
        trainer.settle(compile="off")


def _compile_safely(trainer: Trainer) -> bool:
    """Compile the step and try it out, forward and backward; whether that could be done.

    Whatever the compiler raises may come of its cache, in which processes that were killed leave torn files: those
    are removed first, and after a failure everything is put aside and compiled anew, once.
    """
    device, dtype = trainer.device, trainer.dtype
    native = device.type == "cpu" and is_ready(trainer.config.model.d_head, dtype)
    warn = partial(trainer.say, warning=True)
    if torn := remove_torn():
        warn(f"{len(torn)} compiled file(s) of a process that was killed are compiled anew")
    for again in (True, False):
        try:
            accumulate = trainer.config.training.accumulate
            trainer.try_out(compile_step(trainer.plain_loss, device, accumulate, built_before=native))
            return True
        except Exception as error:
            aside, reason = put_aside() if again else None, _reason(error)
        _forget_compiled()
        if aside is None:
            break
        warn(f"what was compiled cannot be used ({reason}): it is compiled anew, and the old kept in {aside}")
    warn(f"PyTorch cannot compile the training step here ({reason}): training goes on without")
    return False


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:150]}" if lines else type(error).__name__


def _forget_compiled() -> None:
    """What this process holds of it."""
    from torch._inductor.utils import clear_caches

    torch._dynamo.reset()
    clear_caches()


def _mark(trainer: Trainer) -> Path:
    shape = (trainer.windows_at_once, trainer.config.window)
    return compiled_mark(trainer.config.model, shape, trainer.dtype, trainer.device)


def compiled_mark(config: ModelConfig, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Path:
    """A file that is there where a step like this one has been compiled on this machine: same model, shape (B, T),
    precision, threads, device, PyTorch, and source of the layers and the operators of kernels."""
    folders = (Path(package.__path__[0]) for package in (nn, kernels))
    source = b"".join(path.read_bytes() for folder in folders for path in sorted(folder.rglob("*.py")))
    facts = {
        "model": asdict(config),
        "shape": shape,
        "dtype": str(dtype),
        "device": str(device),
        "torch": torch.__version__,
        "kernel": os.environ.get(SWITCH),
        "threads": torch.get_num_threads(),
        "place": os.environ.get(PLACE),
        "source": sha256(source),
    }
    return cache_dir() / "compiled" / f"{digest(facts)[:32]}.known"


def note(mark: Path) -> None:
    """Remember that it is so now; a cache that cannot be written to is no error."""
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
