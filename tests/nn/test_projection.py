"""Projections: formulae, the shared product, and the promise that decoders are linear."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from aeattn.config.model import PROJECTION_KINDS
from aeattn.nn.projection import (
    Autoencoder,
    Bottleneck,
    Linear,
    PerHead,
    Residual,
    encode_together,
    make_projection,
)

X = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(1))


def test_the_formulae() -> None:
    linear, bottleneck = Linear(12, 12), Bottleneck(12, 12, 3)
    assert torch.allclose(linear(X), X @ linear.encoder.weight.T, atol=1e-6)
    expected = X @ bottleneck.encoder.weight.T @ bottleneck.decoder.weight.T
    assert torch.allclose(bottleneck(X), expected, atol=1e-6)
    autoencoder = Autoencoder(12, 12, 3, middle=True)
    assert autoencoder.middle is not None
    code = F.gelu(F.gelu(X @ autoencoder.encoder.weight.T, approximate="tanh") @ autoencoder.middle.weight.T,
                  approximate="tanh")  # fmt: skip
    assert torch.allclose(autoencoder(X), code @ autoencoder.decoder.weight.T, atol=1e-6)


def test_a_residual_is_a_linear_map_and_an_autoencoder_added_up() -> None:
    residual = Residual(12, 8, 3, middle=True)
    expected = residual.linear(X) + residual.correction(X)
    assert torch.allclose(residual(X), expected, atol=1e-6)


def test_an_autoencoder_is_not_linear_and_a_bottleneck_is() -> None:
    for projection, is_linear in ((Bottleneck(12, 12, 3), True), (Autoencoder(12, 12, 3), False)):
        doubled = torch.allclose(projection(2 * X), 2 * projection(X), atol=1e-5)
        assert doubled == is_linear


@pytest.mark.parametrize("kind", PROJECTION_KINDS)
def test_every_decoder_is_linear(kind: str) -> None:
    projection = make_projection(kind, 12, 12, 3)  # type: ignore[arg-type]
    a, b = torch.randn(2, 5, projection.d_code), torch.randn(2, 5, projection.d_code)
    assert torch.allclose(projection.decode(a + 2 * b), projection.decode(a) + 2 * projection.decode(b), atol=1e-5)


@pytest.mark.parametrize("middle", [False, True])
def test_encoding_together_equals_encoding_one_by_one(middle: bool) -> None:
    heads = PerHead([Autoencoder(12, 12, 2, middle=middle) for _ in range(3)])
    projections = [Linear(12, 12), Bottleneck(12, 8, 4), Autoencoder(12, 12, 3, middle=middle), heads]
    projections.append(Residual(12, 8, 3, middle=middle))
    for one, together in zip(projections, encode_together(projections, X), strict=True):
        assert torch.allclose(one.encode(X), together, atol=1e-6)


def test_a_shared_projection_decodes_the_code_of_the_one_before_it() -> None:
    key, value = Autoencoder(12, 12, 3), make_projection("shared", 12, 8, 3)
    codes = encode_together([Linear(12, 12), key, value], X)
    assert torch.equal(codes[2], codes[1])
    assert sum(p.numel() for p in value.parameters()) == 3 * 8
    assert value.decode(codes[2]).shape == (2, 5, 8)


def test_heads_of_their_own_are_the_heads_side_by_side() -> None:
    heads = [Autoencoder(12, 12, 2) for _ in range(3)]
    expected = torch.cat([head(X) for head in heads], dim=-1)
    assert torch.allclose(PerHead(heads)(X), expected, atol=1e-6)


def test_bad_choices_say_how_to_mend_them() -> None:
    with pytest.raises(ValueError, match="choose one of linear, bottleneck, autoencoder, residual, shared"):
        make_projection("quadratic", 12, 12, 3)  # type: ignore[arg-type]
    for width in (0, -1, 13):
        with pytest.raises(ValueError, match="from 1 to the width, 12"):
            make_projection("autoencoder", 12, 12, width)
