"""Runs that are done elsewhere: what travels, what comes home, what a lost or unfit worker comes to."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from aeattn.cli import main
from aeattn.compare.convert import to_json
from aeattn.compare.declaration import Declaration
from aeattn.compare.elsewhere import Elsewhere, perform
from aeattn.compare.executors import Executor, choose, register_executor
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import jobs
from aeattn.compare.local import Process
from aeattn.compare.progress import GridProgress
from aeattn.compare.records import Record, now
from aeattn.compare.runner import Runner
from aeattn.compare.versions import Versions, differences, versions
from aeattn.errors import InputError
from aeattn.files import Json
from tests.compare.conftest import Declare, done

Answer = Callable[[Json, int], Json]


class Promise:
    def __init__(self, answer: Callable[[], Json]) -> None:
        self.answer, self.cancelled = answer, False

    def done(self) -> bool:
        return True

    def result(self) -> Json:
        return self.answer()

    def cancel(self) -> None:
        self.cancelled = True


class Fake(Executor):
    """Answers as it is told, by the parcel and how often that was handed in."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.times, self.left_out = answer, dict[str, int](), list[str]()

    def submit(self, function: Callable[[Json], Json], parcel: Json) -> Promise:
        assert function is perform
        parcel = json.loads(json.dumps(parcel))  # as it travels
        name = parcel["record"]["name"]
        self.times[name] = self.times.get(name, 0) + 1
        return Promise(lambda time=self.times[name]: self.answer(parcel, time))  # type: ignore[misc]

    def heard(self) -> Iterable[tuple[str, Json]]:
        yield "", {"note": "something to know"}
        yield "nobody", {"step": 1, "steps": 2, "chars_per_second": 1.0}


class Choosy(Fake):
    """One that has another worker."""

    def leave_out(self, worker: str, reason: str) -> bool:
        self.left_out.append(worker)
        return True


def _outcome(code: int = 0, reason: str = "", **more: Any) -> Json:
    return {"code": code, "reason": reason, "worker": "w1", "log": "", "record": None, "analysis": None, **more}


def _well(parcel: Json, time: int) -> Json:
    job = Record.from_dict(parcel["record"], "a parcel")
    return _outcome(record=done(job, 1.0 + job.seed / 100).to_dict(), log="said there\n")


def _run(folder: Folder, declaration: Declaration, executor: Executor) -> str:
    said = io.StringIO()
    progress = GridProgress(Console(file=said, width=300), every_seconds=0)
    place = Elsewhere(folder, declaration, executor, 100, progress.note)
    Runner(folder, declaration, progress, place).run()
    return said.getvalue()


def test_records_come_home_and_nothing_is_done_twice(declare_in: Declare) -> None:
    folder, declaration = declare_in()
    executor = Fake(_well)
    said = _run(folder, declaration, executor)
    assert executor.times == dict.fromkeys([job.name for job in jobs(declaration, {})], 1)
    assert [record.status for record in folder.read_records()] == ["done"] * 6
    assert "said there" in folder.log("final-auto-seed1").read_text()
    assert "something to know" in said
    folder.record_path("final-auto-seed1").unlink()
    folder.run("final-auto-seed1").path.mkdir(parents=True)  # begun on this machine
    again = Fake(_well)
    _run(folder, declaration, again)
    assert again.times == {"final-auto-seed1": 1}
    assert not folder.run("final-auto-seed1").path.exists()


def test_a_lost_worker_is_made_up_for_so_many_times(declare_in: Declare) -> None:
    folder, declaration = declare_in({"seeds": [1]})

    def answer(parcel: Json, time: int) -> Json:
        if parcel["record"]["arm"] == "auto":
            raise RuntimeError("the node went away")
        return _outcome(-9, "killed by SIGKILL") if time < 3 else _well(parcel, time)

    executor = Fake(answer)
    said = _run(folder, declaration, executor)
    assert executor.times == {"final-standard-seed1": 3, "final-auto-seed1": 3}
    assert "its worker was lost (RuntimeError: the node went away), it begins again" in said
    lost, found = folder.read_record("final-auto-seed1"), folder.read_record("final-standard-seed1")
    assert lost is not None
    assert found is not None
    assert (lost.status, lost.failure, found.status) == ("failed", "crashed", "done")
    assert _run(folder, declaration, Fake(_well)).count("final-auto-seed1") > 0  # tried again the next time


