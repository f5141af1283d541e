"""The batched Muon equals PyTorch's, every parameter is trained once, and schedules have their shape."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeattn import LanguageModel
from aeattn.config.model import ModelConfig
from aeattn.config.presets import PRESETS
from aeattn.config.run import TrainingConfig
from aeattn.nn.projection import Projection
from aeattn.training.optimizers import (
    BatchedMuon,
    block_matrices,
    clip_gradients,
    decaying,
    make_optimizers,
    rate_factor,
    set_rates,
)
from tests.conftest import VARIANTS, tiny_config

SHAPES = [(8, 4), (4, 8), (8, 4), (6, 6), (12, 3)]


@pytest.mark.parametrize("rule", [None, "match_rms_adamw"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_batched_muon_equals_the_one_of_pytorch(rule: str | None, nesterov: bool) -> None:
    def run(cls: type[torch.optim.Muon]) -> list[torch.Tensor]:
        torch.manual_seed(0)
        matrices = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
        optimizer = cls(matrices, lr=0.1, weight_decay=0.1, nesterov=nesterov, adjust_lr_fn=rule)
        for _ in range(4):
            for matrix in matrices:
                matrix.grad = torch.randn_like(matrix)
            optimizer.step()
        return [m.detach() for m in matrices]

    for ours, theirs in zip(run(BatchedMuon), run(torch.optim.Muon), strict=True):
        assert torch.allclose(ours, theirs, atol=2e-2 * 0.4)  # four bf16 updates of size 0.1


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_every_parameter_belongs_to_one_optimizer(name: str, optimizer: str) -> None:
    model = LanguageModel(tiny_config(**VARIANTS[name]))
    optimizers = make_optimizers(model, TrainingConfig(optimizer=optimizer))  # type: ignore[arg-type]
    owned = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())
    assert len(optimizers) == (2 if optimizer == "muon" else 1)


def test_clipping_is_for_adamw_and_the_norm_is_that_of_all() -> None:
    model = LanguageModel(tiny_config())
    optimizers = make_optimizers(model, TrainingConfig())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    count = sum(p.numel() for p in model.parameters())
    matrices = {id(m) for m in block_matrices(model)}
    assert clip_gradients(optimizers, 0.5) == pytest.approx(count**0.5)
    rest = [p.grad.flatten() for p in model.parameters() if id(p) not in matrices and p.grad is not None]
    assert torch.cat(rest).norm() == pytest.approx(0.5)
    assert all(bool((m.grad == 1).all()) for m in block_matrices(model) if m.grad is not None)


def test_muon_takes_the_matrices_of_blocks_and_gains_do_not_decay() -> None:
    model = LanguageModel(tiny_config())
    matrices = {id(m) for m in block_matrices(model)}
    names = {name for name, p in model.named_parameters() if id(p) in matrices}
    assert names
    assert all(name.startswith("blocks.") and name.endswith("weight") for name in names)
    rival = LanguageModel(tiny_config(query="latent", key="deep", gate=True, middle=True))
    for name in ("query.encoder", "query.decoder", "key.encoder", "key.middle", "key.narrow", "gate.encoder"):
        weight = rival.get_parameter(f"blocks.0.attention.{name}.weight")
        assert any(weight is matrix for matrix in block_matrices(rival)), name
        assert id(weight) in decaying(rival), name
    assert id(rival.get_parameter("blocks.0.attention.query.gain")) not in decaying(rival)
    adamw = make_optimizers(model, TrainingConfig(weight_decay=0.1))[0]
    still = {id(p) for p in adamw.param_groups[1]["params"]}
    assert adamw.param_groups[1]["weight_decay"] == 0
    for name, parameter in model.named_parameters():
        if "norm" in name or "taps" in name or "gain" in name or "slopes" in name:
            assert id(parameter) in still


@pytest.mark.parametrize("changes", [{}, {"bottleneck": 8}, {"conv": 9}, {"tied": True}, {"positions": "learned"}])
def test_decay_goes_by_what_a_parameter_is(changes: dict[str, object]) -> None:
    """A narrow bottleneck decays, and many taps of a convolution do not."""
    model = LanguageModel(tiny_config(**{"d_model": 32, "bottleneck": 16, **changes}))
    adamw = make_optimizers(model, TrainingConfig(optimizer="adamw", weight_decay=0.1))[0]
    found = {id(p): group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        kind = model.get_submodule(name.rpartition(".")[0])
        weight = name.endswith(".weight") and isinstance(kind, torch.nn.Linear | torch.nn.Embedding)
        assert found[id(parameter)] == (0.1 if weight else 0.0), name


def test_the_presets_decay_as_they_did() -> None:
    for preset in PRESETS.values():
        model = LanguageModel(ModelConfig(**{"vocab_size": 49, **preset["model"]}))
        before = {id(p) for p in model.parameters() if p.ndim == 2 and min(p.shape) > 8}
        gates = {id(p) for name, p in model.named_parameters() if name.endswith("gate.encoder.weight")}
        assert decaying(model) == before | gates  # gates came later: a row a head


def test_a_projection_of_a_users_own_decays_where_it_is_a_matrix() -> None:
    class Mine(Projection):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.inner, self.taps = torch.nn.Linear(4, 4), torch.nn.Conv1d(4, 4, 9)
            self.per_head, self.gain = torch.nn.Parameter(torch.ones(2, 4, 2)), torch.nn.Parameter(torch.ones(4))

    mine = Mine()
    assert decaying(mine) == {id(mine.inner.weight), id(mine.per_head)}


@given(st.sampled_from(["linear", "cosine", "wsd"]), st.integers(50, 500), st.floats(0, 0.3))
def test_schedules_warm_up_stay_within_bounds_and_end_low(schedule: str, steps: int, final: float) -> None:
    config = TrainingConfig(steps=steps, schedule=schedule, warmup=0.1, decay=0.3, final_rate=final)  # type: ignore[arg-type]
    rates = [rate_factor(step, config) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[0] < max(rates)
    assert rates[-1] < final + 1.1 * (4 / steps / 0.3)
    assert all(a >= b for a, b in zip(rates[steps // 5 :], rates[steps // 5 + 1 :], strict=False))


def test_wsd_is_flat_before_it_decays_and_constant_stays() -> None:
    config = TrainingConfig(steps=100, schedule="wsd", warmup=0.0, decay=0.2)
    assert {rate_factor(step, config) for step in range(80)} == {1.0}
    assert rate_factor(90, config) == pytest.approx(0.5)
    assert rate_factor(99, TrainingConfig(steps=100, schedule="constant", warmup=0.0)) == 1.0


def test_rates_follow_the_factor() -> None:
    model = LanguageModel(tiny_config())
    optimizers = make_optimizers(model, TrainingConfig(learning_rate=1e-2, matrix_learning_rate=4e-2))
    set_rates(optimizers, 0.5)
    assert [o.param_groups[0]["lr"] for o in optimizers] == [5e-3, 2e-2]
