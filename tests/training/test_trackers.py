"""The trackers of the package, with their own libraries and offline: killed and resumed, a run is there once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from aeattn.data import tales
from aeattn.training.tracker import Tracked
from aeattn.training.trackers import TensorBoard
from tests.faults.harness import ROOT, TINY
from tests.training.tracked import in_tensorboard

NAMES = [name for name in ("tensorboard", "wandb", "mlflow", "trackio") if find_spec(name)]
KILL = """
import json, os, signal, time
import aeattn

def steps(folder):
    return [json.loads(note.read_text())["step"] for note in folder.glob("*.json")]

@aeattn.register_hook
class Kill(aeattn.Hook):
    def after_update(self, trainer):
        step, names = trainer.state.step, trainer.config.track
        if "KILL_IN" not in os.environ or step not in (8, 15):
            return
        from pathlib import Path
        folder, end = Path(os.environ["KILL_IN"]) / "tracking", time.monotonic() + 120
        while step == 8 and (len(steps(folder)) < len(names) or min(steps(folder)) < 8) and time.monotonic() < end:
            time.sleep(0.05)
        if step == 15:
            os.kill(os.getpid(), signal.SIGKILL)
"""
SETTINGS = [*TINY, "--steps", "20", "--checkpoint-every", "6", "--eval-every", "4", "--sample-every", "7",
            "--set", "training.sample_chars=9", "--set", "training.eval_chars=100"]  # fmt: skip


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run that was killed at step 15, three steps behind its last checkpoint, and has gone on: its lines, its
    samples, its folder, and what each tracker has of it."""
    folder = tmp_path_factory.mktemp("tracked")
    out, text = folder / "run", folder / "text.txt"
    text.write_text(tales.generate(3_000)[0])
    (plugin := folder / "kill.py").write_text(KILL)
    env = {
        **os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "offline", "TRACKIO_DIR": str(folder / "trackio"), "HF_HUB_OFFLINE": "1",
        "MLFLOW_TRACKING_URI": (folder / "mlflow").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true",
    }  # fmt: skip
    command = [sys.executable, "-m", "aeattn", "train", str(text), *SETTINGS, "--plugin", str(plugin), "--out",
               str(out), *(f"--track={name}" for name in NAMES)]  # fmt: skip
    killed = subprocess.run(
        command, env={**env, "KILL_IN": str(out)}, cwd=folder, capture_output=True, timeout=200
    )
    assert killed.returncode == -9, killed.stderr
    again = subprocess.run(
        [sys.executable, "-m", "tests.training.tracked", str(out), *NAMES],
        env=env, cwd=folder, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(again.stdout.splitlines()[-1])
    assert found["code"] == 0
    assert "warning" not in again.stderr, again.stderr
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    pieces = (out / "samples.txt").read_text().split("--- step ")[1:]
    samples = {int(piece.partition("\n")[0]): piece.partition("\n")[2].removesuffix("\n\n") for piece in pieces}
    config = json.loads((out / "config.json").read_text())
    return {**found, "lines": lines, "samples": samples, "config": config, "folder": out}


@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_there_once(name: str, resumed: dict[str, Any]) -> None:
    wanted = {(line["step"], key): line[key] for line in resumed["lines"] for key in line if key != "step"}
    names = {key for _, key in wanted}
    found = [((entry["step"], key), entry[key]) for entry in resumed[name] for key in entry if key in names]
    assert not [key for key, times in Counter(key for key, _ in found).items() if times > 1]
    assert {key for key, _ in found} == set(wanted)
    for key, value in found:
        if key[1] != "seconds":  # of steps that were made twice, those of the first time
            assert value == pytest.approx(wanted[key], rel=1e-6), key


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_is_there_once(name: str, resumed: dict[str, Any]) -> None:
    samples = [(entry["step"], entry["sample"]) for entry in resumed[name] if "sample" in entry]
    if name in ("tensorboard", "trackio"):  # as code in Markdown
        samples = [(step, "\n".join(line[4:] for line in text.split("\n"))) for step, text in samples]
    assert len(samples) == len(resumed["samples"]) == 3
    assert dict(samples) == resumed["samples"]


def test_config_and_environment_go_with_them(resumed: dict[str, Any]) -> None:
    width = resumed["config"]["model"]["d_model"]
    for name in NAMES:
        entries = resumed[name]
        configs = [entry["config"] for entry in entries if "config" in entry]
        if name == "tensorboard":
            [text] = [entry["environment"] for entry in entries if "environment" in entry][-1:]
            config, environment = json.loads(configs[-1]), json.loads(text)
            assert config["model"]["d_model"] == width
            assert "torch" in environment["packages"]
        elif name == "mlflow":
            [config] = configs  # one run
            assert config["model.d_model"] == str(width)
            [tags] = [entry["tags"] for entry in entries if "tags" in entry]
            assert "environment.packages.torch" in tags
            assert {"step": 0, "status": "FINISHED"} in entries
        elif name == "trackio":
            [config] = configs
            assert config["model"]["d_model"] == width
            assert "torch" in config["environment"]["packages"]
        else:
            merged: dict[str, Any] = {}
            for config in configs:
                merged |= config
            assert merged["model"]["d_model"] == width
            assert "torch" in merged["environment"]["packages"]
            [identity] = {entry["id"] for entry in entries if "id" in entry}  # two processes, one run
            note = json.loads((resumed["folder"] / "tracking" / "wandb.json").read_text())
            assert note["id"] == identity


def test_what_was_sent_and_not_noted_is_not_sent_again(tmp_path: Path) -> None:
    """TensorBoard passes over numbers of steps that are made again, but not over texts."""
    pytest.importorskip("tensorboard")
    run = Tracked("0" * 32, "run", None, tmp_path / "tracking", 0, {}, {})
    for step in (0, 13):
        tracker = TensorBoard()
        tracker.begin(replace(run, step=step))
        for sent in (7, 14) if step == 0 else (14, 21):
            tracker.log(sent, {"loss": 1.0 * sent}, f"sample {sent}")
        tracker.end(True)
    found = in_tensorboard(tmp_path)
    assert [entry["step"] for entry in found if "sample" in entry] == [7, 14, 21]
    assert [entry["step"] for entry in found if "loss" in entry] == [7, 14, 21]
