"""The language model: nothing leaks from the future, the cache is exact, every field matters."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from aeattn import LanguageModel, ModelConfig
from aeattn.config.model import CacheKind
from aeattn.nn.attention import Attention
from tests.conftest import VARIANTS, lively_model, tiny_config

IDS = torch.randint(0, 11, (2, 16), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("train", [False, True])
@given(cut=st.integers(1, 15), seed=st.integers(0, 5))
def test_nothing_leaks_from_the_future(name: str, train: bool, cut: int, seed: int) -> None:
    model = lively_model(tiny_config(**VARIANTS[name]), seed).train(train)
    changed = IDS.clone()
    changed[:, cut:] = (changed[:, cut:] + 1 + seed) % 11

    def logits(ids: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(7)  # the same dropout for both
        out: torch.Tensor = model(ids)
        return out

    before, after = logits(IDS), logits(changed)
    assert torch.allclose(before[:, :cut], after[:, :cut], atol=1e-5)
    assert not torch.allclose(before[:, cut:], after[:, cut:], atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", ["auto", "full"])
@given(cuts=st.lists(st.integers(1, 15), max_size=4, unique=True))
def test_cached_logits_equal_those_of_a_full_pass(name: str, kind: CacheKind, cuts: list[int]) -> None:
    model = lively_model(tiny_config(**VARIANTS[name]))
    with torch.inference_mode():
        full, cache = model(IDS), model.new_cache(kind)
        edges = [0, *sorted(cuts), IDS.shape[1]]
        parts = [model(IDS[:, a:b], cache) for a, b in itertools.pairwise(edges)]
    assert torch.allclose(torch.cat(parts, dim=1), full, atol=1e-4)
    assert cache.length == IDS.shape[1]


@pytest.mark.parametrize("name", VARIANTS)
@given(lengths=st.lists(st.integers(1, 16), min_size=2, max_size=3), step=st.integers(1, 16))
def test_rows_of_different_lengths_are_each_as_if_alone(name: str, lengths: list[int], step: int) -> None:
    model, longest = lively_model(tiny_config(**VARIANTS[name])), max(lengths)
    rows = [torch.randint(0, 11, (n,)) for n in lengths]
    padded = torch.stack([F.pad(row, (longest - len(row), 0)) for row in rows])
    with torch.inference_mode():
        cache = model.new_cache(padding=torch.tensor([longest - n for n in lengths]))
        parts = [model(padded[:, t : t + step], cache) for t in range(0, longest, step)]
        for row, logits in zip(rows, torch.cat(parts, dim=1), strict=True):
            assert torch.allclose(logits[longest - len(row) :], model(row[None])[0], atol=1e-4)


def test_a_latent_cache_is_refused_where_it_is_not_exact() -> None:
    with pytest.raises(ValueError, match=r"rotary positions turn decoded keys.*choose the full cache"):
        LanguageModel(tiny_config(positions="rotary")).new_cache("latent")
    with pytest.raises(ValueError, match="no decoder to absorb"):
        LanguageModel(tiny_config(key="linear", value="linear")).new_cache("latent")
    assert LanguageModel(tiny_config()).new_cache("latent").latent
    assert not LanguageModel(tiny_config()).new_cache("full").latent


FIELD_CHANGES: dict[str, object] = {
    "vocab_size": 12, "context": 8, "d_model": 32, "n_layers": 1, "n_heads": 4, "d_ff": 25, "query": "linear",
    "key": "bottleneck", "value": "linear", "bottleneck": 5, "middle": True, "per_head": True,
    "positions": "learned", "norm": "layer", "activation": "gelu", "qk_norm": False, "conv": 0, "tied": True,
    "zero_init": False, "dropout": 0.5, "d_rotary": 6, "n_kv_heads": 1,
    "head_width": 4, "query_bottleneck": 5, "d_hidden": 12, "gate": True,
    "value_embedding": True, "conv_ff": 2,
}  # fmt: skip


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(ModelConfig)])
def test_every_field_changes_the_model(field: str) -> None:
    shared = {"d_rotary": {"positions": "decoupled"}, "d_hidden": {"key": "deep"}}.get(field, {})
    changed = tiny_config(**{**shared, field: FIELD_CHANGES[field]})

    def fingerprint(config: ModelConfig) -> object:
        torch.manual_seed(0)
        model = LanguageModel(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + 0.1 * torch.arange(parameter.numel()).view(parameter.shape).cos()).add_(0.05)
        torch.manual_seed(0)
        shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        try:
            return shapes, model(IDS).sum().item()
        except ValueError as error:
            return str(error)

    assert fingerprint(changed) != fingerprint(tiny_config(**shared))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_heads": 3}, "3 heads do not divide the width 16: choose 2 heads, another width, or a head_width"),
        ({"head_width": 8, "per_head": True}, "head_width is 8, but heads .* leave out head_width or per_head"),
        ({"head_width": 0}, "head_width is 0: choose a whole number of at least 1, below 2.53, or leave it out"),
        ({"head_width": 5, "positions": "rotary"}, "rotary positions turn pairs of features, 5 is odd"),
        ({"d_hidden": 2.5}, "d_hidden is 2.5: choose a whole number"),
        ({"query_bottleneck": 17}, "query_bottleneck is 17, wider than the width 16"),
        ({"key": "deep", "value": "shared"}, "the key is deep and has no code: choose a key with a decoder"),
        ({"bottleneck": 17}, "bottleneck is 17, wider than the width 16"),
        ({"bottleneck": 0}, "bottleneck is 0: choose a whole number of at least 1"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"query": "cubic"}, "query projection 'cubic' is unknown"),
        ({"key": "shared"}, "key projection 'shared' is unknown"),
        ({"key": "linear", "value": "shared"}, "the key is linear and has no code"),
        ({"key": ("linear", "linear", "bottleneck")}, "key names 3 projections for 2 layers"),
        ({"positions": "sinus"}, "positions is 'sinus': choose one of"),
        ({"positions": "rotary", "d_model": 6, "n_heads": 2, "bottleneck": 2}, "rotary positions turn pairs"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"conv": -1}, "conv is -1"),
    ],
)
def test_impossible_configs_say_how_to_mend_them(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_config(**changes)


def test_configs_round_trip_and_are_frozen() -> None:
    config = tiny_config(key=("linear", "autoencoder"))
    assert ModelConfig(**config.to_dict()) == config
    assert tiny_config(key=("linear", "linear")) == tiny_config(key="linear")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.d_ff = 3  # type: ignore[misc]


def test_wrong_ids_are_refused() -> None:
    model = LanguageModel(tiny_config())
    with pytest.raises(ValueError, match=r"\(batch, time\) is expected"):
        model(IDS[0])
    with pytest.raises(ValueError, match="17 characters are more than the context of 16"):
        model(torch.zeros(1, 17, dtype=torch.long))


def test_a_fresh_model_knows_nothing() -> None:
    logits = LanguageModel(tiny_config())(IDS)
    assert torch.equal(logits, torch.zeros_like(logits))


def test_gates_begin_at_one_half_and_follow_the_token() -> None:
    fresh = LanguageModel(tiny_config(gate=True)).get_submodule("blocks.0.attention")
    model = lively_model(tiny_config(gate=True))
    x = torch.randn(2, 5, 16)
    assert isinstance(fresh, Attention)
    assert torch.equal(fresh.codes(x)[3], torch.full((2, 2, 5, 1), 0.5))  # type: ignore[arg-type]
    gates = model.get_submodule("blocks.0.attention").codes(x)[3]  # type: ignore[operator]
    assert gates.flatten().unique().numel() == 20


def test_decoders_can_be_absorbed() -> None:
    """q . (z D) = (q D') . z, and values likewise: attention over codes alone gives the same result."""
    model = lively_model(tiny_config(qk_norm=False, positions="none", conv=0, n_heads=1))
    layer, x = model.get_submodule("blocks.0.attention"), torch.randn(1, 9, 16)
    with torch.inference_mode():
        q, k, v = layer.heads(x)  # type: ignore[operator]
        codes_k, codes_v = layer.key.encode(x), layer.value.encode(x)  # type: ignore[union-attr, operator]
        scores = (q[:, 0] @ layer.key.decoder.weight) @ codes_k.mT  # type: ignore[union-attr, operator]
        assert torch.allclose(scores, (q @ k.mT)[:, 0], atol=1e-5)
        weights = scores.softmax(-1)
        mixed = weights @ codes_v @ layer.value.decoder.weight.T  # type: ignore[union-attr, operator]
        assert torch.allclose(mixed, (weights @ v[:, 0]), atol=1e-5)
