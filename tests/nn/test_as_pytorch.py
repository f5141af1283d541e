"""AutoencoderAttention as torch.nn.MultiheadAttention: the same masks and answers, in PyTorch's own layers."""

from __future__ import annotations

import copy
import io
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import aeattn
from aeattn import AutoencoderAttention, replace_attention

WIDTH, HEADS, BATCH, TIME = 16, 2, 3, 5
LINEAR: dict[str, Any] = {"query": "linear", "key": "linear", "value": "linear"}


def _pair(bias: bool, batch_first: bool, **settings: Any) -> tuple[AutoencoderAttention, nn.MultiheadAttention]:
    """Ours, and theirs with the same weights: a bias on keys, too, which changes nothing, and one on values."""
    ours = AutoencoderAttention(
        WIDTH, HEADS, **LINEAR, causal=False, bias=bias, batch_first=batch_first, **settings
    )
    theirs = nn.MultiheadAttention(WIDTH, HEADS, bias=bias, batch_first=batch_first)
    a = ours.attention
    with torch.no_grad():
        assert a.output is not None
        theirs.in_proj_weight.copy_(torch.cat([p.encoder_weight for p in (a.query, a.key, a.value)]))
        theirs.out_proj.weight.copy_(a.output.weight)
        if bias:
            assert a.query_bias is not None
            assert a.output_bias is not None
            theirs.in_proj_bias.normal_()
            theirs.out_proj.bias.normal_()
            q, _, v = theirs.in_proj_bias.chunk(3)
            a.query_bias.copy_(q.view(HEADS, 1, -1))
            a.output_bias.copy_(theirs.out_proj.bias + a.output.weight @ v)
    return ours, theirs


def _mask(kind: str, shape: tuple[int, ...]) -> Tensor | None:
    if kind == "none":
        return None
    hidden = torch.rand(shape) < 0.4
    return hidden if kind == "bool" else torch.randn(shape).masked_fill(hidden, float("-inf"))


KINDS = st.sampled_from(["none", "bool", "float"])


@given(
    seed=st.integers(0, 999), extra=KINDS, by_head=st.booleans(), padding=KINDS, bias=st.booleans(),
    batch_first=st.booleans(), average=st.booleans(), batched=st.booleans(),
)  # fmt: skip
def test_the_same_masks_give_the_same_answers(
    seed: int, extra: str, by_head: bool, padding: str, bias: bool, batch_first: bool, average: bool, batched: bool
) -> None:
    torch.manual_seed(seed)
    ours, theirs = _pair(bias, batch_first)
    batch = BATCH if batched else 1
    x = torch.randn(batch, TIME, WIDTH)
    attn_mask = _mask(extra, (batch * HEADS, TIME, TIME) if by_head else (TIME, TIME))
    hidden = _mask(padding, (batch, TIME))
    if not batched:
        x, hidden = x[0], None if hidden is None else hidden[0]
    elif not batch_first:
        x = x.transpose(0, 1)
    given: dict[str, Any] = {"attn_mask": attn_mask, "key_padding_mask": hidden, "average_attn_weights": average}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch would rather have masks of one type
        expected, expected_weights = theirs(x, x, x, **given)
    found, weights = ours(x, x, x, **given)
    assert found.shape == expected.shape
    assert weights.shape == expected_weights.shape
    blind = expected.isnan()  # PyTorch gives NaN to who sees nothing
    nothing = ours.attention.output_bias if bias else torch.zeros(WIDTH)
    assert torch.allclose(found, torch.where(blind, found, expected), atol=1e-5)
    if average or not by_head:
        assert torch.allclose(weights, expected_weights.nan_to_num(), atol=1e-5) or average
    for row in found[blind.all(dim=-1)] if not by_head else []:
        assert torch.allclose(row, nothing, atol=1e-6)
    fast, none = ours(x, x, x, **given, need_weights=False)
    assert none is None
    assert torch.allclose(fast, found, atol=1e-5)
    assert torch.allclose(ours(x, attn_mask=attn_mask, key_padding_mask=hidden), found, atol=1e-5)


