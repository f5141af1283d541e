"""Engines: every one predicts what a full pass does, keeps what it says, and writes the same text."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aeattn.config.model import CacheKind, ModelConfig
from aeattn.data.tokenizer import Ids
from aeattn.errors import InputError
from aeattn.generation import engine as engines
from aeattn.generation.engine import Engine, fast_engine, pick
from aeattn.generation.sampling import RandomStream, Sampling
from aeattn.generation.torch_engine import SimpleEngine, choose, probabilities
from aeattn.kernels import build, decode
from aeattn.kernels.decode import library
from aeattn.nn.size import not_compiled, size
from aeattn.nn.transformer import LanguageModel
from tests.conftest import VARIANTS, lively_model, past_inputs_numbers, tiny_config

PROMPTS: list[Ids] = [np.array([1, 2, 3, 4, 5]), np.array([7]), np.arange(16) % 11, np.arange(40) % 7]


def _fast(model: LanguageModel, cache: CacheKind = "auto") -> Engine:
    return fast_engine(model.config, {n: t.numpy() for n, t in model.state_dict().items()}, cache)


def _caches() -> list[tuple[str, CacheKind]]:
    """Every variant with the cache that it takes by itself, and with the full one where that is another."""
    latent = [n for n in VARIANTS if size(tiny_config(**VARIANTS[n])).latent_cache_bytes is not None]
    return [*((name, "auto") for name in VARIANTS), *((name, "full") for name in latent)]


@pytest.mark.parametrize("kind", ["fast", "simple"])
@pytest.mark.parametrize(("name", "cache"), _caches())
def test_every_prediction_is_that_of_a_full_pass(name: str, cache: CacheKind, kind: str) -> None:
    """Prompts of different lengths side by side, one longer than the context, and on beyond it."""
    model = lively_model(tiny_config(**VARIANTS[name]))
    if kind == "fast" and not_compiled(model.config):
        with pytest.raises(InputError, match="need the simple one"):
            _fast(model, cache)
        return
    engine = _fast(model, cache) if kind == "fast" else SimpleEngine(model, cache)
    decoding = engine.start(PROMPTS, Sampling(), seed=1)
    windows = [prompt[-16:].tolist() for prompt in PROMPTS]
    for _ in range(20):  # all go beyond the context, some twice
        logits = torch.from_numpy(decoding.logits())
        with torch.inference_mode():  # what follows the last one of a window is not seen
            passed = model(torch.tensor([[*window, *[0] * (16 - len(window))] for window in windows]))
        for row, window, full in zip(logits, windows, passed, strict=True):
            assert torch.allclose(row, full[len(window) - 1], atol=1e-4)
        for window, new in zip(windows, decoding.write(1)[:, 0].tolist(), strict=True):
            if len(window) == 16:
                del window[:8]
            window.append(new)


RULES = [Sampling(0.0), Sampling(0.8), Sampling(1.3, top_k=3), Sampling(1.0, None, 0.7),
         Sampling(0.9, 6, 0.8), Sampling(1.0, 99)]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_engines_write_the_same_text(rule: Sampling) -> None:
    model = lively_model(tiny_config())
    texts = [e.start(PROMPTS, rule, seed=3).write(60) for e in (_fast(model), SimpleEngine(model))]
    assert np.array_equal(*texts)


def test_a_sequence_is_the_same_alone_in_parts_and_beside_many() -> None:
    engine = _fast(lively_model(tiny_config()))
    whole = engine.start([PROMPTS[0]] * 70, Sampling(), seed=5).write(40)  # more than one pass takes
    alone = engine.start([PROMPTS[0]], Sampling(), seed=5)
    assert np.array_equal(whole[0], np.concatenate([alone.write(n)[0] for n in (1, 0, 30, 9)]))
    assert not np.array_equal(whole[0], whole[1])


WIDE = {"d_model": 72, "n_heads": 3, "bottleneck": 18, "d_ff": 50, "context": 64, "n_layers": 1, "vocab_size": 50}


@pytest.mark.parametrize("value", ["autoencoder", "shared"])
@pytest.mark.parametrize("heads", [3, 6])
def test_widths_that_fill_no_vector(value: str, heads: int) -> None:
    model = lively_model(tiny_config(**{**WIDE, "n_heads": heads}, value=value))
    decoding = _fast(model).start([np.arange(50)], Sampling(), seed=0)
    with torch.inference_mode():
        expected = model(torch.arange(50)[None])[0, -1]
    assert torch.allclose(torch.from_numpy(decoding.logits()[0]), expected, atol=1e-4)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("cache", ["auto", "full"])
def test_cache_bytes_are_those_that_the_sizes_promise(name: str, cache: CacheKind) -> None:
    """With widths that fill vectors, nothing but what is kept, and the last inputs of the convolutions."""
    wide = {"d_model": 192, "bottleneck": 32, "context": 32, "d_rotary": 16}
    config = tiny_config(**{**VARIANTS[name], **wide})
    expected = size(config)
    latent = expected.latent_cache_bytes is not None and cache == "auto"
    per_char = expected.latent_cache_bytes if latent else expected.cache_bytes
    assert per_char is not None
    convolutions = 4 * past_inputs_numbers(config)
    model = lively_model(config)
    for engine in ([] if not_compiled(config) else [_fast(model, cache)]) + [SimpleEngine(model, cache)]:
        assert engine.latent == latent
        decoding = engine.start([np.array([1])] * 2, Sampling(), seed=0)
        decoding.write(2)
        assert decoding.cache_bytes == 2 * (32 * per_char + convolutions)


def test_a_latent_cache_that_is_not_exact_is_refused() -> None:
    for config in (tiny_config(positions="rotary"), tiny_config(key="linear", value="linear")):
        for make in (_fast, SimpleEngine):
            with pytest.raises(InputError, match=r"no latent cache: .*; choose the full cache"):
                make(lively_model(config), "latent")


@settings(max_examples=100)
@given(
    st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=12),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([0.0, 0.3, 1.0, 4.0]),
    st.one_of(st.none(), st.integers(1, 20)),
    st.one_of(st.none(), st.floats(0.05, 1.0)),
)
def test_the_compiled_draw_is_the_plain_one(
    logits: list[float], uniform: float, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    row, rule = np.array(logits, np.float32), Sampling(temperature, top_k, top_p)
    chances = probabilities(torch.from_numpy(row)[None], rule)
    expected = choose(chances, torch.tensor([uniform], dtype=torch.float64)).item()
    room = np.empty(len(row)), np.empty(len(row), np.int64)
    found = decode.draw(row, *room, temperature, top_k or 0, top_p or 0.0, uniform)
    if found != expected:  # only where the running sum ties with the drawn number, or top-p with a mass
        sums = chances[0].cumsum(-1)
        nearest = (sums - uniform).abs().min().item()
        mass = probabilities(torch.from_numpy(row)[None], Sampling(temperature, top_k))[0]
        edges = mass.sort(descending=True).values.cumsum(-1)
        assert nearest < 1e-9 or (edges - (top_p or 2.0)).abs().min().item() < 1e-9


@settings(max_examples=60)
@given(
    st.integers(513, 3000),
    st.integers(0, 1 << 30),
    st.sampled_from([0.01, 1.0, 6.0]),  # of the logits' spread
    st.sampled_from([0, 1, 3]),  # decimals that are kept: ties
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([0.0, 1e-3, 0.7, 1.0, 50.0, 1e6]),
    st.one_of(st.none(), st.sampled_from([1, 2, 40, 700, 2999, 5000])),
    st.one_of(st.none(), st.floats(0.01, 1.0)),
)
def test_the_compiled_draw_from_many_is_the_plain_one(
    n: int, seed: int, spread: float, decimals: int, uniform: float, temperature: float, top_k: int | None,
    top_p: float | None,
) -> None:  # fmt: skip
    drawn = np.random.default_rng(seed).standard_normal(n) * spread
    row = np.round(drawn, decimals).astype(np.float32)
    rule = Sampling(temperature, top_k, top_p)
    chances = probabilities(torch.from_numpy(row)[None], rule)
    expected = choose(chances, torch.tensor([uniform], dtype=torch.float64)).item()
    room = np.empty(n), np.empty(n, np.int64)
    found = decode.draw(row, *room, temperature, top_k or 0, top_p or 0.0, uniform)
    if found != expected:  # as above
        nearest = (chances[0].cumsum(-1) - uniform).abs().min().item()
        mass = probabilities(torch.from_numpy(row)[None], Sampling(temperature, top_k))[0]
        edges = mass.sort(descending=True).values.cumsum(-1)
        assert nearest < 1e-9 or (edges - (top_p or 2.0)).abs().min().item() < 1e-9


def test_numbers_that_are_none_are_drawn_from_without_harm() -> None:
    row = np.zeros(1000, np.float32)
    row[[0, 64, 500]] = np.nan, np.inf, np.nan
    for rule in ((0.0, 0, 0.0), (1.0, 0, 0.9), (1.0, 40, 0.0), (1.0, 900, 0.5)):
        assert 0 <= decode.draw(row, np.empty(1000), np.empty(1000, np.int64), *rule, 0.5) < 1000


@pytest.mark.parametrize(("x", "n"), [(-40.0, 9), (0.0, 9)])
def test_compiled_exponentials(x: float, n: int) -> None:
    compiled = library()
    for value in np.linspace(x - 40, x, n):
        single = np.exp(np.float64(np.float32(value)))
        assert compiled.exp_float(ctypes.c_float(value)) == pytest.approx(single, rel=3e-7)
        assert compiled.exp_double(ctypes.c_double(value)) == pytest.approx(np.exp(value), rel=3e-15)


def test_numbers_taken_together_are_those_taken_one_by_one() -> None:
    one, many = RandomStream(7, 2), RandomStream(7, 2)
    together = np.concatenate([many.take(n) for n in (0, 3, 1500, 1024)], axis=1)
    assert np.array_equal(together, np.stack([one.draw() for _ in range(together.shape[1])], axis=1))


def test_without_a_compiler_there_is_still_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick("auto", on_cpu=True) == "fast"
    assert pick("auto", True, tiny_config(key=("residual", "linear"))) == "simple"
    assert pick("auto", on_cpu=False) == pick("simple", on_cpu=True) == "simple"
    with pytest.raises(InputError, match="runs on the CPU"):
        pick("fast", on_cpu=False)
    library.cache_clear()
    for change, reason in (
        (lambda: monkeypatch.setattr(build, "cxx", lambda: None), "no C.. compiler such as g.. is installed"),
        (lambda: monkeypatch.setenv("AEATTN_KERNELS", "off"), "AEATTN_KERNELS is off"),
    ):
        change()
        engines.why_not_fast.cache_clear()
        try:
            assert pick("auto", on_cpu=True) == "simple"
            with pytest.raises(InputError, match=reason):
                pick("fast", on_cpu=True)
        finally:
            engines.why_not_fast.cache_clear()


def test_long_prompts_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aeattn.generation.torch_engine.PIECE", 5)
    model = lively_model(ModelConfig(vocab_size=11, context=64, d_model=16, n_heads=2, d_ff=24, bottleneck=4))
    decoding = SimpleEngine(model).start([np.arange(60) % 11], Sampling(), seed=0)
    with torch.inference_mode():
        expected = model(torch.arange(60)[None] % 11)[0, -1]
    assert torch.allclose(torch.from_numpy(decoding.logits()[0]), expected, atol=1e-4)
