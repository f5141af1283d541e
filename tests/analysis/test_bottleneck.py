"""What codes keep: cases with known answers, and the same figures from all rows at once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeattn.analysis.bottleneck import (
    Moments,
    Watch,
    code_measures,
    dead_units,
    over_projections,
    participation_ratio,
    pca_r2,
    readout_r2,
)
from aeattn.analysis.heads import head_measures
from aeattn.analysis.results import CodeMeasures
from aeattn.analysis.windows import Sample
from aeattn.nn.projection import Autoencoder, Bottleneck, Linear, register_projection
from tests.conftest import VARIANTS, lively_model, tiny_config


def _moments(rows: torch.Tensor) -> Moments:
    moments = Moments(rows.shape[1])
    for part in rows.split(7):
        moments.add(part)
    return moments


@given(st.integers(2, 40), st.integers(1, 6), st.integers(0, 1000))
def test_moments_of_parts_are_those_of_the_whole(n: int, width: int, seed: int) -> None:
    rows = torch.from_numpy(np.random.default_rng(seed).normal(3.0, 2.0, (n, width)))
    expected = np.atleast_2d(np.cov(rows.numpy().T, bias=True))
    halves = _moments(rows[: n // 2]) + _moments(rows[n // 2 :])
    assert np.allclose(halves.covariance().numpy(), expected)


def test_participation_ratio_counts_equal_directions() -> None:
    for directions in (1, 3, 8):
        assert participation_ratio(torch.eye(8)[:, :directions] @ torch.eye(8)[:directions]) == pytest.approx(
            directions
        )
    assert participation_ratio(torch.zeros(3, 3)) is None


@given(st.integers(1, 6), st.integers(0, 1000))
def test_participation_ratio_by_eigenvalues(width: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(20, width))
    covariance = np.atleast_2d(np.cov(rows.T))
    values = np.linalg.eigvalsh(covariance)
    found = participation_ratio(torch.from_numpy(covariance))
    assert found == pytest.approx(values.sum() ** 2 / (values**2).sum())
    assert 1 - 1e-9 <= found <= width + 1e-9


def test_read_out_equals_a_regression_over_all_rows() -> None:
    generator = np.random.default_rng(0)
    codes = generator.normal(1.0, 2.0, (300, 3))
    inputs = codes @ generator.normal(size=(3, 5)) + generator.normal(0.5, 1.0, (300, 5))
    rows = torch.from_numpy(np.concatenate([codes, inputs], axis=1))
    found = readout_r2(_moments(rows[:200]), _moments(rows[200:]), 3)
    design = np.concatenate([codes, np.ones((300, 1))], axis=1)
    slope = np.linalg.lstsq(design[:200], inputs[:200], rcond=None)[0]
    left = ((inputs[200:] - design[200:] @ slope) ** 2).sum()
    there = ((inputs[200:] - inputs[200:].mean(0)) ** 2).sum()
    assert found == pytest.approx(1 - left / there, abs=1e-4)  # the ridge is small


def test_pca_equals_a_projection_of_all_rows() -> None:
    generator = np.random.default_rng(1)
    inputs = generator.normal(size=(200, 6)) * [5, 4, 1, 1, 0.5, 0.1] + 2
    rows = torch.from_numpy(np.concatenate([np.zeros((200, 2)), inputs], axis=1))
    mean = inputs[:120].mean(0)
    basis = np.linalg.svd(inputs[:120] - mean)[2][:2]
    left = ((inputs[120:] - mean - (inputs[120:] - mean) @ basis.T @ basis) ** 2).sum()
    there = ((inputs[120:] - inputs[120:].mean(0)) ** 2).sum()
    assert pca_r2(_moments(rows[:120]), _moments(rows[120:]), 2) == pytest.approx(1 - left / there)


def test_a_code_that_keeps_everything_and_one_that_keeps_nothing() -> None:
    x = torch.randn(200, 4, dtype=torch.float64)
    whole = torch.cat([x @ torch.randn(4, 4, dtype=torch.float64), x], dim=1)
    noise = torch.cat([torch.randn(200, 4, dtype=torch.float64), x], dim=1)
    assert readout_r2(_moments(whole[:100]), _moments(whole[100:]), 4) == pytest.approx(1.0, abs=1e-3)
    assert readout_r2(_moments(noise[:100]), _moments(noise[100:]), 4) < 0.05
    assert readout_r2(_moments(whole[:10]), _moments(whole[100:]), 4) is None


def _watched(projection: object, x: torch.Tensor) -> CodeMeasures:
    watch = Watch(projection, x.shape[-1])  # type: ignore[arg-type]
    for start, part in ((0, x[:3]), (3, x[3:])):
        watch.add(part, watch.projection.encode(part), start)
    assert [half.count for half in watch.halves] == [3 * x.shape[1], 2 * x.shape[1]]
    return watch.result(0, "key", None)


def test_dead_and_saturated_units_are_found() -> None:
    projection = Autoencoder(4, 4, 4)
    with torch.no_grad():
        projection.encoder.weight.copy_(torch.diag(torch.tensor([0.0, 1.0, 1.0, 1.0])))
        x = torch.randn(5, 40, 4)
        x[..., 2] += 20  # as good as linear
        x[..., 3] -= 20  # switched off, and so dead
        found = _watched(projection, x)
    assert (found.dead, found.saturated_above, found.saturated_below) == (2, 1, 1)
    assert found.kind == "autoencoder"


def test_without_a_nonlinearity_nothing_saturates() -> None:
    x = torch.randn(5, 40, 6)
    with torch.no_grad():
        squeezed, whole = _watched(Bottleneck(6, 6, 2), x), _watched(Linear(6, 6), x)
    assert squeezed.saturated_above is None
    assert squeezed.dead == 0
    assert whole.readout_r2 == pytest.approx(1.0, abs=0.01)
    assert 0 < squeezed.readout_r2 <= squeezed.pca_r2 + 0.05  # type: ignore[operator]


def test_a_code_that_never_moves_is_all_dead() -> None:
    assert dead_units(torch.zeros(3, 3)) == 3


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_model(variant: str) -> None:
    config = tiny_config(**VARIANTS[variant])
    model = lively_model(config)
    ids = torch.randint(0, 11, (300,)).numpy()
    with torch.no_grad():
        found = code_measures(model, Sample(ids, np.arange(0, 280, 14), 14), rows=3)
    parts = Counter(p.projection for p in found if p.layer == 0)
    heads, groups = (config.n_heads, config.n_kv_heads or config.n_heads) if config.per_head else (1, 1)
    assert parts == {"query": heads, "key": groups, "value": groups}
    assert len(found) == config.n_layers * parts.total()
    kinds = {p.projection: p.kind for p in found if p.layer == 0}
    assert kinds == {name: config.kind(name, 0) for name in ("query", "key", "value")}
    assert all(1 - 1e-6 <= (p.effective_rank or 0) <= p.width + 1e-6 for p in found)
    summary = over_projections(found)
    assert summary.effective_rank == pytest.approx(sum(p.effective_rank or 0 for p in found) / len(found))
    assert 0 < (summary.key.effective_rank_share or 0) <= 1


class Tanh(Bottleneck):
    def code(self, encoded: torch.Tensor) -> torch.Tensor:
        return torch.tanh(encoded)


def test_a_kind_of_a_users_own_is_measured() -> None:
    register_projection("test-tanh", "a code between -1 and 1")(Tanh)
    model = lively_model(tiny_config(key="test-tanh", value="test-tanh", n_kv_heads=1))
    ids = torch.randint(0, 11, (300,)).numpy()
    sample = Sample(ids, np.arange(0, 280, 14), 14)
    with torch.no_grad():
        found = [p for p in code_measures(model, sample, rows=3) if p.projection == "key"]
        heads = head_measures(model, sample, rows=3)
    assert {(p.kind, p.dead, p.saturated_below) for p in found} == {("test-tanh", 0, None)}
    assert all(1 <= (p.effective_rank or 0) <= p.width for p in found)
    assert all(len(layer.heads) == model.config.n_heads for layer in heads)
