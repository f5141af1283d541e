"""The writing benchmark lets everyone write as much, and its curves are those of the sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aeattn.benchmarks import peers
from aeattn.benchmarks.generate import bench_generate, long_context
from aeattn.cli import main
from aeattn.config.model import ModelConfig
from aeattn.errors import InputError
from aeattn.nn.size import size


def test_bench_generate_prints_one_json_object(
    nanogpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "speed.png"
    monkeypatch.setattr(peers, "_need", lambda name: (_ for _ in ()).throw(InputError(f"no {name}")))
    arguments = ["--chars", "3", "--batch", "1", "2", "--rounds", "2", "--lengths", "80"]
    more = ["--nanogpt", str(nanogpt), "--picture", str(picture)]
    assert main(["bench", "generate", "--json", *arguments, *more]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) >= {"ours", "peers", "ceilings", "ratio", "batches", "long_context", "skipped"}
    assert list(result["ours"]) == ["fast, latent cache", "fast, full cache", "simple, latent cache"]
    assert (
        result["ours"]["fast, latent cache"]["cache_bytes"] * 3 < result["ours"]["fast, full cache"]["cache_bytes"]
    )
    assert list(result["peers"]) == list(result["ratio"]) == ["nanoGPT"]
    assert set(result["skipped"]) == {"Hugging Face GPT-2", "x-transformers"}
    assert result["batches"]["2"]["shape"] == {"batch": 2, "chars": 3}
    assert picture.read_bytes().startswith(b"\x89PNG")
    brief = ["--chars", "1", "--batch", "1", "--rounds", "1", "--no-peers", "--no-long"]
    assert main(["bench", "generate", *brief, "--picture", str(picture)]) == 0
    assert "by arithmetic" in capsys.readouterr().out


def test_the_curves_show_bytes_really_allocated() -> None:
    curves = long_context([96]).curves
    config = ModelConfig(vocab_size=65)
    latent, full = size(config).latent_cache_bytes, size(config).cache_bytes
    convolutions = 4 * 3 * 3 * 128
    assert latent is not None
    assert curves["autoencoder, latent cache"].cache_bytes == [96 * latent + convolutions]
    assert curves["autoencoder, full cache"].cache_bytes == [96 * full + convolutions]
    assert curves["standard attention, full cache"].cache_bytes == [96 * full + convolutions]


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="choose larger ones"):
        bench_generate(chars=0)
    with pytest.raises(InputError, match="lengths at least 65"):
        bench_generate(lengths=[12])
