"""What was exported against an independent implementation of docs/attention.md, and bytes counted from outside."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aeattn.cli import main
from aeattn.nn.size import not_absorbable, size
from tests.conftest import VARIANTS, lively_model, past_inputs_numbers, tiny_config
from tests.integrations.formulae import Model

transformers = pytest.importorskip("transformers")
from aeattn.integrations import hf  # noqa: E402
from aeattn.integrations.modeling_aeattn import AeattnForCausalLM  # noqa: E402

COUNTERS = 32  # bytes of what a static cache counts tokens with
LESS = ("mixed", "multi_query")  # layers that keep codes beside others that keep less without
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]


def exported(changes: Mapping[str, Any]) -> tuple[AeattnForCausalLM, Model]:
    """A model for transformers, and the witness of what its files would hold."""
    config = tiny_config(**changes)
    model = hf.to_hf_model(config, lively_model(config).state_dict())
    left_out = {"lm_head.weight"} if config.tied else set()
    weights = {name: t.numpy() for name, t in model.state_dict().items() if name not in left_out}
    return model, Model(json.loads(model.config.to_json_string(use_diff=True)), weights)


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_logits_and_greedy_text_are_those_of_the_formulae(name: str) -> None:
    model, witness = exported(VARIANTS[name])
    wanted = witness.logits(IDS)
    cache = transformers.DynamicCache(config=model.config)
    for found in (
        model(torch.tensor([IDS])).logits[0],
        torch.cat([model(torch.tensor([[i]]), past_key_values=cache).logits[0] for i in IDS]),
    ):
        assert np.abs(found.numpy() - wanted).max() < 1e-5
    written = list(IDS)
    while len(written) < 14:
        written.append(int(witness.logits(written)[-1].argmax()))
    assert model.generate(torch.tensor([IDS]), max_new_tokens=4, do_sample=False)[0].tolist() == written


def bytes_of_tensors(*roots: Any) -> int:
    """Bytes of memory behind all tensors that can be reached from objects, whatever they are called."""
    seen: set[int] = set()
    memory: dict[int, int] = {}
    left = list(roots)
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, type) or (callable(each) and not isinstance(each, Tensor)):
            continue
        seen.add(id(each))
        if isinstance(each, Tensor):
            memory[each.untyped_storage().data_ptr()] = each.untyped_storage().nbytes()
        else:
            left.extend(gc.get_referents(each))
    return sum(memory.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_cache_takes_the_bytes_that_size_gives(name: str, dtype: torch.dtype) -> None:
    model, _ = exported(VARIANTS[name])
    config, width = hf.from_hf_config(model.config), dtype.itemsize
    sizes = size(config, width)
    a_token = sizes.cache_bytes if not_absorbable(config) else sizes.latent_cache_bytes
    assert a_token is not None
    inputs = 2 * width * past_inputs_numbers(config)
    for cache, tokens in (
        (transformers.DynamicCache(config=model.config), 7),
        (transformers.StaticCache(config=model.config, max_cache_len=12), 12),
    ):
        for piece in torch.tensor([IDS[:7]] * 2).split([4, 1, 1, 1], dim=1):
            model.to(dtype)(piece, past_key_values=cache)
        counted = bytes_of_tensors(*(vars(layer) for layer in cache.layers))
        expected = 2 * tokens * min(a_token, sizes.cache_bytes)
        assert counted <= expected + inputs + COUNTERS
        if not not_absorbable(config) and name not in LESS:
            assert counted >= expected + inputs


def test_the_command_gives_the_same_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [f"--set=model.{name}={value}" for name, value in {"conv": 4, "positions": "decoupled"}.items()]
    assert main(["size", "--preset", "460k", *sets, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["presets"][0]["latent_cache_bytes"]
    config = tiny_config(vocab_size=49, d_model=128, n_layers=3, n_heads=4, d_ff=416, bottleneck=32, conv=4,
                         positions="decoupled", d_rotary=16)  # fmt: skip
    model = hf.to_hf_model(config, lively_model(config).state_dict())
    cache = transformers.DynamicCache(config=model.config)
    model(torch.tensor([IDS]), past_key_values=cache)
    inputs = 3 * 128 * 3 * 4
    assert bytes_of_tensors(*(vars(layer) for layer in cache.layers)) == found * len(IDS) + inputs
