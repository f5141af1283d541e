"""SIGTERM and SIGINT finish the step, save, and exit 143 or 130; a second one ends at once. One process a run."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aeattn.config.run import RunConfig
from aeattn.runs import checkpoint
from aeattn.runs.folder import RunFolder
from aeattn.training import plan as planning
from tests.faults.conftest import Tally
from tests.faults.harness import FULL, TINY, USUAL, Bench, difference

LONG = ["--steps", "1000000", "--checkpoint-every", "0", "--eval-every", "3", "--sample-every", "0"]


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_survived_exactly(number: int, code: int, bench: Bench, tally: Tally, out: Path) -> None:
    settings = ["--steps", "300", *LONG[2:], "--dropout", "0.1"]
    pid = bench.start(out, settings)
    _wait_for((out / "metrics.jsonl").exists)
    os.kill(pid, number)
    result = bench.server.wait(pid)
    right = (
        result.code == code and f"after saving a checkpoint; go on with `aeattn resume {out}`" in result.complaint
    )
    assert tally.count("signals right", right), result.errors
    saved = checkpoint.all_checkpoints(RunFolder(out))
    assert len(saved) == 1
    assert bench.resume(out).code == 0
    shutil.rmtree(saved[0])  # which the uninterrupted run has not
    assert tally.difference("crash points survived", difference(out, bench.whole(settings)))


def test_a_second_signal_ends_at_once(bench: Bench, tally: Tally, out: Path) -> None:
    pid = bench.start(out, LONG, update_seconds=100)
    _wait_for((out / "config.json").exists)
    time.sleep(0.5)
    os.kill(pid, signal.SIGTERM)
    time.sleep(0.3)
    assert Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"  # it is still there
    os.kill(pid, signal.SIGTERM)
    result = bench.server.wait(pid)
    right = result.code == 143 and "stopped at once" in result.complaint and "saved" not in result.errors
    assert tally.count("signals right", right), result.errors


PHASES = {
    "evaluation": ("aeattn.training.hooks:score_windows", 1),
    "sampling": ("aeattn.generation.writer:Writer.generate", 0),
    "the last evaluation": ("aeattn.training.trainer:evaluate_store", 0),
    "the last sample": ("aeattn.generation.writer:Writer.generate", 2),
}


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
HEARD = [(phase, *SIGNALS[(i + j) % 2]) for i, phase in enumerate(PHASES) for j in range(2 if FULL else 1)]


@pytest.mark.parametrize(("phase", "number", "code"), HEARD)
def test_every_phase_hears_a_signal(
    phase: str, number: int, code: int, bench: Bench, tally: Tally, out: Path
) -> None:
    """What was made is saved, and a resumed run ends as one that was never interrupted."""
    settings = [*USUAL, "--accumulate", "2"]
    name, call = PHASES[phase]
    result = bench.train(out, settings, signal_in=(name, call, number))
    said = f"stopped by {signal.Signals(number).name} after saving a checkpoint; go on with `aeattn resume {out}`"
    right = result.code == code and said in result.complaint
    assert tally.count("signals right", right), result.errors
    assert bench.resume(out).code == 0
    assert tally.difference("crash points survived", difference(out, bench.whole(settings)))


def test_a_step_of_many_micro_batches_is_left(bench: Bench, tally: Tally, out: Path) -> None:
    settings = [*USUAL, "--accumulate", "3"]
    pid = bench.start(out, settings, micro_batch_seconds=1.0)
    _wait_for((out / "config.json").exists)
    time.sleep(1.5)
    os.kill(pid, signal.SIGTERM)
    result = bench.server.wait(pid)
    assert tally.count("signals right", result.code == 143 and "after saving a checkpoint" in result.complaint)
    assert bench.resume(out).code == 0
    assert tally.difference("crash points survived", difference(out, bench.whole(settings)))


def test_a_kill_after_a_broken_off_evaluation(bench: Bench, tally: Tally, out: Path) -> None:
    """The evaluation is made again by whoever resumes, once."""
    name, call = PHASES["evaluation"]
    assert bench.train(out, signal_in=(name, call, signal.SIGTERM)).code == 143
    assert bench.resume(out, signal_in=(name, 0, signal.SIGKILL)).code == -9
    assert bench.resume(out).code == 0
    assert tally.difference("crash points survived", difference(out, bench.whole()))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [("aeattn.training.start:prepare", [], "nothing was begun"),
     ("aeattn.training.compiling:time_updates", ["--compile", "auto"], "go on with `aeattn resume"),
     ("aeattn.cli.finish:finish", [], "the model is trained and saved")],
)  # fmt: skip
def test_what_comes_before_and_after_updates_hears_signals(
    name: str, options: list[str], said: str, bench: Bench, tally: Tally, out: Path
) -> None:
    result = bench.train(out, [*USUAL, *options], signal_in=(name, 0, signal.SIGTERM))
    right = result.code == 143 and said in result.complaint
    assert tally.count("signals right", right), result.errors
    if (out / "config.json").exists():
        assert bench.resume(out).code == 0


def test_a_signal_before_the_run_begins(bench: Bench, tally: Tally, out: Path, tmp_path: Path) -> None:
    waits = tmp_path / "waits.py"
    waits.write_text("import time\ntime.sleep(60)")
    pid = bench.server.start(out, "train", str(bench.text), "--plugin", str(waits), "--out", str(out))
    time.sleep(0.5)
    os.kill(pid, signal.SIGTERM)
    result = bench.server.wait(pid)
    assert tally.count("signals right", result.code == 143 and not out.exists()), result.errors


def test_the_second_of_two_processes_is_refused(bench: Bench, tally: Tally, out: Path) -> None:
    pid = bench.start(out, LONG)
    _wait_for((out / "metrics.jsonl").exists)
    resumed, trained = bench.resume(out), bench.train(out)
    assert tally.count("refusals right", resumed.code == 2 and "is in use by another process" in resumed.complaint)
    assert tally.count("refusals right", trained.code == 2 and "holds another run" in trained.complaint)
    os.kill(pid, signal.SIGKILL)
    assert bench.server.wait(pid).code == -9
    again = bench.resume(out, "--steps", "5")
    assert tally.count("locks gone with their owner", again.code == 0), again.errors


def test_two_starts_at_once(bench: Bench, tally: Tally, out: Path) -> None:
    for _ in range(10 if FULL else 2):
        both = [bench.start(out) for _ in range(2)]
        results = [bench.server.wait(pid) for pid in both]
        assert tally.count("refusals right", sorted(r.code for r in results) == [0, 2]), results
        assert tally.difference("crash points survived", difference(out, bench.whole()))
        shutil.rmtree(out)


def test_resumption_from_another_folder(bench: Bench, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.text.parent)
    config = RunConfig.from_settings({"data": {"corpus": [bench.text.name, "*.txt"]}})
    located = planning.plan(config, out=out).config.data
    assert located.corpus == (str(bench.text), str(bench.text.parent / "*.txt"))
    named = planning.plan(RunConfig.from_settings({"data": {"corpus": ["tales"]}}), out=out)
    assert named.config.data.corpus == ("tales",)


def test_training_goes_on_when_nobody_listens(bench: Bench, out: Path) -> None:
    loud = [option for option in TINY if option != "--quiet"]
    arguments = ("train", str(bench.text), "--out", str(out), *loud, "--steps", "9", "--eval-every", "1")
    assert bench.server.run(out, *arguments, deaf=True).code == 0
    assert (out / "model.safetensors").exists()
