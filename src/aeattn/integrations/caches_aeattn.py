"""Quantised caches for aeattn's models, on the layers that `transformers` quantises with.

Its own `QuantizedCache` has no place for the inputs of the short convolution, takes no slot without numbers in it
(of values that decode the key's code), and takes groups of one size that must divide every width. Here there is a
place, what is empty stays empty, and a group is the largest divisor of a width up to `q_group_size`.
This file travels with every exported folder, beside `modeling_aeattn.py`.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import (
    Cache,
    Fp8QuantizedLayer,
    HQQQuantizedLayer,
    LinearAttentionCacheLayerMixin,
    LinearAttentionLayer,
    QuantizedCache,
    QuantoQuantizedLayer,
)

GROUP = 64  # as transformers has it
NO_CROP = "a quantised cache cannot be cropped: assist a model over a DynamicCache"


class WithInputs(LinearAttentionLayer):
    """Places for the last inputs of convolutions, in front of a layer of keys and values: each method does what
    those places need, then what the layer does."""

    is_compileable = False
    is_croppable = False

    def __init__(self, number_of_states: int = 1, **options: Any) -> None:
        super(LinearAttentionCacheLayerMixin, self).__init__(**options)
        LinearAttentionLayer.__init__(self, number_of_states)
        self.group = options.get("q_group_size", GROUP)

    def lazy_initialization(self, *codes: Tensor, **inputs: Any) -> None:
        if codes:
            super(LinearAttentionCacheLayerMixin, self).lazy_initialization(*codes)
        else:
            super().lazy_initialization(**inputs)

    def reset(self) -> None:
        super().reset()
        super(LinearAttentionCacheLayerMixin, self).reset()

    def reorder_cache(self, beam_idx: Tensor) -> None:
        super().reorder_cache(beam_idx)
        super(LinearAttentionCacheLayerMixin, self).reorder_cache(beam_idx)

    def crop(self, tokens_to_remove: int) -> None:
        raise ValueError(NO_CROP)

    def _quantize(self, tensor: Tensor, *args: Any, **known: Any) -> Any:
        self.q_group_size = largest_divisor(tensor.shape[-1], self.group)
        return super(LinearAttentionCacheLayerMixin, self)._quantize(tensor, *args, **known)


class EmptyStays(WithInputs):
    """The same, where quantised tensors are the library's own."""

    def _quantize(self, tensor: Tensor, *args: Any, **known: Any) -> Any:
        return super()._quantize(tensor, *args, **known) if tensor.numel() else tensor

    def _dequantize(self, quantised: Any) -> Tensor:
        if type(quantised) is Tensor:
            return quantised
        found: Tensor = super(LinearAttentionCacheLayerMixin, self)._dequantize(quantised)
        return found


class Quanto(EmptyStays, QuantoQuantizedLayer):
    """2 or 4 bits, by optimum-quanto."""


class HQQ(EmptyStays, HQQQuantizedLayer):
    """1 to 8 bits, by hqq."""


class Fp8(WithInputs, Fp8QuantizedLayer):
    """8-bit floating point, by PyTorch alone."""

    def _quantize(self, tensor: Tensor, scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not tensor.numel():
            return tensor.to(self.fp8_dtype), torch.ones((), device=tensor.device)
        if (
            scale is not None
        ):  # of the first tokens: PyTorch 2.9 makes what is beyond it NaN, newer ones the largest
            largest = self.fp8_max * scale
            tensor = tensor.float().clamp(-largest, largest)
        found: tuple[Tensor, Tensor] = super()._quantize(tensor, scale=scale)
        return found


BACKENDS = {"quanto": Quanto, "hqq": HQQ, "fp8": Fp8}


class AeattnQuantizedCache(QuantizedCache):
    """What `cache_implementation="quantized"` means for these models; the arguments of `QuantizedCache`.

    Raises ValueError for other options, ImportError where the backend's package is not installed.
    """

    def __init__(self, backend: str = "quanto", config: Any = None, **options: Any) -> None:
        if backend not in BACKENDS:
            raise ValueError(f"{backend!r} quantises no cache: choose one of {', '.join(BACKENDS)}")
        if backend == "fp8" and options:
            raise ValueError(f"fp8 takes no {', '.join(options)}: leave it out, or choose quanto or hqq")
        try:
            options["number_of_states"] = config.number_of_conv_states
            layers = [BACKENDS[backend](**options) for _ in range(config.num_hidden_layers)]
        except TypeError as error:
            raise ValueError(f"{backend} cannot be made ({error}): leave that option out") from error
        Cache.__init__(self, layers=layers)


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is no more than `most`; 1 of zero."""
    return next((each for each in range(min(number, most), 1, -1) if number % each == 0), 1)
