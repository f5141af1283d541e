"""Real processes: together they train as one does, go on as one, and end together. What takes longer is in
tests/faults/test_processes.py."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aeattn.cli import main
from aeattn.data import tales

ROOT = Path(__file__).parents[2]
TINY = ["--d-model", "16", "--n-heads", "2", "--bottleneck", "4", "--d-ff", "24", "--n-layers", "1", "--context",
        "16", "--batch", "4", "--compile", "off", "--precision", "fp32", "--device", "cpu", "--quiet", "--dropout",
        "0.1", "--eval-every", "5", "--sample-every", "0", "--set", "training.eval_chars=600"]  # fmt: skip


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}", "OMP_NUM_THREADS": "1", **more}


def ranks(size: int, **more: str) -> list[dict[str, str]]:
    """What torchrun sets, for each process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meet = {"WORLD_SIZE": f"{size}", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}", **more}
    return [environment(RANK=f"{rank}", LOCAL_RANK=f"{rank}", **meet) for rank in range(size)]


def start(arguments: list[str], env: dict[str, str], module: str = "aeattn") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", *module.split(), *arguments]
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def lines_of_ours(errors: str) -> list[str]:
    return re.findall(r"^aeattn: .*$", errors, re.MULTILINE)


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(process: subprocess.Popen[str]) -> list[int]:
    pid = process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(tales.generate(8_000)[0])
    return path


def test_torchrun_trains_as_one_process_does_and_one_goes_on(text: Path, tmp_path: Path) -> None:
    settings = ["train", str(text), *TINY, "--steps", "20", "--checkpoint-every", "10"]
    one, two = tmp_path / "one", tmp_path / "two"
    torchrun = ["--nproc-per-node", "2", "--standalone", "-m", "aeattn"]
    process = start([*torchrun, *settings, "--out", str(two)], environment(), "torch.distributed.run")
    assert main([*settings, "--out", str(one)]) == 0
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output.count("run folder: ") == 1
    _same(one, two)
    assert sorted(p.name for p in one.rglob("*")) == sorted(p.name for p in two.rglob("*"))
    shutil.rmtree(two / "checkpoints" / "step-00000020")
    assert main(["resume", str(two), "--quiet"]) == 0
    _same(one, two)


def _same(one: Path, two: Path) -> None:
    assert len(metrics(one)) == len(metrics(two)) == 20
    for ours, theirs in zip(metrics(one), metrics(two), strict=True):
        assert ours.keys() == theirs.keys()
        for name in ("train_nats", "valid_nats"):
            assert theirs.get(name) == pytest.approx(ours.get(name), abs=2e-6)
        assert ours.get("valid_chars") == theirs.get("valid_chars")


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_when_one_is_killed_all_end_with_one_message(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = ["train", str(text), *TINY, "--steps", "1000000", "--checkpoint-every", "5"]
    process = start([*settings, "--out", str(out), "--processes", "2"], environment())
    wait_for(out / "checkpoints" / "step-00000010", process)
    killed = time.monotonic()
    os.kill(children(process)[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    said = f"process 1 of 2 was ended by SIGKILL; go on with `aeattn resume {out} --processes 2`"
    assert lines_of_ours(errors) == [f"aeattn: {said}"], errors
    assert time.monotonic() - killed < 30  # seconds, not a timeout of the network
    assert main(["resume", str(out), "--quiet", "--steps", str(metrics(out)[-1]["step"] + 5)]) == 0


def test_processes_that_do_not_train_the_same_are_refused_once(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    started = [
        start(["train", str(text), *TINY, "--out", str(out), "--seed", env["RANK"]], env) for env in ranks(2)
    ]
    ended = [process.communicate(timeout=90) for process in started]
    assert [process.returncode for process in started] == [2, 2], ended
    said = lines_of_ours(ended[0][1] + ended[1][1])
    assert len(said) == 1
    assert "process 1 of 2 does not train what process 0 does: training.seed was 0, is 1" in said[0]
    assert not out.exists()


@pytest.mark.parametrize(
    ("settings", "variables", "said"),
    [
        (["--processes", "3"], {}, "3 processes cannot share a batch of 4 windows equally"),
        (["--processes", "8"], {}, "8 processes cannot share a batch of 4 windows equally"),
        (["--processes", "3"], {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "h", "MASTER_PORT": "1"},
         "--processes is 3, and torchrun has started 2"),
        ([], {"RANK": "5", "WORLD_SIZE": "2"}, "RANK is '5'"),
        ([], {"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR is not set"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_anything_starts(
    settings: list[str],
    variables: dict[str, str],
    said: str,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["train", str(text), *TINY, "--out", str(tmp_path / "run"), *settings]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
