"""Runs as jobs of Slurm's: jobs outlive whoever handed them in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aeattn.compare.elsewhere import perform
from aeattn.compare.executors import choose
from aeattn.compare.on_slurm import MARK, Slurm, perform_in_job
from aeattn.errors import InputError
from aeattn.files import Json
from tests.compare.conftest import Declare
from tests.compare.test_elsewhere import _parcel
from tests.compare.test_elsewhere import child as child  # a fixture


class FakeJob:
    cancelled: list[str] = []  # noqa: RUF012

    def __init__(self, folder: Path, job_id: str) -> None:
        self.job_id, self.paths = job_id, SimpleNamespace(stdout=folder / f"{job_id}.out")

    def done(self) -> bool:
        return True

    def result(self) -> Json:
        return {"job": self.job_id}

    def cancel(self, check: bool) -> None:
        self.cancelled.append(self.job_id)


class FakeCluster:
    """As submitit's executor, for as many jobs as are handed in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.job_class, self._executor, self.jobs = folder, FakeJob, self, 0

    def submit(self, function: Any, parcel: Json) -> FakeJob:
        assert function is perform_in_job
        self.jobs += 1
        return FakeJob(self.folder, str(self.jobs))


def _slurm(folder: Path, cluster: FakeCluster) -> Slurm:
    executor = Slurm("local", 1, folder)
    executor._executor = cluster  # type: ignore[assignment]
    return executor


def test_a_job_is_taken_up_by_who_comes_after(declare_in: Declare, tmp_path: Path) -> None:
    parcel, job = _parcel(*declare_in())
    cluster = FakeCluster(tmp_path)
    FakeJob.cancelled.clear()
    _slurm(tmp_path, cluster).submit(perform, parcel)
    again = _slurm(tmp_path, cluster).submit(perform, {**parcel, "record": {**parcel["record"], "resumed": [5]}})
    assert again.result() == {"job": "1"}
    assert not (tmp_path / f"{job.name}.json").exists()  # what came home is not taken up again
    assert _slurm(tmp_path, cluster).submit(perform, parcel).result() == {"job": "2"}
    _slurm(tmp_path, cluster).submit(perform, parcel)
    _slurm(tmp_path, cluster).submit(perform, parcel | {"versions": {"commit": "another"}}).cancel()
    assert FakeJob.cancelled == ["3", "4"]


def test_where_a_job_stands_is_read_from_what_it_prints(
    declare_in: Declare, child: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child()
    parcel, job = _parcel(*declare_in())
    executor = _slurm(tmp_path, FakeCluster(tmp_path))
    executor.submit(perform, parcel)
    assert list(executor.heard()) == []
    assert perform_in_job(parcel)["code"] == 0
    printed = capsys.readouterr().out
    for content in ("submitit says", f"{MARK}{{half of"):
        (tmp_path / "1.out").write_text(content)
        executor._next = 0.0
        assert list(executor.heard()) == []
    (tmp_path / "1.out").write_text(f"submitit says\n{printed}the end\n")
    executor._next = 0.0
    assert list(executor.heard()) == [(job.name, {"step": 1, "steps": 8, "chars_per_second": 5.0})]
    assert list(executor.heard()) == []  # not every time that somebody asks


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("partition", "write settings as in slurm:partition=gpu,time=600"),
        ("colour=red", "--on slurm:colour=red: "),
    ],
)
def test_settings_of_slurm(settings: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    Slurm("partition=gpu,time=600,cpus_per_task=4", 1, tmp_path)
    chosen = choose(f"slurm:{settings}")
    assert chosen is not None
    with pytest.raises(InputError, match=message):
        chosen.kind(chosen.address, 1, tmp_path)
