"""The whole road: train, evaluate, generate, resume, through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import aeattn
from aeattn.cli import main
from aeattn.data import fetch, tales
from aeattn.data.ngram import ngram_baseline
from aeattn.kernels.build import SWITCH

SMALL = ["--d-model", "64", "--n-heads", "4", "--bottleneck", "16", "--d-ff", "192", "--n-layers", "2",
         "--context", "64", "--batch", "16", "--compile", "off", "--quiet",
         "--set", "training.sample_chars=9"]  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "train.txt").write_text(tales.generate(20_000)[0])
    (folder / "valid.txt").write_text(tales.generate(5_000, stream="valid")[0])
    return folder


@pytest.fixture(scope="module")
def run(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "one"
    assert (
        main(_train_arguments(texts, out, "--steps", "160", "--checkpoint-every", "70", "--preset", "460k")) == 0
    )
    return out


def _train_arguments(texts: Path, out: Path, *more: str) -> list[str]:
    files = [str(texts / "train.txt"), "--valid", str(texts / "valid.txt")]
    return ["train", *files, "--out", str(out), *SMALL, *more]


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return json.loads(capsys.readouterr().out)


def test_a_few_seconds_of_training_beat_a_trigram_model(
    run: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = _json(capsys, "evaluate", str(run), str(texts / "valid.txt"), "--json")
    baseline = result["ngram_nats_per_char"]
    assert result["nats_per_char"] < baseline["3"] < baseline["2"] < baseline["1"]
    assert result["sliding"]["nats_per_char"] < result["nats_per_char"]
    assert result["sliding"]["chars"] == result["chars"] == len((texts / "valid.txt").read_text()) - 1
    assert [file["name"] for file in result["files"]] == ["valid"]


def test_the_baseline_of_evaluate_is_that_of_the_texts(
    run: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = _json(capsys, "evaluate", str(run), str(texts / "valid.txt"), "--json", "--no-sliding")
    tokenizer = aeattn.load(run).tokenizer
    ids = [tokenizer.encode((texts / name).read_text()) for name in ("train.txt", "valid.txt")]
    expected = ngram_baseline(*ids, tokenizer.vocab_size)
    assert result["ngram_nats_per_char"]["3"] == pytest.approx(expected[3])


def test_the_run_folder_holds_what_it_promises(run: Path) -> None:
    names = {p.name for p in run.iterdir()}
    assert names == {"config.json", "tokenizer.json", "model.safetensors", "metrics.jsonl", "samples.txt",
                     "checkpoints", "environment.json", "learning_curve.png"}  # fmt: skip
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all({"step", "chars", "seconds", "train_nats"} <= set(line) for line in lines)
    assert lines[-1]["chars"] == 160 * 16 * 64
    assert lines[-1]["valid_chars"] > 4_900
    assert sum("valid_nats" in line for line in lines) == 10
    assert lines[-1]["valid_nats"] < lines[0]["train_nats"]
    assert (run / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    config = json.loads((run / "config.json").read_text())
    assert "auto" not in (config["training"]["device"], config["training"]["precision"])
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["step-00000140", "step-00000160"]


def test_generate_prints_json_with_what_is_promised(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = _json(capsys, "generate", str(run), "--prompt", "Once ", "--chars", "80", "--json", "--seed", "3")
    assert result["text"].startswith("Once ")
    assert len(result["text"]) == 85
    assert result["chars"] == 80
    assert result["chars_per_second"] == pytest.approx(80 / result["seconds"])
    model = aeattn.load(run)
    per_char = aeattn.size(model.model.config).latent_cache_bytes
    assert per_char is not None
    convolutions = 2 * 3 * 64 * 4  # the last three inputs of each layer
    assert result["cache_bytes"] == 64 * per_char + convolutions
    assert (result["cache"], result["engine"]) == ("latent", "fast")
    assert result["text"] == model.generate("Once ", chars=80, temperature=0.8, seed=3)
    other = _json(capsys, "generate", str(run), "--prompt", "Once ", "--chars", "80", "--json", "--seed", "3",
                  "--engine", "simple", "--cache", "full")  # fmt: skip
    assert other["text"] == result["text"]
    assert (other["cache"], other["engine"]) == ("full", "simple")
    assert other["cache_bytes"] > 3 * result["cache_bytes"]


def test_generate_streams_and_takes_prompts_from_files(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompt").write_text("The ")
    assert main(["generate", str(run), "--prompt-file", str(tmp_path / "prompt"), "--chars", "9"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("The ")
    assert len(text) == 4 + 9 + 1
    assert main(["generate", str(run), "--samples", "2", "--chars", "9"]) == 0
    assert capsys.readouterr().out.count("--- sample") == 2


def test_many_prompts_one_a_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompts").write_text("Once \n\nThe old man ")
    arguments = ["generate", str(run), "--prompts", str(tmp_path / "prompts"), "--chars", "40", "--stop", "e"]
    result = _json(capsys, *arguments, "--json", "--samples", "2")
    assert len(result["samples"]) == 6
    assert result["samples"][0].startswith("Once ")
    assert all("e" not in text[5:] for text in result["samples"][:2])
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("--- sample") == 3


def test_generate_does_without_torch(run: Path) -> None:
    code = f"""import sys; from aeattn.cli import main
