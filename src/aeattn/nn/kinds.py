"""More kinds of projection: codes without decoders, deeper encoders, and the normalised code of latent attention.

    gelu              k = gelu(x E)                             (d -> O: the code itself is the key)
    deep              k = gelu(x E) N                           (d -> h -> O)
                      k = gelu(gelu(x E) M) N                   (d -> h -> h -> O, with a middle matrix)
    deep-linear       k = x E N, or x E M N                     (the same without GELU: the control)
    deep-autoencoder  z = gelu(x E) N;  k = z D                 (d -> h -> b -> O, with M as above)
    latent            z = (x E) / rms(x E) * g;  k = z D        (d -> b -> O; DeepSeek-V2, 2024, section 2.1)

A hidden layer of h features costs nothing in a cache, which keeps the code after it: k itself where there is no
decoder, else z. With `n_kv_heads` of 1, all heads of queries read the one code.

Shapes: B batch, T time, D width in, E hidden, K code width, O width out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.config.projections import epsilon_of
from aeattn.nn.layers import gelu
from aeattn.nn.projection import Bottleneck, Linear, Projection, Shared


class Gelu(Linear):
    """`gelu(x E)`: a code that is the result."""

    kind = "gelu"

    def __init__(self, d_in: int, d_out: int, bottleneck: int = 0, middle: bool = False) -> None:
        super().__init__(d_in, d_out)
        self.begins_with_gelu = type(self).code is Gelu.code

    def code(self, encoded: Tensor) -> Tensor:
        return gelu(encoded)

    def before_gelu(self, encoded: Tensor) -> Tensor | None:
        return encoded


class Deep(Projection):
    """`gelu(x E) N`: a hidden layer, then a code that is the result; `middle` makes it two hidden layers."""

    kind = "deep"

    def __init__(
        self, d_in: int, d_out: int, bottleneck: int = 0, middle: bool = False, d_hidden: int | None = None
    ) -> None:
        nn.Module.__init__(self)
        hidden = d_hidden or d_in
        self.encoder = nn.Linear(d_in, hidden, bias=False)
        self.middle = nn.Linear(hidden, hidden, bias=False) if middle else None
        self.narrow = nn.Linear(hidden, d_out, bias=False)
        self.d_code = d_out
        ours = (type(self).code, type(self).activation) == (Deep.code, Deep.activation)
        self.begins_with_gelu = ours

    def activation(self, hidden: Tensor) -> Tensor:
        """Of the hidden layers."""
        return gelu(hidden)

    def after_gelu(self, hidden: Tensor) -> Tensor:
        hidden = hidden if self.middle is None else self.activation(self.middle(hidden))
        code: Tensor = self.narrow(hidden)
        return code

    def code(self, encoded: Tensor) -> Tensor:
        return self.after_gelu(self.activation(encoded))


class DeepLinear(Deep):
    """`x E N`: the same matrices without GELU."""

    kind = "deep-linear"

    def activation(self, hidden: Tensor) -> Tensor:
        return hidden


class DeepAutoencoder(Deep, Shared):
    """`gelu(x E) N D`: a hidden layer, a narrow code, a decoder."""

    kind = "deep-autoencoder"
    shares_code = False

    def __init__(
        self, d_in: int, d_out: int, bottleneck: int, middle: bool = False, d_hidden: int | None = None
    ) -> None:
        super().__init__(d_in, bottleneck, bottleneck, middle, d_hidden)
        self.decoder = nn.Linear(bottleneck, d_out, bias=False)


class Latent(Bottleneck):
    """`norm(x E) D`, with the code divided by its root mean square and multiplied by a learned gain."""

    kind = "latent"

    def __init__(self, d_in: int, d_out: int, bottleneck: int, middle: bool = False) -> None:
        super().__init__(d_in, d_out, bottleneck)
        self.gain = nn.Parameter(torch.ones(bottleneck))
        self.epsilon = epsilon_of(bottleneck)

    def code(self, encoded: Tensor) -> Tensor:
        return F.rms_norm(encoded, (self.d_code,), self.gain.to(encoded.dtype), self.epsilon)
