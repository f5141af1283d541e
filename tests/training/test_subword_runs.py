"""Runs over subwords and over bytes, from training to text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as Library

import aeattn
from aeattn.analysis.maps import unpack
from aeattn.cli import main
from aeattn.data.ngram import ngram_baseline
from aeattn.data.tokenizer import load_tokenizer
from aeattn.errors import InputError
from aeattn.runs.folder import RunFolder
from aeattn.runs.load import load_model, open_writer
from aeattn.training.evaluate_run import evaluate_run

WORDS = ["Wölfe", "Käse", "Bäume", "kaufen", "suchen", "finden", "heute", "morgen", "niemals", "unter", "Straße"]
TRAIN = "".join(
    f"Der Bär № {i}: {WORDS[i % 11]} {WORDS[i * 3 % 7]} für {i % 5} €. 😀 Ja, ja!\n" for i in range(150)
)
VALID = "Der Bär? 😀\nKäse für 3 €, ja!" * 9
SMALL = {"d_model": 16, "n_heads": 2, "n_layers": 2, "bottleneck": 4, "d_ff": 32, "context": 16}


CHARS = 600  # to train on


@pytest.fixture(scope="module", params=["bpe:300", "bytes"])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """A run and its tokenizer's setting; kernels are compiled once."""
    folder, tokenizer = tmp_path_factory.mktemp("subwords"), str(request.param)
    for name, text in (("train", TRAIN), ("valid", VALID)):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    changes = [f"model.{name}={value}" for name, value in SMALL.items()] + [
        "training.compile=off",
        "training.sample_chars=1",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEATTN_CACHE", str(tmp_path_factory.getbasetemp() / "subwords-cache"))
        assert main([
            "train", str(folder / "train.txt"), "--valid", str(folder / "valid.txt"), "--out", str(folder / "run"),
            "--tokenizer", tokenizer, "--batch", "2", "--device", "cpu", "--chars", str(CHARS), "--quiet",
            *(argument for change in changes for argument in ("--set", change)),
        ]) == 0  # fmt: skip
        yield folder / "run", tokenizer


@pytest.fixture(autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEATTN_CACHE", str(tmp_path_factory.getbasetemp() / "subwords-cache"))


def test_characters_to_train_on_are_characters(trained: tuple[Path, str]) -> None:
    run, _ = trained
    config = json.loads((run / "config.json").read_text())
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    a_token = len(TRAIN) / len(load_tokenizer(run / "tokenizer.json").encode(TRAIN))
    assert config["training"]["steps"] == int(CHARS / a_token) // (2 * 16)
    assert last["chars"] == round(config["training"]["steps"] * 2 * 16 * a_token)


def test_maps_have_the_text_of_each_token(trained: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = trained
    capsys.readouterr()
    assert main(["inspect", str(run), "--chars", "200", "--json"]) == 0
    maps = json.loads(capsys.readouterr().out)["maps"]
    tokenizer = load_tokenizer(run / "tokenizer.json")
    ids = tokenizer.encode(maps["text"])
    assert maps["tokens"] == [tokenizer.decode([index]) for index in ids] or "\ufffd" in maps["text"]
    assert len(maps["tokens"]) == len(unpack(maps["weights"][0][0]))


def test_inspected_losses_are_a_character(trained: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    """One window of the whole text: recomputed from the model alone."""
    run, _ = trained
    capsys.readouterr()
    assert main(["inspect", str(run), "--chars", "1", "--json", "--context", "8"]) == 0
    found = json.loads(capsys.readouterr().out)
    folder, tokenizer = RunFolder(run), load_tokenizer(run / "tokenizer.json")
    model = load_model(folder, folder.read_config().model)
    ids = torch.from_numpy(tokenizer.encode(VALID)[:9].astype("int64"))
    with torch.inference_mode():
        nats = torch.nn.functional.cross_entropy(model(ids[None, :-1])[0, 4:], ids[5:], reduction="sum")
    chars = sum(tokenizer.chars_per_token[index] for index in ids[5:].tolist())
    assert found["text"]["queries"] == 4
    assert found["loss"]["all"] == pytest.approx(float(nats) / chars, rel=1e-5)


def test_losses_are_those_of_the_text(trained: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    run, tokenizer = trained
    size, given = 256, VALID[:1]
    if tokenizer == "bpe:300":
        library = Library.from_file(str(run / "tokenizer.json"))
        size, given = library.get_vocab_size(), library.decode(library.encode(VALID).ids[:1])
    assert json.loads((run / "config.json").read_text())["model"]["vocab_size"] == size
    result = evaluate_run(run, [str(run.parent / "valid.txt")], sliding=False)
    chars, bytes_ = len(VALID) - len(given), len(VALID.encode()) - len(given.encode())
    assert (result["chars"], result["bytes"]) == (chars, bytes_)
    nats = result["nats_per_char"] * chars
    for name, units in (("char", chars), ("byte", bytes_)):
        assert result[f"nats_per_{name}"] == pytest.approx(nats / units)
        assert result[f"bits_per_{name}"] == pytest.approx(nats / units / math.log(2))
    sides = [np.frombuffer(text.encode(), np.uint8) for text in (TRAIN, VALID)]
    expected = ngram_baseline(*sides, 256)[3] * (len(VALID.encode()) - 1) / (len(VALID) - 1)
    assert result["ngram_nats_per_char"][3] == pytest.approx(expected)
    assert result["ngram_bits_per_byte"][3] == pytest.approx(expected / math.log(2) * chars / bytes_)


def test_text_comes_in_whole_characters(trained: tuple[Path, str]) -> None:
    run, _ = trained
    model = aeattn.load(run)
    for engine in ("fast", "simple"):
        writer = open_writer(run, engine=engine)
        pieces = [p[0] for p in writer.write(["Käse 😀"], chars=120, seed=1)]
        assert "".join(pieces) == model.generate("Käse 😀", chars=120, seed=1)[len("Käse 😀") :]
        assert sum(map(len, pieces)) == 120
    whole = "".join(pieces)
    stop = next(c for c in whole[10:] if c.isascii())
    stopped = "".join(p[0] for p in writer.write(["Käse 😀"], chars=120, seed=1, stop=[stop]))
    assert stopped == whole[: whole.index(stop)]


def test_a_run_whose_tokenizer_changed_is_not_resumed(
    trained: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    run, tokenizer = trained
    path, steps = (
        run / "tokenizer.json",
        str(json.loads((run / "config.json").read_text())["training"]["steps"] + 1),
    )
    was = path.read_text()
    if tokenizer == "bpe:300":
        values = json.loads(was)
        merges = values["model"]["merges"]
        merges[-1], merges[-2] = merges[-2], merges[-1]
        path.write_text(json.dumps(values))
        assert main(["resume", str(run), "--steps", steps, "--quiet"]) == 2
        assert "tokenizer.json is another" in capsys.readouterr().err
    path.write_text(json.dumps({"kind": "characters", "characters": [*"abc"]}))
    assert main(["resume", str(run), "--steps", steps, "--accept-changes", "--quiet"]) == 2
    assert "tokenizer.json has 3 tokens, config.json" in capsys.readouterr().err
    with pytest.raises(InputError, match="it is another run's, or damaged"):
        aeattn.load(run)
    path.write_text(was)
    assert main(["resume", str(run), "--steps", steps, "--quiet"]) == 0
    said = capsys.readouterr().out
    assert all(f"{unit}/{of}" in said for unit in ("nats", "bits") for of in ("char", "byte"))


@pytest.mark.parametrize(
    ("tokenizer", "reason"),
    [
        ("bpe:200", "choose bpe:N with N"),
        ("bpe:60000", "supports only"),
        ("no/such.json", "cannot be read"),
        ("gtp2", "no tokenizer is called 'gtp2'"),
    ],
)
def test_bad_tokenizers_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tokenizer: str, reason: str
) -> None:
    (tmp_path / "text.txt").write_text(TRAIN, encoding="utf-8")
    path = tmp_path / "run"
    code = main(["train", str(tmp_path / "text.txt"), "--out", str(path), "--tokenizer", tokenizer, "--quiet"])
    said = capsys.readouterr().err.strip().splitlines()
    assert (code, len(said), path.exists()) == (2, 1, False)
    assert reason in said[0]
