"""Attention against a naive implementation of its own in float64: every kind, any heads, all positions."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aeattn import LanguageModel
from aeattn.config.projections import EPSILON, NARROW_EPSILON, find, names
from aeattn.nn.attention import Attention
from aeattn.nn.size import not_absorbable
from aeattn.nn.transformer import make_attention
from tests.conftest import EXAMPLES, lively_model, tiny_config

POSITIONS = ("none", "alibi", "rotary", "decoupled")
FIRST = ("linear", "bottleneck", "autoencoder", "residual")
MORE = [name for name in names() if name not in (*FIRST, "shared")]
CASES = [*itertools.product(FIRST, (1, 2, 4), POSITIONS),
         *((kind, *case) for kind in MORE for case in zip((1, 2, 4, 1), POSITIONS, strict=True))]  # fmt: skip


def _projected(part: Any, x: Tensor, key_code: Tensor | None) -> tuple[Tensor, Tensor]:
    """One position's vector and its code, from the formulae in the heads of projection.py and kinds.py."""
    if hasattr(part, "heads"):
        n = len(part.heads)
        codes = [None] * n if key_code is None else list(key_code)
        both = [_projected(head, x, code) for head, code in zip(part.heads, codes, strict=True)]
        return torch.cat([vector for vector, _ in both]), torch.stack([code for _, code in both])
    if part.kind == "linear":
        return part.encoder.weight @ x, part.encoder.weight @ x
    if part.kind == "residual":
        vector, code = _projected(part.correction, x, None)
        return part.linear.weight @ x + vector, code
    code = key_code if part.kind == "shared" else part.encoder.weight @ x
    assert code is not None
    if part.kind in ("autoencoder", "gelu"):
        code = _gelu(code)
        if part.kind == "autoencoder" and part.middle is not None:
            code = _gelu(part.middle.weight @ code)
    if part.kind.startswith("deep"):
        bend = (lambda hidden: hidden) if part.kind == "deep-linear" else _gelu
        hidden = bend(code)
        code = part.narrow.weight @ (hidden if part.middle is None else bend(part.middle.weight @ hidden))
    if part.kind == "latent":
        epsilon = EPSILON if len(code) > 2 else NARROW_EPSILON
        code = code / (code.square().mean() + epsilon).sqrt() * part.gain
    return (code if part.kind in ("gelu", "deep", "deep-linear") else part.decoder.weight @ code), code


