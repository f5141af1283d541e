"""What is not as it was is shown and refused unless told otherwise; hostile files get one line."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from aeattn.files import sealed, sha256, to_json
from aeattn.runs import checkpoint
from aeattn.runs.folder import RunFolder
from tests.faults.conftest import Tally
from tests.faults.harness import ROOT, TINY, USUAL, Bench, difference

KIND = "refusals right"
MEMORY_MB = 400  # that a refusal may take beyond what is loaded


def _edit(path: Path, *keys: str, value: Any) -> None:
    values = json.loads(path.read_text())
    place = values
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(values))


# -- what has changed ---------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "rate": (
        lambda r: _edit(r / "config.json", "training", "learning_rate", value=0.5),
        r"training.learning_rate was 0.005, is 0.5: undo that, or go on nevertheless with --accept-changes",
    ),
    "seed": (lambda r: _edit(r / "config.json", "training", "seed", value=3), "training.seed was 0, is 3"),
    "width": (lambda r: _edit(r / "config.json", "model", "d_ff", value=32), "model.d_ff was 24, is 32"),
    "steps": (lambda r: _edit(r / "config.json", "training", "steps", value=13), "training.steps was 12, is 13"),
    "torch": (
        lambda r: _edit(r / "environment.json", "packages", "torch", value="1.0"),
        "another version of torch: it was 1.0, is ",
    ),
    "aeattn": (
        lambda r: _edit(r / "environment.json", "packages", "autoencoder-attention", value="0.0.9"),
        "another version of autoencoder-attention: it was 0.0.9",
    ),
    "format": (lambda r: _edit(r / "config.json", "format", value=99), "run format 99, .*update aeattn"),
    "vocabulary": (
        lambda r: (r / "tokenizer.json").write_text(json.dumps({"kind": "characters", "characters": list("abc")})),
        r"tokenizer.json has 3 tokens, config.json \d+: it is another run's, or damaged: restore it",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_has_changed_is_shown_and_refused(name: str, bench: Bench, tally: Tally, out: Path) -> None:
    shutil.copytree(bench.whole(), out)
    change, message = CHANGES[name]
    change(out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    result = bench.resume(out)
    right = result.code == 2 and bool(re.search(message, result.complaint))
    right = right and before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert tally.count(KIND, right), result.errors


def test_another_text_is_refused_and_can_be_accepted(
    bench: Bench, tally: Tally, out: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    shutil.copy(bench.text, text)
    arguments = ["train", str(text), "--out", str(out), *TINY, *USUAL]
    assert bench.server.run(out, *arguments, kill_at_update=6, settled=True).code == -9
    text.write_text(bench.text.read_text().replace("e", "é", 1))
    refused = bench.resume(out)
    right = refused.code == 2 and "another text to train on: it was " in refused.complaint
    right = right and "another vocabulary" in refused.complaint and "'é' are new" in refused.complaint
    assert tally.count(KIND, right), refused.errors
    assert bench.resume(out, "--accept-changes").code == 0
    assert bench.resume(out).code == 0  # what was accepted stays accepted


def test_a_changed_config_can_be_accepted(bench: Bench, out: Path) -> None:
    bench.train(out, kill_at_update=6, settled=True)
    _edit(out / "config.json", "training", "steps", value=9)
    assert bench.resume(out).code == 2
    assert bench.resume(out, "--accept-changes").code == 0
    assert bench.resume(out).code == 0
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 9


def test_more_steps_are_no_change_to_be_refused(bench: Bench, tally: Tally, out: Path) -> None:
    bench.train(out, kill_at_update=6, settled=True)
    assert bench.resume(out, "--steps", "15", kill_at_update=6, settled=True).code == -9
    assert bench.resume(out).code == 0
    fewer = bench.resume(out, "--steps", "3")
    assert tally.count(KIND, fewer.code == 2 and "the run is at step 15" in fewer.complaint), fewer.errors


def test_what_was_accepted_without_need_is_exact(bench: Bench, tally: Tally, out: Path) -> None:
    shutil.copytree(bench.whole(), out)
    assert bench.resume(out, "--accept-changes").code == 0
    assert tally.difference("fallbacks exact", difference(out, bench.whole()))


# -- hostile files ------------------------------------------------------------------------------------------


def _header(path: Path, length: int, header: bytes = b"") -> None:
    path.write_bytes(struct.pack("<Q", length) + header)


def _tensors(path: Path, spoil: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path)
    spoil(tensors)
    save_file(tensors, path)


def _many_tensors(path: Path) -> None:
    names = ",".join(f'"t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(1_000_000))
    header = f"{{{names}}}".encode()
    _header(path, len(header), header)


def _sparse(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


WEIGHTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "endless header": (lambda p: _header(p, 2**63), "is damaged"),
    "long header": (lambda p: _header(p, 90_000_000, b"{" + b" " * 90_000_000), "is damaged"),
    "deep header": (lambda p: _header(p, 10_000, b'{"a":' * 2_000), "is damaged"),
    "million tensors": (_many_tensors, "is damaged"),
    "header of numbers": (lambda p: _header(p, 8, b"12345678"), "is damaged"),
    "a terabyte": (lambda p: _sparse(p, 2**40), "is damaged"),
    "a pickle": (lambda p: p.write_bytes(pickle.dumps({"weights": list(range(9))})), "is damaged"),
    "a torch file": (lambda p: torch.save({"a": torch.ones(3)}, p), "is damaged"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), "cannot be read"),
    "wrong shape": (lambda p: _tensors(p, lambda t: t.update({"norm.weight": torch.ones(17)})), r"shape \(17,\)"),
    "wrong type": (
        lambda p: _tensors(p, lambda t: t.update({"norm.weight": torch.ones(16, dtype=torch.int64)})),
        "norm.weight is of type torch.int64, not torch.float32",
    ),
    "missing": (lambda p: _tensors(p, lambda t: t.pop("norm.weight")), r"norm.weight has shape None, not \(16,\)"),
    "extra": (lambda p: _tensors(p, lambda t: t.update(zzz=torch.ones(2))), "zzz has shape"),
    "nan": (
        lambda p: _tensors(p, lambda t: t["norm.weight"].fill_(float("nan"))),
        "norm.weight holds values that are not finite",
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_hostile_weights(name: str, bench: Bench, tally: Tally, out: Path) -> None:
    shutil.copytree(bench.whole(), out)
    spoil, message = WEIGHTS[name]
    spoil(out / "model.safetensors")
    result = bench.server.run(out, "generate", str(out), "--chars", "3", memory_mb=MEMORY_MB)
    right = result.code == 2 and bool(re.search(f"model.safetensors.*{message}", result.complaint))
    assert tally.count(KIND, right), result.errors


@pytest.mark.parametrize(
    ("what", "name"),
    [("wrong type", checkpoint.WEIGHTS), ("extra", checkpoint.OPTIMIZER), ("nan", checkpoint.WEIGHTS)],
)
def test_hostile_checkpoints_with_true_checksums(
    what: str, name: str, bench: Bench, tally: Tally, out: Path
) -> None:
    """Whoever can write checksums can write anything; it must still fit, and be finite."""
    shutil.copytree(bench.whole(), out)
    for folder in checkpoint.all_checkpoints(RunFolder(out)):
        state = json.loads((folder / "state.json").read_text())
        WEIGHTS[what][0](folder / name)
        content = (folder / name).read_bytes()
        state["files"][name] = {"bytes": len(content), "sha256": sha256(content)}
        state.pop("checksum")
        (folder / "state.json").write_bytes(to_json(sealed(state)))
    result = bench.resume(out, memory_mb=MEMORY_MB)
    assert tally.count(KIND, result.code == 2 and name in result.complaint), result.errors


TWICE = '{"kind": "characters", "characters": ["a", "a"]}'
MANY = '{"kind": "characters", "characters": [' + '"a",' * 34_000_000 + '"b"]}'
FILES: dict[str, tuple[str, str | bytes | Callable[[], str], str]] = {
    "nested keys": ("config.json", '{"a":' * 1_000_000 + "1" + "}" * 1_000_000, "config.json cannot be read"),
    "some nested keys": ("config.json", '{"a":' * 900 + "1" + "}" * 900, "unknown key|run format|cannot be read"),
    "a million keys": ("config.json", lambda: json.dumps(dict.fromkeys(map(str, range(10**6)))), "cannot be read"),
    "a long number": (
        "config.json",
        '{"format": 2, "training": {"steps": 1' + "0" * 5000 + "}}",
        "cannot be read",
    ),
    "no text": ("config.json", b"\xff\xfe\0", "config.json cannot be read"),
    "null": ("config.json", "null", "holds no object"),
    "twice the same": ("tokenizer.json", TWICE, "must not hold a character twice"),
    "many": ("tokenizer.json", MANY, "too large"),
    "no characters": ("tokenizer.json", '{"kind": "characters", "characters": {"a": 1}}', "must be a list"),
    "nested": ("tokenizer.json", "[" * 1_000_000, "not JSON"),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_files(name: str, bench: Bench, tally: Tally, out: Path) -> None:
    shutil.copytree(bench.whole(), out)
    file, content, message = FILES[name]
    content = content() if callable(content) else content
    (out / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    for command in (["generate", str(out), "--chars", "3"], ["resume", str(out), "--quiet"]):
        result = bench.server.run(out, *command, memory_mb=MEMORY_MB)
        right = result.code == 2 and bool(re.search(message, result.complaint)) and len(result.complaint) < 1000
        assert tally.count(KIND, right), result.errors[:2000]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "metrics.jsonl",
                                  "samples.txt", "checkpoints/step-00000012/state.json"])  # fmt: skip
def test_what_is_no_file_is_not_waited_for(
    name: str, make: Callable[[Path], None], bench: Bench, tally: Tally, out: Path
) -> None:
    shutil.copytree(bench.whole(), out)
    (out / name).unlink()
    make(out / name)
    for command in (["report", str(out)], ["resume", str(out), "--quiet"]):
        result = bench.server.run(out, *command)
        said = result.code in (1, 2) and name.rpartition("/")[2] in result.complaint  # 1: what cannot be written
        assert tally.count(KIND, said or result.code == 0), (command, result)


CONFIGS: dict[str, tuple[str, object, str]] = {
    "layers": ("n_layers", 10**9, "choose at most 10,000"),
    "width": ("d_model", 10**9, "GiB to train"),
    "odd width": ("d_model", 10**15 + 3, "heads do not divide the width"),
    "endless width": ("d_model", 10**18 + 3, r"d_model is 10*3: choose .* below 2\^53"),
    "words": ("vocab_size", 10**12, "GiB to train"),
    "context": ("context", 10**15, "needs at least"),
    "a list": ("d_ff", [1, 2], "give a value of type int"),
    "a table": ("d_ff", {"a": 1}, "give a value of type int"),
    "infinite": ("dropout", float("inf"), "dropout is inf"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_of_no_possible_model(name: str, bench: Bench, tally: Tally, out: Path) -> None:
    shutil.copytree(bench.whole(), out)
    field, value, message = CONFIGS[name]
    _edit(out / "config.json", "model", field, value=value)
    result = bench.resume(out, "--accept-changes", memory_mb=MEMORY_MB)
    assert tally.count(KIND, result.code == 2 and bool(re.search(message, result.complaint))), result.errors


TOML: dict[str, tuple[str, str]] = {
    "dotted": (".".join(["a"] * 500_000) + " = 1", "tables deep in tables"),
    "arrays": ("a = " + "[" * 100_000, "cannot be read"),
    "inline": ("a = " + "{a=" * 100_000, "cannot be read"),
    "large": ("# " + "x" * 2_000_000, "more than a mebibyte"),
    "huge number": ("[training]\nsteps = 1" + "0" * 400, "steps is 10*: choose at least 1, below"),
    "huge rate": ("[training]\nlearning_rate = 1" + "0" * 400, "learning_rate is 10*: give a value of type float"),
}


@pytest.mark.parametrize("name", TOML)
def test_hostile_config_files(name: str, bench: Bench, tally: Tally, out: Path, tmp_path: Path) -> None:
    content, message = TOML[name]
    (tmp_path / "a.toml").write_text(content)
    arguments = ["train", str(bench.text), "--config", str(tmp_path / "a.toml"), "--out", str(out)]
    result = bench.server.run(out, *arguments, memory_mb=MEMORY_MB)
    right = result.code == 2 and bool(re.search(message, result.complaint)) and not out.exists()
    assert tally.count(KIND, right), result.errors[:1000]


def test_nothing_is_ever_unpickled() -> None:
    words = re.compile(
        r"from pickle|pickle\.(load|Unpickler)|import (joblib|shelve|marshal)|torch\.load|allow_pickle"
    )  # a benchmark writes one for another program
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    lines = [line for text in sources for line in text.splitlines() if words.search(line)]
    assert lines == []
