"""Tensors on disk: safetensors files with a checksum inside, read with every check that keeps a bad one out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from aeattn.errors import InputError
from aeattn.nn.config import ModelConfig
from aeattn.nn.transformer import LanguageModel
from aeattn.training.durable import read_bytes
from aeattn.training.run_folder import RunFolder

_LENGTH_BYTES = 8  # of the number at the start of a file that gives the length of its header
_ENTRY_BYTES = 512  # more than a tensor's name, type, shape and place take in the header
_CHECKSUM = "sha256"


@dataclass(frozen=True)
class Limits:
    """The most that a file may hold: what a larger one holds is not even read."""

    tensors: int
    bytes: int

    @property
    def header(self) -> int:
        return (self.tensors + 16) * _ENTRY_BYTES

    @property
    def file(self) -> int:
        return _LENGTH_BYTES + self.header + self.bytes + 4096


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
    return save(here, metadata={_CHECKSUM: _digest(here)})


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode("utf-8", "surrogatepass"))
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_tensors(path: Path, limits: Limits) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises InputError where it is missing, torn, corrupt or too large."""
    try:
        return from_bytes(read_bytes(path, limits.file), path, limits)
    except FileNotFoundError:
        raise InputError(f"{path} is not there: has the run been interrupted? try `aeattn resume`") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): restore it, or train again") from error


def from_bytes(content: bytes, path: Path, limits: Limits) -> dict[str, Tensor]:
    """The same from what was read of the file; the tensors have memory of their own, aligned as PyTorch's is."""
    try:
        wanted = _checksum_inside(content, limits)
        tensors = {name: t.clone() for name, t in load(content).items()}
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is damaged ({reason}): restore it, or train again") from error
    if wanted is not None and wanted != _digest(tensors):
        raise InputError(f"{path} is damaged (its checksum is another): restore it, or train again")
    return tensors


def _checksum_inside(content: bytes, limits: Limits) -> str | None:
    """The checksum that a header names. Raises ValueError for a file or a header of absurd length."""
    header = int.from_bytes(content[:_LENGTH_BYTES], "little")
    if len(content) > limits.file:
        raise ValueError(f"more than the {limits.file:,} bytes that config.json allows for")
    if len(content) < _LENGTH_BYTES + header:
        raise ValueError(f"a header of {header:,} bytes in a file of {len(content):,}")
    if header > limits.header:
        raise ValueError(f"a header of {header:,} bytes, more than {limits.header:,}")
    values = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + header])
    found = values.get("__metadata__") if isinstance(values, dict) else None
    return str(found[_CHECKSUM]) if isinstance(found, dict) and _CHECKSUM in found else None


def load_weights(model: nn.Module, path: Path) -> None:
    """Give a model the weights of a safetensors file. Raises InputError where they do not fit."""
    set_weights(model, read_tensors(path, limits_of(model)), path)


def set_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Give a model weights that were read from `path`. Raises InputError where they do not fit."""
    check_fit(tensors, model.state_dict(), path)
    if broken := first_not_finite(tensors):
        raise InputError(f"{path} is damaged: {broken} holds values that are not finite")
    model.load_state_dict(tensors, assign=next(model.parameters()).is_meta)


def check_fit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Raise InputError for the first tensor that is missing, not wanted, or of another shape or type."""
    for name in sorted(set(found) | set(wanted)):
        ours, theirs = wanted.get(name), found.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            shapes = [None if t is None else tuple(t.shape) for t in (theirs, ours)]
            raise InputError(
                f"{path} does not fit config.json: {name[:100]} has shape {shapes[0]}, not {shapes[1]}"
            )
        if ours.dtype != theirs.dtype:
            raise InputError(f"{path} does not fit: {name} is of type {theirs.dtype}, not {ours.dtype}")


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity."""
    return next((name for name, t in tensors.items() if not bool(t.isfinite().all())), None)
