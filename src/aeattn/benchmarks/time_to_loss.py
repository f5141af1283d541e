"""How soon training reaches the loss that nanoGPT's recipe for a CPU ends with, on tiny Shakespeare.

    python -m aeattn.benchmarks.time_to_loss --nanogpt DIR        writes results/speed/time-to-loss.json

DIR is a checkout of nanoGPT. Both train alternately, as whole commands; nanoGPT's with the options that its README
gives for a CPU, ours with the default preset, fewer steps of a smaller batch. `training` compares training time
alone, with what is compiled compiled beforehand; `command` whole commands, with nothing compiled beforehand.
`$AEATTN_CORPORA` must hold the text, or the network be there.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from aeattn.benchmarks.records import checkout
from aeattn.benchmarks.results import Spread
from aeattn.config.text import TextOptions
from aeattn.data.corpora import resolve
from aeattn.files import Json, write_json
from aeattn.hardware import describe

ITERATIONS, EVALUATED_EVERY = 2000, 250
NANOGPT = [
    "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=1",
    "--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128", "--dropout=0.0",
    f"--max_iters={ITERATIONS}", f"--lr_decay_iters={ITERATIONS}",
]  # fmt: skip
OURS = [
    "train", "shakespeare", "--steps", "280", "--batch", "8", "--context", "128",
    "--sample-every", "0", "--eval-every", "0", "--checkpoint-every", "0",
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, required=True, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    options = parser.parse_args()
    path = checkout() / "results" / "speed" / "time-to-loss.json"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "nanogpt"
        shutil.copytree(options.nanogpt, place, ignore=shutil.ignore_patterns(".git"))
        write_nanogpt_data(place / "data" / "shakespeare_char")
        warm = {"AEATTN_CACHE": str(Path(folder) / "warm")}
        ours(Path(folder) / "first", warm, "on")  # fills the compiler's cache
        rounds = [one_round(Path(folder), place, warm, number) for number in range(options.rounds)]
    write_json(path, summary(rounds))
    print(path.read_text(encoding="utf-8"))
    return 0


def one_round(folder: Path, place: Path, warm: dict[str, str], number: int) -> dict[str, dict[str, float]]:
    cold = {"AEATTN_CACHE": str(folder / f"cold-{number}")}
    found = {
        "nanogpt": nanogpt(place),
        "compiled": ours(folder / f"compiled-{number}", warm, "on"),
        "cold": ours(folder / f"plain-{number}", cold, "auto"),
    }
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def nanogpt(place: Path) -> dict[str, float]:
    """Its last validation loss, seconds of its iterations without those that evaluate, and of the command."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "train.py", *NANOGPT], cwd=place, check=True, capture_output=True, text=True
    )
    whole = time.perf_counter() - start
    loss = float(re.findall(r"step \d+: train loss [\d.]+, val loss ([\d.]+)", done.stdout)[-1])
    times = {int(n): float(ms) for n, ms in re.findall(r"iter (\d+): loss [\d.]+, time ([\d.]+)ms", done.stdout)}
    alone = [ms for n, ms in times.items() if n % EVALUATED_EVERY]
    training = statistics.mean(alone) * len(times) / 1e3
    return {"valid_nats": loss, "training_seconds": training, "command_seconds": whole}


def ours(out: Path, environment: dict[str, str], compile_: str) -> dict[str, float]:
    whole, (*_, last) = timed_training([*OURS, "--compile", compile_], out, environment, capture=True)
    return {"valid_nats": last["valid_nats"], "training_seconds": last["seconds"], "command_seconds": whole}


def timed_training(
    arguments: list[str], out: Path, environment: dict[str, str], *, capture: bool = False
) -> tuple[float, list[Json]]:
    """Train by a whole command of its own: its seconds, and the lines of its metrics."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "aeattn", *arguments, "--out", str(out)]
    subprocess.run(command, check=True, capture_output=capture, env={**os.environ, **environment})
    seconds = time.perf_counter() - start
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return seconds, [json.loads(line) for line in lines]


def write_nanogpt_data(folder: Path) -> None:
    """The text as nanoGPT's preparation writes it, which would download it."""
    corpus = resolve(["shakespeare"])
    train, valid = (
        "".join(c for d in side for c in d.chunks(TextOptions())) for side in (corpus.train, corpus.valid)
    )
    characters = sorted(set(train + valid))
    ids = {character: number for number, character in enumerate(characters)}
    for name, text in (("train", train), ("val", valid)):
        np.array([ids[c] for c in text], np.uint16).tofile(folder / f"{name}.bin")
    meta = {"vocab_size": len(ids), "itos": dict(enumerate(characters)), "stoi": ids}
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))


def summary(rounds: list[dict[str, dict[str, float]]]) -> Json:
    def share(ours: str, key: str) -> dict[str, float]:
        return asdict(Spread.of([r[ours][key] / r["nanogpt"][key] for r in rounds]))

    return {
        "name": "time-to-loss",
        "commands": {"nanogpt": ["train.py", *NANOGPT], "ours": ["aeattn", *OURS]},
        "rounds": rounds,
        "share_of_nanogpt": {"training": share("compiled", "training_seconds"),
                             "command": share("cold", "command_seconds")},
        "valid_nats": {name: [r[name]["valid_nats"] for r in rounds] for name in rounds[0]},
        "environment": describe(),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
