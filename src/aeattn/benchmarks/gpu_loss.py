"""How many minutes training takes to the loss that nanoGPT's README gives for a GPU, on tiny Shakespeare.

    python -m aeattn.benchmarks.gpu_loss        writes results/speed/gpu-loss.json

From a standing start: one command, with nothing compiled beforehand and no text read. Its seconds are those of all
of it; its loss is that of the last evaluation, on the whole validation text. `$AEATTN_CORPORA` must hold the text,
or the network be there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from aeattn.benchmarks.records import checkout
from aeattn.benchmarks.time_to_loss import timed_training
from aeattn.files import Json, write_json
from aeattn.hardware import describe

NANOGPT_NATS = 1.4697  # best validation of config/train_shakespeare_char.py, after some three minutes of an A100
COMMAND = [
    "train", "shakespeare", "--preset", "460k-best", "--context", "2048", "--window", "256", "--batch", "16",
    "--chars", "4000000", "--weight-decay", "0.1", "--sample-every", "0", "--eval-every", "0",
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    path = checkout() / "results" / "speed" / "gpu-loss.json"
    with tempfile.TemporaryDirectory() as folder:
        write_json(path, measure(Path(folder), COMMAND))
    print(path.read_text(encoding="utf-8"))
    return 0


def measure(folder: Path, command: list[str]) -> Json:
    """Call `aeattn` with these arguments, its run and an empty cache in a folder: what it took and reached."""
    seconds, points = timed_training(command, folder / "run", {"AEATTN_CACHE": str(folder / "cache")})
    last = points[-1]
    return {
        "name": "gpu-loss",
        "command": ["aeattn", *command],
        "command_seconds": seconds,
        "training_seconds": last["seconds"],
        "chars": last["chars"],
        "valid_nats": last["valid_nats"],
        "valid_chars": last["valid_chars"],
        "nanogpt_nats": NANOGPT_NATS,
        "reached": last["valid_nats"] <= NANOGPT_NATS,
        "curve": [point for point in points if "valid_nats" in point],
        "environment": describe(),
    }


if __name__ == "__main__":
    sys.exit(main())
