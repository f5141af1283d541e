"""A fresh model guesses: its first loss is ln V, whatever its settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from aeattn import LanguageModel, ModelConfig
from aeattn.config.model import POSITION_KINDS
from aeattn.config.projections import find, names
from aeattn.nn.uninitialised import Uninitialised
from tests.conftest import VARIANTS, lively_model, tiny_config

VOCABULARY = 62


def _first_loss(**changes: Any) -> float:
    torch.manual_seed(0)
    model = LanguageModel(tiny_config(vocab_size=VOCABULARY, d_model=32, bottleneck=8, **changes))
    ids = torch.randint(0, VOCABULARY, (8, 17))
    with torch.inference_mode():
        return F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).item()


@settings(max_examples=100)
@given(data=st.data())
def test_the_first_loss_is_that_of_a_guess(data: st.DataObject) -> None:
    draw = data.draw
    key = draw(st.sampled_from(names("key")))
    values = names("value") if find(key).has_narrow_code else names("key")
    heads = draw(st.sampled_from([1, 2, 4]))
    changes: dict[str, Any] = {
        "tied": draw(st.booleans()), "zero_init": draw(st.booleans()),
        "norm": draw(st.sampled_from(["rms", "layer"])),
        "activation": draw(st.sampled_from(["gelu", "relu2"])), "positions": draw(st.sampled_from(POSITION_KINDS)),
        "query": draw(st.sampled_from(names("query"))), "key": key, "value": draw(st.sampled_from(values)),
        "per_head": draw(st.booleans()), "n_heads": heads, "qk_norm": draw(st.booleans()),
        "n_kv_heads": draw(st.sampled_from([n for n in (1, 2, 4) if n <= heads])), "middle": draw(st.booleans()),
        "conv": draw(st.sampled_from([0, 3])), "gate": draw(st.booleans()),
        "value_embedding": draw(st.booleans()),
        "d_hidden": draw(st.sampled_from([None, 12, 48])), "query_bottleneck": draw(st.sampled_from([None, 5])),
    }  # fmt: skip
    if not changes["per_head"]:
        changes["head_width"] = draw(st.sampled_from([None, 6]))
    # PyTorch's defaults give an output matrix of its own a variance of 1/3 a logit, and the loss half of that
    near = 1e-5 if changes["tied"] or changes["zero_init"] else 0.35
    assert _first_loss(**changes) == pytest.approx(math.log(VOCABULARY), abs=near)


@pytest.mark.parametrize("zero_init", [False, True])
def test_a_tied_model_learns(zero_init: bool) -> None:
    torch.manual_seed(0)
    model = LanguageModel(tiny_config(tied=True, zero_init=zero_init))
    ids = torch.randint(0, 11, (4, 1)).add(torch.arange(17)) % 11
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5


def test_other_first_weights_stay_as_they_were() -> None:
    """Figures can be made again: what is random is drawn in the same order, from the same distributions."""
    torch.manual_seed(0)
    model = LanguageModel(ModelConfig(vocab_size=62))
    total = sum(p.double().abs().sum().item() for p in model.parameters())
    assert total == pytest.approx(23512.14347586353, rel=1e-9)


@pytest.mark.parametrize("name", VARIANTS)
def test_without_initial_values_nothing_is_drawn_and_all_can_be_loaded(name: str) -> None:
    config = tiny_config(**VARIANTS[name])
    wanted = lively_model(config)
    before = torch.get_rng_state()
    with Uninitialised():
        model = LanguageModel(config)
    assert torch.equal(torch.get_rng_state(), before)
    model.load_state_dict(wanted.state_dict(), assign=True)
    ids = torch.arange(8)[None] % config.vocab_size
    assert torch.equal(model.eval()(ids), wanted(ids))


def test_no_numbers_are_drawn() -> None:
    tensor = torch.full((2, 2), 7.0)
    with Uninitialised():
        assert torch.nn.init.normal_(tensor) is tensor
        assert torch.nn.init.kaiming_uniform_(tensor=tensor) is tensor
    assert (tensor == 7.0).all()
    assert (torch.nn.init.normal_(tensor) != 7.0).all()
