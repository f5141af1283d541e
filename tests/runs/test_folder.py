"""The folder of a run: what is written can be read, what could not be is refused before anything is there."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aeattn import files
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.data.tokenizer import CharTokenizer
from aeattn.errors import Damaged, InputError
from aeattn.files import Json
from aeattn.runs import checkpoint
from aeattn.runs.folder import RunFolder, check_logs
from aeattn.runs.weights import limits_of
from tests.conftest import lively_model, tiny_config

CONFIG = RunConfig(tiny_config(), TrainingConfig(), DataConfig())
TOKENIZER = CharTokenizer("abcdefghijk")


def _of_many_files(number: int) -> RunConfig:
    names = tuple(f"/a/shared/folder/{'of long names/' * 10}{i:05}.txt" for i in range(number))
    return replace(CONFIG, data=DataConfig(corpus=names))


def test_a_run_on_many_files_with_long_names_can_be_opened(tmp_path: Path) -> None:
    run, config = RunFolder(tmp_path / "run"), _of_many_files(12_000)
    run.create(config, TOKENIZER, {"config": config.to_dict()})
    assert run.config.stat().st_size > 1 << 20
    assert run.read_config() == config
    model = lively_model(config.model)
    checkpoint.commit(run, checkpoint.take(run, model, [], {"step": 1, "config": config.to_dict()}), keep=1)
    found, warnings = checkpoint.newest(run, limits_of(config.model))
    assert found is not None
    assert not warnings


def test_a_config_that_could_not_be_read_is_refused_before_there_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json would take .*: name fewer files"):
        RunFolder(tmp_path / "run").create(_of_many_files(60_000), TOKENIZER, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("few", [{"eval_every": 1}, {"sample_every": 1, "sample_chars": 1000}])
def test_logs_that_no_record_could_hold_are_refused(few: Json, tmp_path: Path) -> None:
    check_logs(TrainingConfig(steps=10_000, **few))
    check_logs(TrainingConfig(steps=10_000_000, **{**few, "sample_every": None, "eval_every": None}))
    with pytest.raises(InputError, match=f"{next(iter(few))} is so small"):
        check_logs(TrainingConfig(steps=10_000_000, **few))


def test_a_record_of_ten_thousand_lines_can_be_read(tmp_path: Path) -> None:
    line = {
        "step": 123456,
        "chars": 123456789,
        "seconds": 1234.5,
        "train_nats": 1.2345678,
        "valid_nats": 1.2345678,
    }
    files.write_json(tmp_path / "a.json", {"curve": [line] * 10_000})
    assert (tmp_path / "a.json").stat().st_size > 1 << 20
    assert len(files.read_json(tmp_path / "a.json", "bad")["curve"]) == 10_000


def test_metrics_end_where_a_line_was_cut_off(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.read_metrics() == []
    run.append_metrics({"step": 1})
    run.metrics.write_bytes(run.metrics.read_bytes() + b'{"step": 2\xff')
    assert run.read_metrics() == [{"step": 1}]


@pytest.fixture
def two(tmp_path: Path) -> RunFolder:
    """A run of two checkpoints."""
    run, model = RunFolder(tmp_path / "run"), lively_model(tiny_config())
    run.create(CONFIG, TOKENIZER, {})
    for step in (1, 2):
        checkpoint.commit(run, checkpoint.take(run, model, [], {"step": step}), keep=2)
    return run


def _step(run: RunFolder) -> int | None:
    found, _ = checkpoint.newest(run, limits_of(CONFIG.model))
    return found and found.step


def test_only_proven_damage_is_passed_over(two: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = checkpoint.all_checkpoints(two)[-1]
    read = files.read_bytes

    def refuse(number: int) -> None:
        def fail(path: Path, most: int) -> bytes:
            if path == newest / checkpoint.WEIGHTS:
                raise OSError(number, "refused")
            return read(path, most)

        monkeypatch.setattr(files, "read_bytes", fail)

    refuse(errno.EACCES)
    with pytest.raises(InputError, match="refused") as caught:
        _step(two)
    assert not isinstance(caught.value, Damaged)
    refuse(errno.EIO)
    assert _step(two) == 1


def test_a_checkpoint_of_a_later_version_is_no_damage(two: RunFolder) -> None:
    state = checkpoint.all_checkpoints(two)[-1] / checkpoint.STATE
    values: dict[str, Any] = json.loads(state.read_text())
    values.pop("checksum")
    state.write_bytes(files.to_json(files.sealed({**values, "format": 99})))
    with pytest.raises(InputError, match="has format 99") as caught:
        _step(two)
    assert not isinstance(caught.value, Damaged)


def test_where_all_are_damaged_the_run_is(two: RunFolder) -> None:
    for path in checkpoint.all_checkpoints(two):
        (path / checkpoint.OPTIMIZER).unlink()
    with pytest.raises(Damaged, match="no whole checkpoint is left"):
        _step(two)
