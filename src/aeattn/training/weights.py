"""Weights on disk: safetensors files, read with every check that keeps a damaged one out."""

from __future__ import annotations

from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aeattn.errors import InputError
from aeattn.nn.config import ModelConfig
from aeattn.nn.transformer import LanguageModel
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
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} is not there: has the run been interrupted? try `aeattn resume`") from None
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it, or train again") from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Give a model the weights of a safetensors file. Raises InputError where they do not fit."""
    tensors = read_tensors(path)
    wanted = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    if wanted != found:
        name = min(set(wanted.items()) ^ set(found.items()))[0]
        raise InputError(
            f"{path} does not fit config.json: {name} has shape {found.get(name)}, not {wanted.get(name)}"
        )
    broken = [name for name, t in tensors.items() if not bool(t.isfinite().all())]
    if broken:
        raise InputError(f"{path} is damaged: {broken[0]} holds values that are not finite")
    model.load_state_dict(tensors, assign=next(model.parameters()).is_meta)
