"""The kernel for attention against its slow twin in float64."""

from __future__ import annotations

import ctypes
import functools
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, library
from torch.nn import functional as F

from aeattn.errors import SlowerWarning
from aeattn.host import cache_dir, cpu_has, cxx
from aeattn.kernels import available as kernel
from aeattn.kernels import build, gelu
from aeattn.kernels import causal_attention as native
from aeattn.kernels.causal_attention import attend_native
from aeattn.nn.attention import Attention, attend_plain
from aeattn.nn.positions import alibi_bias, distances
from aeattn.nn.projection import encode_together, make_projection
from aeattn.nn.transformer import LanguageModel
from tests.conftest import lively_model, tiny_config

needs_bf16 = pytest.mark.skipif(
    not cpu_has("avx512_bf16") or cxx() is None, reason="needs AVX512-BF16 and a C++ compiler"
)
needs_kernel = pytest.mark.skipif(
    not cpu_has("avx512f", "avx2") or cxx() is None, reason="needs AVX2 and a C++ compiler"
)
ROUNDING = {torch.bfloat16: 2**-7, torch.float32: 2**-20}  # of a sum of such numbers, relative
TYPES = [pytest.param(torch.bfloat16, marks=needs_bf16), pytest.param(torch.float32, marks=needs_kernel)]
NARROWER = ("-mno-avx512f", "-mavx2", "-mfma")  # as if the processor had no more


def _bias(slopes: Tensor, time: int) -> Tensor:
    future = distances(time, time, slopes.device) < 0
    return torch.where(future, float("-inf"), alibi_bias(slopes, time, time))


def _tensors(dtype: torch.dtype, *shape: int) -> list[Tensor]:
    """Queries, keys, values and a gradient, (B, H, T, C), whose heads lie side by side in memory."""
    batch, heads, time, width = shape
    return [torch.randn(batch, time, heads, width).to(dtype).transpose(1, 2) for _ in range(4)]


def _error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).detach().norm())


def _check_against_twin(
    dtype: torch.dtype, batch: int, heads: int, time: int, width: int, biased: bool, loud: float
) -> None:
    torch.manual_seed(0)
    q, k, v, gradient = _tensors(dtype, batch, heads, time, width)
    q = (q * (loud * width**-0.5)).requires_grad_()
    k.requires_grad_(), v.requires_grad_()
    slopes = torch.rand(heads, requires_grad=True)
    inputs = [q, k, v, *([slopes] if biased else [])]
    native_out = attend_native(q, k, v, slopes if biased else None)
    native_gradients = torch.autograd.grad(native_out, inputs, gradient)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    steep = exact[3] if biased else torch.zeros(heads)
    out = _exactly(*exact[:3], steep)
    gradients = torch.autograd.grad(out, exact, gradient.double())
    rounding = ROUNDING[dtype] * (max(1.0, loud) if dtype == torch.float32 else 1.0)  # of scores, so large
    assert _error(native_out, out) <= rounding * float(out.detach().norm()) + 1e-6
    for found, wanted in zip(native_gradients[:3], gradients[:3], strict=True):
        scale = max(
            float(wanted.norm()), 0.3 * float(gradient.norm()) * max(1.0, loud) * width**0.5
        )  # a sum of what cancels
        assert _error(found, wanted) <= 2 * rounding * scale
    if biased:
        assert _error(native_gradients[3], gradients[3]) <= 2 * rounding * time * float(
            gradients[3].norm() + batch
        )


def _exactly(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
    """Attention by its definition."""
    time = q.shape[2]
    behind = distances(time, time, q.device)
    scores = q @ k.mT - slopes.double()[:, None, None] * behind.double()
    return torch.softmax(scores.masked_fill(behind < 0, float("-inf")), dim=-1) @ v


CASES: dict[str, st.SearchStrategy[Any]] = {
    "batch": st.integers(1, 3),
    "heads": st.integers(1, 3),
    "time": st.integers(1, 130),
    "width": st.sampled_from([16, 48, 128]),
    "biased": st.booleans(),
    "loud": st.sampled_from([0.1, 1.0, 20.0]),
}


@pytest.mark.parametrize("dtype", TYPES)
@given(case=st.fixed_dictionaries(CASES))
def test_it_equals_its_twin(dtype: torch.dtype, case: dict[str, Any]) -> None:
    _check_against_twin(dtype, **case)


@needs_kernel
@given(case=st.fixed_dictionaries(CASES))
def test_it_equals_its_twin_with_narrower_vectors(case: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "_library", _narrower)
        _check_against_twin(torch.float32, **case)


@functools.cache
def _narrower(width: int, dtype: torch.dtype) -> ctypes.CDLL:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "FLAGS", (*build.FLAGS, *NARROWER))
        return build.load(native.SOURCE, WIDTH=width, BF16=0)


