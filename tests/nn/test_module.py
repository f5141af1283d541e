"""The drop-in module: a cache, the checks of a config, masks as PyTorch takes them, other people's programs."""

from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from aeattn import AutoencoderAttention
from aeattn.kernels import available
from aeattn.nn.attention import attend_fused, attend_plain

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "normed": {"qk_norm": True, "positions": "alibi"},
    "grouped": {"n_heads": 4, "n_kv_heads": 2, "positions": "decoupled", "qk_norm": True},
    "multi_query": {"n_kv_heads": 1, "value": "shared", "middle": True},
    "rotary": {"positions": "rotary", "key": "residual", "n_kv_heads": 1},
    "per_head": {"per_head": True, "n_heads": 4, "n_kv_heads": 2},
    "linear": {"query": "linear", "key": "linear", "value": "linear", "n_kv_heads": 1},
    "rivals": {"query": "latent", "key": "deep", "value": "deep-autoencoder", "n_kv_heads": 1, "d_hidden": 7,
               "gate": True, "head_width": 6, "n_heads": 3, "query_bottleneck": 4, "positions": "decoupled"},
}  # fmt: skip


def _module(**changes: Any) -> AutoencoderAttention:
    torch.manual_seed(0)
    return AutoencoderAttention(**{"d_model": 16, "n_heads": 2, "bottleneck": 5, **changes})


@pytest.mark.parametrize("kind", ["auto", "full"])
@pytest.mark.parametrize("name", SETTINGS)
@given(cuts=st.lists(st.integers(1, 8), max_size=3, unique=True), padded=st.booleans())
def test_a_cache_changes_nothing(name: str, kind: Any, cuts: list[int], padded: bool) -> None:
    module, x = _module(**SETTINGS[name]), torch.randn(2, 9, 16)
    padding = torch.arange(9) < torch.tensor([[3], [0]]) if padded else None
    with torch.inference_mode():
        whole, cache = module(x, key_padding_mask=padding), module.new_cache(9, kind)
        parts = []
        for a, b in itertools.pairwise([0, *sorted(cuts), 9]):
            parts.append(
                module(x[:, a:b], cache=cache, key_padding_mask=None if padding is None else padding[:, :b])
            )
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)
    assert cache.length == 9


def test_a_cache_keeps_codes_wherever_that_is_exact() -> None:
    assert _module().new_cache(4).latent
    assert not _module(positions="rotary").new_cache(4).latent
    module, cache = _module(n_heads=4, n_kv_heads=2, qk_norm=True), _module().new_cache(8)
    with torch.inference_mode():
        module(torch.randn(3, 2, 16), cache=cache)
    assert cache.bytes == 4 * 3 * 8 * (5 + 5 + 2)  # two codes, and a norm for each head of keys
    assert repr(cache) == "LayerCache(codes of 2 positions of 8, 1,152 bytes)"
    with pytest.raises(ValueError, match="needs causal attention"):
        _module(causal=False).new_cache(4)
    with pytest.raises(ValueError, match="choose the full cache"):
        _module(positions="rotary").new_cache(4, "latent")
    with pytest.raises(ValueError, match="capacity is 0"):
        _module().new_cache(0)
    with pytest.raises(ValueError, match="holds 3 sequences, not 1"):
        module(torch.randn(1, 1, 16), cache=cache)
    with pytest.raises(ValueError, match="holds 8 characters, 9 are asked for"):
        module(torch.randn(3, 7, 16), cache=cache)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": "rope"}, "positions is 'rope': choose one of"),
        ({"positions": "learned"}, "add them to x"),
        (
            {"positions": "rotary", "d_model": 6, "bottleneck": 2},
            "rotary positions turn pairs of features, 3 is odd",
        ),
        ({"positions": "decoupled", "d_rotary": 3}, "rotary positions turn pairs of features, 3 is odd"),
        ({"query": "shared"}, "query projection 'shared' is unknown: choose one of linear"),
        ({"key": "cubic"}, "key projection 'cubic' is unknown"),
        ({"value": "shared", "key": "linear"}, "value is shared .* has no code"),
        ({"n_heads": 3}, "3 heads do not divide the width 16"),
        ({"n_heads": 4, "n_kv_heads": 3}, "n_kv_heads is 3: choose a divisor of the 4 heads"),
        ({"n_kv_heads": 0}, "n_kv_heads is 0"),
        ({"bottleneck": 17}, "bottleneck is 17"),
        ({"d_model": 0}, "d_model is 0"),
        ({"d_model": 16.0}, "d_model is 16.0"),
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"dtype": torch.int32}, "choose a floating-point type"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _module(**changes)


