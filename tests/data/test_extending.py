"""The how-to for tokenizers, as printed: a kind of one's own trains, resumes, evaluates and generates."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import aeattn
from aeattn.cli import main
from aeattn.config.plugins import load_plugins
from aeattn.config.run import DataConfig, RunConfig
from aeattn.data.corpora import documents_to_evaluate
from aeattn.data.ngram import ngram_baseline
from aeattn.data.tokenizer import TOKENIZERS, CharTokenizer, load_tokenizer, make_tokenizer
from aeattn.errors import InputError
from aeattn.runs.folder import RunFolder
from aeattn.runs.load import open_writer
from aeattn.training.evaluate_run import evaluate_run
from aeattn.training.plan import plan

DOCUMENT = Path(__file__).parents[2] / "docs" / "extending.md"
CONTEXT = 16
TRAIN, VALID = "Ein Käse kostet 3 €. 😀 Ja!\n" * 60, "Käse? 😀\nNein, 4 €!" * 9


SMALL = {"d_model": 16, "n_heads": 2, "n_layers": 2, "bottleneck": 4, "d_ff": 32, "context": CONTEXT}


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    """The file that the document prints; what it registers goes again."""
    section = DOCUMENT.read_text(encoding="utf-8").split("## A tokenizer")[1]
    path = tmp_path / "octets.py"
    path.write_text(re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0])
    yield path
    TOKENIZERS.pop("octets", None)


@pytest.fixture
def run(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of eight updates over bytes, resumed after the fourth."""
    monkeypatch.setenv("AEATTN_CACHE", str(tmp_path / "cache"))
    for name, text in (("train", TRAIN), ("valid", VALID)):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    path = tmp_path / "run"
    changes = [f"model.{name}={value}" for name, value in SMALL.items()] + ["training.compile=off"]
    assert main([
        "train", str(tmp_path / "train.txt"), "--valid", str(tmp_path / "valid.txt"), "--out", str(path),
        "--plugin", str(plugin), "--tokenizer", "octets", "--steps", "4", "--batch", "2", "--device", "cpu",
        *(argument for change in changes for argument in ("--set", change)),
    ]) == 0  # fmt: skip
    assert main(["resume", str(path), "--steps", "8"]) == 0
    return path


def test_a_run_is_opened_once(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    def read(folder: RunFolder) -> tuple[RunConfig, bool]:
        opened.append(folder.path)
        return read_sealed_config(folder)

    read_sealed_config = RunFolder.read_sealed_config
    monkeypatch.setattr(RunFolder, "read_sealed_config", read)
    evaluate_run(run, [str(tmp_path / "valid.txt")], sliding=False, baseline=False)
    assert opened == [run]


def test_a_run_over_bytes_is_scored_by_characters_and_bytes_of_the_text(run: Path, tmp_path: Path) -> None:
    assert json.loads((run / "tokenizer.json").read_text()) == {"kind": "octets"}
    assert json.loads((run / "config.json").read_text())["model"]["vocab_size"] == 256
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tokens = 8 * 2 * CONTEXT
    assert lines[-1]["step"] == 8
    assert lines[-1]["chars"] == round(tokens * len(TRAIN) / len(TRAIN.encode()))
    assert lines[-1]["valid_chars"] == len(VALID) - 1
    result = evaluate_run(run, [str(tmp_path / "valid.txt")])
    chars, size = len(VALID) - 1, len(VALID.encode()) - 1
    assert (result["chars"], result["bytes"], result["tokens"]) == (chars, size, size)
    nats = result["nats_per_char"] * chars
    assert result["nats_per_char"] == lines[-1]["valid_nats"]
    assert result["bits_per_char"] == pytest.approx(nats / chars / math.log(2))
    assert result["bits_per_byte"] == pytest.approx(nats / size / math.log(2))
    assert 4 < nats / size < 6.5  # of a byte, barely trained: ln 256 is 5.5
    ids = [np.frombuffer(text.encode(), np.uint8) for text in (TRAIN, VALID)]
    assert result["ngram_nats_per_char"][2] == pytest.approx(ngram_baseline(*ids, 256)[2] * size / chars)


def test_a_run_over_bytes_writes_whole_characters(run: Path) -> None:
    model = aeattn.load(run)
    text = model.generate("Käse: 4 €", chars=200, seed=1)
    assert text.startswith("Käse: 4 €")
    assert len(text) == 209
    command = [sys.executable, "-m", "aeattn", "generate", str(run), "--prompt", "Käse: 4 €", "--chars", "200"]
    said = subprocess.run([*command, "--seed", "1", "--json"], capture_output=True, check=True).stdout
    assert json.loads(said)["text"] == text  # in a process that was not told of the plug-in
    assert json.loads(said)["chars"] == 200
    writer = open_writer(run)
    pieces = [pieces[0] for pieces in writer.write(["Käse: 4 €"], chars=200, seed=1)]
    assert "".join(pieces) == text[9:]
    assert len(model.generate("", chars=5, temperature=0)) == 5


def test_kinds_by_name(plugin: Path, tmp_path: Path) -> None:
    load_plugins([str(plugin)])
    assert isinstance(make_tokenizer("octets", ["abc"]), TOKENIZERS["octets"])
    assert make_tokenizer("char", ["ba"]) == CharTokenizer("ab")
    with pytest.raises(InputError, match=r"'nix'.*char.*bytes.*--plugin"):
        make_tokenizer("nix:100", ["abc"])
    with pytest.raises(InputError, match="takes no argument"):
        make_tokenizer("char:100", ["abc"])
    with pytest.raises(InputError, match="two tokenizers"):
        aeattn.register_tokenizer("octets")(CharTokenizer)
    (tmp_path / "tokenizer.json").write_text('{"kind": "nix"}')
    with pytest.raises(InputError, match=r"tokenizer\.json: no tokenizer is called 'nix'"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_an_unknown_kind_is_refused_before_a_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TRAIN)
    config = RunConfig(data=DataConfig((str(tmp_path / "a.txt"),), tokenizer="nix:8000"))
    with pytest.raises(InputError, match="no tokenizer is called 'nix'"):
        plan(config, out=tmp_path / "run")
    assert documents_to_evaluate([str(tmp_path / "a.txt")], config.data.text)
    assert not (tmp_path / "run").exists()
