"""Runs on Dask: workers in threads of this process, and once workers that are processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aeattn.cli import main
from aeattn.compare import on_dask, worker
from aeattn.compare.convert import to_json
from aeattn.compare.declaration import read_declaration
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import jobs
from aeattn.compare.on_dask import Dask, resource
from aeattn.compare.records import Record
from aeattn.compare.versions import Versions, versions
from aeattn.errors import InputError
from aeattn.files import Json
from tests.compare.conftest import JOBS, Declare
from tests.compare.test_elsewhere import _parcel, _run
from tests.compare.test_elsewhere import child as child  # a fixture

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of two workers, of two threads each."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def dask(address: str, tmp_path: Path) -> Iterator[Dask]:
    executor = Dask(address, 1, tmp_path)
    yield executor
    executor.close()


def test_a_worker_does_one_run_at_a_time_and_says_where_it_stands(
    declare_in: Declare, child: Any, dask: Dask, tmp_path: Path
) -> None:
    events = tmp_path / "events"
    child(f"""
import os, time
def note(what):
    with open({str(events)!r}, "a") as file:
        file.write(what)
note("+" + os.environ["OMP_NUM_THREADS"])
time.sleep(0.3)
note("-")
record["valid"] = {{"nats_per_char": 1.5, "chars": 9, "files": []}}
""")
    folder, declaration = declare_in({"seeds": [1, 2]})
    said = _run(folder, declaration, dask)
    under_way = [
        events.read_text()[: i + 1].count("+") - events.read_text()[: i + 1].count("-") for i in range(12)
    ]
    assert events.read_text().count("+2") == 4  # as many threads as the worker has
    assert max(under_way) <= 2
    assert "1/8  5 chars/s" in said
    assert "2 workers at inproc://" in dask.about()[0]


def test_what_is_cancelled_is_broken_off(declare_in: Declare, child: Any, dask: Dask, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    child(f"import os, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)")
    parcel, _ = _parcel(*declare_in())
    future = dask.submit(on_dask.perform, parcel)
    assert _soon(lambda: pid.exists() and pid.read_text() != "")
    future.cancel()
    assert _soon(lambda: _is_gone(int(pid.read_text())))


def _soon(happens: Callable[[], bool]) -> bool:
    for _ in range(600):
        if happens():
            return True
        time.sleep(0.05)
    return False


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_workers_that_are_left_out_get_no_runs(dask: Dask) -> None:
    first, second = dask._client.nthreads()
    assert dask.leave_out(first, "no text")
    held = dask._client.run(on_dask._has_resource, resource(versions().to_dict()))
    assert held == {first: False, second: True}
    with pytest.raises(InputError, match=r"no worker is left that can do runs; the last was .*: no text"):
        dask.leave_out(second, "no text")


def test_workers_of_another_commit_are_named(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Versions("0.1", "abc", "other", "2.9", "3.11")
    answers = iter([versions(), there, there])
    monkeypatch.setattr(on_dask, "versions", lambda: next(answers))
    with pytest.raises(
        InputError, match=r"none of 2 workers can be used; worker inproc://.*it has source other, here"
    ):
        Dask(address, 1, tmp_path)
    answers = iter([versions(), there, *[versions()] * 9])
    executor = Dask(address, 1, tmp_path)
    [(name, note)] = executor.heard()
    executor.close()
    assert name == ""
    assert "is left out: it has" in note["note"]


def _apart_from_time(record: Record) -> Json:
    """What must not depend on where a run was made."""
    values: Json = to_json(record.to_dict())
    for name in ("started", "finished"):
        del values[name]
    for name in ("seconds", "chars_per_second", "peak_memory_bytes"):
        del values["cost"][name]
    for point in values["curve"]:
        del point["seconds"]
    return values


def test_records_are_the_same_as_on_this_machine(
    tmp_path: Path, spec_values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.compare.test_runner import _spec

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    spec, out = _spec(tmp_path, spec_values | {"seeds": [1]}), tmp_path / "out"
    assert main(["compare", spec, "--out", str(out), "--quiet", "--on", "dask", "--jobs", JOBS]) == 0
    there = Folder(out)
    declaration = read_declaration(there)
    assert not there.runs.exists()
    here = Folder(tmp_path / "here")
    here.path.mkdir()
    there.spec.rename(here.spec)
    for job in jobs(declaration, {}):
        here.write_record(job)
        assert worker.main([str(here.path), job.name]) == 0
    ours, theirs = ([_apart_from_time(record) for record in folder.read_records()] for folder in (here, there))
    assert len(ours) == 2
    assert ours == theirs
