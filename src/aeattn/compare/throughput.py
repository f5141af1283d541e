"""Seconds an update, measured on this machine in a process of its own: `python -m aeattn.compare.throughput`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial

from aeattn.config.run import RunConfig
from aeattn.errors import InputError
from aeattn.training.compiled_cache import keep_compiled

ROUNDS = 12


def measure(
    configs: Sequence[RunConfig], environment: dict[str, str] | None = None, rounds: int = ROUNDS
) -> list[float]:
    """The least seconds of an update of each config, all of them turn by turn, after a warm-up: whatever else the
    machine does only adds to them.

    Raises InputError where one of them cannot be trained at all.
    """
    command = [sys.executable, "-m", "aeattn.compare.throughput", str(rounds)]
    given = json.dumps([config.to_dict() for config in configs])
    result = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        raise InputError((result.stderr.strip().splitlines() or ["the speed of training cannot be measured"])[-1])
    return list(json.loads(result.stdout))


def _timers(configs: Sequence[RunConfig]) -> list[Callable[[], float]]:
    from aeattn import hardware
    from aeattn.data.store import prepare
    from aeattn.training.compiling import time_updates, use_compiler
    from aeattn.training.plan import corpus_of
    from aeattn.training.trainer import Trainer

    hardware.keep_freed_memory()
    timers: list[Callable[[], float]] = []
    for config in configs:
        text = prepare(corpus_of(config.data, config.training.seed), spec=config.data.tokenizer)
        trainer = Trainer(config, text)
        use_compiler(trainer, config.training.compile == "on")
        timers.append(partial(time_updates, trainer))
    return timers


def main() -> int:
    """Read configs from standard input, write their seconds to standard output; the argument is the rounds."""
    keep_compiled()
    timers = _timers([RunConfig.from_dict(values) for values in json.load(sys.stdin)])
    for timer in timers:
        timer()
    rounds = [[timer() for timer in timers] for _ in range(int(sys.argv[1]))]
    print(json.dumps([min(times) for times in zip(*rounds, strict=True)]))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