@needs_kernel
@given(batch=st.integers(1, 2), time=st.integers(1, 50))
def test_it_equals_the_path_without_a_compiler(batch: int, time: int) -> None:
    q, k, v, _ = _tensors(torch.float32, batch, 2, time, 16)
    slopes = torch.rand(2)
    plain = attend_plain(q, k, v, _bias(slopes, time))
    assert torch.allclose(attend_native(q, k, v, slopes), plain, atol=1e-5)


@pytest.mark.parametrize("dtype", TYPES)
@given(groups=st.integers(1, 3), shared=st.integers(1, 3), time=st.integers(1, 70))
def test_heads_that_share_keys_and_values_are_as_if_each_had_its_own(
    dtype: torch.dtype, groups: int, shared: int, time: int
) -> None:
    q, _, _, gradient = _tensors(dtype, 2, groups * shared, time, 16)
    _, k, v, _ = _tensors(dtype, 2, groups, time, 16)
    slopes = torch.rand(groups * shared)
    for x in (q, k, v):
        x.requires_grad_()
    own = [q, *(x.repeat_interleave(shared, dim=1) for x in (k, v))]
    together, apart = attend_native(q, k, v, slopes), attend_native(own[0], own[1], own[2], slopes)
    assert torch.equal(together, apart)
    found = torch.autograd.grad(together, (q, k, v), gradient)
    for ours, theirs in zip(found, torch.autograd.grad(apart, (q, k, v), gradient), strict=True):
        assert _error(ours, theirs.double()) <= 4 * ROUNDING[dtype] * float(theirs.double().norm()) + 1e-6


@needs_kernel
def test_a_compiled_step_takes_the_kernel_backward_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError("called")

    monkeypatch.setattr(native, "attend_slowly", never)
    model = torch.compile(lively_model(tiny_config(d_model=32, n_kv_heads=1)), backend="aot_eager", fullgraph=True)
    model(torch.randint(11, (2, 16))).sum().backward()


@pytest.mark.parametrize("dtype", TYPES)
@given(time=st.integers(2, 70), data=st.data())
def test_the_future_cannot_be_seen(dtype: torch.dtype, time: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, time - 1))
    q, k, v, _ = _tensors(dtype, 1, 2, time, 16)
    before = attend_native(q, k, v, None)[:, :, :cut]
    for x in (q, k, v):
        x[:, :, cut:] = 1e30
    assert torch.equal(attend_native(q, k, v, None)[:, :, :cut], before)


@pytest.mark.parametrize("dtype", TYPES)
def test_no_number_in_is_no_number_out(dtype: torch.dtype) -> None:
    q, k, v, _ = _tensors(dtype, 1, 1, 40, 16)
    q[:, :, 7, 3] = float("nan")
    out = attend_native(q, k, v, None)
    assert out[:, :, 7].isnan().all()
    assert out[:, :, :7].isfinite().all()
    assert out[:, :, 8:].isfinite().all()


@pytest.mark.parametrize("dtype", TYPES)
def test_any_order_of_memory_will_do(dtype: torch.dtype) -> None:
    q, k, v, gradient = _tensors(dtype, 2, 3, 20, 16)
    expected = attend_native(q, k, v, None)
    assert torch.equal(attend_native(q.contiguous(), k.contiguous(), v.contiguous(), None), expected)
    turned = v.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(attend_native(q, k, turned, None), expected)
    v.requires_grad_()
    attend_native(q, k, v, None).backward(gradient.transpose(2, 3).contiguous().transpose(2, 3))
    assert v.grad is not None


@pytest.mark.parametrize("dtype", TYPES)
@given(
    widths=st.lists(st.sampled_from([16, 32, 48]), min_size=1, max_size=4),
    rows=st.integers(1, 40),
    before=st.sampled_from([0, 7, 16]),
    loud=st.sampled_from([0.3, 3.0, 30.0]),
)
def test_gelu_of_parts_equals_its_twin(
    dtype: torch.dtype, widths: list[int], rows: int, before: int, loud: float
) -> None:
    _check_gelu(dtype, widths, rows, before, loud)


@needs_kernel
@given(rows=st.integers(1, 40))
def test_gelu_of_parts_equals_its_twin_with_narrower_vectors(rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gelu, "_library", _narrower_gelu)
        _check_gelu(torch.float32, [16, 32], rows, 0, 10.0)


