"""Projections: formulae, the shared product, and the promise that decoders are linear."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from aeattn.config import projections
from aeattn.config.projections import Widths, find
from aeattn.nn.kinds import Deep, Gelu
from aeattn.nn.projection import (
    Autoencoder,
    Bottleneck,
    Linear,
    PerHead,
    Projection,
    Residual,
    encode_together,
    make_projection,
    register_projection,
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


@pytest.mark.parametrize("kind", projections.names())
def test_every_decoder_is_linear(kind: str) -> None:
    projection = make_projection(kind, 12, 12, 3)
    a, b = torch.randn(2, 5, projection.d_code), torch.randn(2, 5, projection.d_code)
    assert torch.allclose(projection.decode(a + 2 * b), projection.decode(a) + 2 * projection.decode(b), atol=1e-5)


@pytest.mark.parametrize("names", [("deep", "deep-autoencoder"), ("linear", "latent", "gelu", "deep")])
def test_kernels_make_hidden_layers_too(names: tuple[str, ...]) -> None:
    """Widths that fill vectors, where a kernel cuts the product into what GELU makes of it."""
    together = [make_projection(name, 12, 32, 3, d_hidden=48) for name in names]
    together += [make_projection("deep", 12, 32, 3, middle=True, d_hidden=16), Gelu(12, 16)]
    x = X.clone().requires_grad_()
    codes, alone = encode_together(together, x), [one.encode(x) for one in together]
    leaves = [x, *(p for one in together for name, p in one.named_parameters() if "decoder" not in name)]
    gradients = [torch.autograd.grad(sum(c.square().sum() for c in each), leaves) for each in (codes, alone)]
    for found, right in zip((*codes, *gradients[0]), (*alone, *gradients[1]), strict=True):
        assert torch.allclose(found, right, atol=1e-5)


@pytest.mark.parametrize("middle", [False, True])
def test_encoding_together_equals_encoding_one_by_one(middle: bool) -> None:
    heads = PerHead([Autoencoder(12, 12, 2, middle=middle) for _ in range(3)])
    mixed = [Linear(12, 12), Bottleneck(12, 8, 4), Autoencoder(12, 12, 3, middle=middle), heads]
    mixed.append(Residual(12, 8, 3, middle=middle))
    more = ("deep", "deep-linear", "deep-autoencoder", "latent", "gelu")
    mixed += [make_projection(kind, 12, 8, 3, middle=middle, d_hidden=7) for kind in more]
    mixed.append(PerHead([make_projection("deep", 12, 2, 3, middle=middle, d_hidden=7) for _ in range(3)]))
    for one, together in zip(mixed, encode_together(mixed, X), strict=True):
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
    with pytest.raises(ValueError, match="choose one of linear, bottleneck, autoencoder, gelu, deep"):
        make_projection("quadratic", 12, 12, 3)
    for width in (0, -1, 13):
        with pytest.raises(ValueError, match="from 1 to the width, 12"):
            make_projection("autoencoder", 12, 12, width)


class Gated(Bottleneck):
    """tanh(x E) * sigmoid(x G): two matrices side by side make one code."""

    def __init__(self, d_in: int, d_out: int, bottleneck: int, middle: bool = False) -> None:
        super().__init__(d_in, d_out, bottleneck)
        self.gate = nn.Linear(d_in, bottleneck, bias=False)

    @property
    def encoder_weight(self) -> torch.Tensor:
        return torch.cat([self.encoder.weight, self.gate.weight])

    def code(self, encoded: torch.Tensor) -> torch.Tensor:
        value, gate = encoded.chunk(2, dim=-1)
        return value.tanh() * gate.sigmoid()


@pytest.fixture
def _no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections, "_KINDS", dict(projections._KINDS))


@pytest.mark.usefixtures("_no_traces")
def test_a_class_of_ones_own_is_measured_by_building_it() -> None:
    register_projection("gated")(Gated)
    kind, widths = find("gated"), Widths(12, 8, 3)
    assert kind.help == "tanh(x E) * sigmoid(x G): two matrices side by side make one code."
    assert kind.shapes(widths) == {"encoder.weight": (3, 12), "gate.weight": (3, 12), "decoder.weight": (8, 3)}
    assert (kind.code(widths), kind.has_decoder, kind.compiled, kind.not_absorbable) == (3, True, None, None)
    made = [make_projection(name, 12, 12, 3) for name in ("linear", "gated", "autoencoder")]
    for one, together in zip(made, encode_together(made, X), strict=True):
        assert torch.allclose(one.encode(X), together, atol=1e-6)
    register_projection("gated")(Gated)  # a notebook's cell, run again


class Biased(Bottleneck):
    def decode(self, code: torch.Tensor) -> torch.Tensor:
        return super().decode(code) + 1


class Curved(Bottleneck):
    def decode(self, code: torch.Tensor) -> torch.Tensor:
        return super().decode(code).tanh()


class Looking(Bottleneck):
    def code(self, encoded: torch.Tensor) -> torch.Tensor:
        return encoded.cumsum(dim=1)


class Wide(Bottleneck):
    def code(self, encoded: torch.Tensor) -> torch.Tensor:
        return torch.cat([encoded, encoded], dim=-1)


class Counting(Bottleneck):
    def __init__(self, d_in: int, d_out: int, bottleneck: int, middle: bool = False) -> None:
        super().__init__(d_in, d_out, bottleneck)
        self.register_buffer("count", torch.zeros(1))


class Other(Bottleneck):
    def head_decoders(self, n_heads: int) -> torch.Tensor | None:
        return self.decoder.weight.view(n_heads, -1, self.d_code) + 1


class Short(Bottleneck):
    def __init__(self, width: int) -> None:
        super().__init__(width, width, width)


@pytest.mark.usefixtures("_no_traces")
@pytest.mark.parametrize(
    ("made", "message"),
    [(Biased, "must be linear"), (Curved, "must be linear"), (Looking, "must not depend on others"),
     (Wide, "d_code must be the width"), (Counting, "no buffers"), (Other, "`head_decoders` must be"),
     (Short, "__init__ takes d_in, d_out, bottleneck and middle")],
)  # fmt: skip
def test_a_class_that_breaks_a_promise_is_refused(made: type[Bottleneck], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register_projection("mine")(made)
    assert "mine" not in projections.names()


@pytest.mark.usefixtures("_no_traces")
def test_a_class_that_asks_for_it_gets_the_width_of_hidden_layers() -> None:
    class Sine(Deep):
        def activation(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden.sin()

    register_projection("sine")(Sine)
    kind, sine = find("sine"), make_projection("sine", 12, 8, 3, d_hidden=5)
    assert kind.shapes(Widths(12, 8, 3, d_hidden=5)) == {"encoder.weight": (5, 12), "narrow.weight": (8, 5)}
    assert (kind.is_deep, kind.has_decoder, find("bottleneck").is_deep) == (True, False, False)
    assert torch.allclose(encode_together([sine], X)[0], sine.narrow(sine.encoder(X).sin()), atol=1e-6)


@pytest.mark.usefixtures("_no_traces")
def test_names_are_taken_once() -> None:
    with pytest.raises(ValueError, match=r"'linear' is there already, in aeattn.nn.projection:Linear"):
        register_projection("linear")(Gated)
    with pytest.raises(ValueError, match="choose a name of letters"):
        register_projection("a name")(Gated)


def test_registering_draws_no_random_number() -> None:
    before = torch.random.get_rng_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projections, "_KINDS", dict(projections._KINDS))
        register_projection("gated")(Gated)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", projections.names())
@given(d_in=st.integers(1, 9), d_out=st.integers(1, 9), middle=st.booleans(), data=st.data())
def test_a_kind_says_what_its_module_has(
    name: str, d_in: int, d_out: int, middle: bool, data: st.DataObject
) -> None:
    hidden = data.draw(st.none() | st.integers(1, 12))
    widths = Widths(d_in, d_out, data.draw(st.integers(1, d_in)), middle, hidden)
    kind = find(name)
    module = kind.module(widths)
    assert kind.shapes(widths) == {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    assert kind.code(widths) == module.d_code
    assert kind.shares_code == module.shares_code
    assert kind.has_decoder == (type(module).decode is not Projection.decode)
    absorbable = kind.has_decoder and kind.not_absorbable is None
    assert absorbable == (module.head_decoders(1) is not None)