def test_slopes_reach_to_both_sides_where_both_are_seen() -> None:
    bias = _module(positions="alibi", causal=False).attention.bias(5, 5, None, torch.device("cpu"))
    assert bias is not None
    assert torch.equal(bias, bias.transpose(1, 2))
    assert bool((bias[:, 0, 1:] < bias[:, 0, :-1]).all())


# -- masks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
@given(seed=st.integers(0, 99), by_head=st.booleans(), floats=st.booleans())
def test_masks_are_those_of_pytorch(causal: bool, seed: int, by_head: bool, floats: bool) -> None:
    torch.manual_seed(seed)
    module = _module(query="linear", key="linear", value="linear", causal=causal)
    theirs = nn.MultiheadAttention(16, 2, bias=False, batch_first=True)
    ours = module.attention
    with torch.no_grad():
        assert ours.output is not None
        theirs.in_proj_weight.copy_(torch.cat([p.encoder_weight for p in (ours.query, ours.key, ours.value)]))
        theirs.out_proj.weight.copy_(ours.output.weight)
    x, shape = torch.randn(3, 5, 16), (6, 5, 5) if by_head else (5, 5)
    torch.manual_seed(seed)
    hidden = torch.rand(shape) < 0.4
    hidden[..., 0] = False  # PyTorch gives NaN to who sees nothing
    mask = torch.randn(shape).masked_fill(hidden, float("-inf")) if floats else hidden
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    seen = mask.masked_fill(future, float("-inf") if floats else True) if causal else mask
    expected, _ = theirs(x, x, x, attn_mask=seen)
    assert torch.allclose(module(x, attn_mask=mask), expected, atol=1e-5)
    if by_head:
        assert torch.allclose(module(x, attn_mask=mask.view(3, 2, 5, 5)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"attn_mask": torch.zeros(5, 5, dtype=torch.int64)}, "attn_mask has type torch.int64: choose bool"),
        ({"key_padding_mask": torch.zeros(3, 5, dtype=torch.uint8)}, "key_padding_mask has type torch.uint8"),
        ({"attn_mask": torch.zeros(5, 4)}, "attn_mask has shape"),
        ({"attn_mask": torch.zeros(5, 5, 5)}, r"attn_mask has shape \(5, 5, 5\): \(5, 5\), \(6, 5, 5\) or"),
        ({"attn_mask": torch.zeros(3, 4, 5, 5)}, "attn_mask has shape"),
        ({"attn_mask": torch.zeros(1, 3, 2, 5, 5)}, "attn_mask has shape"),
        ({"attn_mask": torch.zeros(5)}, "attn_mask has shape"),
        ({"key_padding_mask": torch.zeros(5, 3, dtype=torch.bool)}, "key_padding_mask has shape"),
    ],
)
def test_masks_of_other_types_and_shapes_are_refused(masks: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _module()(torch.randn(3, 5, 16), **masks)


@pytest.mark.parametrize("name", SETTINGS)
def test_an_empty_batch_is_a_batch(name: str) -> None:
    module = _module(**SETTINGS[name])
    x = torch.randn(0, 5, 16, requires_grad=True)
    out = module(x, key_padding_mask=torch.zeros(0, 5, dtype=torch.bool))
    assert out.shape == module(x).shape == (0, 5, 16)
    out.sum().backward()
    assert x.grad is not None


# -- derivatives -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", SETTINGS)
def test_gradients_in_double_precision_are_those_of_differences(name: str, causal: bool) -> None:
    module = _module(**SETTINGS[name], causal=causal, dtype=torch.float64)
    x = torch.randn(1, 3, 16, dtype=torch.float64, requires_grad=True)
    assert module(x).dtype == torch.float64
    mask = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, mask: module(x, attn_mask=mask), (x, mask))
    assert torch.autograd.gradgradcheck(module, (x,), fast_mode=True)  # in random directions


