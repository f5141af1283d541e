"""Trackers are told what is logged, once; what goes wrong with them is told in a line, and training goes on."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import aeattn
from aeattn.cli import main
from aeattn.config.plugins import load_plugins
from aeattn.config.run import RunConfig
from aeattn.data import tales
from aeattn.errors import InputError, Spike
from aeattn.runs.folder import RunFolder
from aeattn.terminal.progress import PlainReporter
from aeattn.training import tracker, tracking
from aeattn.training.hooks import Hook
from aeattn.training.plan import plan, plan_resume
from aeattn.training.start import Training, add_hooks, resume, start
from aeattn.training.tracker import Tracked, Tracker, check_trackers, kind_of, register_tracker
from aeattn.training.world import World

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, Any] = {
    "model": {"d_model": 16, "n_layers": 1, "n_heads": 2, "bottleneck": 4, "d_ff": 24, "context": 16},
    "training": {"steps": 20, "batch": 2, "compile": "off", "device": "cpu", "precision": "fp32", "eval_every": 3,
                 "eval_chars": 64, "sample_chars": 4, "sample_every": 5, "checkpoint_every": 4, "spike_every": 4},
    "track": "memory",
}  # fmt: skip


class Memory(Tracker):
    """Keeps what it is told; `fails` names a method that raises."""

    told: list[tuple[int, dict[str, float], str | None]]
    runs: list[Tracked]
    ends: list[bool]
    fails = ""

    def begin(self, run: Tracked) -> int | None:
        self._check("begin")
        self.runs.append(run)
        self.where = "here"
        return None

    def log(self, step: int, metrics: Any, sample: str | None) -> None:
        self._check("log")
        self.told.append((step, dict(metrics), sample))

    def end(self, done: bool) -> None:
        self._check("end")
        self.ends.append(done)

    def _check(self, method: str) -> None:
        if self.fails == method:
            raise OSError(28, "No space\nleft")


class Killed(BaseException):
    """In place of SIGKILL: nothing is saved, hooks are closed all the same."""


class KillAt(Hook):
    def __init__(self, step: int) -> None:
        self.step = step

    def after_update(self, trainer: Any) -> None:
        if trainer.state.step == self.step:
            raise Killed


class SpikeAt(Hook):
    """Batches that leap, by their numbers."""

    def __init__(self, *batches: int) -> None:
        self.batches = set(batches)

    def before_update(self, trainer: Any, loss: float, norm: float) -> None:
        if trainer.state.batch in self.batches:
            raise Spike("a leap")


@pytest.fixture
def memory() -> type[Memory]:
    class Fresh(Memory):
        told, runs, ends = [], [], []

    register_tracker("memory")(Fresh)
    return Fresh


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (path := tmp_path / "text.txt").write_text(tales.generate(3_000)[0])
    return path


def _config(text: Path, **training: Any) -> RunConfig:
    values = {**SETTINGS, "training": {**SETTINGS["training"], **training}, "data": {"corpus": str(text)}}
    return RunConfig.from_settings(values)


def _start(text: Path, *more: Hook, **training: Any) -> tuple[Training, io.StringIO]:
    said = io.StringIO()
    reporter = PlainReporter(Console(file=said, width=300))
    return start(plan(_config(text, **training), out=text.with_name("run")), reporter, more), said


def _resume(killed: Training, *more: Hook, track: list[str] | None = None) -> Training:
    killed.run_folder.unlock()
    out = killed.run_folder.path
    return resume(plan_resume(out, None, False, track=track), PlainReporter(Console(file=io.StringIO())), more)


def _logged(out: Path) -> list[tuple[int, dict[str, float], str | None]]:
    """What the folder has, but for the time that it took."""
    run = RunFolder(out)
    entries = tracking.entries(run.read_metrics(), run.read_samples())
    return [(e.step, _timeless(e.metrics), e.sample) for e in entries]


def _timeless(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name != "seconds"}


def _told(memory: type[Memory]) -> list[tuple[int, dict[str, float], str | None]]:
    return [(step, _timeless(metrics), sample) for step, metrics, sample in memory.told]


def test_trackers_are_told_what_is_logged(text: Path, memory: type[Memory]) -> None:
    training, said = _start(text)
    training.run()
    out = training.run_folder.path
    assert _told(memory) == _logged(out)
    assert {"chars", "train_nats", "valid_nats", "valid_chars"} <= set(memory.told[-1][1])
    assert [step for step, _, sample in memory.told if sample is not None] == [5, 10, 15, 20]
    assert all("seconds" in metrics for _, metrics, _ in memory.told if metrics)
    assert memory.ends == [True]
    [run] = memory.runs
    assert (run.step, run.name, run.project) == (0, "run", None)
    assert json.loads(json.dumps(run.config)) == json.loads((out / "environment.json").read_text())["config"]
    assert "torch" in run.environment["packages"]
    assert "tracked by memory: here" in said.getvalue()
    assert json.loads((out / "tracking" / "memory.json").read_text()) == {"id": run.id, "step": 20}


def test_training_is_the_same_with_trackers_and_without(text: Path, memory: type[Memory], tmp_path: Path) -> None:
    training, _ = _start(text)
    training.run()
    aeattn.train(replace(_config(text), track=()), out=tmp_path / "plain")
    ours, theirs = (load_file(path / "model.safetensors") for path in (tmp_path / "run", tmp_path / "plain"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not (tmp_path / "plain" / "tracking").exists()
    assert "track" not in json.loads((tmp_path / "plain" / "config.json").read_text())


@pytest.mark.parametrize("at", [2, 4, 11, 17])
def test_a_run_that_was_killed_is_told_on_under_the_same_id(at: int, text: Path, memory: type[Memory]) -> None:
    training, _ = _start(text, KillAt(at))
    with pytest.raises(Killed):
        training.run()
    assert max(step for step, _, _ in memory.told) >= at - 1
    out = training.run_folder.path
    _resume(training).run()
    assert _told(memory) == _logged(out)
    assert memory.ends == [False, True]
    assert memory.runs[0].id == memory.runs[1].id
    assert memory.runs[1].step >= at - 1


def test_what_was_not_sent_is_sent_later(text: Path, memory: type[Memory]) -> None:
    memory.fails = "log"
    training, said = _start(text, KillAt(11))
    with pytest.raises(Killed):
        training.run()
    assert memory.told == []
    assert "warning: tracker memory failed: OSError: [Errno 28] No space left: training goes on without it" in (
        said.getvalue()
    )
    memory.fails = ""
    _resume(training).run()
    assert _told(memory) == _logged(training.run_folder.path)


def test_what_a_rollback_takes_back_is_not_sent(text: Path, memory: type[Memory]) -> None:
    training, said = _start(text, SpikeAt(7, 11), spike_factor=1e30)
    training.run()
    assert training.trainer.state.rollbacks == 2
    assert _told(memory) == _logged(training.run_folder.path)
    assert "before the rollback" not in said.getvalue()


def test_a_rollback_beyond_what_was_sent_is_told(text: Path, memory: type[Memory]) -> None:
    """A leap at the very step to which a rollback went leads to the one before."""
    training, said = _start(text, SpikeAt(11, 12), spike_factor=1e30)
    training.run()
    assert training.trainer.state.rollbacks == 2
    steps = [step for step, _, _ in memory.told]
    assert steps == sorted(set(steps))
    assert "trackers have had, and keep, steps 5 to 8 as they were before the rollback" in said.getvalue()
    assert [line for line in _told(memory) if line[0] > 8] == [
        line for line in _logged(training.run_folder.path) if line[0] > 8
    ]


def test_a_kill_between_a_rollback_and_the_next_checkpoint(text: Path, memory: type[Memory]) -> None:
    training, _ = _start(text, SpikeAt(10), KillAt(11), spike_factor=1e30)
    with pytest.raises(Killed):
        training.run()
    _resume(training, SpikeAt(10)).run()
    assert _told(memory) == _logged(training.run_folder.path)


@pytest.mark.parametrize("method", ["begin", "log", "end"])
def test_a_tracker_that_fails_ends_no_training(method: str, text: Path, memory: type[Memory]) -> None:
    memory.fails = method
    training, said = _start(text)
    training.run()
    assert training.trainer.state.step == 20
    assert re.findall(r"warning: (.*)", said.getvalue()) == [
        "tracker memory failed: OSError: [Errno 28] No space left: training goes on without it"
    ]


def test_a_folder_that_cannot_be_written_to_ends_no_training(text: Path, memory: type[Memory]) -> None:
    training, said = _start(text)
    (training.run_folder.path / "tracking").write_text("in the way")
    training.run()
    assert "tracker memory failed: FileExistsError" in said.getvalue()


def test_a_tracker_that_hangs_is_not_waited_for(
    text: Path, memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    ever = threading.Event()
    monkeypatch.setattr(tracking, "PATIENCE", 0.05)
    monkeypatch.setattr(memory, "log", lambda *_: ever.wait())
    training, said = _start(text)
    training.run()
    assert "warning: tracker memory does not answer: `aeattn resume` sends what it lacks" in said.getvalue()
    ever.set()
    monkeypatch.undo()
    _resume(training).run()
    assert memory.told


def test_a_damaged_note_begins_another_run(text: Path, memory: type[Memory]) -> None:
    training, _ = _start(text, KillAt(11))
    with pytest.raises(Killed):
        training.run()
    (training.run_folder.path / "tracking" / "memory.json").write_text("{")
    memory.told.clear()
    _resume(training).run()
    assert _told(memory) == _logged(training.run_folder.path)
    assert memory.runs[0].id != memory.runs[1].id


def test_a_resumed_run_may_have_other_trackers(text: Path, memory: type[Memory], tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = replace(_config(text), track=())
    training = start(plan(config, out=out), PlainReporter(Console(file=io.StringIO())), [KillAt(11)])
    with pytest.raises(Killed):
        training.run()
    training = _resume(training, KillAt(14), track=["memory"])
    with pytest.raises(Killed):
        training.run()
    training = _resume(training)
    training.run()
    assert _told(memory) == _logged(out)
    _resume(training, track=["none"])
    assert RunFolder(out).read_config().track == ()


def test_only_the_main_process_tracks(text: Path, memory: type[Memory]) -> None:
    training, _ = _start(text)
    for rank, tracks in ((0, True), (1, False)):
        training.trainer.world, training.trainer.hooks = World(rank, 2), []
        add_hooks(training.trainer, training.run_folder, PlainReporter(Console(file=io.StringIO())), None, ())
        assert any(isinstance(hook, tracking.Track) for hook in training.trainer.hooks) is tracks


# -- names -------------------------------------------------------------------------------------------------


def test_names_come_one_by_one_or_with_commas() -> None:
    assert RunConfig.from_settings({"track": ["wandb, mlflow:mine", "wandb"]}).track == ("wandb", "mlflow:mine")
    assert RunConfig.from_settings({"track": "trackio"}).track == ("trackio",)
    assert "track" not in RunConfig().to_dict()
    assert kind_of("mlflow:mine")[1] == "mine"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["wndb"], "tracker 'wndb' is unknown: did you mean 'wandb'"),
        (["wandb:"], "tracker 'wandb:' cannot be: write wandb:PROJECT, or wandb"),
        (["tensorboard:mine"], "tracker 'tensorboard:mine' cannot be: write tensorboard"),
        (["mlflow", "mlflow:mine"], "tracker mlflow is named twice: name it once"),
    ],
)
def test_names_that_cannot_be(names: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "_is_there", lambda module: True)
    with pytest.raises(InputError, match=re.escape(said)):
        check_trackers(names)


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_a_missing_package_is_named_before_anything_is_trained(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "tales", "--track", name, "--out", "run"]) == 2
    said = f"tracker {name} needs the package {name}: pip install 'autoencoder-attention[{name}]'"
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_folder_is_not_tracked(memory: type[Memory]) -> None:
    with pytest.raises(InputError, match="give out, a folder for that"):
        aeattn.train(SETTINGS, tales.generate(2_000)[0])


def test_the_documented_tracker_works_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: Path
) -> None:
    section = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8").partition("## A tracker")[2]
    code = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    (file := tmp_path / "table.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    load_plugins([str(file)])
    aeattn.train(replace(_config(text), track=("table",)), out=tmp_path / "run")
    rows = [line.split("\t") for line in (tmp_path / "run" / "tracking" / "table.tsv").read_text().splitlines()]
    assert [int(row[0]) for row in rows] == [step for step, _, _ in _logged(tmp_path / "run")]


def test_what_is_registered_is_a_tracker_of_its_own_name() -> None:
    with pytest.raises(TypeError, match=r"derive it from aeattn\.Tracker"):
        register_tracker("mine")(dict)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="choose a name of letters"):
        register_tracker("a/b")(Memory)
    kind_of("wandb")
    with pytest.raises(ValueError, match="is there already"):
        register_tracker("wandb")(Memory)