def test_weights_of_who_sees_nothing_are_zero_and_those_of_others_sum_to_one() -> None:
    ours, _ = _pair(True, True)
    hidden = torch.zeros(TIME, TIME, dtype=torch.bool)
    hidden[1] = True
    x = torch.randn(BATCH, TIME, WIDTH, requires_grad=True)
    out, weights = ours(x, need_weights=True, attn_mask=hidden, average_attn_weights=False)
    assert weights.shape == (BATCH, HEADS, TIME, TIME)
    assert torch.equal(weights[:, :, 1], torch.zeros(BATCH, HEADS, TIME))
    assert torch.allclose(weights.sum(dim=-1)[:, :, [0, 2, 3, 4]], torch.ones(()), atol=1e-5)
    out.sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize(
    "settings",
    [{}, {"qk_norm": True, "positions": "alibi", "bias": True}, {"per_head": True, "bias": True, "gate": True},
     {"n_kv_heads": 1, "value": "shared", "middle": True}, {"positions": "rotary"}, {"positions": "decoupled"}],
)  # fmt: skip
def test_asking_for_weights_changes_nothing(settings: dict[str, Any]) -> None:
    module, x = AutoencoderAttention(WIDTH, HEADS, 8, **settings), torch.randn(BATCH, 7, WIDTH)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    out, weights = module(x, need_weights=True, average_attn_weights=False)
    assert torch.allclose(out, module(x), atol=1e-5)
    assert torch.equal(weights, weights.tril())
    cache = module.new_cache(7)
    with torch.inference_mode():
        first, _ = module(x[:, :4], need_weights=True, cache=cache)
        last, later = module(x[:, 4:], need_weights=True, average_attn_weights=False, cache=cache)
    assert torch.allclose(torch.cat([first, last], dim=1), out, atol=1e-5)
    assert torch.allclose(later, weights[:, :, 4:], atol=1e-5)


def test_is_causal_hides_the_future_and_is_no_more_than_a_hint_beside_a_mask() -> None:
    ours, theirs = _pair(False, True)
    x, future = torch.randn(BATCH, TIME, WIDTH), torch.ones(TIME, TIME, dtype=torch.bool).triu(1)
    expected = theirs(x, x, x, attn_mask=future, is_causal=True, need_weights=False)[0]
    assert torch.allclose(ours(x, is_causal=True), expected, atol=1e-5)
    assert torch.allclose(ours(x, attn_mask=future, is_causal=True), expected, atol=1e-5)
    assert not torch.allclose(ours(x), expected, atol=1e-3)


def test_weights_are_dropped_while_training_as_the_output_has_it() -> None:
    module, x = AutoencoderAttention(WIDTH, HEADS, dropout=0.5), torch.randn(1, 40, WIDTH)
    _, weights = module(x, need_weights=True, average_attn_weights=False)
    seen = torch.ones(40, 40, dtype=torch.bool).tril()
    assert 0.4 < float((weights[0, :, seen] == 0).float().mean()) < 0.6
    assert float((module.eval()(x, need_weights=True)[1][0][seen] == 0).float().mean()) == 0


def test_what_it_is_no_substitute_for_is_refused() -> None:
    module, x = AutoencoderAttention(WIDTH, HEADS), torch.randn(BATCH, TIME, WIDTH)
    for key, value in ((x + 0, x + 0), (x, None), (None, x), (x, x + 0)):
        with pytest.raises(ValueError, match="this is self-attention: give one tensor"):
            module(x, key, value)
    with pytest.raises(ValueError, match="nested tensor: give a padded one"):
        module(torch.nested.nested_tensor([torch.randn(2, WIDTH)], layout=torch.jagged))
    with pytest.raises(ValueError, match=r"attn_mask has type torch\.int64"):
        module(x, x, x, attn_mask=torch.ones(TIME, TIME, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(time, batch, 16\) is expected"):
        AutoencoderAttention(WIDTH, HEADS, batch_first=False)(torch.randn(2, 3, 15))


def test_it_says_what_it_is() -> None:
    shown = repr(AutoencoderAttention(WIDTH, HEADS, 4, key="bottleneck", n_kv_heads=1, positions="alibi"))
    assert "16, n_heads=2, bottleneck=4, autoencoder/bottleneck, n_kv_heads=1, causal, alibi positions" in shown
    assert "not causal, batch_first=False" in repr(_pair(False, False)[0])


# -- in PyTorch's layers ---------------------------------------------------------------------------------------


def _encoder(layers: int = 2, **settings: Any) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, dropout=0.0, **{"batch_first": True, **settings})
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=settings.get("batch_first", True))


