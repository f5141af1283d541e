"""When checkpoints are due, what a failed one leaves, and files that are whole or not there."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from aeattn import files
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.errors import Diverged, InputError, Spike
from aeattn.files import Lock
from aeattn.runs import checkpoint
from aeattn.runs.folder import RunFolder
from aeattn.runs.weights import limits_of
from aeattn.training.hooks import check
from aeattn.training.optimizers import make_optimizers
from aeattn.training.saving import LARGEST_SHARE, Save, State
from aeattn.training.world import ALONE
from tests.conftest import lively_model, tiny_config


def _saver(folder: Path, **settings: Any) -> tuple[Save, Any]:
    """The hook, and what it needs of a trainer."""
    run, model = RunFolder(folder / "run"), lively_model(tiny_config())
    run.checkpoints.mkdir(parents=True)
    config = RunConfig(model.config, TrainingConfig(**settings), DataConfig())
    optimizers = make_optimizers(model, config.training)
    trainer: Any = SimpleNamespace(
        state=State(), config=config, model=model, optimizers=optimizers, world=ALONE, sharded=False
    )
    return Save(run, trainer), trainer


def _write(saver: Save, trainer: Any, state: State) -> None:
    trainer.state = state
    saver.write(trainer)


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [({}, 60.0), ({"checkpoint_minutes": 5}, 300.0), ({"checkpoint_every": 7}, math.inf),
     ({"checkpoint_every": 7, "checkpoint_minutes": 0.5}, 30.0), ({"checkpoint_minutes": 0}, math.inf)],
    ids=str,
)  # fmt: skip
def test_intervals_by_time(settings: dict[str, Any], seconds: float, tmp_path: Path) -> None:
    assert _saver(tmp_path, **settings)[0].seconds_between == seconds


def test_checkpoints_by_time_take_a_small_share_of_it(tmp_path: Path) -> None:
    saver, trainer = _saver(tmp_path, checkpoint_minutes=1e-9)
    _write(saver, trainer, State(step=1))
    saver.wait()
    assert saver._cost > 0
    assert saver.seconds_between == saver._cost / LARGEST_SHARE


def test_steps_and_time_are_both_heard(tmp_path: Path) -> None:
    saver, _ = _saver(tmp_path, checkpoint_every=3, checkpoint_minutes=10)
    assert [step for step in range(1, 10) if saver.due(step)] == [3, 6, 9]
    saver._last -= 601
    assert saver.due(4)


def test_a_moment_is_saved_once(tmp_path: Path) -> None:
    saver, trainer = _saver(tmp_path)
    for _ in range(2):
        _write(saver, trainer, State(step=5))
        saver.wait()
        (saver.run.checkpoints / "step-00000005" / "mark").touch()
    assert (saver.run.checkpoints / "step-00000005" / "mark").exists()


def test_what_goes_wrong_in_the_background_is_raised(tmp_path: Path) -> None:
    saver, trainer = _saver(tmp_path)
    saver.run.checkpoints.rmdir()
    saver.run.checkpoints.touch()
    _write(saver, trainer, State(step=5))
    with pytest.raises(OSError, match="Not a directory"):
        saver.wait()
    assert "no checkpoint" in saver.kept(trainer)


def test_a_checkpoint_on_its_way_to_the_disk_is_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (saver, trainer), commit = _saver(tmp_path), checkpoint.commit

    def slowly(*arguments: Any) -> None:
        time.sleep(0.2)
        commit(*arguments)

    monkeypatch.setattr(checkpoint, "commit", slowly)
    _write(saver, trainer, State(step=5))
    assert saver.kept(trainer) == "the last good state is checkpoint step-00000005"


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saver, trainer = _saver(tmp_path)
    before = {name: t.clone() for name, t in trainer.model.state_dict().items()}
    saver.run.append_sample(5, "abc")
    _write(saver, trainer, State(step=5, smooth_nats=1.5))
    saver.wait()
    saver.run.append_sample(6, "def")
    for parameter in trainer.model.parameters():
        nn.init.zeros_(parameter)
    found, warnings = checkpoint.newest(saver.run, limits_of(trainer.model.config))
    saver.restore(trainer, found)
    assert trainer.state == State(step=5, smooth_nats=1.5)
    assert not warnings
    assert all(bool((before[name] == t).all()) for name, t in trainer.model.state_dict().items())
    assert saver.run.samples.read_text() == "--- step 5\nabc\n\n"


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    saver, trainer = _saver(tmp_path)
    nn.init.constant_(next(trainer.model.parameters()), float("nan"))
    with pytest.raises(Diverged, match=r"embedding\.weight holds NaN"):
        _write(saver, trainer, State(step=5))
    assert not checkpoint.all_checkpoints(saver.run)


def test_anchors_outlive_what_is_dropped(tmp_path: Path) -> None:
    saver, trainer = _saver(tmp_path, spike_factor=2.0, spike_every=4, keep_checkpoints=1)
    for step in (3, 4, 5, 6):
        _write(saver, trainer, State(step=step))
    saver.wait()
    assert [checkpoint.step_of(path) for path in checkpoint.all_checkpoints(saver.run)] == [4, 6]
    trainer.state = State(step=7, passed_over=2)
    assert saver.roll_back(trainer)
    assert trainer.state == State(step=4, passed_over=6, rollbacks=1)
    assert [checkpoint.step_of(path) for path in checkpoint.all_checkpoints(saver.run)] == [4]


def test_the_guard() -> None:
    off, on = TrainingConfig(), TrainingConfig(spike_factor=2.0, spike_rollbacks=1)
    check(9.0, 1.0, 1.0, off, 0)
    check(1.9, 1.0, 1.0, on, 0)
    for loss, norm in ((math.nan, 1.0), (1.0, math.inf)):
        with pytest.raises(Diverged):
            check(loss, norm, 1.0, off, 0)
        with pytest.raises(Spike):
            check(loss, norm, 1.0, on, 0)
        with pytest.raises(Diverged):
            check(loss, norm, 1.0, on, 1)
    with pytest.raises(Spike, match=r"loss is 2\.1"):
        check(2.1, 1.0, 1.0, on, 0)
    check(2.1, 1.0, 1.0, replace(on, spike_factor=3.0), 0)


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    first = Lock(tmp_path)
    with pytest.raises(InputError, match="in use by another process"):
        Lock(tmp_path)
    first.release()
    Lock(tmp_path).release()


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_lock(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no_lock)
    warning = Lock(tmp_path).warning
    assert warning is not None
    assert "cannot be locked (Operation not supported): make sure that no other" in warning


def test_room_is_checked_in_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    RunFolder(tmp_path / "not" / "yet").check_space(1)
    with pytest.raises(InputError, match=r"the run needs about .* are free: make room"):
        RunFolder(tmp_path / "not" / "yet").check_space(1 << 60)


def test_a_failed_replacement_leaves_what_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("before")

    def write_half() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "before"


def test_seals_hold_for_meaning_not_for_spelling(tmp_path: Path) -> None:
    values = files.sealed({"b": 1, "a": [1.5, None]})
    assert files.unseal(dict(reversed(values.items())))
    assert not files.unseal({**values, "b": 2})
    assert files.unseal({"b": 1})
    assert not files.unseal({"b": 1}, required=True)


def test_leftovers_are_dropped_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".a.1.tmp").touch()
    (tmp_path / ".step-1.2.tmp").mkdir()
    (tmp_path / "kept").touch()
    files.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["kept"]


def test_a_folder_is_made_without_what_killed_processes_left_of_it(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host, alive = files._host(), os.getppid()
    kept = [f".new.{host}.{alive}.1.tmp", f".newer.{host}.{dead.pid}.1.tmp", f".new.00000000.{dead.pid}.1.tmp"]
    for name in (f".new.{host}.{dead.pid}.1.tmp", *kept):
        (tmp_path / name).mkdir()
    files.replace_folder(tmp_path / "new", {"file": b"content"})
    assert sorted(os.listdir(tmp_path)) == sorted(["new", *kept])
