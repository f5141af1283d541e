"""The writing benchmark lets everyone write as much, and its curves are those of the sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aeattn.benchmarks import peers
from aeattn.benchmarks.generate import bench_generate, long_context
from aeattn.benchmarks.train import of_preset
from aeattn.cli import main
from aeattn.config.model import ModelConfig
from aeattn.config.presets import DEFAULT_PRESET, PRESETS
from aeattn.errors import InputError
from aeattn.nn.size import parameters, size


def test_bench_generate_prints_one_json_object(
    nanogpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "speed.png"
    monkeypatch.setattr(peers, "_need", lambda name: (_ for _ in ()).throw(InputError(f"no {name}")))
    arguments = ["--preset", "460k", "--chars", "3", "--batch", "1", "2", "--rounds", "2", "--lengths", "80"]
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


def test_the_default_preset_is_measured_where_nothing_is_named() -> None:
    found = bench_generate(chars=1, batches=[1], rounds=1, peers=False, lengths=[80])
    assert found.model == {
        "run": None, "preset": DEFAULT_PRESET, "parameters": parameters(config := of_preset(DEFAULT_PRESET))
    }  # fmt: skip
    assert list(found.batches["1"].ours)[-1] == "simple, full cache"
    deep, standard = found.long_context.curves.values()
    assert deep.cache_bytes[0] < standard.cache_bytes[0] / 3
    assert deep.cache_bytes[0] >= 80 * size(config).cache_bytes
    assert found.command == f"aeattn bench generate --preset {DEFAULT_PRESET}"


def test_a_run_and_a_preset_at_once_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "generate", str(tmp_path), "--preset", "460k"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_curves(name: str) -> None:
    curves = long_context(of_preset(name), [80]).curves
    assert list(curves)[-1] == "standard attention, full cache"
    kept = [curve.cache_bytes[0] for name, curve in curves.items() if name.startswith("autoencoder")]
    assert kept[0] == min(kept)


def test_the_curves_show_bytes_really_allocated() -> None:
    config = ModelConfig(vocab_size=65)
    curves = long_context(config, [96]).curves
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
