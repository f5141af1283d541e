"""The grid: only what is missing or stale is run, whatever happens in between."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from aeattn.cli import main
from aeattn.compare.declaration import Declaration
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import jobs
from aeattn.compare.local import Here, Process, worker_environment
from aeattn.compare.progress import GridProgress, Line, Run
from aeattn.compare.runner import NoRoom, Runner, Stopped
from aeattn.errors import InputError
from aeattn.files import Lock
from tests.compare.conftest import JOBS, Declare, done

FAKE = """
import json, os, sys, time, pathlib
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
with open(folder / "asked", "a") as file:
    file.write(name + "\\n")
path = folder / "records" / f"{name}.json"
record = json.loads(path.read_text())
print(json.dumps({"step": 1, "steps": 8, "train_nats": 2.0, "chars_per_second": 5.0}), flush=True)
BODY
assert record["status"] == "running"
record |= {"status": "done", "valid": {"nats_per_char": 1.0 + record["seed"] / 100, "chars": 9, "files": []}}
path.write_text(json.dumps(record))
"""


@pytest.fixture
def run_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a declaration with workers that do as they are told; returns what they were asked for and what was
    said."""
    said = io.StringIO()

    def run(folder: Folder, declaration: Declaration, body: str = "", at_once: int = 1) -> tuple[list[str], str]:
        script = tmp_path / "fake.py"
        script.write_text(FAKE.replace("BODY", textwrap.dedent(body)))
        monkeypatch.setattr(Process, "command", (sys.executable, "-S", str(script)))
        asked = folder.path / "asked"
        asked.write_text("")
        progress = GridProgress(Console(file=said, width=300), every_seconds=0)
        Runner(folder, declaration, progress, Here(folder, at_once)).run()
        return asked.read_text().split(), said.getvalue()

    return run


def _names(declaration: Declaration) -> list[str]:
    return [job.name for job in jobs(declaration, {})]


def test_only_what_is_missing_is_run(declare_in: Declare, run_with: Any) -> None:
    folder, declaration = declare_in()
    names = _names(declaration)
    asked, said = run_with(folder, declaration)
    assert asked == names
    assert "5 of 6 runs done" in said
    assert run_with(folder, declaration)[0] == []
    folder.record_path(names[2]).unlink()
    assert run_with(folder, declaration)[0] == [names[2]]


def test_stale_records_are_set_aside_and_run_again(declare_in: Declare, run_with: Any) -> None:
    folder, declaration = declare_in()
    run_with(folder, declaration)
    _, amended = declare_in({"arms": {"auto": {"model": {"d_ff": 40}}}, "seeds": [1, 2]}, amend=True)
    asked, said = run_with(folder, amended)
    assert asked == ["final-auto-seed1", "final-auto-seed2"]
    assert "final-auto-seed1 was run with other settings" in said
    assert "final-standard-seed3 is not wanted any more" in said
    assert len(list(folder.records.iterdir())) == 4
    assert {path.name for path in folder.stale.iterdir()} == {
        "final-auto-seed1-1", "final-auto-seed2-1", "final-auto-seed3-1", "final-standard-seed3-1"
    }  # fmt: skip


def test_a_damaged_record_is_set_aside_and_made_again(declare_in: Declare, run_with: Any) -> None:
    folder, declaration = declare_in()
    run_with(folder, declaration)
    folder.record_path("final-auto-seed2").write_text('{"format": 1, "na')
    asked, said = run_with(folder, declaration)
    assert asked == ["final-auto-seed2"]
    assert "warning: record" in said
    assert (folder.stale / "final-auto-seed2-1" / "records.json").read_text() == '{"format": 1, "na'


def test_a_crash_is_recorded_and_tried_again_the_next_time(declare_in: Declare, run_with: Any) -> None:
    folder, declaration = declare_in()
    crash = """
    if name == "final-auto-seed1":
        sys.exit("Boom: it broke")
    if name == "final-auto-seed2":
        os.kill(os.getpid(), 9)
    """
    asked, said = run_with(folder, declaration, crash)
    assert len(asked) == 6
    assert "final-auto-seed1: crashed: Boom: it broke" in said
    killed = folder.read_record("final-auto-seed2")
    assert killed is not None
    assert (killed.status, killed.reason) == ("failed", "killed by SIGKILL, perhaps for want of memory")
    assert run_with(folder, declaration)[0] == ["final-auto-seed1", "final-auto-seed2"]


def test_what_diverged_is_a_result_and_not_tried_again(declare_in: Declare, run_with: Any) -> None:
    folder, declaration = declare_in()
    body = """
    if name == "final-auto-seed1":
        path.write_text(json.dumps(record | {"status": "failed", "failure": "diverged", "reason": "nan"}))
        sys.exit(0)
    """
    run_with(folder, declaration, body)
    assert run_with(folder, declaration)[0] == []