@functools.cache
def _narrower_gelu(dtype: torch.dtype) -> ctypes.CDLL:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "FLAGS", (*build.FLAGS, *NARROWER))
        return build.load(gelu.SOURCE, BF16=0)


def _check_gelu(dtype: torch.dtype, widths: list[int], rows: int, before: int, loud: float) -> None:
    """Parts cut out of wider rows, values and gradients, against PyTorch in float64."""
    torch.manual_seed(rows)
    wide = (loud * torch.randn(2, rows, before + sum(widths))).to(dtype).requires_grad_()
    parts = gelu.gelu_parts(wide[..., before:], widths)
    exact = wide.detach().double().requires_grad_()
    wanted = [F.gelu(x, approximate="tanh") for x in torch.split(exact[..., before:], widths, dim=-1)]
    gradients = [torch.randn_like(part) for part in parts]
    torch.autograd.backward(parts, gradients)
    torch.autograd.backward(wanted, [g.double() for g in gradients])
    rounding = 2**-8 if dtype == torch.bfloat16 else 2**-19
    for found, right in [*zip(parts, wanted, strict=True), (wide.grad, exact.grad)]:
        assert found is not None
        assert right is not None
        assert found.dtype == dtype
        assert found.shape == right.shape
        assert torch.allclose(found.double(), right, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("dtype", TYPES)
def test_gelu_of_what_is_far_out_or_no_number(dtype: torch.dtype) -> None:
    x = torch.tensor([-torch.inf, -1e30, -50.0, -0.0, 0.0, 50.0, 1e30, torch.nan] * 2, dtype=dtype)
    x = x[None].requires_grad_()
    [found] = gelu.gelu_parts(x, [16])
    found.sum().backward()
    assert x.grad is not None
    assert torch.allclose(found[0, 2:7].float(), torch.tensor([0.0, 0.0, 0.0, 50.0, 1e30]), rtol=2**-8)
    assert torch.allclose(x.grad[0, 1:7].float(), torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0, 1.0]), atol=1e-6)
    assert found[0, 7].isnan()
    assert x.grad[0, 7].isnan()


@needs_kernel
@pytest.mark.filterwarnings("ignore")  # of torch's own test tools
def test_pytorch_accepts_gelu_of_parts() -> None:
    inputs = (torch.randn(2, 3, 48, requires_grad=True), [16, 32])
    results = library.opcheck(gelu._gelu, inputs, test_utils=("test_schema", "test_faketensor"))
    assert set(results.values()) == {"SUCCESS"}


KINDS: list[tuple[str, ...]] = [
    ("autoencoder",) * 3,
    ("linear", "autoencoder", "autoencoder"),
    ("autoencoder", "linear", "autoencoder"),
    ("autoencoder", "autoencoder", "shared"),
    ("residual", "bottleneck", "autoencoder"),
]


@pytest.mark.parametrize("kinds", KINDS)
@needs_kernel
def test_codes_are_the_same_with_and_without(kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    projections = [make_projection(kind, 32, 32, 16) for kind in kinds]
    x, calls = torch.randn(2, 5, 32), list[int]()
    monkeypatch.setattr("aeattn.nn.projection.gelu_parts", lambda *a: calls.append(1) or gelu.gelu_parts(*a))
    ours = encode_together(projections, x)
    assert calls
    monkeypatch.setenv(kernel.SWITCH, "off")
    for code, plain in zip(ours, encode_together(projections, x), strict=True):
        assert torch.allclose(code, plain, atol=1e-6)
    assert len(calls) == 1


@needs_kernel
@pytest.mark.filterwarnings("ignore")  # of torch's own test tools
def test_pytorch_accepts_the_operator() -> None:
    q, k, v, _ = _tensors(torch.float32, 1, 2, 33, 16)
    slopes = torch.rand(2, requires_grad=True)
    inputs = (q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), slopes)
    results = library.opcheck(native._attend, inputs, test_utils=("test_schema", "test_faketensor"))
    assert set(results.values()) == {"SUCCESS"}


