"""Bad input gets one line that says how to mend it, exit code 2, no traceback and no half-written folder."""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from aeattn import InputError
from aeattn.cli import generate, main
from aeattn.generation.engine import why_not_fast
from aeattn.kernels import build
from aeattn.kernels.decode import library
from aeattn.runs.folder import RunFolder

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 40
QUICK = ["--d-model", "32", "--n-layers", "1", "--n-heads", "4", "--bottleneck", "8", "--steps", "2",
         "--context", "16", "--batch", "2", "--compile", "off", "--quiet"]  # fmt: skip


@pytest.fixture(scope="module")
def good_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    (folder / "text.txt").write_text(TEXT)
    assert main(["train", str(folder / "text.txt"), "--out", str(folder / "run"), *QUICK]) == 0
    return folder / "run"


@pytest.fixture
def run(good_run: Path, tmp_path: Path) -> Path:
    """A copy of a good run to spoil."""
    return Path(shutil.copytree(good_run, tmp_path / "run"))


def _refused(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as exit_:  # argparse
        code = int(exit_.code or 0)
    captured = capsys.readouterr()
    assert code == 2, captured.err
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert re.search(message, lines[0]), lines[0]
    assert captured.out == ""


def _write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


TEXTS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "empty": (lambda d: [_write(d / "a.txt", "")], "empty|no characters|nothing"),
    "short": (lambda d: [_write(d / "a.txt", "hello")], "needs at least 17.*lower --context"),
    "no text": (lambda d: [str(Path(_write(d / "sub" / "a.pdf", "x")).parent)], r"no \.txt"),
    "bad utf-8": (
        lambda d: [_write(d / "a.txt", TEXT.encode() + b"\xff\xfe" + TEXT.encode())],
        r"a\.txt.*byte 1,?800",
    ),
    "missing": (lambda d: [str(d / "nowhere.txt")], "nowhere.txt"),
    "misspelt": (lambda d: ["shakespear"], "shakespeare"),
    "not gzip": (lambda d: [_write(d / "a.txt.gz", b"\x1f\x8b" + b"x" * 50)], "a.txt.gz"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = TEXTS[name]
    _refused(capsys, ["train", *make(tmp_path), "--out", str(tmp_path / "run"), *QUICK], message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bottleneck", "129"], "bottleneck is 129, wider than the width 128"),
        (["--bottleneck", "0"], "bottleneck is 0: choose"),
        (["--n-heads", "5"], "5 heads do not divide the width 128: choose 4 heads"),
        (["--key", "cubic"], "key projection 'cubic' is unknown"),
        (["--key", "linear,linear"], "key names 2 projections for 3 layers"),
        (["--positions", "nowhere"], "positions is 'nowhere'"),
        (["--preset", "460K"], "did you mean '460k'"),
        (["--recipe", "books10"], "books10m"),
        (["--steps", "0"], "steps is 0: choose at least 1"),
        (["--chars", "many"], "no whole number of at least 1"),
        (["--minutes", "-1"], "minutes is -1.0: choose more than 0"),
        (["--learning-rate", "nan"], "learning_rate is nan: choose more than 0"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
        (["--seed", "-3"], "seed"),
        (["--d-model", "100000000"], "GiB to train, this machine"),
        (["--lerning-rate", "1"], "no option --lerning-rate: did you mean --learning-rate"),
        (["--optimizer", "sgd"], "invalid choice 'sgd': choose one of muon, adamw"),
        (["--config", "nowhere.toml"], "nowhere.toml is not there"),
    ],
)
def test_options(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = _write(tmp_path / "a.txt", TEXT)
    quick = [] if options[0] in ("--steps", "--chars", "--minutes") else ["--steps", "2"]
    arguments = ["train", text, "--out", str(tmp_path / "run"), "--quiet", *quick, *options]
    _refused(capsys, arguments, message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[training]\nlerning_rate = 1.0\n", "training: unknown key 'lerning_rate'; did you mean 'learning_rate'"),
        ("[mode]\n", "unknown key 'mode'; did you mean 'model'"),
        ('[model]\nd_ff = "wide"\n', "model.d_ff is 'wide': give a value of type int"),
        ("[model\n", "cannot be read"),
        ("[model]\nvocab_size = 3\n", "vocab_size"),
    ],
)
def test_config_files(content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, text = _write(tmp_path / "c.toml", content), _write(tmp_path / "a.txt", TEXT)
    _refused(capsys, ["train", text, "--config", file, "--out", str(tmp_path / "run"), *QUICK], message)
    assert not (tmp_path / "run").exists()


def test_a_config_file_is_used(tmp_path: Path) -> None:
    file, text = _write(tmp_path / "c.toml", "[model]\nd_ff = 48\n"), _write(tmp_path / "a.txt", TEXT)
    assert main(["train", text, "--config", file, "--out", str(tmp_path / "run"), *QUICK]) == 0
    assert RunFolder(tmp_path / "run").read_config().model.d_ff == 48


def test_a_folder_in_use_is_left_alone(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = _write(tmp_path / "a.txt", TEXT)
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    _refused(capsys, ["train", text, "--out", str(run), *QUICK], "holds another run: name another folder")
    _refused(capsys, ["train", text, "--out", str(run.parent), *QUICK], "holds other files")
    _refused(capsys, ["train", text, "--out", text, *QUICK], "is a file")
    _refused(capsys, ["train", text, "--out", f"{text}/below", *QUICK], "cannot be made")
    assert before == {p: p.stat().st_mtime_ns for p in run.rglob("*")}


def test_prompts(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _refused(capsys, ["generate", str(run), "--prompt", "ünß"], "outside the vocabulary: .*'ü'")
    _refused(capsys, ["generate", str(run), "--prompt-file", str(tmp_path / "no")], "cannot be read")
    _refused(capsys, ["generate", str(run), "--prompt-file", _write(tmp_path / "p", b"a\xff")], "UTF-8 at byte 1")
    _refused(capsys, ["generate", str(run), "--temperature", "nan"], "temperature is nan")
    _refused(capsys, ["generate", str(run), "--temperature", "-1"], "temperature is -1.0")
    _refused(capsys, ["generate", str(run), "--top-p", "2"], "top-p is 2.0")
    _refused(capsys, ["generate", str(run), "--samples", "0"], "at least 1 sample")
    _refused(capsys, ["generate", str(run), "--seed", "-1"], "seed is -1")
    _refused(capsys, ["generate", str(run), "--top-k", "0"], "top-k is 0")
    _refused(capsys, ["generate", str(run), "--stop", ""], "stop string is empty")
    _refused(capsys, ["generate", str(run), "--prompts", _write(tmp_path / "none", "")], "has no prompts")
    _refused(capsys, ["generate", str(run), "--prompts", str(tmp_path / "no")], "cannot be read")
    _refused(capsys, ["generate", str(run), "--prompts", "/dev/zero"], "more than 67,108,864 bytes")
    many = _write(tmp_path / "many", "a\n" * 11)
    _refused(capsys, ["generate", str(run), "--prompts", many, "--samples", "100000"], "at most 1,000,000 in all")
    pages = _write(tmp_path / "pages", "the\x0c\r\nfox\x0b dog\u2028\n\n")
    found = generate._read_prompts(argparse.Namespace(prompts=pages))
    assert found == ["the\x0c", "fox\x0b dog\u2028", ""]  # lines end at line breaks alone
    _refused(capsys, ["generate", str(run), "--device", "abacus"], "device 'abacus' cannot be used")
    _refused(capsys, ["generate", str(run), "--device", "cuda", "--engine", "fast"], "runs on the CPU")


def test_a_latent_cache_is_refused_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, out = _write(tmp_path / "a.txt", TEXT), str(tmp_path / "run")
    assert main(["train", text, "--out", out, *QUICK, "--preset", "460k", "--positions", "rotary"]) == 0
    _refused(capsys, ["generate", out, "--cache", "latent"], "no latent cache: rotary positions turn decoded keys")
    assert main(["generate", out, "--chars", "3"]) == 0


def test_without_a_compiler_there_is_text_and_a_word_about_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library.cache_clear()
    monkeypatch.setattr(build, "cxx", lambda: None)
    why_not_fast.cache_clear()
    try:
        assert main(["generate", str(run), "--chars", "7", "--prompt", "the"]) == 0
        captured = capsys.readouterr()
        assert len(captured.out) == 3 + 7 + 1
        assert (
            "the simple engine writes, many times slower: it cannot be compiled (no C++ compiler" in captured.err
        )
    finally:
        why_not_fast.cache_clear()


def test_a_prompt_from_standard_input(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the ")))
    assert main(["generate", str(run), "--prompt-file", "-", "--chars", "3"]) == 0
    assert capsys.readouterr().out.startswith("the ")


def test_evaluation(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _refused(capsys, ["evaluate", str(run), str(tmp_path / "no.txt")], "no.txt")
    _refused(capsys, ["evaluate", str(run), _write(tmp_path / "a.txt", "x")], "at least 2 characters")
    _refused(capsys, ["evaluate", str(run), _write(tmp_path / "b.txt", TEXT), "--stride", "99"], "stride is 99")


def test_unknown_characters_are_counted_and_reported(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = _write(tmp_path / "a.txt", "the fox Ω and the Ω dog ñ.")
    assert main(["evaluate", str(run), text, "--json", "--no-baseline"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["unknown_chars"] == 3
    assert "3 characters unknown to the model were read as ' '" in captured.err
    assert "Ω" in captured.err


def _spoil_weights(run: Path, spoil: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(run / "model.safetensors")
    spoil(tensors)
    save_file(tensors, run / "model.safetensors")


SPOILS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda r: shutil.rmtree(r), "is no run folder"),
    "newer": (
        lambda r: _write(
            r / "config.json", json.dumps({**json.loads((r / "config.json").read_text()), "format": 99})
        ),
        "run format 99.*update aeattn",
    ),
    "config key": (
        lambda r: _write(r / "config.json", (r / "config.json").read_text().replace('"d_ff"', '"d_fff"')),
        "unknown key 'd_fff'; did you mean 'd_ff'",
    ),
    "config cut": (lambda r: _write(r / "config.json", (r / "config.json").read_text()[:99]), "cannot be read"),
    "config list": (lambda r: _write(r / "config.json", "[]"), "holds no object"),
    "deep config": (lambda r: _write(r / "config.json", "[" * 100_000), "cannot be read"),
    "no tokenizer": (lambda r: (r / "tokenizer.json").unlink(), "tokenizer.json"),
    "tokenizer twice": (lambda r: _write(r / "tokenizer.json", '{"characters": "aab"}'), "tokenizer"),
    "no weights": (lambda r: (r / "model.safetensors").unlink(), "model.safetensors is not there"),
    "weights cut": (
        lambda r: _write(r / "model.safetensors", (r / "model.safetensors").read_bytes()[:-100]),
        "model.safetensors is damaged",
    ),
    "weights header": (lambda r: _write(r / "model.safetensors", b"\xff" * 64), "model.safetensors is damaged"),
    "weights empty": (lambda r: _write(r / "model.safetensors", b""), "model.safetensors is damaged"),
    "weights missing": (
        lambda r: _spoil_weights(r, lambda t: t.__delitem__("norm.weight")),
        r"norm.weight has shape None, not \(32,\)",
    ),
    "weights shape": (
        lambda r: _spoil_weights(r, lambda t: t.__setitem__("norm.weight", torch.ones(3))),
        r"norm.weight has shape \(3,\), not \(32,\)",
    ),
    "weights extra": (lambda r: _spoil_weights(r, lambda t: t.__setitem__("zzz", torch.ones(3))), "zzz"),
    "weights nan": (
        lambda r: _spoil_weights(r, lambda t: t["norm.weight"].fill_(float("nan"))),
        "norm.weight holds values that are not finite",
    ),
}


@pytest.mark.parametrize("engine", ["fast", "simple"])
@pytest.mark.parametrize("name", SPOILS)
def test_spoilt_runs(name: str, engine: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, message = SPOILS[name]
    spoil(run)
    _refused(capsys, ["generate", str(run), "--chars", "2", "--engine", engine], message)


def test_resuming_on_another_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "a.txt"
    _write(text, TEXT)
    assert main(["train", str(text), "--out", str(tmp_path / "run"), *QUICK]) == 0
    _write(text, TEXT.replace("fox", "ox"))
    _refused(capsys, ["resume", str(tmp_path / "run"), "--quiet"], "another text")


def test_resuming_falls_back_past_a_damaged_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, out = _write(tmp_path / "a.txt", TEXT), tmp_path / "run"
    arguments = ["train", text, "--out", str(out), *QUICK[:-1], "--checkpoint-every", "1"]
    assert main(arguments) == 0
    first, last = sorted((out / "checkpoints").iterdir())
    (last / "optimizer.safetensors").write_bytes(b"torn")
    capsys.readouterr()
    assert main(["resume", str(out), "--steps", "3"]) == 0
    complaint = capsys.readouterr().err
    assert f"checkpoint {last} is damaged" in " ".join(complaint.split())
    assert "going on after step 1" in complaint
    for folder in (out / "checkpoints").iterdir():
        (folder / "model.safetensors").write_bytes(b"torn")
    _refused(capsys, ["resume", str(out), "--quiet"], "no whole checkpoint is left")
    assert first.parent.exists()


def test_a_name_that_begins_with_a_tilde_is_a_file_where_no_user_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _refused(capsys, ["train", "~nobody-of-this-name.txt", "--out", "run"], "~nobody-of-this-name.txt")
    _write(tmp_path / "~root", TEXT)
    assert main(["train", "~root", "--out", "run", *QUICK]) == 0
    assert RunFolder(tmp_path / "run").read_config().data.corpus == (str(tmp_path / "~root"),)


@pytest.mark.parametrize("command", ["train", "compare", "generate"])
def test_a_name_that_no_file_can_have(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _refused(capsys, [command, "x" * 1000], "no file can have so long a name: xxx")


def test_many_texts_have_a_run_folder_of_a_short_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = [_write(tmp_path / f"{'ä' * 40}-{i}.txt", f"{i}{TEXT}") for i in range(7)]
    assert main(["train", *texts, *QUICK, "--preset", "460k"]) == 0
    [folder] = (tmp_path / "runs").iterdir()
    assert folder.name == "ä" * 40 + "-0-and-6-more-460k"
    assert f"too long for a folder's: the run is in runs/{folder.name}" in capsys.readouterr().err


def test_a_user_without_a_home_is_told_where_files_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("AEATTN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    _refused(capsys, ["train", "tales", "--out", "run", *QUICK], "no home folder.*set AEATTN_CACHE")


def test_input_errors_are_value_errors() -> None:
    assert issubclass(InputError, ValueError)
