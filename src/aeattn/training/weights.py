"""Weights on disk: safetensors files, read with every check that keeps a damaged one out."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aeattn.nn.config import ModelConfig
from aeattn.nn.transformer import LanguageModel
from aeattn.training.arrays import check_finite, check_shapes, read_file
from aeattn.training.run_folder import RunFolder


def load_model(run: RunFolder, config: ModelConfig) -> LanguageModel:
    """The trained model of a run, in evaluation mode, on the CPU. Raises InputError for a damaged file."""
    with torch.device("meta"):
        model = LanguageModel(config)
    load_weights(model, run.model)
    return model.eval()


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors to a safetensors file."""
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises InputError where it is missing, torn or corrupt."""
    return read_file(path, load_file)


def load_weights(model: nn.Module, path: Path) -> None:
    """Give a model the weights of a safetensors file. Raises InputError where they do not fit."""
    tensors = read_tensors(path)
    wanted = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    check_shapes(path, wanted, {name: tuple(t.shape) for name, t in tensors.items()})
    check_finite(path, {name: bool(t.isfinite().all()) for name, t in tensors.items()})
    model.load_state_dict(tensors, assign=next(model.parameters()).is_meta)