PADDING = torch.arange(TIME) >= torch.tensor([[5], [3], [2]])  # at the end, where PyTorch's fast path wants it


@pytest.mark.parametrize("by", ["helper", "hand"])
@pytest.mark.parametrize("settings", [{}, {"norm_first": True}, {"batch_first": False}, {"bias": False}])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True", "ignore:.*nested tensors is in prototype")
def test_layers_do_the_same_in_training_and_evaluation_with_and_without_gradients(
    by: str, settings: dict[str, Any]
) -> None:
    encoder = _encoder(**settings)
    x = torch.randn(BATCH, TIME, WIDTH)
    x = x if settings.get("batch_first", True) else x.transpose(0, 1)
    if by == "helper":
        assert replace_attention(encoder, 4, n_kv_heads=1) is encoder
    else:
        for layer in encoder.layers:
            layer.self_attn = AutoencoderAttention(
                WIDTH, HEADS, 4, causal=False, batch_first=settings.get("batch_first", True)
            )
    future = torch.ones(TIME, TIME, dtype=torch.bool).triu(1)
    for masks in (
        {}, {"src_key_padding_mask": PADDING}, {"mask": future}, {"mask": future, "is_causal": True},
        {"mask": future, "src_key_padding_mask": PADDING},
        {"mask": nn.Transformer.generate_square_subsequent_mask(TIME), "is_causal": True},
    ):  # fmt: skip
        given: dict[str, Any] = dict(masks)
        trained = encoder.train()(x, **given)
        evaluated = encoder.eval()(x, **given)
        with torch.no_grad():
            quick = encoder(x, **given)
        with torch.inference_mode():
            quicker = encoder(x, **given)
        for other in (evaluated, quick, quicker):
            assert torch.allclose(other, trained, atol=1e-5), masks
        if "mask" in given:
            changed = x.clone()
            changed.select(1 if settings.get("batch_first", True) else 0, TIME - 1).add_(1)
            last = [i for i in range(TIME) if i != TIME - 1]
            dim = 1 if settings.get("batch_first", True) else 0
            kept = torch.tensor(last)
            again = encoder(changed, **given)
            assert torch.allclose(again.index_select(dim, kept), trained.index_select(dim, kept), atol=1e-5)


def test_a_layer_with_the_weights_of_pytorchs_gives_what_pytorchs_gives() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, dropout=0.0, batch_first=True).eval()
    ours, theirs = _pair(True, True)
    x = torch.randn(BATCH, TIME, WIDTH)
    layer.self_attn = theirs.eval()
    with torch.no_grad():
        expected = layer(x, src_key_padding_mask=PADDING)  # PyTorch's fast path
        layer.self_attn = ours.eval()  # type: ignore[assignment]
        found = layer(x, src_key_padding_mask=PADDING)
    assert torch.allclose(found[~PADDING], expected[~PADDING], atol=1e-5)


def test_a_decoder_and_a_whole_transformer() -> None:
    model = nn.Transformer(WIDTH, HEADS, 1, 1, 24, dropout=0.0, batch_first=True)
    before = model.decoder.layers[0].multihead_attn
    replace_attention(model, 4)
    assert model.decoder.layers[0].multihead_attn is before
    assert isinstance(model.decoder.layers[0].self_attn, AutoencoderAttention)
    source, target = torch.randn(BATCH, 7, WIDTH), torch.randn(BATCH, TIME, WIDTH)
    mask = nn.Transformer.generate_square_subsequent_mask(TIME)
    out = model(source, target, tgt_mask=mask, tgt_is_causal=True)
    with torch.no_grad():
        assert torch.allclose(model.eval()(source, target, tgt_mask=mask, tgt_is_causal=True), out, atol=1e-5)
    model.train()(source, target, tgt_mask=mask).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_what_is_put_there_is_like_what_was() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, dropout=0.3, bias=False, dtype=torch.float64).eval()
    ours = replace_attention(layer, 4, qk_norm=True).self_attn
    assert isinstance(ours, AutoencoderAttention)
    assert (ours.attention.dropout, ours.batch_first, ours.training) == (0.3, False, False)
    assert ours.attention.output_bias is None
    assert {p.dtype for p in ours.parameters()} == {torch.float64}
    assert not ours.attention.causal
    assert aeattn.replace_attention is replace_attention