@pytest.mark.parametrize("attend", [attend_plain, attend_fused])
def test_gradients_of_attending_are_those_of_differences(attend: Callable[..., Tensor]) -> None:
    q, k, v = (torch.randn(1, heads, 3, 2, dtype=torch.float64, requires_grad=True) for heads in (4, 2, 2))
    bias = torch.randn(4, 3, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *x: attend(*x, bias), (q, k, v))


@pytest.fixture(params=["kernels", "plain"])
def _with_and_without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "plain":
        monkeypatch.setenv(available.SWITCH, "off")


WIDE: dict[str, Any] = {"d_model": 32, "n_heads": 2, "bottleneck": 16, "positions": "alibi", "qk_norm": True}


@pytest.mark.usefixtures("_with_and_without")
@pytest.mark.parametrize("kv", [1, 2])
def test_transforms_of_functions(kv: int) -> None:
    module, x = _module(**WIDE, n_kv_heads=kv), torch.randn(3, 5, 32)
    parameters = dict(module.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(module, parameters, (x[None],)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for i in range(3):
        found = torch.autograd.grad(loss(parameters, x[i]), list(parameters.values()))
        for name, gradient in zip(parameters, found, strict=True):
            assert torch.allclose(each[name][i], gradient, atol=1e-4)
    jacobian = torch.func.jacrev(lambda x: module(x[None]).sum(dim=(0, 1)))(x[0])
    assert jacobian.shape == (32, 5, 32)


@pytest.mark.usefixtures("_with_and_without")
@pytest.mark.parametrize("kv", [1, 2])
def test_gradients_of_gradients(kv: int) -> None:
    module, x = _module(**WIDE, n_kv_heads=kv), torch.randn(2, 5, 32, requires_grad=True)

    def twice(module: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
        leaves = [x, *module.parameters()]
        first = torch.autograd.grad(module(x).square().sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    exact = copy.deepcopy(module).double()
    for found, right in zip(twice(module, x), twice(exact, x.double()), strict=True):
        assert torch.allclose(found.double(), right, rtol=1e-3, atol=1e-3)


# -- in other people's programs --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_copies_files_and_states_give_the_same(name: str) -> None:
    module, x = _module(**SETTINGS[name]), torch.randn(2, 6, 16)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    other = AutoencoderAttention(**{"d_model": 16, "n_heads": 2, "bottleneck": 5, **SETTINGS[name]})
    other.load_state_dict(module.state_dict(), strict=True)
    for twin in (copy.deepcopy(module), torch.load(buffer, weights_only=False), other):
        assert torch.equal(twin(x), module(x))


def test_weights_are_made_where_and_as_one_asks() -> None:
    assert all(p.is_meta for p in _module(device="meta").parameters())
    module = _module(dtype=torch.bfloat16, positions="alibi", qk_norm=True)
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}
    assert module(torch.randn(1, 3, 16, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("changes", [{}, {"n_kv_heads": 1}])
def test_it_compiles_to_one_graph_and_runs_under_autocast(changes: dict[str, Any]) -> None:
    module, x = _module(**{**WIDE, **changes}), torch.randn(2, 7, 32)
    padding = torch.zeros(2, 7, dtype=torch.bool)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(x), module(x), atol=1e-5)
    assert torch.allclose(compiled(x, key_padding_mask=padding), module(x, key_padding_mask=padding), atol=1e-5)
    compiled(x).sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        rough = module(x)
    assert rough.dtype == torch.bfloat16
    assert torch.allclose(rough.float(), module(x), atol=0.05)


class Foreign(nn.TransformerEncoderLayer):
    """Somebody else's layer, with its attention exchanged."""

    def __init__(self) -> None:
        super().__init__(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
        self.ours = AutoencoderAttention(16, 2, 4, n_kv_heads=1)

    def _sa_block(
        self, x: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None, is_causal: bool = False
    ) -> Tensor:
        out: Tensor = self.ours(x, attn_mask=attn_mask, key_padding_mask=key_padding_mask)
        return out


def test_it_learns_inside_somebody_elses_model() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 16), nn.TransformerEncoder(Foreign(), 2, enable_nested_tensor=False), nn.Linear(16, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x = torch.randn(8, 6, 3)
    y = x.cumsum(dim=1)[..., :1]
    losses = []
    for _ in range(40):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert not torch.equal(model[1].layers[0].ours(torch.randn(1, 2, 16)), torch.zeros(1, 2, 16))
