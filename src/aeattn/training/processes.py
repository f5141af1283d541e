"""Several processes that train one model, by torch.distributed: how they meet, what they tell each other, and what
is said when one of them is gone. torchrun starts them, or `aeattn train --processes N` (`launch.py`), or a
scheduler that sets torchrun's variables.

CPU tensors travel by gloo, those of GPUs by NCCL.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from aeattn.errors import InputError, Lost, Stalled
from aeattn.training.launch import LIFELINE, PATIENCE, patience, size_of_group
from aeattn.training.world import ALONE, World

T = TypeVar("T")
FAILURE = "aeattn/failure"  # where a process leaves what went wrong, for the main one to say


@dataclass(frozen=True)
class Processes(World):
    """One of several processes that hear of each other. `control` carries what is no gradient: it works for values
    on the CPU, whatever the device."""

    control: Any = None
    store: Any = None

    def gather(self, value: T) -> list[T]:
        found: list[Any] = [None] * self.size
        with hearing():
            dist.all_gather_object(found, value, group=self.control)
        return found

    def on_main(self, work: Callable[[], T]) -> T:
        said = self._outcome(work) if self.main else None
        box: list[Any] = [said]
        with hearing():
            dist.broadcast_object_list(box, src=0, group=self.control)
        result, wrong = box[0] if said is None else said
        if wrong is not None:
            raise InputError(wrong)
        return result  # type: ignore[return-value]

    def agreed(self, work: Callable[[], T]) -> T:
        result, wrong = self._outcome(work)
        complaints = self.gather(wrong)
        if (first := next((c for c in complaints if c is not None), None)) is not None:
            rank = complaints.index(first)
            everywhere = rank == 0 and all(c is not None for c in complaints)
            raise InputError(first if everywhere else f"process {rank} of {self.size}: {first}")
        return result  # type: ignore[return-value]

    @staticmethod
    def _outcome(work: Callable[[], T]) -> tuple[T | None, str | None]:
        try:
            return work(), None
        except InputError as error:
            return None, str(error)

    # -- tensors -----------------------------------------------------------------------------------------

    def add_up(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all processes."""
        with hearing():
            dist.all_reduce(tensor, group=self.control if tensor.device.type == "cpu" else None)

    def collect(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of each process, by rank; all have one shape."""
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        with hearing():
            dist.all_gather(found, tensor, group=self.control if tensor.device.type == "cpu" else None)
        return found

    # -- the end -----------------------------------------------------------------------------------------

    def leave_word(self, reason: str) -> bool:
        """Tell the main process, before this one ends, why; whether that could be done."""
        if self.main or self.store is None:
            return False
        with suppress(Exception):
            self.store.set(FAILURE, f"process {self.rank} of {self.size}: {reason}")
            return True
        return False

    def word(self) -> str | None:
        """What a process has said before it ended."""
        with suppress(Exception):
            if self.store is not None and self.store.check([FAILURE]):
                return str(self.store.get(FAILURE).decode())
        return None


@contextmanager
def hearing() -> Iterator[None]:
    """Raise Lost, or Stalled, for what torch.distributed says where another process is gone or silent."""
    try:
        yield
    except RuntimeError as error:  # all that gloo and NCCL raise
        raise lost(error) from error


def lost(error: RuntimeError) -> Lost:
    """What torch.distributed says, in our words."""
    if "imed out" in str(error) or "imeout" in str(error):
        return Stalled(
            f"another process has not answered for {patience():g} seconds: look at the network and at the slowest "
            f"machine (${PATIENCE} sets that time)"
        )
    return Lost("the connection to another process was lost")


def is_of_the_network(error: RuntimeError) -> bool:
    """Whether gloo or NCCL raised it, inside of what PyTorch does by itself with a model in parts."""
    return any(name in str(error) for name in ("gloo", "NCCL", "onnection closed", "onnection reset"))


def connected(world: World) -> Processes | None:
    """The world, if there is anyone else to talk to."""
    return world if isinstance(world, Processes) else None


# -- how they meet --------------------------------------------------------------------------------------------


@contextmanager
def joined() -> Iterator[World]:
    """The world that the environment speaks of: that of torchrun's variables, or this process alone.

    Raises InputError where the others do not come in time, or where the address is not to be had.
    """
    size = size_of_group()
    if size == 1:
        yield ALONE
        return
    _watch_lifeline()
    _meet(size)
    try:
        yield current()
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()


def current() -> World:
    """The world of torch.distributed as it is: whoever calls from Python may have joined one already."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return ALONE
    control = None if dist.get_backend() in ("gloo", "undefined") else _by_gloo()
    store = getattr(dist.distributed_c10d, "_get_default_store", lambda: None)()
    return Processes(dist.get_rank(), dist.get_world_size(), control, store)


def _by_gloo() -> Any:
    return dist.new_group(backend="gloo", timeout=timedelta(seconds=patience()))


def _meet(size: int) -> None:
    wait, where = timedelta(seconds=patience()), f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    begun = time.monotonic()
    try:
        store, rank, size = next(rendezvous("env://", timeout=wait))
        store = PrefixStore(meeting(store, rank, size, wait.total_seconds()), store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=wait)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        if "EADDRINUSE" in reason or "ddress already in use" in reason:
            raise InputError(
                f"{where} is in use: choose another port (MASTER_PORT, or torchrun --master-port)"
            ) from error
        raise InputError(
            f"the {size} processes have not met at {where} after {time.monotonic() - begun:.0f} seconds: start "
            f"all of them, with the same MASTER_ADDR and MASTER_PORT, or wait longer (${PATIENCE}); {reason[:150]}"
        ) from error


def meeting(store: Store, rank: int, size: int, seconds: float) -> str:
    """A name that only those have who meet now: torchrun gives a training that it restarts the store of the one
    before, where the addresses of dead processes stand (PyTorch 2.13), and counts restarts by machine.

    Each process sets a nonce, and the main one replies to it with the name until all have acknowledged that, so
    that the reply to a nonce of the dead is followed by one to that of the living. Raises RuntimeError after so
    many seconds.
    """
    deadline, mine = time.monotonic() + seconds, uuid.uuid4().hex
    others = range(1, size)

    def read(key: str) -> str:
        return store.get(key).decode() if store.check([key]) else ""

    def wait() -> None:
        if time.monotonic() > deadline:
            raise RuntimeError("timed out")
        time.sleep(0.01)

    if rank > 0:
        store.set(f"aeattn/nonce/{rank}", mine)
        while not (reply := read(f"aeattn/reply/{rank}")).startswith(mine):
            wait()
        name = reply.removeprefix(mine)
        store.set(f"aeattn/acknowledged/{name}/{rank}", "")
        return name
    while not all(store.check([f"aeattn/acknowledged/{mine}/{other}"]) for other in others):
        for other in others:
            if nonce := read(f"aeattn/nonce/{other}"):
                store.set(f"aeattn/reply/{other}", nonce + mine)
        wait()
    return mine


def local_rank() -> int:
    """The number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def check_device(device: torch.device, world: World) -> None:
    """Raise InputError for more processes than GPUs on this machine."""
    if device.type == "cuda" and world.size > 1 and (there := torch.cuda.device_count()) <= local_rank():
        raise InputError(
            f"this machine has {there} GPU(s), and process {local_rank()} of it has none: start at most {there} a "
            "machine, or train with --device cpu"
        )


def _watch_lifeline() -> None:
    """Stop, as by SIGTERM, when whoever has started us with a pipe is gone, however that came."""
    import signal

    if (descriptor := os.environ.get(LIFELINE)) is None:
        return

    def watch(end: int) -> None:
        with suppress(OSError):
            os.read(end, 1)
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, args=(int(descriptor),), daemon=True).start()


# -- whether all train the same -------------------------------------------------------------------------------


def check_alike(world: World, facts: Any, differences: Callable[[Any, Any], Sequence[str]]) -> None:
    """Raise InputError, in all, where the facts of one differ from those of the main process."""
    first, *others = world.gather(facts)
    for rank, theirs in enumerate(others, 1):
        if found := differences(first, theirs):
            raise InputError(
                f"process {rank} of {world.size} does not train what process 0 does: {'; '.join(found[:4])}: give "
                "all the same texts, settings and versions"
            )