@pytest.mark.parametrize(("code", "error"), [(2, InputError), (3, NoRoom)])
def test_what_is_wrong_with_everything_stops_everything(
    code: int, error: type[Exception], declare_in: Declare, run_with: Any
) -> None:
    folder, declaration = declare_in()
    with pytest.raises(error, match="No space left on device"):
        run_with(folder, declaration, f"print('No space left on device', file=sys.stderr); sys.exit({code})")
    assert folder.read_records()[0].status == "running"
    assert len(run_with(folder, declaration)[0]) == 6


@pytest.mark.parametrize("tuning", [{}, {"tuning": {"rates": [1, 2]}}])
def test_a_run_that_cannot_be_done_stops_no_other(
    tuning: dict[str, Any], declare_in: Declare, run_with: Any
) -> None:
    folder, declaration = declare_in(tuning)
    first = _names(declaration)[0]
    body = f"if name == {first!r}: print('the text is not there', file=sys.stderr); sys.exit(2)"
    with pytest.raises(InputError, match=f"1 of the runs could not be done \\({first}\\): the text is not there"):
        run_with(folder, declaration, body)
    assert [r.name for r in folder.read_records() if r.status == "running"] == [first]
    assert sum(r.status == "done" for r in folder.read_records()) == len(_names(declaration)) - 1
    assert first in run_with(folder, declaration)[0]
    assert not folder.stale.exists()


def test_a_record_of_a_later_version_is_left_where_it_is(declare_in: Declare, run_with: Any) -> None:
    folder, declaration = declare_in()
    folder.records.mkdir()
    folder.record_path("final-auto-seed2").write_text('{"format": 99}')
    with pytest.raises(InputError, match="update aeattn"):
        run_with(folder, declaration)
    assert not folder.stale.exists()


def test_a_lost_analysis_is_made_again(declare_in: Declare, run_with: Any) -> None:
    folder, declaration = declare_in({"attention": True})
    run_with(folder, declaration)
    assert run_with(folder, declaration)[0] == []  # runs that were deleted cannot be measured
    folder.run("final-auto-seed2").path.mkdir(parents=True)
    folder.run("final-auto-seed2").model.touch()
    before = folder.record_path("final-auto-seed2").read_text()
    measure = "(folder / 'measured').write_text(name); sys.exit(0)"
    assert run_with(folder, declaration, measure)[0] == ["final-auto-seed2"]
    assert (folder.path / "measured").read_text() == "final-auto-seed2"
    assert folder.record_path("final-auto-seed2").read_text() == before
    with pytest.raises(InputError, match="its attention cannot be measured: out of luck"):
        run_with(folder, declaration, "sys.exit('out of luck')")


def test_runs_may_go_on_at_once(declare_in: Declare, run_with: Any) -> None:
    folder, declaration = declare_in({"seeds": [1]})
    both = """
    (folder / name).write_text("")
    while not all((folder / f"final-{arm}-seed1").exists() for arm in ("standard", "auto")):
        time.sleep(0.01)
    """
    asked, _ = run_with(folder, declaration, both, at_once=2)
    assert sorted(asked) == ["final-auto-seed1", "final-standard-seed1"]


def test_a_signal_stops_the_runs_and_nothing_is_lost(declare_in: Declare, run_with: Any) -> None:
    folder, declaration = declare_in()
    body = """
    import signal
    def stop(number, frame):
        (folder / "stopped").write_text(name)
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    if name == "final-auto-seed1":
        time.sleep(60)
    """
    asked = folder.path / "asked"

    def interrupt() -> None:
        while not asked.exists() or "final-auto-seed1" not in asked.read_text():
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Stopped, match="stopped by SIGINT; nothing is lost") as caught:
        run_with(folder, declaration, body)
    assert caught.value.exit_code == 130
    assert (folder.path / "stopped").read_text() == "final-auto-seed1"
    assert len(run_with(folder, declaration)[0]) == 5


def test_two_comparisons_cannot_share_a_folder(tmp_path: Path) -> None:
    with (
        Lock(tmp_path / ".lock", "busy"),
        pytest.raises(InputError, match="busy"),
        Lock(tmp_path / ".lock", "busy", wait=0.0),
    ):
        pass
    with Lock(tmp_path / ".lock", "busy", wait=0.0):
        pass


