"""A process that has everything imported and forks a child for each command, so that a fault costs no second.

One JSON object a line on standard input: `arguments` of `aeattn`, and what is to be done to the child; the answer
is its `pid`. Or `wait` for a pid; the answer: its exit `code` (negative: the signal that ended it), its file
`events`, `output`, `errors`. Only a few kilobytes each: nobody reads while it runs.
The children are real processes, and die of a real SIGKILL.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.faults import events


def serve() -> None:
    for name in ("matplotlib.figure", "torch._dynamo", "torch.distributed.tensor", "aeattn.cli.train",
                 "aeattn.training.evaluate_run", "aeattn.training.start", "aeattn.cli.finish"):  # fmt: skip
        importlib.import_module(name)
    print("ready", flush=True)
    children: dict[int, _Child] = {}
    for line in sys.stdin:
        task = json.loads(line)
        if "wait" in task:
            answer = children.pop(task["wait"]).wait()
        else:
            child = _Child(task)
            children[child.pid] = child
            answer = {"pid": child.pid}
        print(json.dumps(answer), flush=True)


class _Child:
    """A fork of this process that runs one command. It talks through pipes, which no limit on files concerns."""

    NAMES = ("output", "errors", "events")

    def __init__(self, task: dict[str, Any]) -> None:
        ends = {name: os.pipe() for name in self.NAMES}
        self.pid = os.fork()
        if self.pid == 0:
            _be_child(task, {name: write for name, (_, write) in ends.items()})
        for _, write in ends.values():
            os.close(write)
        self.ends = {name: read for name, (read, _) in ends.items()}

    def wait(self) -> dict[str, Any]:
        _, status = os.waitpid(self.pid, 0)
        texts = {}
        for name, read in self.ends.items():
            with os.fdopen(read, errors="replace") as file:
                texts[name] = file.read()
        labels = texts.pop("events").splitlines()
        return {"code": os.waitstatus_to_exitcode(status), **texts, "events": labels}


def _be_child(task: dict[str, Any], ends: dict[str, int]) -> None:
    code = 99
    try:
        os.dup2(ends["output"], 1)
        os.dup2(_pipe_without_reader() if task.get("deaf") else ends["errors"], 2)
        _limit(task)
        events.watch(Path(task["folder"]), task.get("kill_at"), ends["events"])
        if "kill_after" in task:
            threading.Thread(target=_kill_after, args=(task["kill_after"],), daemon=True).start()
        if task.get("brief", True):  # without the picture and the passage at the end, which take most of the time
            _patch("aeattn.cli.finish:finish", lambda training, score: [])
        if "kill_at_update" in task:
            _kill_at_update(task["kill_at_update"], task.get("settled", False))
        for name, method in (("update_seconds", "_gradients"), ("micro_batch_seconds", "plain_loss")):
            if name in task:
                _slow(method, task[name])
        if "signal_in" in task:
            _signal_in(*task["signal_in"])
        for name, value in task.get("patch", {}).items():
            _patch(name, value)
        from aeattn.cli import main

        code = main(task["arguments"])
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _pipe_without_reader() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


def _limit(task: dict[str, Any]) -> None:
    if megabytes := task.get("memory_mb"):
        here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (here + megabytes * 2**20,) * 2)
    if size := task.get("file_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _kill_at_update(number: int, settled: bool) -> None:
    """Die between the gradient of update `number`, counted from 0 with those that are only timed, and its use;
    `settled`: when the last checkpoint is on the disk."""
    from aeattn.training.saving import Save
    from aeattn.training.trainer import Trainer

    real, calls = Trainer._gradients, iter(range(number))

    def gradients(self: Trainer, windows: Any) -> float:
        loss = real(self, windows)
        if next(calls, None) is None:
            if settled:
                next(hook for hook in self.hooks if isinstance(hook, Save)).wait()
            os.kill(os.getpid(), 9)
        return loss

    _patch("aeattn.training.trainer:Trainer._gradients", gradients)


def _signal_in(name: str, call: int, number: int) -> None:
    """Send the signal in the middle of a call, counted from 0, of what `module:attribute` names; exit with 97
    where it is not heard, or else go on as the handler has it."""
    module, _, path = name.partition(":")
    real: Any = importlib.import_module(module)
    for part in path.split("."):
        real = getattr(real, part)
    calls = iter(range(call))

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if next(calls, None) is None:
            threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
            time.sleep(20)
            os._exit(97)
        return real(*arguments, **options)

    _patch(name, interrupted)


def _slow(method: str, seconds: float) -> None:
    """Have a method of the trainer take so long."""
    from aeattn.training.trainer import Trainer

    real = getattr(Trainer, method)

    def slow(self: Trainer, *arguments: Any) -> Any:
        time.sleep(seconds)
        return real(self, *arguments)

    _patch(f"aeattn.training.trainer:Trainer.{method}", slow)


def _kill_after(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), 9)


def _patch(name: str, value: Any) -> None:
    """Set what `module:attribute.attribute` names, as seen by the child alone."""
    module, _, path = name.partition(":")
    owner: Any = importlib.import_module(module)
    *first, last = path.split(".")
    for part in first:
        owner = getattr(owner, part)
    setattr(owner, last, value)


if __name__ == "__main__":
    serve()