def _gelu(x: Tensor) -> Tensor:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 (Hendrycks and Gimpel 2016)."""
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def _rotated(vector: Tensor, position: int) -> Tensor:
    half = len(vector) // 2
    out = vector.clone()
    for i in range(half):
        angle = position * 10_000.0 ** (-i / half)
        a, b = vector[i], vector[half + i]
        out[i], out[half + i] = (
            a * math.cos(angle) - b * math.sin(angle),
            a * math.sin(angle) + b * math.cos(angle),
        )
    return out


def _normed(vector: Tensor) -> Tensor:
    return vector / (vector.square().mean() + EPSILON).sqrt()


def naive(attention: Attention, x: Tensor, ids: list[int]) -> Tensor:
    """One sequence (T, D), loop by loop."""
    time, heads, groups, c = len(x), attention.n_heads, attention.n_kv_heads, attention.d_head
    q, k, v = [], [], []
    for row, token in zip(x, ids, strict=True):
        key, code = _projected(attention.key, row, None)
        q.append(_projected(attention.query, row, None)[0])
        k.append(key)
        v.append(_projected(attention.value, row, code)[0])
        if attention.value_table is not None:
            v[-1] = v[-1] + attention.value_weight * attention.value_table.weight[token]
    out = torch.zeros(time, heads * c, dtype=x.dtype)
    for h, i in itertools.product(range(heads), range(time)):
        g = h // (heads // groups)
        scores = []
        for j in range(i + 1):
            a, b = q[i][h * c : (h + 1) * c], k[j][g * c : (g + 1) * c]
            if attention.query_gain is not None:
                a, b = _normed(a) * attention.query_gain[h, 0], _normed(b)
            if attention.positions == "rotary":
                a, b = _rotated(a, i), _rotated(b, j)
            score = a @ b
            if attention.positions == "decoupled":
                r = attention.key_rotary.out_features
                left = (attention.query_rotary.weight @ x[i])[h * r : (h + 1) * r]
                score = score + _rotated(left, i) @ _rotated(attention.key_rotary.weight @ x[j], j)
            score = score * attention.scale
            if attention.positions == "alibi":
                score = score - attention.log_slopes[h].exp() * (i - j)
            scores.append(score)
        weights = torch.stack(scores).softmax(dim=0)
        mixed = sum(w * v[j][g * c : (g + 1) * c] for j, w in enumerate(weights))
        gate = 1.0
        if attention.gate is not None:
            gate = 1 / (1 + torch.exp(-(attention.gate.encoder.weight @ x[i])[h]))
        out[i, h * c : (h + 1) * c] = gate * mixed
    if attention.output is None:
        return out.view(time, heads, c).sum(dim=1)
    return out @ attention.output.weight.T


@settings(max_examples=EXAMPLES // 5)
@pytest.mark.parametrize(("kind", "kv", "positions"), CASES)
@given(data=st.data())
def test_attention_is_what_its_formulae_say(kind: str, kv: int, positions: str, data: st.DataObject) -> None:
    """With and without shared values, heads of their own, norms, a middle matrix; whole, and from both caches."""
    narrow, per_head = find(kind).has_narrow_code, data.draw(st.booleans())
    config = tiny_config(
        n_heads=4, n_kv_heads=kv, positions=positions, n_layers=1, bottleneck=data.draw(st.integers(3, 5)),
        query=data.draw(st.sampled_from(names("query"))), key=kind,
        value=data.draw(st.sampled_from(names("value") if narrow else names("query"))),
        per_head=per_head, head_width=None if per_head else data.draw(st.sampled_from([None, 6])),
        gate=data.draw(st.booleans()), value_embedding=data.draw(st.booleans()),
        d_hidden=data.draw(st.sampled_from([None, 3, 20])),
        query_bottleneck=data.draw(st.sampled_from([None, 6])), qk_norm=data.draw(st.booleans()),
        middle=data.draw(st.booleans()),
    )  # fmt: skip
    torch.manual_seed(data.draw(st.integers(0, 99)))
    attention = make_attention(config).double()
    with torch.no_grad():
        for parameter in attention.parameters():  # gains begin at 1, gates at 0
            parameter.add_(0.2 * torch.randn_like(parameter))
    x, ids = torch.randn(2, 5, 16, dtype=torch.float64), torch.randint(0, 11, (2, 5))
    with torch.no_grad():
        expected = torch.stack(
            [naive(attention, row, tokens.tolist()) for row, tokens in zip(x, ids, strict=True)]
        )
        assert torch.allclose(attention(x, ids), expected, atol=1e-10)
        rough = copy.deepcopy(attention).float()
        assert torch.allclose(rough(x.float(), ids).double(), expected, atol=1e-4)
        for latent in (False, True) if not_absorbable(config) is None else (False,):
            cache = LanguageModel(config).new_cache("latent" if latent else "full").layers[0]
            parts = [attention(x[:, a:b], ids[:, a:b], cache=cache) for a, b in ((0, 3), (3, 4), (4, 5))]
            assert torch.allclose(torch.cat(parts, dim=1), expected, atol=1e-10)


@given(
    bottleneck=st.sampled_from([1, 2]),
    seed=st.integers(0, 30),
    kinds=st.sampled_from([("autoencoder", "bottleneck"), ("linear", "autoencoder"), ("bottleneck", "linear")]),
)
def test_narrow_codes_under_a_norm_agree(bottleneck: int, seed: int, kinds: tuple[str, str]) -> None:
    """Near zero the norm enlarges roundings, most where a code has one or two numbers: 7e-4 of logits it was."""
    model = lively_model(tiny_config(bottleneck=bottleneck, query=kinds[0], key=kinds[1]), seed)
    ids = torch.randint(0, 11, (4, 16), generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        exact, cache = copy.deepcopy(model).double()(ids), model.new_cache()
        parts = [model(ids[:, t : t + 1], cache) for t in range(16)]
    for found in (model(ids), torch.cat(parts, dim=1)):
        assert torch.allclose(found.double(), exact, atol=1e-4)


def test_the_norm_of_narrow_codes_has_a_larger_epsilon() -> None:
    attention = make_attention(tiny_config(bottleneck=2, query="linear"))
    assert (attention.query_epsilon, attention.key_epsilon) == (EPSILON, NARROW_EPSILON)
    assert make_attention(tiny_config(bottleneck=3)).key_epsilon == EPSILON
    assert make_attention(tiny_config(n_heads=8, positions="none")).query_epsilon == NARROW_EPSILON  # of a head