def test_a_worker_that_cannot_do_runs_is_left_out_by_name(declare_in: Declare) -> None:
    folder, declaration = declare_in({"seeds": [1]})

    def answer(parcel: Json, time: int) -> Json:
        return _outcome(4, "no such file: book.txt") if time == 1 else _well(parcel, time)

    executor = Choosy(answer)
    assert "worker w1 is left out: no such file: book.txt" in _run(folder, declaration, executor)
    assert executor.left_out == ["w1", "w1"]
    shutil.rmtree(folder.records)
    with pytest.raises(InputError, match=r"could not be done .*: worker w1: no such file: book\.txt"):
        _run(folder, declaration, Fake(answer))


def test_what_diverged_there_is_a_result(declare_in: Declare) -> None:
    folder, declaration = declare_in({"seeds": [1]})

    def answer(parcel: Json, time: int) -> Json:
        job = Record.from_dict(parcel["record"], "a parcel")
        return _outcome(record=replace(job, status="failed", failure="diverged", reason="nan").to_dict())

    _run(folder, declaration, Fake(answer))
    assert {record.failure for record in folder.read_records()} == {"diverged"}
    again = Fake(_well)
    _run(folder, declaration, again)
    assert again.times == {}


def test_what_is_no_record_of_the_run_is_refused(declare_in: Declare) -> None:
    folder, declaration = declare_in()

    def other(parcel: Json, time: int) -> Json:
        return _well({"record": {**parcel["record"], "hash": "another"}}, time)

    with pytest.raises(InputError, match="update it"):
        _run(folder, declaration, Fake(other))
    with pytest.raises(InputError, match="what a worker sent is damaged"):
        _run(folder, declaration, Fake(lambda parcel, time: {"code": "no"}))


# -- at the worker, in this process ----------------------------------------------------------------------------

