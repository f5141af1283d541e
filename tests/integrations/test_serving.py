"""What docs/serving.md says of an absorbed model, with PyTorch's own kernel in a server's place."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from aeattn.nn.attention import Attention, for_each_head
from aeattn.nn.transformer import make_attention
from tests.conftest import tiny_config

PLAIN = {"n_layers": 1, "positions": "none", "qk_norm": False, "conv": 0, "n_heads": 4}
MULTI_QUERY: dict[str, dict[str, object]] = {
    "both code": {},
    "grouped": {"n_kv_heads": 2},
    "shared": {"value": "shared"},
    "latent": {"key": "latent", "value": "latent"},
    "gate": {"gate": True},
}


def lively(**changes: object) -> Attention:
    torch.manual_seed(1)
    attention = make_attention(tiny_config(**{**PLAIN, **changes}))
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return attention


def served(attention: Attention, x: Tensor) -> Tensor:
    """Absorbed queries, one head of keys and one of values that are codes: what a server's kernel for multi-query
    attention computes, with decoders before and after."""
    heads, groups = attention.n_heads, attention.n_kv_heads
    q_code, k_code, v_code, gates = attention.codes(x)
    key_decoders, value_decoders = (part.head_decoders(groups) for part in (attention.key, attention.value))
    assert key_decoders is not None
    assert value_decoders is not None
    q = attention.queries(q_code, start=0) / attention.scale @ for_each_head(key_decoders, heads, dim=0)
    k, v = k_code.unsqueeze(1), v_code.unsqueeze(1)
    assert q.shape[-1] == k.shape[-1] == v.shape[-1] == 4  # the bottleneck
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=attention.scale, enable_gqa=True)
    mixed = mixed if gates is None else mixed * gates
    return attention.merge(mixed @ for_each_head(value_decoders, heads, dim=0).mT)


@pytest.mark.parametrize("name", MULTI_QUERY)
@torch.no_grad()
def test_an_absorbed_model_is_multi_query_attention(name: str) -> None:
    attention = lively(**MULTI_QUERY[name])
    x = torch.randn(2, 9, 16)
    assert torch.allclose(served(attention, x), attention(x), atol=1e-5)


@torch.no_grad()
def test_norms_of_decoded_keys_are_in_the_way_but_for_one_head_of_keys() -> None:
    """An inverse norm a head and token is no property of one key; of one head it can go into the code."""
    attention = lively(qk_norm=True)
    x = torch.randn(2, 9, 16)
    assert not torch.allclose(served(attention, x), attention(x), atol=1e-2)
    attention = lively(qk_norm=True, n_kv_heads=1)
    q_code, k_code, v_code, _ = attention.codes(x)
    decoded = attention.split(attention.key.decode(k_code), 1)
    inverse = (decoded.square().mean(-1, keepdim=True) + attention.key_epsilon).rsqrt()  # (B, 1, T, 1)
    key_decoders, value_decoders = (part.head_decoders(1) for part in (attention.key, attention.value))
    assert key_decoders is not None
    assert value_decoders is not None
    q, k = attention.queries(q_code, start=0) @ key_decoders, k_code.unsqueeze(1) * inverse
    mixed = F.scaled_dot_product_attention(q, k, v_code.unsqueeze(1), is_causal=True, scale=1.0, enable_gqa=True)
    assert torch.allclose(attention.merge(mixed @ value_decoders.mT), attention(x), atol=1e-5)


@torch.no_grad()
def test_with_a_rotary_part_it_is_latent_attention() -> None:
    """Keys of codes and the rotary part, values the codes alone: what kernels for MLA compute."""
    attention = lively(positions="decoupled", value="shared")
    x = torch.randn(2, 9, 16)
    q_code, k_code, _, _ = attention.codes(x)
    key_decoders, value_decoders = (part.head_decoders(4) for part in (attention.key, attention.value))
    assert key_decoders is not None
    assert value_decoders is not None
    q_rotary, k_rotary = attention.rotary_parts(x, start=0)
    q = torch.cat([attention.queries(q_code, start=0) @ key_decoders, q_rotary], dim=-1)
    k = torch.cat([k_code.unsqueeze(1), k_rotary], dim=-1)
    scores = (q @ k.mT).masked_fill(torch.ones(9, 9).triu(1).bool(), -math.inf)
    mixed = scores.softmax(-1) @ k[..., :4]
    assert torch.allclose(attention.merge(mixed @ value_decoders.mT), attention(x), atol=1e-5)


def test_where_the_exported_model_meets_a_server() -> None:
    """The gates that vLLM and SGLang ask of a class; the page says what they answer."""
    pytest.importorskip("transformers")
    from aeattn.integrations.modeling_aeattn import AeattnModel

    assert not AeattnModel.is_backend_compatible()
    assert AeattnModel._can_set_attn_implementation()
