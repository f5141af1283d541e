"""A training as one of several processes: who says what when it ends, and with which exit code.

The main process speaks for all. What goes wrong in another one it leaves as a word for the main process, which
says it when it notices.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NoReturn

from aeattn.errors import Diverged, InputError, Lost, SlowerWarning, Stalled
from aeattn.terminal.tables import print_text, say
from aeattn.training.launch import LIFELINE, is_main
from aeattn.training.processes import Processes, connected, is_of_the_network, joined, local_rank, lost
from aeattn.training.signals import Interrupted, Stop
from aeattn.training.world import World

WORD_SECONDS = 1.0  # in which a process that has failed leaves its word

Work = Callable[[Stop, World], Sequence[str]]


def in_group(work: Work) -> int:
    """Join the others, do the work, and print in the main process what it returns; returns the exit code."""
    if not is_main():
        warnings.filterwarnings("ignore", category=SlowerWarning)
    try:
        with Stop() as stop, ExitStack() as group:
            with stop.at_once(speaks=is_main()):
                world = group.enter_context(joined())
            return _do(work, stop, world)
    except InputError as error:  # they have not met: one message a machine
        return _said(2, str(error) if local_rank() == 0 else None)
    except Interrupted as error:
        return _said(error.exit_code, str(error) if is_main() else None)


def _do(work: Work, stop: Stop, world: World) -> int:
    """What ends a process that may hear nothing more of the others ends it at once."""
    try:
        if lines := work(stop, world):
            print_text(*lines)
            sys.stdout.flush()
        return 0
    except InputError as error:  # the same in all
        return _said(2, str(error) if world.main else None)
    except (Diverged, Interrupted) as error:
        return _said(getattr(error, "exit_code", 1), str(error) if world.main else None)
    except Lost as error:
        end(1, _reason(error, world))
    except RuntimeError as error:
        if not is_of_the_network(error):
            raise
        end(1, _reason(lost(error), world))
    except (OSError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        end(1, None if _word_left(reason, world) else reason)


def _reason(error: Lost, world: World) -> str | None:
    """What the main process says of the loss of another."""
    if isinstance(error, Stalled) and _word_left(str(error), world):
        return None
    if not world.main:
        return None
    word = _word(connected(world))
    if word is None and not isinstance(error, Stalled) and LIFELINE in os.environ:
        return None  # whoever has started us knows which process it was, and says so
    return f"{word or error}: go on with `aeattn resume`"


def _word(processes: Processes | None) -> str | None:
    """What another process has said before it ended."""
    deadline = time.monotonic() + WORD_SECONDS
    while processes is not None and time.monotonic() < deadline:
        if (word := processes.word()) is not None:
            return word
        time.sleep(0.05)
    return None


def _word_left(reason: str, world: World) -> bool:
    processes = connected(world)
    return processes is not None and processes.leave_word(reason)


def _said(code: int, message: str | None) -> int:
    if message is not None:
        say(f"aeattn: {' '.join(message.split())}")
    return code


def end(code: int, message: str | None = None) -> NoReturn:
    """Say the last word, and end at once: a thread of PyTorch's that wakes while Python winds up aborts a process
    that has done all its work."""
    _said(code, message)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