CHILD = """
import json, pathlib, sys
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
path = folder / "records" / f"{name}.json"
record = json.loads(path.read_text())
print(json.dumps({"step": 1, "steps": 8, "chars_per_second": 5.0}), flush=True)
plugin = record["config"].get("plugins", [__file__])[0]
print(record["config"]["data"], pathlib.Path(plugin).read_text(), file=sys.stderr)
BODY
path.write_text(json.dumps(record | {"status": "done"}))
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def make(body: str = "") -> None:
        script = tmp_path / "child.py"
        script.write_text(CHILD.replace("BODY", body))
        monkeypatch.setattr(Process, "command", (sys.executable, "-S", str(script)))
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)

    return make


def _parcel(folder: Folder, declaration: Declaration) -> tuple[Json, Record]:
    place = Elsewhere(folder, declaration, Fake(_well), 1, lambda text: None)
    job = jobs(declaration, {})[0]
    return json.loads(json.dumps(place.parcel(job))), job


def test_texts_are_found_where_the_worker_has_them(
    declare_in: Declare, child: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child()
    parcel, job = _parcel(*declare_in())
    corpora = tmp_path / "corpora" / tmp_path.name
    corpora.mkdir(parents=True)
    shutil.move(tmp_path / "train.txt", corpora)
    monkeypatch.setenv("AEATTN_CORPORA", str(tmp_path / "corpora"))
    lines: list[Json] = []
    outcome = perform(parcel, tell=lines.append)
    assert (outcome["code"], lines) == (0, [{"step": 1, "steps": 8, "chars_per_second": 5.0}])
    assert str(corpora / "train.txt") in outcome["log"]
    assert outcome["record"]["config"] == to_json(job.config)  # as it was declared
    assert outcome["record"]["started"] <= now()
    assert not [path for path in tmp_path.rglob("*.tmp") if path.is_dir()]


def test_plug_ins_travel_with_a_run(declare_in: Declare, child: Any, tmp_path: Path) -> None:
    child()
    folder, declaration = declare_in()
    plugin = tmp_path / "mine.py"
    plugin.write_text("# what it says\n")
    declaration = replace(declaration, plugins={str(plugin): "its hash"})
    parcel, _ = _parcel(folder, declaration)
    parcel["record"]["config"]["plugins"] = [str(plugin)]
    plugin.unlink()
    outcome = perform(parcel)
    assert "# what it says" in outcome["log"]
    assert outcome["record"]["config"]["plugins"] == [str(plugin)]


def test_another_commit_is_refused_before_anything_is_done(declare_in: Declare, child: Any) -> None:
    child("raise SystemExit('not to be reached')")
    parcel, _ = _parcel(*declare_in())
    parcel["versions"] |= {"commit": "0123456789ab", "torch": "1.0"}
    outcome = perform(parcel, worker="gpu3")
    assert (outcome["code"], outcome["worker"]) == (4, "gpu3")
    assert f"torch {versions().torch}, here is 1.0" in outcome["reason"]


def test_a_commit_that_is_not_known_is_told_by_the_source() -> None:
    ours = Versions("0.1", "abc", "s", "2.9", "3.11").to_dict()
    assert list(differences(ours, {**ours, "commit": ""})) == []
    assert list(differences(ours, {**ours, "commit": "def"})) == ["it has commit def, here is abc"]
    assert list(differences(ours, {})) == [
        f"it has {name} unknown, here is {ours[key]}"
        for name, key in (("aeattn", "package"), ("source", "source"), ("torch", "torch"), ("python", "python"))
    ]


def test_what_nobody_wants_any_more_is_broken_off(declare_in: Declare, child: Any) -> None:
    child("import time; time.sleep(60)")
    parcel, _ = _parcel(*declare_in())
    outcome = perform(parcel, wanted=lambda: False)
    assert (outcome["code"], outcome["record"]["status"]) == (-9, "running")


# -- which executor --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "message"),
    [
        ("dusk", "did you mean 'dask'"),
        ("nobody.py", "plug-in nobody.py is not there"),
        ("dask", "needs distributed: pip install 'autoencoder-attention\\[cluster\\]'"),
        ("slurm", "needs submitit: pip install 'autoencoder-attention\\[cluster\\]'"),
    ],
)
def test_an_executor_that_is_not_there(
    on: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["compare", "claims", "--on", on]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert re.search(message, line)


def test_an_executor_without_its_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    chosen = choose("slurm")
    assert chosen is not None
    with pytest.raises(InputError, match="no sbatch on this machine"):
        chosen.kind(chosen.address, 1, tmp_path)
    monkeypatch.setattr("aeattn.compare.on_dask.CONNECT_SECONDS", 0.2)
    chosen = choose("dask:tcp://127.0.0.1:9")
    assert chosen is not None
    assert chosen.address == "tcp://127.0.0.1:9"
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 within"):
        chosen.kind(chosen.address, 1, tmp_path)


def test_local_is_no_executor_and_no_name_for_one() -> None:
    assert choose(None) is choose("local") is None
    with pytest.raises(InputError, match="--on is ''"):
        choose("")
    for name in ("local", "dask", "two words"):
        with pytest.raises(InputError, match="choose another name"):
            register_executor(name)(Fake)


def test_the_executor_of_the_documentation_does_runs(
    declare_in: Declare, child: Any, tmp_path: Path, text: dict[str, Any]
) -> None:
    """As printed in docs/clusters.md."""
    page = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text(encoding="utf-8")
    code = next(block for block in page.split("```python\n")[1:] if "register_executor" in block).split("```")[0]
    (tmp_path / "farm.py").write_text(code)
    child('record["valid"] = {"nats_per_char": 1.5, "chars": 9, "files": []}')
    chosen = choose(f"{tmp_path / 'farm.py'}:2")
    assert chosen is not None
    executor = chosen.kind(chosen.address, 1, tmp_path)
    folder, declaration = declare_in({"seeds": [1]})
    _run(folder, declaration, executor)
    executor.close()
    assert [record.nats_per_char for record in folder.read_records()] == [1.5, 1.5]
    assert choose(f"{tmp_path / 'farm.py'}") == replace(chosen, address="")
