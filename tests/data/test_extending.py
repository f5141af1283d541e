"""The how-to for tokenizers, as printed: a kind of one's own trains, resumes, evaluates and generates."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import aeattn
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.data.corpora import documents_to_evaluate
from aeattn.data.ngram import ngram_baseline
from aeattn.data.tokenizer import TOKENIZERS, CharTokenizer, Tokenizer, load_tokenizer, make_tokenizer
from aeattn.errors import InputError
from aeattn.runs.load import open_writer
from aeattn.terminal.progress import PlainReporter
from aeattn.training.evaluate_run import evaluate_run
from aeattn.training.plan import plan, plan_resume
from aeattn.training.start import resume, start
from tests.conftest import tiny_config

DOCUMENT = Path(__file__).parents[2] / "docs" / "extending.md"
TRAIN, VALID = "Ein Käse kostet 3 €. 😀 Ja!\n" * 60, "Käse? 😀\nNein, 4 €!" * 9


@pytest.fixture
def kind(tmp_path: Path) -> Iterator[type[Tokenizer]]:
    """The class that the document prints, registered by a file outside the package."""
    section = DOCUMENT.read_text(encoding="utf-8").split("## A tokenizer")[1]
    path = tmp_path / "bytes_tokenizer.py"
    path.write_text(re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0])
    spec = importlib.util.spec_from_file_location("bytes_tokenizer", path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    yield TOKENIZERS["bytes"]
    del TOKENIZERS["bytes"]


@pytest.fixture
def run(kind: type[Tokenizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of eight updates over bytes, resumed after the fourth."""
    monkeypatch.setenv("AEATTN_CACHE", str(tmp_path / "cache"))
    for name, text in (("train", TRAIN), ("valid", VALID)):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    data = DataConfig((str(tmp_path / "train.txt"),), (str(tmp_path / "valid.txt"),), tokenizer="bytes")
    training = TrainingConfig(steps=4, batch=2, compile="off", device="cpu", eval_every=2)
    config = RunConfig(replace(tiny_config(), vocab_size=0), training, data)
    reporter, path = PlainReporter(Console(quiet=True)), tmp_path / "run"
    for more in (4, 8):
        training_of_it = (
            start(plan(config, out=path), reporter)
            if more == 4
            else resume(plan_resume(path, more, False), reporter)
        )
        training_of_it.run()
        training_of_it.run_folder.unlock()
    return path


def test_a_run_over_bytes_is_scored_by_characters_and_bytes_of_the_text(run: Path, tmp_path: Path) -> None:
    assert json.loads((run / "tokenizer.json").read_text()) == {"kind": "bytes"}
    assert json.loads((run / "config.json").read_text())["model"]["vocab_size"] == 256
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tokens = 8 * 2 * tiny_config().context
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
    writer = open_writer(run)
    pieces = [pieces[0] for pieces in writer.write(["Käse: 4 €"], chars=200, seed=1)]
    assert "".join(pieces) == text[9:]
    assert len(model.generate("", chars=5, temperature=0)) == 5


def test_kinds_by_name(kind: type[Tokenizer], tmp_path: Path) -> None:
    assert isinstance(make_tokenizer("bytes", ["abc"]), kind)
    assert make_tokenizer("char", ["ba"]) == CharTokenizer("ab")
    with pytest.raises(InputError, match=r"'bpe'.*char.*bytes.*--plugin"):
        make_tokenizer("bpe:100", ["abc"])
    with pytest.raises(InputError, match="takes no argument"):
        make_tokenizer("char:100", ["abc"])
    with pytest.raises(InputError, match="two tokenizers"):
        aeattn.register_tokenizer("bytes")(CharTokenizer)
    (tmp_path / "tokenizer.json").write_text('{"kind": "bpe"}')
    with pytest.raises(InputError, match=r"tokenizer\.json: no tokenizer is called 'bpe'"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_an_unknown_kind_is_refused_before_a_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TRAIN)
    config = RunConfig(data=DataConfig((str(tmp_path / "a.txt"),), tokenizer="bpe:8000"))
    with pytest.raises(InputError, match="no tokenizer is called 'bpe'"):
        plan(config, out=tmp_path / "run")
    assert documents_to_evaluate([str(tmp_path / "a.txt")], config.data.text)
    assert not (tmp_path / "run").exists()
