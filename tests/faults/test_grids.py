"""A grid on Dask and on submitit, whose workers and whose driver are killed; in the full suite alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aeattn.cli import main
from aeattn.compare.folder import Folder
from tests.compare.conftest import spec_values as spec_values  # fixtures
from tests.compare.conftest import text as text
from tests.compare.test_runner import _spec
from tests.faults.harness import FULL

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.skipif(not FULL, reason="takes minutes"), pytest.mark.timeout(900)]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A scheduler and two workers that are processes."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture
def spec(tmp_path: Path, spec_values: dict[str, Any]) -> str:
    """Four runs of some seconds."""
    spec_values |= {"seeds": [1, 2], "budget": {"chars": 64 * 500}}
    spec_values["base"]["training"] |= {"eval_every": 100, "sample_every": 0}
    return _spec(tmp_path, spec_values)


def _wait_for(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _done(out: Path) -> dict[str, float]:
    """When each record that is done was written."""
    found = {path: json.loads(path.read_text()) for path in (out / "records").glob("*.json")}
    return {path.stem: path.stat().st_mtime for path, record in found.items() if record["status"] == "done"}


def _driver(spec: str, out: Path, cluster: Any) -> subprocess.Popen[str]:
    command = ["compare", spec, "--out", str(out), "--on", f"dask:{cluster.scheduler_address}"]
    return subprocess.Popen(
        [sys.executable, "-m", "aeattn", *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def test_a_worker_that_is_killed_costs_no_run(
    spec: str, tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    def kill() -> None:
        with distributed.Client(cluster, set_as_default=False) as client:
            _wait_for(lambda: any(client.processing().values()))
            time.sleep(2)
            worker, _ = next((w, tasks) for w, tasks in client.processing().items() if tasks)
            os.kill(client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    address = f"dask:{cluster.scheduler_address}"
    assert main(["compare", spec, "--out", str(out), "--on", address, "--json", "--quiet"]) == 0
    killer.join()
    assert json.loads(capsys.readouterr().out)["runs"] == {"wanted": 4, "done": 4, "failed": 0, "missing": 0}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_driver_that_is_stopped_goes_on(
    number: int, code: int, spec: str, tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    driver = _driver(spec, out, cluster)
    _wait_for(lambda: bool(_done(out)))
    driver.send_signal(number)
    _, said = driver.communicate(timeout=60)
    before = _done(out)
    assert driver.returncode == code
    assert number != signal.SIGINT or "what came home is kept, the same command goes on" in said
    with distributed.Client(cluster, set_as_default=False) as client:
        _wait_for(lambda: not any(client.processing().values()))
    address = f"dask:{cluster.scheduler_address}"
    assert main(["compare", spec, "--out", str(out), "--on", address, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"]["done"] == 4
    assert before.items() <= _done(out).items()


def test_jobs_of_submitit(spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["compare", spec, "--out", str(out), "--on", "slurm:local", "--jobs", "2", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["runs"]["done"] == 4
    assert re.search(r" left\n  final-", captured.err)
    assert {record.status for record in Folder(out).read_records()} == {"done"}
    assert not list((out / "executor").glob("*.json"))