def _gradients(model: LanguageModel, ids: Tensor, *, bf16: bool) -> Tensor:
    """All gradients of a model in a row."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = model(ids)
    F.cross_entropy(logits.flatten(0, 1), ids.flatten()).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("positions", ["alibi", "rotary", "none", "learned"])
def test_a_model_learns_the_same_with_and_without(
    dtype: torch.dtype, positions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(d_model=32, context=40, positions=positions)
    model, ids = lively_model(config).train(), torch.randint(11, (3, 40))
    calls: list[int] = []
    monkeypatch.setattr("aeattn.nn.attention.attend_native", lambda *x: calls.append(1) or attend_native(*x))
    monkeypatch.setenv(kernel.SWITCH, "off")
    exact = _gradients(model, ids, bf16=False).double()
    plain = _error(_gradients(model, ids, bf16=True), exact)
    assert not calls
    monkeypatch.delenv(kernel.SWITCH)
    ours = _error(_gradients(model, ids, bf16=dtype == torch.bfloat16), exact)
    assert len(calls) == config.n_layers
    allowed = 1.5 * plain if dtype == torch.bfloat16 else 1e-5 * float(exact.norm())
    assert 0 < ours < allowed < 0.1 * float(exact.norm())


@needs_kernel
def test_a_compiler_sees_one_graph() -> None:
    config = tiny_config(d_model=32, n_heads=2, bottleneck=16)
    model, ids = lively_model(config), torch.randint(11, (2, config.context))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(ids), model(ids), atol=1e-5)


def test_what_it_is_not_for_goes_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError("called")

    monkeypatch.setattr("aeattn.nn.attention.attend_native", never)
    layer = LanguageModel(tiny_config(d_model=32)).get_submodule("blocks.0.attention")
    assert isinstance(layer, Attention)
    x, mask = torch.randn(1, 5, 32), torch.zeros(5, 5)
    layer(x, mask=mask)
    layer.double()(x.double())
    layer.causal = False
    layer.float()(x)
    LanguageModel(tiny_config(d_model=16))(torch.zeros(1, 5, dtype=torch.int64))  # heads of eight features


@needs_kernel
@pytest.mark.usefixtures("_compiles_anew")
def test_a_compiler_that_fails_costs_speed_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.cpp"
    broken.write_text("int main( { return 0; }")
    monkeypatch.setattr(native, "SOURCE", broken)
    native._library.cache_clear()
    build.warn_slower.cache_clear()
    try:
        with pytest.warns(SlowerWarning, match=r"without its own kernels, slower: .*error"):
            assert not native.is_ready(16, torch.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not native.is_ready(16, torch.float32)  # said once
        monkeypatch.setattr(build, "cxx", lambda: None)
        with pytest.warns(SlowerWarning, match="no C\\+\\+ compiler such as g\\+\\+ is installed"):
            assert not native.is_ready(32, torch.float32)
    finally:
        native._library.cache_clear()
        build.warn_slower.cache_clear()
    assert not list((cache_dir() / "compiled").glob("*"))


@needs_kernel
def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    build.load(native.SOURCE, WIDTH=16, BF16=0)
    monkeypatch.setattr(build, "_compile", lambda command: pytest.fail("compiled again"))
    build.load(native.SOURCE, WIDTH=16, BF16=0)


SMALL = 'extern "C" int answer() { return 42; }'


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A source that compiles at once."""
    source = tmp_path / "small.cpp"
    source.write_text(SMALL)
    return source


@pytest.mark.usefixtures("_compiles_anew")
@pytest.mark.parametrize("damage", ["empty", "cut", "other", "facts"])
def test_a_damaged_library_is_made_anew(damage: str, small: Path) -> None:
    """Before, a cut one killed the process, and an empty one meant slower for ever."""
    build.load(small)
    (path,) = (cache_dir() / "compiled").glob("*.so")
    content = path.read_bytes()
    path.unlink()  # what is loaded stays as it is
    damaged = {"empty": b"", "cut": content[:8192], "other": bytes(len(content)), "facts": content}[damage]
    path.write_bytes(damaged)
    if damage == "facts":
        path.with_name(f"{path.name}.json").write_text("{")
    with pytest.warns(SlowerWarning, match="a damaged cache entry is made anew"):
        assert build.load(small).answer() == 42
    assert path.read_bytes() == content
    assert build.load(small).answer() == 42  # and nothing is said


@pytest.mark.usefixtures("_compiles_anew")
def test_threads_with_a_cold_cache_do_not_disturb_each_other(small: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        loaded = list(pool.map(lambda _: build.load(small), range(6)))
    assert [library.answer() for library in loaded] == [42] * 6
    assert len(list((cache_dir() / "compiled").iterdir())) == 2  # the library and its facts


def test_any_folder_will_do_for_the_cache(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEATTN_CACHE", str(tmp_path / "a 'folder\" of mine; $HOME"))
    assert build.load(small).answer() == 42
