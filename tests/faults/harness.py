"""Small runs, faults done to them, and whether they end as if nothing had been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load

from aeattn.data import tales

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("AEATTN_FAULTS") == "full"
TINY = ["--d-model", "16", "--n-heads", "2", "--bottleneck", "4", "--d-ff", "24", "--n-layers", "1",
        "--context", "16", "--batch", "2", "--compile", "off", "--precision", "fp32", "--device", "cpu",
        "--quiet"]  # fmt: skip
USUAL = [
    "--steps",
    "12",
    "--checkpoint-every",
    "4",
    "--eval-every",
    "3",
    "--sample-every",
    "5",
    "--dropout",
    "0.1",
]


@dataclass
class Result:
    """What came of a command: exit code (negative: the signal), file events, what it said."""

    code: int
    events: list[str]
    output: str
    errors: str

    @property
    def complaint(self) -> str:
        """The one line of a refusal or a failure."""
        lines = [line for line in self.errors.strip().splitlines() if line.startswith("aeattn: ")]
        assert "Traceback" not in self.errors, self.errors
        assert len(lines) == 1, self.errors
        return lines[0]


class Server:
    """Runs `aeattn` in children of a process that has everything imported."""

    def __init__(self, cache: Path) -> None:
        here = {
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "OMP_NUM_THREADS": "1",
            "AEATTN_CACHE": str(cache),
        }
        command = [sys.executable, "-m", "tests.faults.server"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **here}, cwd=ROOT
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def run(self, folder: Path, *arguments: str, **faults: Any) -> Result:
        """`aeattn` with these arguments; `faults` as in `server.py`. Events are those of `folder`."""
        return self.wait(self.start(folder, *arguments, **faults))

    def start(self, folder: Path, *arguments: str, **faults: Any) -> int:
        """The same, without waiting for its end; returns the process id."""
        return int(self._ask({"folder": str(folder), "arguments": arguments, **faults})["pid"])

    def wait(self, pid: int) -> Result:
        return Result(**self._ask({"wait": pid}))

    def _ask(self, task: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(task), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        self.process.communicate()


@dataclass
class Bench:
    """A text to train on, and the server."""

    server: Server
    text: Path
    finished: dict[tuple[str, ...], Path] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, cache: Path) -> Self:
        text = folder / "text.txt"
        text.write_text(tales.generate(6_000)[0])
        (folder / "brief.toml").write_text("[training]\nsample_chars = 8\neval_chars = 100\nspike_every = 3\n")
        return cls(Server(cache), text)

    def train(self, out: Path, settings: list[str] = USUAL, **faults: Any) -> Result:
        return self.server.wait(self.start(out, settings, **faults))

    def start(self, out: Path, settings: list[str] = USUAL, **faults: Any) -> int:
        """The process id of a training that has begun."""
        config = str(self.text.with_name("brief.toml"))
        paths = ("train", str(self.text), "--config", config, "--out", str(out))
        return self.server.start(out, *paths, *TINY, *settings, **faults)

    def resume(self, out: Path, *more: str, **faults: Any) -> Result:
        return self.server.run(out, "resume", str(out), "--quiet", *more, **faults)

    def whole(self, settings: list[str] = USUAL) -> Path:
        """An uninterrupted run with these settings, trained once."""
        key = tuple(settings)
        if key not in self.finished:
            out = self.text.parent / f"whole-{len(self.finished)}"
            result = self.train(out, settings)
            assert result.code == 0, result.errors
            self.finished[key] = out
        return self.finished[key]

    def go_on(self, out: Path, settings: list[str] = USUAL) -> Result:
        """Resume; where the fault came before there was a run, start again, as the refusal says."""
        result = self.resume(out)
        if result.code == 2 and (
            "start it again" in result.complaint or "config.json is not there" in result.complaint
        ):
            result = self.train(out, settings)
        return result


def difference(run: Path, whole: Path) -> float:
    """The largest difference between the numbers of two finished runs: weights, optimizers' state, random state,
    losses. Infinity where something else differs: files, checkpoints, samples, the order of metrics."""
    files = [sorted(str(p.relative_to(r)) for p in r.rglob("*")) for r in (run, whole)]
    if files[0] != files[1]:
        return float("inf")
    return max(_file_difference(run / name, whole / name) for name in files[0] if (run / name).is_file())


def _file_difference(ours: Path, theirs: Path) -> float:
    if ours.name == "metrics.jsonl":
        return _metrics_difference(ours, theirs)
    if ours.name in ("environment.json", "learning_curve.png", "config.json"):
        return 0.0  # commands and dates; drawn from the metrics; compared with the checkpoint's copy
    if ours.name == "state.json":
        same = _timeless(json.loads(ours.read_text())) == _timeless(json.loads(theirs.read_text()))
        return 0.0 if same else float("inf")
    if ours.read_bytes() == theirs.read_bytes():
        return 0.0
    return _tensor_difference(ours, theirs) if ours.suffix == ".safetensors" else float("inf")


def _timeless(state: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in state.items() if k not in ("seconds", "files", "checksum")}


def _metrics_difference(ours: Path, theirs: Path) -> float:
    pairs = [[json.loads(line) for line in p.read_text().splitlines()] for p in (ours, theirs)]
    if [sorted(a) for a in pairs[0]] != [sorted(b) for b in pairs[1]]:
        return float("inf")
    numbers = [abs(a[k] - b[k]) for a, b in zip(*pairs, strict=True) for k in a if k != "seconds"]
    return max(numbers, default=0.0)


def _tensor_difference(ours: Path, theirs: Path) -> float:
    a, b = load(ours.read_bytes()), load(theirs.read_bytes())
    if a.keys() != b.keys():
        return float("inf")
    differences = [(a[k].double() - b[k].double()).abs().max().item() for k in a if a[k].shape == b[k].shape]
    return max(differences) if len(differences) == len(a) and torch.tensor(differences).any() else float("inf")


def leftovers(run: Path) -> list[Path]:
    """Temporary files and folders."""
    return list(run.rglob(".*"))
