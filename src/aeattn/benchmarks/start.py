"""How soon a command has begun: training a shape that was trained before, `--help`, and a bad argument.

    python -m aeattn.benchmarks.start        writes results/speed/start.json

Each command is a process of its own, timed from its start, in turn. `training` ends where the first update begins,
`first step` where it is done; the compiler's cache is filled beforehand, and `cold` is what that took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from aeattn.benchmarks.records import checkout
from aeattn.benchmarks.results import Spread
from aeattn.files import write_json
from aeattn.hardware import describe

COMMAND = [sys.executable, "-m", "aeattn"]
TRAIN = [
    "train", "tales", "--batch", "64", "--steps", "2", "--compile", "on",
    "--sample-every", "0", "--eval-every", "0", "--checkpoint-every", "0",
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    options = parser.parse_args()
    path = checkout() / "results" / "speed" / "start.json"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cold = training(folder, "cold")
        rounds = []
        for number in range(options.rounds):
            answers = {"--help": answer(["--help"]), "bad argument": answer(["train", "--stepz", "3"])}
            rounds.append(training(folder, f"warm-{number}") | answers)
            print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    found = {
        "name": "start",
        "commands": {"training": ["aeattn", *TRAIN]},
        "cold": cold,
        "seconds": {name: asdict(Spread.of([each[name] for each in rounds])) for name in rounds[0]},
        "rounds": rounds,
        "environment": describe(),
    }
    write_json(path, found)
    print(path.read_text(encoding="utf-8"))
    return 0


def training(folder: Path, name: str) -> dict[str, float]:
    """Seconds until the first update begins and until it is done, with a cache that all calls share."""
    environment = {**os.environ, "AEATTN_CACHE": str(folder / "cache"), "PYTHONUNBUFFERED": "1"}
    command = [*COMMAND, *TRAIN, "--out", str(folder / name)]
    start, done = time.perf_counter(), 0.0
    with subprocess.Popen(
        command, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        for line in process.stdout or ():
            if not done and line.startswith("step"):
                done = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}")
    metrics = (folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(metrics[0])
    return {"training": done - first["seconds"] / first["step"], "first step": done}


def answer(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([*COMMAND, *arguments], capture_output=True, check=False)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
