"""The slow twin: what is rebuilt from captured weights is what the module returns."""

from __future__ import annotations

import pytest
import torch

from aeattn.analysis import capture
from aeattn.analysis.ablation import ablate, keep_all_but_first, keep_nearest, keep_top, loss, loss_with
from aeattn.analysis.capture import all_scores, all_weights, attentions, keeping, layer_inputs, rebuild
from aeattn.analysis.heads import head_measures, weight_maps
from aeattn.analysis.measures import measure
from aeattn.analysis.windows import Sample
from tests.conftest import VARIANTS, lively_model, tiny_config


def _sample(model: torch.nn.Module, windows: int = 3) -> Sample:
    ids = torch.randint(0, 11, (60,)).numpy()
    return Sample(ids, torch.arange(0, 15 * windows, 15).numpy(), 14)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("block", [5, 128])
def test_rebuilding_from_the_weights_equals_the_module(
    variant: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "QUERIES_AT_ONCE", block)
    model = lively_model(tiny_config(**VARIANTS[variant]))
    ids = torch.randint(0, 11, (2, 16))
    with torch.no_grad():
        caught = layer_inputs(model, ids)
    assert len(caught) == 2
    for attention, x in zip(attentions(model), caught, strict=True):
        assert torch.allclose(rebuild(attention, x, ids), attention(x, ids), atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_are_distributions_over_the_past(variant: str) -> None:
    model = lively_model(tiny_config(**VARIANTS[variant]))
    maps = weight_maps(model, torch.randint(0, 11, (16,)))
    assert torch.allclose(maps.sum(-1), torch.ones(maps.shape[:3]), atol=1e-5)
    assert torch.equal(maps, maps.tril())


def test_blocks_make_up_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model(tiny_config())
    attention, x = attentions(model)[0], torch.randn(2, 16, 16)
    (whole, visible), = all_weights(attention, x, first=3)  # fmt: skip
    assert visible.tolist() == list(range(4, 17))
    monkeypatch.setattr(capture, "QUERIES_AT_ONCE", 5)
    blocks = list(all_weights(attention, x, first=3))
    assert [len(v) for _, v in blocks] == [2, 5, 5, 1]
    for weights, seen in blocks:
        last = int(seen[-1])
        rows = slice(int(seen[0]) - 4, last - 3)
        assert torch.allclose(weights, whole[:, :, rows, :last], atol=1e-6)


def test_nothing_is_left_on_the_model() -> None:
    model = lively_model(tiny_config())
    ids = torch.randint(0, 11, (1, 16))
    before = model(ids)
    with keeping(model, keep_top(1)):
        assert not torch.allclose(model(ids), before)
    assert torch.equal(model(ids), before)


@pytest.mark.parametrize("variant", ["default", "per_head", "rotary"])
def test_keeping_everything_changes_nothing(variant: str) -> None:
    model = lively_model(tiny_config(**VARIANTS[variant]))
    sample = _sample(model)
    for keep in (keep_top(99), keep_nearest(99)):
        assert loss_with(model, sample, 2, keep) == pytest.approx(loss(model, sample, 2), abs=1e-5)


def test_what_is_kept() -> None:
    scores = torch.tensor([[[[1.0, 5.0, 3.0, -torch.inf], [4.0, 1.0, 2.0, 3.0]]]])
    kept = keep_top(2)(scores, 2)
    assert kept.isfinite().tolist() == [[[[False, True, True, False], [True, False, False, True]]]]
    nearest = keep_nearest(2)(scores, 2)
    assert nearest.isfinite().tolist() == [[[[False, True, True, False], [False, False, True, True]]]]
    rest = keep_all_but_first(scores, 2)
    assert rest.isfinite().tolist() == [[[[False, True, True, False], [False, True, True, True]]]]
    first = keep_all_but_first(torch.zeros(1, 1, 2, 2), 0)
    assert first.isfinite().tolist() == [[[[True, True], [False, True]]]]


def test_top_k_equals_attention_from_which_the_rest_was_cut_by_hand() -> None:
    model = lively_model(tiny_config())
    attention, x = attentions(model)[0], torch.randn(1, 9, 16)
    q, k, v = attention.heads(x)
    (_, scores), = all_scores(attention, q, k)  # fmt: skip
    weights = scores.softmax(-1)
    for head in range(2):
        for query in range(9):
            row = weights[0, head, query]
            forgotten = row.argsort(descending=True)[3:]
            row[forgotten] = 0
            row /= row.sum()
    assert torch.allclose(rebuild(attention, x, keep=keep_top(3)), attention.merge(weights @ v), atol=1e-5)


def test_streaming_in_batches_is_the_mean_over_all_queries() -> None:
    model = lively_model(tiny_config())
    sample = _sample(model)
    with torch.no_grad():
        streamed = head_measures(model, sample, rows=2)
        windows = torch.stack([torch.from_numpy(sample.window(int(s)))[:-1] for s in sample.starts])
        maps = torch.stack([weight_maps(model, window) for window in windows])  # (windows, layers, H, T, T)
    visible = torch.arange(8, 15)
    for name, values in measure(maps[:, :, :, 7:], visible).items():
        expected = values.double().mean(dim=(0, 3))
        found = torch.tensor([[getattr(head, name) for head in layer.heads] for layer in streamed])
        assert torch.allclose(found, expected.float(), atol=1e-5), name
    first = torch.tensor([[head.first_share for head in layer.heads] for layer in streamed])
    assert torch.allclose(first, maps[:, :, :, 7:, 0].mean(dim=(0, 3)), atol=1e-5)


def test_ablation_names_every_loss() -> None:
    model = lively_model(tiny_config())
    sample = _sample(model)
    result = ablate(model, sample, 2)
    assert result.all == pytest.approx(loss(model, sample, 3))
    assert result.added["top4"] == pytest.approx(result.top[4] - result.all)
    assert len(result.top4_in_layer) == 2
    assert result.top[16] == pytest.approx(result.all, abs=1e-5)  # of 14 characters, 16 are all
