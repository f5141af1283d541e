"""How fast each arm of a comparison trains: `python -m aeattn.benchmarks.steps DIR`.

Arms take a step in turn, each with its own settings, on random text; `DIR/steps.json` keeps what was found, for
`aeattn report`, where the runs themselves shared the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from aeattn import hardware
from aeattn.benchmarks.arms import run
from aeattn.benchmarks.timing import Say, alternate
from aeattn.benchmarks.train import step_of
from aeattn.compare.declaration import Declaration
from aeattn.compare.folder import Folder
from aeattn.compare.results import StepSpeeds
from aeattn.compare.worker import environment
from aeattn.config.run import RunConfig
from aeattn.errors import InputError
from aeattn.files import write_json

ROUNDS = 200


def measure(configs: Mapping[str, RunConfig], rounds: int = ROUNDS, say: Say = lambda _: None) -> StepSpeeds:
    """Characters a second of a step of each config, one a round."""
    hardware.keep_freed_memory()
    found = alternate({id: step_of(config).work for id, config in configs.items()}, rounds, say)
    return StepSpeeds({id: rates.rounds for id, rates in found.items()}, environment())


def main(folder: Folder, declaration: Declaration) -> None:
    others = [arm.id for arm in declaration.arms if arm.run_config.data.tokenizer != "char"]
    if others:
        raise InputError(f"{folder.path}: steps are timed on random characters, but subwords are read by "
                         f"{', '.join(others)}: name a comparison of characters")  # fmt: skip
    found = measure({arm.id: arm.run_config for arm in declaration.arms}, say=lambda text: print(text, flush=True))
    write_json(folder.steps, found.to_dict())


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:]))
