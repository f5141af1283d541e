"""Tensors on disk: safetensors files with a checksum inside, read with every check that keeps a bad one out.

The checks themselves are in `runs/arrays.py`, which does without PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from aeattn.errors import Damaged
from aeattn.config.model import ModelConfig
from aeattn.nn.transformer import LanguageModel
from aeattn.runs.arrays import CHECKSUM, Form, Limits, check_forms, decode_checked, digest, read_checked
from aeattn.runs.folder import RunFolder


def limits_of(model: nn.Module) -> Limits:
    """Of a file that holds every tensor of a model."""
    tensors = list(model.state_dict().values())
    return Limits(len(tensors), sum(t.numel() * 4 for t in tensors))


def limits_of_config(config: ModelConfig) -> Limits:
    """The same, of the model that a config describes."""
    return limits_of(_without_numbers(config))


def _without_numbers(config: ModelConfig) -> LanguageModel:
    with torch.device("meta"):
        return LanguageModel(config)


def load_model(run: RunFolder, config: ModelConfig) -> LanguageModel:
    """The trained model of a run, in evaluation mode, on the CPU. Raises InputError for a damaged file."""
    model = _without_numbers(config)
    load_weights(model, run.model)
    return model.eval()


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """The content of a safetensors file, with a checksum of names, types, shapes and numbers."""
    here = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    return save(here, metadata={CHECKSUM: _digest(here)})


def _form(tensor: Tensor) -> Form:
    return tuple(tensor.shape), str(tensor.dtype)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    return digest({name: (_form(t), t.reshape(-1).view(torch.uint8).numpy().data) for name, t in tensors.items()})


def _load(content: bytes) -> dict[str, Tensor]:
    """Tensors with memory of their own, aligned as PyTorch's is."""
    return {name: t.clone() for name, t in load(content).items()}


def read_tensors(path: Path, limits: Limits) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises InputError where it is missing, torn, corrupt or too large."""
    return read_checked(path, limits, _load, _digest)


def from_bytes(content: bytes, path: Path, limits: Limits) -> dict[str, Tensor]:
    """The same from what was read of the file."""
    return decode_checked(content, path, limits, _load, _digest)


def load_weights(model: nn.Module, path: Path) -> None:
    """Give a model the weights of a safetensors file. Raises InputError where they do not fit."""
    set_weights(model, read_tensors(path, limits_of(model)), path)


def set_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Give a model weights that were read from `path`. Raises InputError where they do not fit."""
    check_fit(tensors, model.state_dict(), path)
    if broken := first_not_finite(tensors):
        raise Damaged(f"{path} is damaged: {broken} holds values that are not finite")
    model.load_state_dict(tensors, assign=next(model.parameters()).is_meta)


def check_fit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Raise InputError for the first tensor that is missing, not wanted, or of another shape or type."""
    forms = [{name: _form(tensor) for name, tensor in side.items()} for side in (found, wanted)]
    check_forms(forms[0], forms[1], path)


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity."""
    return next((name for name, t in tensors.items() if not bool(t.isfinite().all())), None)