def test_where_there_is_nothing_to_replace_is_said() -> None:
    with pytest.raises(ValueError, match=r"Linear has no nn\.TransformerEncoderLayer"):
        replace_attention(nn.Linear(2, 2))
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS)
    layer.self_attn = nn.MultiheadAttention(WIDTH, HEADS, add_bias_kv=True)
    with pytest.raises(ValueError, match="add_bias_kv"):
        replace_attention(layer)
    two = _encoder()
    with pytest.raises(ValueError, match="bottleneck is 99"):
        replace_attention(two, 99)
    assert all(isinstance(layer.self_attn, nn.MultiheadAttention) for layer in two.layers)  # as it was


def test_layers_compile_are_copied_stored_and_run_under_autocast() -> None:
    encoder, x = replace_attention(_encoder(1), 4).eval(), torch.randn(BATCH, TIME, WIDTH)
    expected = encoder(x, src_key_padding_mask=PADDING)
    compiled = torch.compile(encoder, backend="aot_eager")
    assert torch.allclose(compiled(x, src_key_padding_mask=PADDING), expected, atol=1e-5)
    buffer = io.BytesIO()
    torch.save(encoder, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(encoder), torch.load(buffer, weights_only=False)):
        assert torch.equal(twin(x, src_key_padding_mask=PADDING), expected)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder(x, src_key_padding_mask=PADDING)
    assert torch.allclose(rough.float(), expected, atol=0.1)


def test_gradients_with_biases_masks_and_weights_are_those_of_differences() -> None:
    module = AutoencoderAttention(8, 2, 3, causal=False, bias=True, qk_norm=True, dtype=torch.float64)
    x = torch.randn(1, 3, 8, dtype=torch.float64, requires_grad=True)
    hidden = torch.tensor([[False, True, False]])
    assert torch.autograd.gradcheck(lambda x: module(x, need_weights=True, key_padding_mask=hidden), (x,))
    assert torch.autograd.gradcheck(lambda x: module(x, x, x, need_weights=False, is_causal=True)[0], (x,))


@pytest.mark.parametrize("settings", [{"bias": True}, {"n_kv_heads": 1, "positions": "alibi", "causal": True}])
def test_weights_compile_and_run_under_autocast(settings: dict[str, Any]) -> None:
    module = AutoencoderAttention(WIDTH, HEADS, 4, **{"causal": False, **settings})
    x = torch.randn(BATCH, TIME, WIDTH)
    expected, weights = module(x, x, x, key_padding_mask=PADDING)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    for found, right in zip(compiled(x, x, x, key_padding_mask=PADDING), (expected, weights), strict=True):
        assert torch.allclose(found, right, atol=1e-5)
    alone = compiled(x, x, x, key_padding_mask=PADDING, need_weights=False, is_causal=True)[0]
    assert torch.allclose(alone, module(x, key_padding_mask=PADDING, is_causal=True), atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        rough, rough_weights = module(x, x, x, key_padding_mask=PADDING)
    assert torch.allclose(rough.float(), expected, atol=0.05)
    assert torch.allclose(rough_weights.float(), weights, atol=0.05)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(module), torch.load(buffer, weights_only=False)):
        assert torch.equal(twin(x, need_weights=True)[1], module(x, need_weights=True)[1])


def test_an_encoder_made_of_such_a_layer_is_without_nested_tensors() -> None:
    layer = replace_attention(nn.TransformerEncoderLayer(WIDTH, HEADS, 24, dropout=0.0, batch_first=True), 4)
    with pytest.warns(UserWarning, match="enable_nested_tensor is True, but"):
        nn.TransformerEncoder(layer, 1)
    encoder, x = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), torch.randn(BATCH, TIME, WIDTH)
    trained = encoder(x, src_key_padding_mask=PADDING)
    with torch.no_grad():
        assert torch.allclose(encoder.eval()(x, src_key_padding_mask=PADDING), trained, atol=1e-5)
