"""Models in `transformers` compute what ours do, with its own caches and its own ways to generate."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from aeattn.config.model import ModelConfig
from aeattn.nn.size import kept, use_latent_cache
from aeattn.nn.transformer import LanguageModel
from tests.conftest import VARIANTS, lively_model, tiny_config

transformers = pytest.importorskip("transformers")
from aeattn.integrations import hf  # noqa: E402
from aeattn.integrations.caches_aeattn import AeattnQuantizedCache  # noqa: E402
from aeattn.integrations.modeling_aeattn import AeattnForCausalLM  # noqa: E402

SOME = ("default", "learned", "rotary", "shared_per_head", "latent", "deep")
PADDING = 11  # the first id after the vocabulary of `tiny_config`


def both(**changes: object) -> tuple[LanguageModel, AeattnForCausalLM]:
    config = tiny_config(**changes)
    ours = lively_model(config)
    return ours, hf.to_hf_model(config, ours.state_dict())


def ids_of(batch: int = 2, time: int = 12) -> Tensor:
    return torch.randint(0, 11, (batch, time), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def greedy(model: LanguageModel, ids: Tensor, new: int) -> Tensor:
    for _ in range(new):
        ids = torch.cat([ids, model(ids)[:, -1].argmax(dim=-1, keepdim=True)], dim=1)
    return ids


@torch.no_grad()
def in_pieces(model: AeattnForCausalLM, ids: Tensor, cache: Any) -> Tensor:
    """Logits by a prompt, a piece of it, then token by token."""
    pieces = [ids[:, :5], ids[:, 5:8], *ids[:, 8:].split(1, dim=1)]
    return torch.cat([model(piece, past_key_values=cache).logits for piece in pieces], dim=1)


def near(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_logits_are_ours_whole_in_pieces_and_padded(name: str) -> None:
    ours, theirs = both(**VARIANTS[name])
    ids = ids_of()
    wanted = ours(ids)
    padding = torch.full((2, 3), PADDING)
    for attention in ("eager", "sdpa"):
        theirs.set_attn_implementation(attention)
        assert near(theirs(ids).logits, wanted)
        for cache in (
            transformers.DynamicCache(config=theirs.config),
            transformers.StaticCache(config=theirs.config, max_cache_len=14),
        ):
            assert near(in_pieces(theirs, ids, cache), wanted)
        left, right = torch.cat([padding, ids[:, :9]], dim=1), torch.cat([ids[:, :9], padding], dim=1)
        assert near(theirs(left, attention_mask=(left != PADDING).long()).logits[:, 3:], wanted[:, :9])
        assert near(theirs(right, attention_mask=(right != PADDING).long()).logits[:, :9], wanted[:, :9])


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_the_cache_holds_codes_and_no_more_than_ours(name: str) -> None:
    _, theirs = both(**VARIANTS[name])
    config = hf.from_hf_config(theirs.config)
    cache = transformers.DynamicCache(config=theirs.config)
    theirs(ids_of(2, 7), past_key_values=cache)
    theirs(ids_of(2, 1), past_key_values=cache)
    held = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert all(layer.keys.shape[:3] == (2, 1, 8) for layer in cache.layers)
    assert held == 2 * 8 * theirs.kept_numbers
    assert held <= 2 * 8 * kept(config, use_latent_cache(config)).total
    taps = [number for number in (config.conv, config.conv_ff) if number > 1]
    for place, number in enumerate(taps):
        assert all(layer.conv_states[place].shape == (2, 16, number - 1) for layer in cache.layers)


def _generate(**known: Any) -> Callable[[AeattnForCausalLM, Tensor], Tensor]:
    return lambda model, ids: model.generate(ids, do_sample=False, max_new_tokens=10, **known)


WAYS: dict[str, Callable[[AeattnForCausalLM, Tensor], Tensor]] = {
    "dynamic": _generate(),
    "none": _generate(use_cache=False),
    "static": _generate(cache_implementation="static"),
    "in chunks": _generate(prefill_chunk_size=2),
    "to the context": lambda model, ids: model.generate(ids, do_sample=False, max_new_tokens=99)[:, :14],
    "a cache of the user": lambda model, ids: _generate(past_key_values=transformers.DynamicCache())(model, ids),
    "by lookup": lambda model, ids: torch.cat(
        [_generate(prompt_lookup_num_tokens=3)(model, row[None]) for row in ids]
    ),
    "assisted": lambda model, ids: torch.cat(
        [_generate(assistant_model=_assistant(model))(model, row[None]) for row in ids]
    ),
}


def _assistant(model: AeattnForCausalLM) -> AeattnForCausalLM:
    """A smaller model, which is often wrong, so that the cache is cropped."""
    config = hf.from_hf_config(model.config)
    small = ModelConfig(**{**config.to_dict(), "n_layers": 1})
    return hf.to_hf_model(small, lively_model(small, seed=3).state_dict())


@pytest.mark.filterwarnings("ignore:Passing `generation_config`")
@pytest.mark.parametrize("name", SOME)
def test_greedy_text_is_ours_however_it_is_generated(name: str) -> None:
    ours, theirs = both(**VARIANTS[name])
    ids = ids_of(2, 4)
    wanted = greedy(ours, ids, 10)
    for way, generate in WAYS.items():
        assert torch.equal(generate(theirs, ids), wanted), way


@pytest.mark.parametrize("name", SOME)
def test_rows_of_other_lengths_and_beams(name: str) -> None:
    ours, theirs = both(**VARIANTS[name])
    ids = ids_of(2, 4)
    padded = ids.clone()
    padded[0, :2] = PADDING
    for cache in (None, "static"):
        found = _generate(cache_implementation=cache, attention_mask=(padded != PADDING).long())(theirs, padded)
        assert torch.equal(found[0, 2:], greedy(ours, ids[:1, 2:], 10)[0])
        assert torch.equal(found[1], greedy(ours, ids[1:], 10)[0])
    beams = [_generate(num_beams=3, **known)(theirs, ids)
             for known in ({"use_cache": False}, {}, {"cache_implementation": "static"})]  # fmt: skip
    assert torch.equal(beams[0], beams[1])
    assert torch.equal(beams[0], beams[2])


COMPILES = pytest.mark.skipif(os.environ.get("AEATTN_FAULTS") != "full", reason="compiling takes half a minute")


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=COMPILES)])
@torch.no_grad()
def test_compiled_steps_over_a_static_cache(backend: str) -> None:
    ours, theirs = both()
    ids, compiled = ids_of(2, 4), torch.compile(theirs, fullgraph=True, dynamic=False, backend=backend)
    cache = transformers.StaticCache(config=theirs.config, max_cache_len=16)
    written = [ids, theirs(ids, past_key_values=cache).logits[:, -1].argmax(dim=-1, keepdim=True)]
    for place in range(4, 13):
        where = torch.full((2, 1), place)
        logits = compiled(written[-1], past_key_values=cache, position_ids=where).logits
        written.append(logits[:, -1].argmax(dim=-1, keepdim=True))
    assert torch.equal(torch.cat(written, dim=1), greedy(ours, ids, 10))


QUANTISED = {
    "fp8": ("", {}),
    "quanto": ("optimum.quanto", {"nbits": 4, "residual_length": 4}),
    "hqq": ("hqq", {"nbits": 8, "axis_key": 1, "axis_value": 1, "residual_length": 4}),
}


@pytest.mark.parametrize("backend", QUANTISED)
@pytest.mark.parametrize("name", SOME)
@torch.no_grad()
def test_quantised_caches(name: str, backend: str) -> None:
    package, options = QUANTISED[backend]
    if package and os.environ.get("AEATTN_FAULTS") != "full":
        pytest.skip("its first use compiles for a minute")
    if package:
        pytest.importorskip(package)
    _, theirs = both(**VARIANTS[name])
    ids = ids_of()
    wanted = theirs(ids).logits
    found = in_pieces(theirs, ids, AeattnQuantizedCache(backend, config=theirs.config, **options))
    assert not near(found, wanted)  # it is quantised,
    assert (found - wanted).abs().mean() < 0.2  # and close
    written = _generate(cache_implementation="quantized", cache_config={"backend": backend, **options})
    beams = _generate(cache_implementation="quantized", cache_config={"backend": backend, **options}, num_beams=2)
    assert written(theirs, ids[:, :4]).shape == beams(theirs, ids[:, :4]).shape == (2, 14)


def test_a_quantised_cache_with_many_bits_writes_as_ours() -> None:
    if os.environ.get("AEATTN_FAULTS") != "full":
        pytest.skip("its first use compiles for a minute")
    pytest.importorskip("hqq")
    ours, theirs = both()
    options = {"backend": "hqq", "nbits": 8, "residual_length": 2, "q_group_size": 2}
    written = _generate(cache_implementation="quantized", cache_config=options)(theirs, ids_of(2, 4))
    assert torch.equal(written, greedy(ours, ids_of(2, 4), 10))


def test_caches_that_cannot_be_are_refused() -> None:
    _, theirs = both()
    _, other = both(bottleneck=5)
    with pytest.raises(ValueError, match="full attention layers"):
        transformers.QuantizedCache("fp8", config=theirs.config)
    with pytest.raises(ValueError, match="fp8 takes no nbits: leave it out"):
        AeattnQuantizedCache("fp8", config=theirs.config, nbits=4)
    with pytest.raises(ValueError, match="choose one of quanto, hqq, fp8"):
        AeattnQuantizedCache("int8", config=theirs.config)
    with pytest.raises(ValueError, match="cannot be cropped"):
        AeattnQuantizedCache("fp8", config=theirs.config).crop(-1)
    with pytest.raises(ValueError, match="leave it out, or move the model to a GPU"):
        theirs.generate(ids_of(), cache_implementation="offloaded", max_new_tokens=2)
    plain = transformers.DynamicCache(config=both(conv=0)[1].config)
    with pytest.raises(ValueError, match="short convolution"):
        theirs(ids_of(), past_key_values=plain)
    cache = transformers.DynamicCache(config=theirs.config)
    theirs(ids_of(2, 4), past_key_values=cache)
    with pytest.raises(ValueError, match="a cache of its own"):
        other(ids_of(2, 1), past_key_values=cache)
    with pytest.raises(ValueError, match="17 tokens are more than the context of 16"):
        theirs(ids_of(2, 17))
    with pytest.raises(ValueError, match="the context of 16"):
        theirs(ids_of(2, 13), past_key_values=cache)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_flex_attention(name: str) -> None:
    ours, theirs = both(**VARIANTS[name])
    ids = ids_of()
    padded = ids.clone()
    padded[0, :3] = PADDING
    theirs.set_attn_implementation("flex_attention")
    with torch.compiler.set_stance("force_eager"):
        assert near(theirs(ids).logits, ours(ids))
        assert near(in_pieces(theirs, ids, transformers.DynamicCache(config=theirs.config)), ours(ids))
        left = theirs(padded, attention_mask=(padded != PADDING).long()).logits
    assert near(left[0, 3:], ours(ids[:1, 3:])[0])
    with torch.enable_grad(), pytest.raises(ValueError, match="no backward pass on a CPU"):
        theirs(ids)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
@COMPILES
@torch.no_grad()
def test_flex_attention_as_it_is_compiled() -> None:
    ours, theirs = both(**VARIANTS["decoupled"])
    theirs.set_attn_implementation("flex_attention")
    assert near(theirs(ids_of()).logits, ours(ids_of()))
    assert torch.equal(_generate()(theirs, ids_of(2, 4)), greedy(ours, ids_of(2, 4), 10))


@torch.no_grad()
def test_cropping_and_masks_of_four_axes() -> None:
    ours, theirs = both()
    ids = ids_of()
    cache = transformers.DynamicCache(config=theirs.config)
    theirs(ids[:, :8], past_key_values=cache)
    cache.activate_past_recording()
    theirs(ids_of(2, 3), past_key_values=cache)
    cache.crop(-3)
    assert near(theirs(ids[:, 8:], past_key_values=cache).logits, ours(ids)[:, 8:])
    left = torch.cat([torch.zeros(2, 3, dtype=torch.long), ids[:, :9]], dim=1)
    seen = torch.ones(12, 12, dtype=torch.bool).tril() & (torch.arange(12) >= 3)
    added = torch.zeros(12, 12).masked_fill(~seen, torch.finfo(torch.float32).min)
    for mask in (seen, added):
        assert near(theirs(left, attention_mask=mask[None, None]).logits[:, 3:], ours(ids[:, :9]))


def test_gradients_losses_and_checkpointing() -> None:
    ours, theirs = both(zero_init=False)
    ids = ids_of()
    found = theirs(ids, labels=ids)
    logits = ours(ids)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert near(found.loss, loss)
    found.loss.backward()
    loss.backward()
    for name, parameter in ours.named_parameters():
        assert torch.allclose(theirs.get_parameter(hf.to_hf_name(name)).grad, parameter.grad, atol=1e-5), name
    gradient = theirs.model.embedding.weight.grad.clone()
    theirs.zero_grad()
    theirs.activation_checkpointing_enable()
    theirs.train()(ids, labels=ids).loss.backward()
    assert torch.allclose(theirs.model.embedding.weight.grad, gradient, atol=1e-6)


def test_attention_weights_and_hidden_states() -> None:
    _, theirs = both()
    theirs.set_attn_implementation("eager")
    found = theirs(ids_of(), output_attentions=True, output_hidden_states=True)
    assert [a.shape for a in found.attentions] == [(2, 2, 12, 12)] * 2
    assert torch.allclose(found.attentions[0].sum(dim=-1), torch.ones(2, 2, 12))
    assert len(found.hidden_states) == 3


def test_a_fresh_model_begins_as_ours() -> None:
    config = tiny_config(gate=True, value_embedding=True, key="latent")
    made, ours = AeattnForCausalLM(hf.to_hf_config(config)), LanguageModel(config)
    for name, parameter in ours.named_parameters():
        theirs = made.get_parameter(hf.to_hf_name(name))
        assert theirs.shape == parameter.shape
        spread, wanted = theirs.std(correction=0), parameter.std(correction=0)
        assert abs(spread - wanted) < 0.4 * wanted + 1e-6, name


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_low_rank_adapters_on_encoders_and_decoders_count_in_every_way() -> None:
    peft = pytest.importorskip("peft")
    _, theirs = both()
    named = peft.LoraConfig(r=2, target_modules=["encoder", "decoder"], init_lora_weights=False)
    adapted = peft.get_peft_model(theirs, named).eval()
    ids = ids_of()
    with torch.no_grad():
        whole = adapted(ids).logits
        plain = both()[1](ids).logits
    assert not near(whole, plain)
    assert near(in_pieces(adapted, ids, transformers.DynamicCache(config=theirs.config)), whole)


def test_in_bf16_and_with_another_vocabulary() -> None:
    _, theirs = both()
    theirs.resize_token_embeddings(13)
    assert theirs(ids_of()).logits.shape == (2, 12, 13)
    assert theirs.bfloat16().generate(ids_of(2, 4), max_new_tokens=5, do_sample=False).shape == (2, 9)
    with pytest.raises(ValueError, match="value_embedding"):
        both(value_embedding=True)[1].resize_token_embeddings(13)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n_heads": 3}, "a divisor of d_model"),
        ({"key": "nonsense"}, "key is 'nonsense'"),
        ({"key": ["linear"]}, "2, one a layer"),
        ({"positions": "sinusoidal"}, "one of none, learned"),
        ({"context": "256"}, "whole number"),
        ({"key": "linear", "value": "shared"}, "choose another key"),
    ],
)
def test_configs_that_were_changed_to_what_cannot_be_are_refused(changes: dict[str, object], reason: str) -> None:
    from aeattn.integrations.configuration_aeattn import AeattnConfig

    with pytest.raises(ValueError, match=reason):
        AeattnConfig(**{**tiny_config().to_dict(), **changes})
