"""What the tests of transformers' own models check, as tests of ours: saving and loading, tables of tokens,
outputs, gradients, generation."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import VARIANTS
from tests.integrations.test_hf_libraries import twins
from tests.integrations.test_hf_model import PADDING, SOME, greedy, ids_of, near

transformers = pytest.importorskip("transformers")
from aeattn.integrations import hf  # noqa: E402
from aeattn.integrations.configuration_aeattn import AeattnConfig  # noqa: E402
from aeattn.integrations.modeling_aeattn import AeattnForCausalLM, AeattnModel  # noqa: E402

quiet = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


@pytest.fixture(autouse=True)
def _registered() -> None:
    hf.register()


# -- saving and loading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_what_is_saved_is_loaded(name: str, tmp_path: Path) -> None:
    ours, model = twins(**VARIANTS[name])
    model.save_pretrained(tmp_path)
    again, found = AeattnForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(found.values())
    assert not again.training
    for key, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor), key
    assert torch.equal(again(ids_of()).logits, model(ids_of()).logits)
    assert hf.from_hf_config(again.config) == ours.config
    assert again.generation_config.to_dict() == model.generation_config.to_dict()
    base, found = AeattnModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not found["missing_keys"]
    assert torch.equal(base(ids_of()).last_hidden_state, model.model(ids_of()).last_hidden_state)


def test_in_many_files_through_pickle_and_as_a_copy(tmp_path: Path) -> None:
    ours, model = twins()
    model.save_pretrained(tmp_path, max_shard_size="5KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = AeattnForCausalLM(model.config).eval()
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    for each in (
        AeattnForCausalLM.from_pretrained(tmp_path),
        other,
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        assert near(each(ids_of()).logits, ours(ids_of()))


def test_weights_that_are_missing_too_many_or_of_another_shape(tmp_path: Path) -> None:
    _, model = twins()
    model.model.save_pretrained(tmp_path / "base")
    made, found = AeattnForCausalLM.from_pretrained(tmp_path / "base", output_loading_info=True)
    assert found["missing_keys"] == {"lm_head.weight"}
    assert not made.lm_head.weight.any()  # as a fresh model begins
    assert torch.equal(made.model.embedding.weight, model.model.embedding.weight)
    model.save_pretrained(tmp_path / "whole")
    _, found = AeattnModel.from_pretrained(tmp_path / "whole", output_loading_info=True)
    assert found["unexpected_keys"] == {"lm_head.weight"}
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AeattnForCausalLM.from_pretrained(tmp_path / "whole", bottleneck=5)
    other, found = AeattnForCausalLM.from_pretrained(
        tmp_path / "whole", bottleneck=5, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert {key for key, *_ in found["mismatched_keys"]} >= {"model.blocks.0.attention.key.encoder.weight"}
    assert other.model.blocks[0].attention.key.encoder.weight.shape == (5, 16)
    spread = other.model.blocks[0].attention.key.encoder.weight.std()
    assert 0.1 < spread < 0.5  # a standard deviation of 1 / 4
    assert torch.equal(other.model.norm.weight, model.model.norm.weight)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@torch.no_grad()
def test_types_of_weights(dtype: str, tmp_path: Path) -> None:
    ours, model = twins()
    model.to(getattr(torch, dtype)).save_pretrained(tmp_path)
    for asked in ("auto", dtype, getattr(torch, dtype)):
        found = AeattnForCausalLM.from_pretrained(tmp_path, dtype=asked)
        assert found.dtype == getattr(torch, dtype)
        assert found(ids_of()).logits.dtype == torch.float32
        assert (found(ids_of()).logits - ours(ids_of())).abs().max() < (1e-5 if dtype == "float32" else 0.2)
    cache = transformers.DynamicCache(config=found.config)
    found(ids_of(), past_key_values=cache)
    assert {layer.keys.dtype for layer in cache.layers} == {found.dtype}
    assert AeattnForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).dtype == torch.float32


@torch.no_grad()
def test_products_in_bf16_where_weights_are_not() -> None:
    ours, model = twins()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cache = transformers.DynamicCache(config=model.config)
        found = torch.cat(
            [model(p, past_key_values=cache).logits for p in ids_of().split([6, 1, 5], dim=1)], dim=1
        )
    assert 0 < (found - ours(ids_of())).abs().max() < 0.2


def test_models_begin_on_any_device_the_same() -> None:
    _, model = twins()
    with torch.device("meta"):
        empty = AeattnForCausalLM(model.config)
    assert empty.device.type == "meta"
    assert {n: p.shape for n, p in empty.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}
    assert sum(p.numel() for p in model.parameters()) == model.num_parameters()


@torch.no_grad()
def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    ours, model = twins(tied=True)
    model.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    found = AeattnForCausalLM.from_pretrained(tmp_path)
    assert found.lm_head.weight is found.model.embedding.weight
    assert near(found(ids_of()).logits, ours(ids_of()))
    found.model.embedding.weight.mul_(2)
    assert torch.equal(found.lm_head.weight, found.model.embedding.weight)
    found.resize_token_embeddings(15)
    assert found.lm_head.weight is found.model.embedding.weight
    assert len(list(found.parameters())) == len(list(model.parameters()))
    untied = AeattnForCausalLM(AeattnConfig(**{**model.config.to_dict(), "tied": False}))
    assert untied.lm_head.weight is not untied.model.embedding.weight


# -- config ------------------------------------------------------------------------------------------------


def test_configs_there_and_back(tmp_path: Path) -> None:
    _, model = twins(**VARIANTS["mixed"])
    config = model.config
    config.save_pretrained(tmp_path)
    again = transformers.AutoConfig.from_pretrained(tmp_path)
    assert again.to_dict() == {**config.to_dict(), "_name_or_path": str(tmp_path)}
    assert AeattnConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()
    assert AeattnConfig.from_json_file(tmp_path / "config.json").to_dict() == config.to_dict()
    assert (again.hidden_size, again.num_hidden_layers, again.num_attention_heads) == (16, 2, 2)
    assert (again.intermediate_size, again.max_position_embeddings, again.vocab_size) == (24, 16, 11)
    again.hidden_size = 32
    assert again.d_model == 32
    assert AeattnConfig(id2label={0: "no", 1: "yes"}).num_labels == 2
    AeattnConfig()


# -- tables of tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"tied": True}])
@torch.no_grad()
def test_another_number_of_tokens(changes: dict[str, object], tmp_path: Path) -> None:
    ours, model = twins(**changes)
    before = model.model.embedding.weight.clone()
    wanted = ours(ids_of())
    assert model.resize_token_embeddings(11).weight.shape == (11, 16)
    assert model.resize_token_embeddings(15, mean_resizing=False).weight.shape == (15, 16)
    assert model.config.vocab_size == model.vocab_size == 15
    assert model.lm_head.weight.shape == (15, 16)
    assert torch.equal(model.model.embedding.weight[:11], before)
    assert near(model(ids_of()).logits[..., :11], wanted)
    assert model(torch.tensor([[11, 14]])).logits.shape == (1, 2, 15)  # what was padding is a token now
    assert model.generate(ids_of(2, 4), max_new_tokens=5, do_sample=False).shape == (2, 9)
    model.save_pretrained(tmp_path)
    assert near(AeattnForCausalLM.from_pretrained(tmp_path)(ids_of()).logits, model(ids_of()).logits)
    model.resize_token_embeddings(9)
    assert torch.equal(model.model.embedding.weight, before[:9])
    assert near(model(ids_of().clamp(max=8)).logits, ours(ids_of().clamp(max=8))[..., :9])
    assert model.resize_token_embeddings(9, pad_to_multiple_of=8).weight.shape == (16, 16)


def test_tables_that_are_put_in_place_of_others() -> None:
    _, model = twins()
    assert isinstance(model.get_input_embeddings(), torch.nn.Embedding)
    table, head = torch.nn.Embedding(20, 16), torch.nn.Linear(16, 20, bias=False)
    model.set_input_embeddings(table)
    model.set_output_embeddings(head)
    assert model.get_input_embeddings() is model.model.embedding is table
    assert model.get_output_embeddings() is head
    assert model.base_model is model.model


# -- what comes out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOME)
@torch.no_grad()
def test_outputs_are_the_same_each_time_as_tuples_in_batches_and_in_part(name: str) -> None:
    _, model = twins(**VARIANTS[name])
    ids = ids_of(3, 9)
    found = model(ids, use_cache=True)
    assert torch.equal(found.logits, model(ids).logits)
    logits, cache = model(ids, use_cache=True, return_dict=False)
    assert torch.equal(logits, found.logits)
    assert cache.get_seq_length() == 9
    for row in range(3):
        assert near(model(ids[row : row + 1]).logits, found.logits[row : row + 1])
    assert near(model(ids, logits_to_keep=2).logits, found.logits[:, -2:])
    assert near(model(ids, logits_to_keep=torch.tensor([0, 5])).logits, found.logits[:, [0, 5]])
    assert model(ids, use_cache=False).past_key_values is None
    with pytest.raises(ValueError, match="give either input_ids or inputs_embeds"):
        model()
    with pytest.raises(ValueError, match="give one, such as the tokenizer's bos_token"):
        model(ids[:, :0])


@pytest.mark.parametrize("name", SOME)
def test_hidden_states_and_attention_weights(name: str) -> None:
    _, model = twins(**VARIANTS[name])
    model.set_attn_implementation("eager")
    heads, ids = model.config.n_heads, ids_of(2, 9)
    found = model(ids, output_attentions=True, output_hidden_states=True)
    assert [tuple(h.shape) for h in found.hidden_states] == [(2, 9, 16)] * 3
    assert [tuple(a.shape) for a in found.attentions] == [(2, heads, 9, 9)] * 2
    for weights in found.attentions:
        assert torch.allclose(weights.sum(dim=-1), torch.ones(2, heads, 9), atol=1e-5)
        assert not weights.triu(1).any()
    assert near(model.lm_head(found.hidden_states[-1]), found.logits)
    found.hidden_states[0].retain_grad()
    found.attentions[0].retain_grad()
    found.logits[0].sum().backward()
    assert found.hidden_states[0].grad.any()
    assert found.attentions[0].grad.any()
    plain = model(ids)
    assert plain.hidden_states is None
    assert plain.attentions is None
    model.config.output_hidden_states = True
    assert len(model(ids).hidden_states) == 3


@torch.no_grad()
def test_embeddings_in_place_of_tokens() -> None:
    ours, model = twins()
    ids = ids_of()
    embedded = model.get_input_embeddings()(ids)
    assert near(model(inputs_embeds=embedded).logits, ours(ids))
    with pytest.raises(ValueError, match="give either"):
        model(ids, inputs_embeds=embedded)
    start, wanted = embedded[:, :4], greedy(ours, ids[:, :4], 10)
    for known in ({}, {"cache_implementation": "static"}, {"use_cache": False}):
        found = model.generate(inputs_embeds=start, max_new_tokens=10, do_sample=False, **known)
        assert torch.equal(found, wanted[:, 4:]), known
    beams = model.generate(ids[:, :4], max_new_tokens=6, do_sample=False, num_beams=3)
    found = model.generate(inputs_embeds=start, max_new_tokens=6, do_sample=False, num_beams=3)
    assert torch.equal(found, beams[:, 4:])
    with pytest.raises(ValueError, match="value_embedding reads the tokens themselves: give input_ids"):
        twins(value_embedding=True)[1](inputs_embeds=embedded)


# -- gradients ---------------------------------------------------------------------------------------------


@quiet
@pytest.mark.parametrize("name", VARIANTS)
def test_every_weight_is_trained_with_and_without_checkpointing(name: str) -> None:
    _, model = twins(**{**VARIANTS[name], "dropout": 0.0})
    ids, found = ids_of(), []
    for known in (None, {"use_reentrant": False}, {"use_reentrant": True}):
        if known:
            model.activation_checkpointing_enable(known)
            assert model.is_gradient_checkpointing
        model.zero_grad()
        model.train()(ids, labels=ids).loss.backward()
        found.append({n: p.grad for n, p in model.named_parameters()})
    assert all(gradient is not None and gradient.any() for gradient in found[0].values())
    for other in found[1:]:
        for key, gradient in found[0].items():
            assert torch.allclose(other[key], gradient, atol=1e-5, rtol=1e-4), key
    model.activation_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_dropout_and_labels_that_are_left_out() -> None:
    _, model = twins(dropout=0.5)
    ids = ids_of()
    assert torch.equal(model(ids).logits, model(ids).logits)
    assert not torch.equal(model.train()(ids).logits, model(ids).logits)
    _, model = twins()
    labels = ids.clone()
    labels[:, :6] = -100
    wanted = torch.nn.functional.cross_entropy(model(ids).logits[:, 5:-1].flatten(0, 1), ids[:, 6:].flatten())
    assert near(model(ids, labels=labels).loss, wanted)


# -- attention ---------------------------------------------------------------------------------------------


@torch.no_grad()
def test_attention_is_chosen_when_loading_and_afterwards(tmp_path: Path) -> None:
    ours, model = twins()
    model.save_pretrained(tmp_path)
    assert model.config._attn_implementation == "sdpa"
    for chosen in ("eager", "sdpa", "flex_attention"):
        found = AeattnForCausalLM.from_pretrained(tmp_path, attn_implementation=chosen)
        assert found.config._attn_implementation == chosen
    found.set_attn_implementation("eager")
    assert near(found(ids_of()).logits, ours(ids_of()))
    with pytest.raises((ValueError, ImportError)):
        found.set_attn_implementation("flash_attention_2")
    with pytest.raises(ValueError, match="nonsense"):
        AeattnForCausalLM.from_pretrained(tmp_path, attn_implementation="nonsense")


@pytest.mark.parametrize("name", ["default", "learned", "grouped_decoupled"])
@torch.no_grad()
def test_a_function_of_ones_own_is_called(name: str) -> None:
    from transformers.modeling_utils import AttentionInterface

    from aeattn.integrations.attention_aeattn import attend_eager

    ours, model = twins(**VARIANTS[name])
    calls: list[int] = []

    def counted(*args: Any, **known: Any) -> Any:
        calls.append(args[1].shape[2])
        return attend_eager(*args, **known)

    AttentionInterface.register("counted", counted)
    model.set_attn_implementation("counted")
    assert near(model(ids_of()).logits, ours(ids_of()))
    assert calls == [12, 12]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", SOME)
@torch.no_grad()
def test_padding_on_either_side_changes_nothing(name: str, attention: str) -> None:
    ours, model = twins(**VARIANTS[name])
    model.set_attn_implementation(attention)
    ids, padding = ids_of(2, 6), torch.full((2, 3), PADDING)
    left = torch.cat([padding, ids], dim=1)
    mask = (left != PADDING).long()
    wanted = greedy(ours, ids, 6)
    assert torch.equal(model.generate(left, attention_mask=mask, max_new_tokens=6, do_sample=False)[:, 3:], wanted)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    assert near(model(left, attention_mask=mask, position_ids=positions).logits[:, 3:], ours(ids))
    right = torch.cat([ids, padding], dim=1)
    found = model(
        right, attention_mask=(right != PADDING).long(), labels=right.masked_fill(right == PADDING, -100)
    )
    assert near(found.logits[:, :6], ours(ids))
    assert near(found.loss, model(ids, labels=ids).loss)


# -- generation --------------------------------------------------------------------------------------------


@torch.no_grad()
def test_what_generation_gives_besides_text() -> None:
    ours, model = twins()
    model.set_attn_implementation("eager")
    ids = ids_of(2, 4)
    found = model.generate(
        ids, max_new_tokens=4, do_sample=False, return_dict_in_generate=True, output_attentions=True,
        output_hidden_states=True, output_scores=True, output_logits=True,
    )  # fmt: skip
    assert torch.equal(found.sequences, greedy(ours, ids, 4))
    assert len(found.scores) == len(found.logits) == 4
    assert near(torch.stack(found.logits, dim=1), ours(found.sequences)[:, 3:-1])
    assert [tuple(step[0].shape) for step in found.attentions] == [
        (2, 2, 4, 4),
        (2, 2, 1, 5),
        (2, 2, 1, 6),
        (2, 2, 1, 7),
    ]
    assert [tuple(step[0].shape) for step in found.hidden_states] == [(2, 4, 16)] + [(2, 1, 16)] * 3
    assert found.past_key_values.get_seq_length() == 7
    again = model.generate(
        found.sequences, past_key_values=found.past_key_values, max_new_tokens=6, do_sample=False
    )
    assert torch.equal(again, greedy(ours, ids, 10))


@torch.no_grad()
def test_sampling_stopping_and_many_sequences() -> None:
    ours, model = twins()
    ids = ids_of(2, 4)
    known = {"max_new_tokens": 6, "do_sample": True, "top_k": 4, "temperature": 0.7}
    torch.manual_seed(1)
    first = model.generate(ids, num_return_sequences=3, **known)
    torch.manual_seed(1)
    assert torch.equal(model.generate(ids, num_return_sequences=3, **known), first)
    assert first.shape == (6, 10)
    assert first.max() < 11
    assert model.generate(ids, num_beams=3, num_return_sequences=2, **known).shape == (4, 10)
    wanted = greedy(ours, ids[:1], 6)[0].tolist()
    end = wanted[6]
    stopped = model.generate(ids[:1], max_new_tokens=6, do_sample=False, eos_token_id=end)[0].tolist()
    assert stopped == wanted[: wanted.index(end, 4) + 1]
    longer = model.generate(ids[:1], max_new_tokens=6, min_new_tokens=6, do_sample=False, eos_token_id=end)
    assert longer.shape == (1, 10)
    without = model.generate(ids, max_new_tokens=6, do_sample=False, suppress_tokens=[wanted[4]])
    assert wanted[4] not in without[0, 4:]
    with pytest.raises(ValueError, match="tokens are more than the context of 16"):
        model.generate(ids_of(1, 17), max_new_tokens=1)


@torch.no_grad()
def test_a_static_cache_is_used_again() -> None:
    ours, model = twins()
    cache = transformers.StaticCache(config=model.config, max_cache_len=14)
    for start in (0, 5):
        ids = ids_of(2, 12)[:, start : start + 4]
        cache.reset()
        found = model.generate(ids, past_key_values=cache, max_new_tokens=8, do_sample=False)
        assert torch.equal(found, greedy(ours, ids, 8))


@torch.no_grad()
def test_an_assistant_that_samples_and_one_that_is_the_model_itself() -> None:
    ours, model = twins()
    ids = ids_of(1, 4)
    found = model.generate(ids, assistant_model=copy.deepcopy(model), max_new_tokens=8, do_sample=False)
    assert torch.equal(found, greedy(ours, ids, 8))
    drawn = model.generate(ids, assistant_model=copy.deepcopy(model), max_new_tokens=8, do_sample=True)
    assert drawn.shape == (1, 12)