def test_a_lock_lives_as_long_as_the_last_process_that_inherited_it(tmp_path: Path) -> None:
    with Lock(tmp_path / ".lock", "busy") as lock:
        child = subprocess.Popen(["sleep", "30"], pass_fds=(lock.descriptor or 0,))
    with pytest.raises(InputError, match="busy"), Lock(tmp_path / ".lock", "busy", wait=0.0):
        pass
    child.kill()
    child.wait()
    with Lock(tmp_path / ".lock", "busy", wait=5.0):
        pass


def test_processors_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert worker_environment(1000)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert worker_environment(1)["OMP_NUM_THREADS"] == "7"


def test_progress_counts_work_not_runs() -> None:
    progress = GridProgress(Console(file=io.StringIO(), width=200))
    progress.count(total=4, done=1, failed=1, pending_work=300.0)
    run = Run(work=100.0)
    assert progress.summary({"a": run}) == "1 of 4 runs done, 1 failed, ? left"
    run.update(Line(1, 100, 10.0, train_nats=2.0))
    run.update(Line(50, 100, 10.0, valid_nats=1.5))
    progress._begin = time.monotonic() - 10.0
    assert progress.time_left({"a": run}) == "1:10"  # 50 in 10 s, 350 are left
    assert run.describe("a") == "a 50/100 valid 1.5000 10 chars/s"


def test_a_terminal_gets_a_bar(declare_in: Declare) -> None:
    _, declaration = declare_in()
    out = io.StringIO()
    progress = GridProgress(Console(file=out, force_terminal=True, width=200))
    progress.show({"a": Run(work=1.0)})
    progress.ended(done(jobs(declaration, {})[0], 1.25), Run(work=1.0))
    progress.close()
    assert "final-standard-seed1: 1.2500 nats/char" in out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["claim"], "did you mean 'claims'"),
        (["claims", "--budget", "ful"], "did you mean 'full'"),
        (["claims", "--jobs", "1000"], "--jobs is 1000: choose from 1 to"),
        (["claims", "--out", "/dev/null/x"], "cannot be made .*--out"),
        (["claims", "--jobs", "0"], "no whole number of at least 1"),
    ],
)
def test_bad_arguments_get_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["compare", *arguments])
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1
    assert re.search(message, lines[0])


# -- the whole, with real runs ---------------------------------------------------------------------------------


def _spec(tmp_path: Path, values: dict[str, Any]) -> str:
    from tests.compare.test_worker import _toml

    path = tmp_path / "small.toml"
    path.write_text(_toml(values))
    return str(path)


def test_a_comparison_whose_runs_crashed_ends_with_1(
    tmp_path: Path,
    spec_values: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Process, "command", (sys.executable, "-c", "raise SystemExit('Boom')"))
    assert main(["compare", _spec(tmp_path, spec_values), "--out", str(tmp_path / "out"), "--quiet"]) == 1
    assert "6 of the runs crashed (final-standard-seed1, " in " ".join(capsys.readouterr().err.split())


def test_a_comparison_from_the_command_line(
    tmp_path: Path, spec_values: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    spec_values["seeds"] = [1, 2]
    spec = _spec(tmp_path, spec_values)
    out = tmp_path / "out"
    assert main(["compare", spec, "--out", str(out), "--plan"]) == 0
    assert "2 variants x 2 seeds = 4 final runs" in capsys.readouterr().err
    assert not (out / "records").exists()
    assert main(["compare", spec, "--out", str(out), "--json", "--quiet", "--jobs", JOBS]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["runs"] == {"wanted": 4, "done": 4, "failed": 0, "missing": 0}
    assert summary == json.loads((out / "summary.json").read_text())
    assert all(arm["interval"] for arm in summary["arms"])
    before = {path.name: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    assert main(["compare", spec, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert before == {path.name: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    assert summary["answer"] in " ".join(captured.out.split())
    assert main(["compare", _spec(tmp_path, {**spec_values, "seeds": [5]}), "--out", str(out), "--quiet"]) == 2
    captured = capsys.readouterr()
    assert "declared with another spec" in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_a_comparison_that_is_killed_takes_its_runs_along_and_goes_on(
    tmp_path: Path, spec_values: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    spec_values |= {"seeds": [1], "budget": {"chars": 64 * 120}}
    spec_values["base"]["training"] |= {"eval_every": 5, "sample_every": 0}
    spec, out = _spec(tmp_path, spec_values), tmp_path / "out"
    arguments = ["compare", spec, "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "aeattn", *arguments], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    metrics = out / "runs" / "final-standard-seed1" / "metrics.jsonl"
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > 8):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert main([*arguments, "--json", "--quiet"]) == 0  # waits for the lock until the run has stopped
    assert json.loads(capsys.readouterr().out)["runs"]["done"] == 2
    log = (out / "logs" / "final-standard-seed1.log").read_text()
    assert "going on after step" in log
    assert "going on after step 0 " not in log