assert main(['generate', {str(run)!r}, '--chars', '5']) == 0
assert 'torch' not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_evaluating_does_without_the_compiler(run: Path, texts: Path) -> None:
    """Importing it takes longer than all else that a short text needs; our own operators import it."""
    arguments = ["evaluate", str(run), str(texts / "valid.txt"), "--no-baseline", "--no-sliding"]
    code = f"""import sys; from aeattn.cli import main
assert main({arguments!r}) == 0
assert 'torch._dynamo' not in sys.modules"""
    env = {**os.environ, SWITCH: "off"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.DEVNULL, env=env)


def test_interrupted_writing_keeps_what_was_written(run: Path) -> None:
    process = _start(["generate", str(run), "--chars", "100000000"])
    assert process.stdout is not None
    assert len(process.stdout.read(500)) == 500
    assert _interrupt(process).endswith("\n")


def test_interrupted_writing_keeps_every_sample(run: Path) -> None:
    for seconds in (2, 8, 32):  # samples come out at the end; a machine may be too busy to have begun
        process = _start(["generate", str(run), "--chars", "100000000", "--samples", "3"])
        time.sleep(seconds)
        if written := _interrupt(process):
            break
    assert written.endswith("\n")
    assert written.count("--- sample") == 3


def _interrupt(process: subprocess.Popen[str]) -> str:
    """What a process has written, or goes on to write, when it is interrupted."""
    process.send_signal(signal.SIGINT)
    written, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    *notes, last = complaint.splitlines()
    assert last == "aeattn: interrupted"
    assert all(note.startswith("getting ready") for note in notes)  # said where compiling takes long
    return written


def test_load_gives_logits_that_evaluate_agrees_with(run: Path, texts: Path) -> None:
    model = aeattn.load(run)
    text = (texts / "valid.txt").read_text()[:65]
    ids = model.encode(text)
    losses = torch.nn.functional.cross_entropy(model.logits(ids[:64]), ids[1:65], reduction="none")
    assert 0.5 < losses.mean().item() < 3


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def _metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_a_killed_run_ends_as_if_it_had_not_been_killed(texts: Path, tmp_path: Path) -> None:
    """A process of its own; tests/faults kills many runs, at every point, with dropout and without."""
    more = ["--batch", "4", "--steps", "40", "--checkpoint-every", "5", "--dropout", "0.1", "--eval-every", "15"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(_train_arguments(texts, whole, *more)) == 0
    process = _start(_train_arguments(texts, killed, *more))
    _wait_for(lambda: len(list(killed.glob("checkpoints/step-*"))) >= 2, process)
    process.kill()
    process.communicate()
    assert not (killed / "learning_curve.png").exists()
    assert main(["resume", str(killed), "--quiet"]) == 0
    assert _metrics(killed) == _metrics(whole)
    assert (killed / "samples.txt").read_text() == (whole / "samples.txt").read_text()
    for name, tensor in _weights(whole).items():
        assert torch.equal(tensor, _weights(killed)[name])
    assert main(["resume", str(killed), "--quiet"]) == 0  # once more: there is nothing left to do
    assert _metrics(killed) == _metrics(whole)


def test_a_signal_saves_and_says_how_to_go_on(texts: Path, tmp_path: Path) -> None:
    """A process of its own; tests/faults sends both signals in every phase of a run."""
    number, code, out = signal.SIGTERM, 143, tmp_path / "run"
    process = _start(
        _train_arguments(texts, out, "--steps", "100000", "--checkpoint-every", "0", "--eval-every", "5")
    )
    _wait_for(lambda: (out / "metrics.jsonl").exists(), process)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"aeattn resume {out}" in complaint
    assert len(list((out / "checkpoints").iterdir())) == 1
    assert aeattn.load(out).generate("a", chars=3)


def _start(arguments: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "aeattn", *arguments]
    # whoever runs the tests in the background may have told their children to ignore an interrupt
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, env=environment, **pipes)
    finally:
        signal.signal(signal.SIGINT, before)


def _wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_floor_is_known_for_tales(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, generate = tmp_path / "run", fetch.tales
    monkeypatch.setattr(fetch, "tales", lambda size, *more: generate(size // 100, *more))
    arguments = ["train", "--out", str(out), *[a for a in SMALL if a != "--quiet"], "--steps", "3"]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "above the entropy of the corpus" in captured.out
    assert "above entropy" in captured.err
    assert f"run folder: {out}" in captured.out


def test_minutes_are_turned_into_steps(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(_train_arguments(texts, out, "--minutes", "0.005")) == 0
    config = json.loads((out / "config.json").read_text())
    assert 1 <= config["training"]["steps"] < 2000
    assert config["training"]["minutes"] is None
    assert config["training"]["steps"] == _metrics(out)[-1]["step"]


def test_divergence_stops_before_the_update(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    more = ("--steps", "50", "--learning-rate", "1e30", "--checkpoint-every", "1", "--optimizer", "adamw")
    assert main(_train_arguments(texts, out, *more)) == 1
    complaint = capsys.readouterr().err
    assert "before the update" in complaint
    assert "at step" in complaint
    for checkpoint in (out / "checkpoints").iterdir():
        assert all(bool(t.isfinite().all()) for t in load_file(checkpoint / "model.safetensors").values())


def test_size_as_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    result = _json(capsys, "size", "--json")
    assert {row["preset"] for row in result["presets"]} >= {"460k", "460k-classic", "460k-linear", "1m", "2.6m"}
    solved = _json(capsys, "size", "--preset", "460k", "--parameters", "500000", "--json")
    assert solved["presets"][0]["parameters"] == pytest.approx(500_000, rel=0.01)
    assert main(["size"]) == 0
    assert "parameters" in capsys.readouterr().out
