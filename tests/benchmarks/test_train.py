"""The training benchmark times real steps of equal size and says where the time went."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aeattn.benchmarks.ceilings import best_seconds, ceilings
from aeattn.benchmarks.parts import OTHER, PARTS, part_of
from aeattn.benchmarks.peers import nano_gpt, nearest_width
from aeattn.benchmarks.train import OURS, STANDARD, Shape, of_preset, own_step, peer_step, with_standard
from aeattn.cli import main
from aeattn.config.model import ModelConfig
from aeattn.config.presets import PRESETS
from aeattn.errors import InputError
from aeattn.nn.size import parameters
from aeattn.training import compiling

SMALL = ModelConfig(vocab_size=65, context=8, d_model=16, n_layers=1, n_heads=2, d_ff=16, bottleneck=4, conv=2)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_twin_with_standard_attention(name: str) -> None:
    ours, standard = with_standard(of_preset(name, 64)).values()
    assert {standard.query, standard.key, standard.value} == {"linear"}
    assert abs(parameters(standard) / parameters(ours) - 1) < 0.005


def test_bench_train_prints_one_json_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "can_compile", lambda device: False)
    picture = tmp_path / "speed.png"
    arguments = ["--batch", "2", "--context", "16", "--rounds", "2", "--no-peers", "--picture", str(picture)]
    assert main(["bench", "train", "--json", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["ours"]) == {OURS, STANDARD}
    assert all(facts["chars_per_second"]["median"] > 0 for facts in result["ours"].values())
    assert result["peers"] == {}
    assert sum(result["parts"][OURS].values()) == pytest.approx(1.0)
    assert result["ceilings"]["gflops"]["float32"]["square"] > 0
    assert min(result["encoding"]["ascii"], result["encoding"]["unicode"]) > 0
    low, high = result["ratio"][STANDARD]["low"], result["ratio"][STANDARD]["high"]
    assert low <= result["ratio"][STANDARD]["median"] <= high
    assert picture.stat().st_size > 0
    sizes = [facts["parameters"] for facts in result["ours"].values()]
    assert max(sizes) / min(sizes) < 1.005


def test_a_step_of_ours_is_a_step_of_the_trainer() -> None:
    contender = own_step(Shape(2, 8), SMALL, compile_=False)
    assert contender.work() == 16


def test_a_checkout_of_nanogpt_is_timed_as_it_stands(nanogpt: Path) -> None:
    contender = peer_step(Shape(2, 8), SMALL, 20_000, nano_gpt(nanogpt), compile_=False)
    assert contender.work() == 16
    assert abs(contender.parameters / 20_000 - 1) < 0.2
    with pytest.raises(InputError, match="give --nanogpt a checkout"):
        nano_gpt(nanogpt / "nowhere")


def test_the_width_of_a_peer_is_the_nearest() -> None:
    assert nearest_width(lambda width: 36 * width**2, 36 * 112**2 + 10, 4) == 112


@pytest.mark.parametrize(
    ("operator", "part"),
    [("aten::mm", "matrix products"), ("aten::bmm", "batched products"), ("aten::copy_", "copies"),
     ("## Call CompiledFxGraph abc", "elementwise"), ("aeattn::gelu_parts", "elementwise"), ("aten::gelu", OTHER)],
)  # fmt: skip
def test_operators_belong_to_parts(operator: str, part: str) -> None:
    assert part_of(operator) == part
    assert OTHER not in PARTS


def test_ceilings_are_positive_and_best_is_the_least() -> None:
    found = ceilings(64, 16, 32)
    assert found.gigabytes_per_second > 0
    assert set(found.gflops) == {"float32", "bfloat16"}
    assert best_seconds(lambda: sum(range(100))) < 1.0


def test_impossible_shapes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "train", "--context", "4"]) == 2
    assert "contexts at least 8" in capsys.readouterr().err
