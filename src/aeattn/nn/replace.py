"""Autoencoder attention in PyTorch's own layers."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

from aeattn.nn.module import AutoencoderAttention

Model = TypeVar("Model", bound=nn.Module)
LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def replace_attention(model: Model, bottleneck: int | None = None, **settings: Any) -> Model:
    """Exchange the self-attention of PyTorch's Transformer layers for `AutoencoderAttention`, in place.

        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 4, batch_first=True), num_layers=3)
        aeattn.replace_attention(encoder, bottleneck=32, n_kv_heads=1)

    Every `self_attn` of an `nn.TransformerEncoderLayer` or `nn.TransformerDecoderLayer` inside the model, or of
    the model itself, becomes one of the same width, heads, dropout, order of axes, device and type, with new
    weights: so do this before training, and before an optimizer is made. It has a bias where there was one, and is
    not causal, as masks say in these layers what may be seen. Attention to the encoder's output (`multihead_attn`)
    stays as it is: it is no self-attention. PyTorch's fused kernel and its nested tensors know other weights, and
    are not used for these layers; results in training and in evaluation mode are the same. An
    `nn.TransformerEncoder` that is made of such a layer later wants `enable_nested_tensor=False`, or warns.

    Args:
        model: What holds such layers, or is one.
        bottleneck: Width of the codes, a quarter of each layer's width if not given.
        **settings: Further arguments of `AutoencoderAttention`, over those above.

    Returns:
        The same model.

    Raises:
        ValueError: There is no such layer in it, or the settings cannot be.

    Stable: all of this.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, LAYERS)]
    found = [(layer, layer.self_attn) for layer in layers if isinstance(layer.self_attn, nn.MultiheadAttention)]
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no nn.TransformerEncoderLayer or nn.TransformerDecoderLayer with an "
            "nn.MultiheadAttention: put AutoencoderAttention where your model attends"
        )
    made = [_alike(attention, bottleneck, settings) for _, attention in found]
    for (layer, _), ours in zip(found, made, strict=True):
        setattr(layer, "self_attn", ours)  # noqa: B010  (typed as PyTorch's own)
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
    return model


def _alike(
    theirs: nn.MultiheadAttention, bottleneck: int | None, settings: dict[str, Any]
) -> AutoencoderAttention:
    if theirs.bias_k is not None or theirs.add_zero_attn or not theirs._qkv_same_embed_dim:
        raise ValueError(
            "add_bias_kv, add_zero_attn, kdim and vdim have nothing to stand for them: leave them out"
        )
    weight = theirs.out_proj.weight
    known: dict[str, Any] = {
        "bias": theirs.in_proj_bias is not None, "causal": False, "dropout": theirs.dropout,
        "batch_first": theirs.batch_first, "device": weight.device, "dtype": weight.dtype,
    }  # fmt: skip
    made = AutoencoderAttention(theirs.embed_dim, theirs.num_heads, bottleneck, **{**known, **settings})
    return made.train(theirs.training)
