"""The kernel for attention in bf16 against its slow twin in float32."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from aeattn.local import cache_dir, cpu_has, cxx
from aeattn.nn.attention import Attention, attend_plain
from aeattn.nn.native import attention as native
from aeattn.nn.native import build
from aeattn.nn.native.attention import attend_native
from aeattn.nn.positions import alibi_bias, distances
from aeattn.nn.transformer import LanguageModel
from tests.conftest import lively_model, tiny_config

needs_kernel = pytest.mark.skipif(
    not cpu_has("avx512_bf16") or cxx() is None, reason="needs AVX512-BF16 and a C++ compiler"
)
ROUNDING = 2**-7  # of a bf16 number, relative


def _bias(slopes: Tensor, time: int) -> Tensor:
    future = distances(time, time, slopes.device) < 0
    return torch.where(future, float("-inf"), alibi_bias(slopes, time, time))


def _tensors(*shape: int) -> list[Tensor]:
    """Queries, keys, values and a gradient, (B, H, T, C), whose heads lie side by side in memory."""
    batch, heads, time, width = shape
    return [torch.randn(batch, time, heads, width).bfloat16().transpose(1, 2) for _ in range(4)]


def _close(found: Tensor, exact: Tensor) -> bool:
    return _error(found, exact) <= ROUNDING * float(exact.detach().norm()) + 1e-6


def _error(found: Tensor, exact: Tensor) -> float:
    return float((found.float() - exact).detach().norm())


@needs_kernel
@settings(max_examples=30)
@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    time=st.integers(1, 130),
    width=st.sampled_from([16, 32, 48, 128]),
    biased=st.booleans(),
    loud=st.sampled_from([0.1, 1.0, 20.0]),
)
def test_it_equals_its_twin(batch: int, heads: int, time: int, width: int, biased: bool, loud: float) -> None:
    q, k, v, gradient = _tensors(batch, heads, time, width)
    q = (q * (loud * width**-0.5)).requires_grad_()
    k.requires_grad_(), v.requires_grad_()
    slopes = torch.rand(heads, requires_grad=True)
    inputs = [q, k, v, *([slopes] if biased else [])]
    native_out = attend_native(q, k, v, slopes if biased else None)
    native_gradients = torch.autograd.grad(native_out, inputs, gradient)
    exact = [x.detach().float().requires_grad_() for x in inputs]
    steep = exact[3] if biased else torch.zeros(heads)
    out = attend_plain(*exact[:3], _bias(steep, time))
    gradients = torch.autograd.grad(out, exact, gradient.float())
    assert _close(native_out, out)
    for found, wanted in zip(native_gradients[:3], gradients[:3], strict=True):
        scale = max(float(wanted.norm()), 0.05 * float(gradient.norm()) * loud**2)  # a sum of what cancels
        assert _error(found, wanted) <= 2 * ROUNDING * scale
    if biased:
        assert torch.allclose(native_gradients[3], gradients[3], rtol=0.02, atol=0.02 * time * batch)


@needs_kernel
@given(time=st.integers(2, 70), data=st.data())
def test_the_future_cannot_be_seen(time: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, time - 1))
    q, k, v, _ = _tensors(1, 2, time, 16)
    before = attend_native(q, k, v, None)[:, :, :cut]
    for x in (q, k, v):
        x[:, :, cut:] = 1e30
    assert torch.equal(attend_native(q, k, v, None)[:, :, :cut], before)


@needs_kernel
def test_no_number_in_is_no_number_out() -> None:
    q, k, v, _ = _tensors(1, 1, 40, 16)
    q[:, :, 7, 3] = float("nan")
    out = attend_native(q, k, v, None)
    assert out[:, :, 7].isnan().all()
    assert out[:, :, :7].isfinite().all()
    assert out[:, :, 8:].isfinite().all()


@needs_kernel
def test_any_order_of_memory_will_do() -> None:
    q, k, v, gradient = _tensors(2, 3, 20, 16)
    expected = attend_native(q, k, v, None)
    assert torch.equal(attend_native(q.contiguous(), k.contiguous(), v.contiguous(), None), expected)
    turned = v.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(attend_native(q, k, turned, None), expected)
    v.requires_grad_()
    attend_native(q, k, v, None).backward(gradient.transpose(2, 3).contiguous().transpose(2, 3))
    assert v.grad is not None


@needs_kernel
@pytest.mark.filterwarnings("ignore")  # of torch's own test tools
def test_pytorch_accepts_the_operator() -> None:
    q, k, v, _ = _tensors(1, 2, 33, 16)
    slopes = torch.rand(2, requires_grad=True)
    inputs = (q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), slopes)
    results = torch.library.opcheck(native._attend, inputs, test_utils=("test_schema", "test_faketensor"))
    assert set(results.values()) == {"SUCCESS"}


def _gradients(model: LanguageModel, ids: Tensor, *, bf16: bool) -> Tensor:
    """All gradients of a model in a row."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = model(ids)
    F.cross_entropy(logits.flatten(0, 1), ids.flatten()).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@needs_kernel
@pytest.mark.parametrize("positions", ["alibi", "rotary", "none", "learned"])
def test_a_model_learns_the_same_with_and_without(positions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(d_model=32, context=40, positions=positions)
    model, ids = lively_model(config).train(), torch.randint(11, (3, 40))
    exact = _gradients(model, ids, bf16=False)
    calls = []
    monkeypatch.setattr("aeattn.nn.attention.attend_native", lambda *x: calls.append(1) or attend_native(*x))
    ours = _error(_gradients(model, ids, bf16=True), exact)
    assert len(calls) == config.n_layers
    monkeypatch.setenv(native.SWITCH, "off")
    plain = _error(_gradients(model, ids, bf16=True), exact)
    assert len(calls) == config.n_layers
    assert 0 < ours < 1.5 * plain < 0.1 * float(exact.norm())


def test_what_it_is_not_for_goes_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError("called")

    monkeypatch.setattr("aeattn.nn.attention.attend_native", never)
    layer = LanguageModel(tiny_config(d_model=32)).get_submodule("blocks.0.attention")
    assert isinstance(layer, Attention)
    x, mask = torch.randn(1, 5, 32), torch.zeros(5, 5)
    layer(x)  # float32
    layer.bfloat16()(x.bfloat16(), mask=mask.bfloat16())
    layer.causal = False
    layer(x.bfloat16())
    narrow = LanguageModel(tiny_config(d_model=16)).bfloat16()  # heads of eight features
    narrow(torch.zeros(1, 5, dtype=torch.int64))


@needs_kernel
def test_a_compiler_that_fails_costs_speed_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.cpp"
    broken.write_text("int main( { return 0; }")
    monkeypatch.setattr(native, "SOURCE", broken)
    native._library.cache_clear()
    native._warn.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match=r"without its own kernel, slower: .*error"):
            assert not native.is_ready(16)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not native.is_ready(16)  # said once
        monkeypatch.setattr(build, "cxx", lambda: None)
        with pytest.warns(RuntimeWarning, match="no C\\+\\+ compiler such as g\\+\\+ is installed"):
            assert not native.is_ready(32)
    finally:
        native._library.cache_clear()
        native._warn.cache_clear()
    assert not list((cache_dir() / "compiled").glob("*"))


@needs_kernel
def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    build.load(native.SOURCE, WIDTH=16)
    monkeypatch.setattr(build, "_compile", lambda command: pytest.fail("compiled again"))
    build.load(native.SOURCE, WIDTH=16)
