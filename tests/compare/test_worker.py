"""One run: its record, its pairing with others, what happens when it is cut off or fails."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aeattn import hardware, host
from aeattn.analysis.results import Inspection
from aeattn.compare import worker
from aeattn.compare.convert import to_json
from aeattn.compare.declaration import Declaration
from aeattn.compare.executors import BAD_INPUT, NOT_HERE
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import jobs
from aeattn.compare.records import Record
from aeattn.errors import InputError
from aeattn.nn.size import parameters
from aeattn.runs.folder import RunFolder
from aeattn.training.trainer import Trainer
from tests.compare.conftest import Declare, words
from tests.compare.made_up import with_gini


def _work(folder: Folder, job: Record) -> Record:
    folder.write_record(job)
    assert worker.main([str(folder.path), job.name]) == 0
    record = folder.read_record(job.name)
    assert record is not None
    return record


def _job(declaration: Declaration, arm: str, seed: int) -> Record:
    return next(job for job in jobs(declaration, {}) if (job.arm, job.seed) == (arm, seed))


def test_a_record_says_what_was_run_and_what_it_cost(declare_in: Declare) -> None:
    folder, declaration = declare_in()
    job = _job(declaration, "auto", 2)
    record = _work(folder, job)
    assert (record.status, record.hash, record.spec) == ("done", job.hash, declaration.hash)
    assert record.valid is not None
    assert [file.name for file in record.valid.files] == ["a", "b", "c"]
    total = sum((file.nats_per_char or 0) * file.chars for file in record.valid.files)
    assert record.nats_per_char == pytest.approx(total / record.valid.chars)
    assert record.curve[-1].valid_nats == record.nats_per_char
    assert record.samples[-1].step == 8
    assert len(record.samples[-1].text) == 5
    assert record.cost is not None
    assert record.cost.chars == 512
    assert record.cost.parameters == parameters(Trainer_config(record))
    assert record.cost.train_flops == 512 * declaration.arm("auto").train_flops
    assert record.cost.peak_memory_bytes is not None
    assert record.cost.peak_memory_bytes > 10**7
    assert record.environment is not None
    assert to_json(record.environment) == hardware.describe()
    assert not folder.run(job.name).checkpoints.exists()
    assert folder.run(job.name).model.exists()
    assert Record.from_dict(json.loads(folder.record_path(job.name).read_text()), "x") == record


def test_operations_of_subwords_are_given_a_character_too(declare_in: Declare) -> None:
    folder, declaration = declare_in({"base": {"data": {"tokenizer": "bpe:270"}}})
    cost, arm = _work(folder, _job(declaration, "auto", 2)).cost, declaration.arm("auto")
    assert cost is not None
    tokens = arm.steps * arm.run_config.tokens_per_step
    assert tokens < cost.chars <= 512  # the budget
    assert cost.train_flops == tokens * arm.train_flops
    assert cost.train_flops_per_char == pytest.approx(arm.train_flops * tokens / cost.chars, abs=0.5)


def test_a_final_run_is_judged_when_it_has_ended_and_tuning_never_reads_the_text(
    declare_in: Declare, tmp_path: Path
) -> None:
    (tmp_path / "judged").mkdir()
    for name in ("x", "y"):
        (tmp_path / "judged" / f"{name}.txt").write_text(words(80, ord(name)))
    judged = {"test": [str(tmp_path / "judged")], "test_chars": 300, "beyond_chars": 200}
    changes = {
        "judged": judged,
        "base": {"data": {"limit_chars": 400}},
        "tuning": {"rates": [0.5, 1], "extend": 0},
    }
    folder, declaration = declare_in(changes)
    sides = declaration.text[0].judged
    assert {name: side.chars for name, side in sides.items()} == {"test": 600, "beyond": 200, "trained": 200}
    assert declaration.contrasts[0].measure == declaration.loss == "test_nats"
    text = (tmp_path / "judged" / "x.txt").read_text()
    (tmp_path / "judged" / "x.txt").unlink()
    for job in jobs(declaration, {}):
        assert _work(folder, job).judged == {}
    known = {record.name: record for record in folder.read_records()}
    final = next(job for job in jobs(declaration, known) if job.phase == "final")
    (tmp_path / "judged" / "x.txt").write_text(text.upper())
    folder.write_record(final)
    assert (
        worker.main([str(folder.path), final.name]) == NOT_HERE
    )  # another text than was declared: nothing is judged by it
    (tmp_path / "judged" / "x.txt").write_text(text)
    record = _work(folder, final)
    assert {name: len(found.files) for name, found in record.judged.items()} == {
        "test": 2,
        "beyond": 1,
        "trained": 1,
    }
    assert record.judged["trained"].chars == 199
    assert record.passes == pytest.approx(512 / 400)
    assert record.best_valid_nats == min(p.valid_nats for p in record.learning_curve if p.valid_nats is not None)
    assert record.cost is not None
    assert record.cost.allocated_cache_bytes == 8192 * record.cost.cache_bytes + 4 * 3 * 16  # and the last inputs
    assert Record.from_dict(json.loads(folder.record_path(final.name).read_text()), "x") == record


def test_a_run_by_another_commit_than_the_pinned_one_is_refused(
    declare_in: Declare, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at = {"commit": "a" * 40, "dirty": False}
    monkeypatch.setattr(host, "revision", lambda: at)
    folder, declaration = declare_in({"pinned": True})
    assert declaration.commit == "a" * 40
    job = _job(declaration, "auto", 1)
    folder.write_record(job)
    at["commit"] = "b" * 40
    assert worker.main([str(folder.path), job.name]) == 2
    assert "runs are pinned to commit aaaaaaaaaaaa, this is bbbbbbbbbbbb" in capsys.readouterr().err
    at["dirty"] = True
    with pytest.raises(InputError, match="changed after its commit"):
        declare_in({"pinned": True, "seeds": [4]}, amend=True)


def Trainer_config(record: Record) -> Any:
    from aeattn.config.run import RunConfig

    return RunConfig.from_dict(record.config).model


def test_arms_of_a_seed_read_the_same_batches_in_the_same_order(
    declare_in: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    gradients = Trainer._gradients

    def watch(self: Trainer, windows: Any) -> float:
        seen.append(windows.numpy().tobytes())
        return gradients(self, windows)

    monkeypatch.setattr(Trainer, "_gradients", watch)
    folder, declaration = declare_in({"arms": {"wide": {"model": {"d_ff": 40, "n_layers": 2}}}})
    read, batches = {}, {}
    for arm, seed in (("standard", 1), ("wide", 1), ("auto", 1), ("standard", 2)):
        seen.clear()
        batches[arm, seed] = _work(folder, _job(declaration, arm, seed)).batches
        read[arm, seed] = list(seen)
    assert len(read["standard", 1]) == 8
    assert read["standard", 1] == read["wide", 1] == read["auto", 1] != read["standard", 2]
    assert batches["standard", 1] == batches["wide", 1] == batches["auto", 1] != batches["standard", 2]


def test_a_run_that_was_cut_off_goes_on_where_it_was(
    declare_in: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, declaration = declare_in()
    job = _job(declaration, "auto", 1)
    whole = _work(folder, job)
    shutil.rmtree(folder.runs)
    steps: list[int] = []
    update = Trainer.update

    def watched(self: Trainer) -> None:
        if len(steps) == 5:
            steps.append(-1)
            raise MemoryError("killed")
        update(self)
        steps.append(self.state.step)

    monkeypatch.setattr(Trainer, "update", watched)
    folder.write_record(job)
    assert worker.main([str(folder.path), job.name]) == 1
    again = _work(folder, job)
    assert steps == [1, 2, 3, 4, 5, -1, 6, 7, 8]
    assert again.resumed == (5,)
    assert whole.resumed == ()
    assert again.nats_per_char == whole.nats_per_char
    assert [point.step for point in again.curve] == [point.step for point in whole.curve]
    assert again.samples == whole.samples


def test_a_run_folder_that_is_damaged_is_started_again(
    declare_in: Declare, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, declaration = declare_in()
    job = _job(declaration, "auto", 1)
    whole = _work(folder, job)
    folder.run(job.name).config.write_text("{")
    assert _work(folder, job).nats_per_char == whole.nats_per_char
    assert "begins anew" in capsys.readouterr().err
    aside = folder.stale / f"{job.name}-1" / "runs"
    assert (aside / "config.json").read_text() == "{"
    assert (aside / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder, run: shutil.rmtree(folder.path.parent / "texts"), "texts"),
        (lambda folder, run: _another_torch(run), "another version of torch"),
        (
            lambda folder, run: run.config.write_text(run.config.read_text().replace("{", '{"later": 1,', 1)),
            "later",
        ),
    ],
)
def test_a_run_that_cannot_go_on_as_things_are_is_left_as_it_is(
    spoil: Any, message: str, declare_in: Declare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in ("train", "a"):
        shutil.copy(tmp_path / f"{name}.txt", texts)
    data = {"corpus": [str(texts / "train.txt")], "valid": [str(texts / "a.txt")]}
    folder, declaration = declare_in({"base": {"data": data}})
    job = _job(declaration, "auto", 1)
    _work(folder, job)
    run = folder.run(job.name)
    spoil(folder, run)
    before = {path: path.stat().st_mtime_ns for path in sorted(run.path.rglob("*"))}
    folder.write_record(job)
    assert worker.main([str(folder.path), job.name]) == (NOT_HERE if message == "texts" else BAD_INPUT)
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert {path: path.stat().st_mtime_ns for path in sorted(run.path.rglob("*"))} == before
    assert not folder.stale.exists()


def _another_torch(run: RunFolder) -> None:
    values = json.loads(run.environment.read_text())
    values["packages"]["torch"] = "0.1"
    run.environment.write_text(json.dumps(values))


def test_another_text_leaves_no_run_folder_that_is_in_the_way(declare_in: Declare, text: dict[str, Any]) -> None:
    folder, declaration = declare_in()
    job = _job(declaration, "auto", 1)
    book = Path(text["valid"][0])
    before = book.read_text()
    book.write_text("the quick brown fox\n")
    folder.write_record(job)
    assert worker.main([str(folder.path), job.name]) == NOT_HERE
    book.write_text(before)
    assert _work(folder, job).status == "done"


def test_a_run_folder_where_somebody_else_trains_is_left_alone(
    declare_in: Declare, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, declaration = declare_in()
    job = _job(declaration, "auto", 1)
    _work(folder, job)
    other = folder.run(job.name)
    other.lock()
    folder.write_record(job)
    assert worker.main([str(folder.path), job.name]) == 2
    other.unlock()
    assert "in use by another process" in capsys.readouterr().err
    assert other.model.exists()


def test_a_record_run_again_from_its_own_config_gives_the_same_loss(declare_in: Declare, tmp_path: Path) -> None:
    from aeattn.cli import main

    folder, declaration = declare_in()
    record = _work(folder, _job(declaration, "auto", 3))
    config = record.config
    settings = {name: config[name] for name in ("model", "training", "data")}
    del settings["model"]["vocab_size"]
    file = tmp_path / "again.toml"
    file.write_text(_toml(settings))
    assert main(["train", "--config", str(file), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    last = (tmp_path / "again" / "metrics.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["valid_nats"] == pytest.approx(record.nats_per_char, abs=1e-6)


def _toml(settings: dict[str, Any], prefix: str = "") -> str:
    tables = {k: v for k, v in settings.items() if isinstance(v, dict)}
    lines = [f"{k} = {json.dumps(v)}" for k, v in settings.items() if k not in tables and v is not None]
    text = "\n".join([*([f"[{prefix[:-1]}]"] if prefix else []), *lines]) + "\n"
    return text + "".join(_toml(table, f"{prefix}{name}.") for name, table in tables.items())


def test_a_run_that_diverges_is_recorded_as_failed(declare_in: Declare) -> None:
    folder, declaration = declare_in(
        {"base": {"training": {"optimizer": "adamw", "learning_rate": 1e38, "clip": 0}}}
    )
    record = _work(folder, _job(declaration, "standard", 1))
    assert (record.status, record.failure) == ("failed", "diverged")
    assert record.reason is not None
    assert "nan after step 1" in record.reason
    assert record.nats_per_char is record.valid is record.cost is None


def test_another_text_than_was_declared_is_refused(
    declare_in: Declare, text: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, declaration = declare_in()
    job = _job(declaration, "auto", 1)
    Path(text["valid"][0]).write_text("the quick brown fox\n")
    folder.write_record(job)
    assert worker.main([str(folder.path), job.name]) == NOT_HERE
    assert "the text is not the one that was declared" in capsys.readouterr().err


def test_tuning_runs_leave_a_record_alone(declare_in: Declare) -> None:
    folder, declaration = declare_in({"tuning": {"rates": [1, 2]}})
    job = jobs(declaration, {})[0]
    record = _work(folder, job)
    assert record.phase == "tune"
    assert record.samples == ()
    assert not folder.run(job.name).path.exists()


def test_attention_is_measured_where_it_is_wanted(declare_in: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    class Measuring:
        @staticmethod
        def inspect_run(run: Path, *, step: int | None = None, **_: Any) -> Inspection:
            asked.append(step)
            return with_gini(0.5)

    monkeypatch.setitem(sys.modules, "aeattn.analysis.inspection", Measuring)  # type: ignore[arg-type]
    folder, declaration = declare_in({"attention": True, "base": {"training": {"eval_every": 3}}})
    job = _job(declaration, "auto", 1)
    record = _work(folder, job)
    analysis = folder.read_analysis(job.name)
    assert asked == [3, 6, None]
    assert analysis is not None
    assert [snapshot.step for snapshot in analysis.at] == [3, 6, 8]
    assert analysis.at[-1].valid_nats == record.nats_per_char


def test_a_record_that_is_not_there(declare_in: Declare, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = declare_in()
    assert worker.main([str(folder.path), "nothing"]) == 2
    assert "no record nothing" in capsys.readouterr().err


def test_records_that_are_damaged_say_so(declare_in: Declare) -> None:
    folder, declaration = declare_in()
    job = _job(declaration, "auto", 1)
    folder.write_record(job)
    for content, message in (("{", "damaged; delete it"), ("{}", "format None"), ('{"format": 1}', "damaged"),
                             ('{"format": 1, "nam": 2}', "did you mean 'name'")):  # fmt: skip
        folder.record_path(job.name).write_text(content)
        with pytest.raises(InputError, match=message):
            folder.read_records()
    folder.write_record(replace(job, name="other"))
    shutil.move(folder.record_path("other"), folder.record_path(job.name))
    with pytest.raises(InputError, match="calls itself 'other'"):
        folder.read_records()


def test_points_are_evenly_spaced() -> None:
    assert worker.evenly([1, 2, 3, 4, 5, 6, 7, 8, 9], 4) == [2, 4, 6, 9]
    assert worker.evenly([1, 2], 4) == [1, 2]
    assert worker.evenly([], 4) == []
