"""Try each extra of the package by itself: make extras

    python tools/extras.py [--wheel FILE] [--constraints FILE] [--python PYTHON] [EXTRA ...]

For each extra a fresh environment with the wheel (the one in ./dist, if not told otherwise) and that extra alone,
and there a command that needs it. Without the extra, it must say in one line which one it lacks, where that is
promised. `plain` is the wheel without any extra. Prints a line for each; ends with 1 if one failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "--d-model 16 --n-layers 1 --n-heads 2 --bottleneck 4 --d-ff 24 --context 16 --batch 2 --steps 8 "
    "--compile off --precision fp32 --device cpu --quiet"
)
TRAIN = f"aeattn train text.txt {SMALL} --out run"
GENERATE = "aeattn generate run --chars 20"
SPEC = """
[base]
model = { d_model = 16, n_layers = 1, n_heads = 2, bottleneck = 4, d_ff = 24, context = 16 }
training = { batch = 2, compile = "off", device = "cpu", precision = "fp32", eval_chars = 64, sample_every = 0 }
data = { corpus = ["text.txt"] }
[budget]
chars = 128
[arms.standard]
model = { query = "linear", key = "linear", value = "linear" }
[arms.ours]
"""
SEARCH = """
[tuning]
search = "optuna"
trials = 2
seeds = [11]
space = { "training.learning_rate" = [1e-3, 1e-1] }
"""
BENCH = "aeattn bench generate --chars 1 --batch 1 --rounds 1 --no-long --json"
TOKENS = f"aeattn train text.txt {SMALL} --tokenizer bpe:260 --out run"
STUDY = "aeattn compare searched.toml --out study --quiet"
HARNESS = (
    "aeattn evaluate run text.txt --harness task && lm_eval --model hf --device cpu "
    "--model_args pretrained=out,trust_remote_code=True --include_path task --tasks aeattn_text"
)
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
COMMANDS = {
    "plain": f"{TRAIN} && {GENERATE} && aeattn evaluate run text.txt && aeattn compare spec.toml --out c --quiet",
    "fast": f"{TRAIN} && {GENERATE}",
    "bench": BENCH,
    "data": TOKENS,
    "bookcorpus": TOKENS,
    "hf": f"{TRAIN} && aeattn export run --to hf out",
    "eval": f"{TRAIN} && aeattn export run --to hf out && {HARNESS}",
    "onnx": f"{TRAIN} && aeattn export run --to onnx out",
    "cluster": "aeattn compare spec.toml --on dask --out c --quiet",
    "optuna": STUDY,
    "compare": STUDY,
    "docs": f"python {ROOT / 'tools' / 'site.py'} --out site",
    **{name: f"{TRAIN} --track {name}" for name in TRACKERS},
    "track": f"{TRAIN} --track {','.join(TRACKERS)}",
    "dev": "pytest --version && ruff --version && mypy --version",
}
REFUSED = ("data", "hf", "onnx", "cluster", "optuna", *TRACKERS)  # without them, in one line


def main() -> int:
    parser = argparse.ArgumentParser(description="Try each extra of the package by itself.")
    parser.add_argument("extra", nargs="*", help="which (default: all but dev)")
    parser.add_argument("--wheel", type=Path, help="the wheel (default: the one in ./dist)")
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt", help="versions")
    parser.add_argument("--python", default=sys.executable, help="which Python makes the environments")
    options = parser.parse_args()
    wheel = options.wheel or next(iter(sorted((ROOT / "dist").glob("*.whl"))), None)
    if wheel is None:
        parser.error("there is no wheel in dist: make package, or name one with --wheel")
    names = options.extra or ["plain", *(name for name in declared() if name != "dev")]
    if unknown := [name for name in names if name not in ("plain", *declared())]:
        parser.error(f"there is no extra {unknown[0]}: choose from plain, {', '.join(declared())}")
    with tempfile.TemporaryDirectory(prefix="extras-") as folder:
        place = Place(Path(folder), wheel.resolve(), options.constraints.resolve(), options.python)
        failed = [name for name in names if not tried(name, place)]
    return 1 if failed else 0


def declared() -> list[str]:
    """The extras of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["optional-dependencies"])


class Place:
    """An environment that has the wheel alone, of which each extra gets a copy under the same path."""

    def __init__(self, folder: Path, wheel: Path, constraints: Path, python: str) -> None:
        self.wheel, self.env, self.desk, self.plain = wheel, folder / "env", folder / "desk", folder / "plain"
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        self.environment = {
            **kept, "WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
            "PATH": f"{self.env / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "AEATTN_CACHE": str(folder / "cache"), "TRACKIO_DIR": str(folder / "trackio"),
        }  # fmt: skip
        self.pip = f"python -m pip install --quiet --disable-pip-version-check --constraint {constraints}"
        self.desk.mkdir()
        self.run(f"{python} -m venv {self.env}")
        self.run(f"{self.pip} '{wheel}'")
        self.env.rename(self.plain)

    def renew(self) -> None:
        """The environment without extras, and a desk with a text and specs alone."""
        for path in (self.env, self.desk):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.plain, self.env, symlinks=True, copy_function=os.link)  # pip replaces, never rewrites
        self.desk.mkdir()
        (self.desk / "text.txt").write_text("The fox saw a hen. The hen saw the fox, and ran. " * 60)
        (self.desk / "spec.toml").write_text(SPEC)
        (self.desk / "searched.toml").write_text(SPEC + SEARCH)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, shell=True, cwd=self.desk, env=self.environment, check=True, capture_output=True, text=True
        )


def tried(name: str, place: Place) -> bool:
    """Whether the extra installs and its command works in an environment of its own."""
    started = time.monotonic()
    try:
        what = _try(name, place)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()[-5:]
        what = f"failed: {error.cmd}: {' | '.join(said)}"
    print(f"{name:12} {time.monotonic() - started:5.0f} s  {what}", flush=True)
    return not what.startswith("failed")


def _try(name: str, place: Place) -> str:
    place.renew()
    refused = _refusal(name, place) if name in REFUSED else ""
    if name != "plain":
        place.run(f"{place.pip} '{place.wheel}[{name}]'")
    place.run("python -m pip check")
    place.run("aeattn --version")
    if name not in COMMANDS:
        return "failed: it installs, and no command that needs it is known here"
    shutil.rmtree(place.desk / "run", ignore_errors=True)
    said = place.run(COMMANDS[name]).stderr.splitlines()
    if lines := [line for line in said if "warning: tracker " in line]:
        return f"failed: {lines[0]}"
    return f"works: {COMMANDS[name].replace(SMALL, '...')}{refused}"


def _refusal(name: str, place: Place) -> str:
    """What is said where the extra is missing: one line that names it."""
    try:
        place.run(COMMANDS[name])
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("aeattn")]
        if error.returncode == 2 and len(lines) == 1 and "autoencoder-attention[" in lines[0]:
            return "; refused without it"
        raise
    raise subprocess.CalledProcessError(0, COMMANDS[name], stderr="it works without the extra")


if __name__ == "__main__":
    sys.exit(main())
