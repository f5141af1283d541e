"""Everything that a run needs to go on where it stopped, in files without pickle."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from aeattn.errors import InputError
from aeattn.training.run_folder import RunFolder, read_json, replacing_folder, write_json
from aeattn.training.weights import load_weights, read_tensors, save_tensors

_NAME = re.compile(r"step-(\d{8})")
_FILES = ("model.safetensors", "optimizer.safetensors")


def save(
    run: RunFolder,
    step: int,
    model: nn.Module,
    optimisers: Sequence[Optimizer],
    state: dict[str, Any],
    keep: int,
) -> Path:
    """Write the checkpoint of `step` atomically, then drop all but the newest `keep`. Returns its folder.

    `state` is what else the run must know, as JSON values.
    """
    target = run.checkpoints / f"step-{step:08d}"
    if target.exists():
        shutil.rmtree(target)
    with replacing_folder(target) as folder:
        save_tensors(folder / _FILES[0], dict(model.state_dict()))
        save_tensors(folder / _FILES[1], {**optimiser_tensors(optimisers), **_random_states(model)})
        sums = {name: sha256(folder / name) for name in _FILES}
        write_json(folder / "state.json", {**state, "step": step, "sha256": sums})
    for old in all_checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return target


def all_checkpoints(run: RunFolder) -> list[Path]:
    """Folders of finished checkpoints, oldest first."""
    if not run.checkpoints.is_dir():
        return []
    return sorted(p for p in run.checkpoints.iterdir() if _NAME.fullmatch(p.name))


def load_newest(
    run: RunFolder, model: nn.Module, optimisers: Sequence[Optimizer]
) -> tuple[dict[str, Any] | None, list[str]]:
    """Restore the newest whole checkpoint. Returns its state, or None if there is none at all, and a
    warning for each damaged one that was passed over. Raises InputError where all are damaged."""
    found = all_checkpoints(run)
    warnings: list[str] = []
    for folder in reversed(found):
        try:
            return restore(folder, model, optimisers), warnings
        except InputError as error:
            warnings.append(f"{error}: falling back to the checkpoint before")
    if found:
        raise InputError(f"no whole checkpoint is left in {run.checkpoints}: {warnings[0]}")
    return None, warnings


def restore(folder: Path, model: nn.Module, optimisers: Sequence[Optimizer]) -> dict[str, Any]:
    """Restore one checkpoint; nothing is changed before everything has been verified."""
    state = read_json(folder / "state.json", f"checkpoint {folder} is damaged")
    sums = state.get("sha256")
    if not isinstance(sums, dict) or set(sums) != set(_FILES):
        raise InputError(f"checkpoint {folder} is damaged: state.json names no checksums")
    for name, wanted in sums.items():
        if not (folder / name).is_file() or sha256(folder / name) != wanted:
            raise InputError(f"checkpoint {folder} is damaged: {name} is not what was written")
    tensors = read_tensors(folder / _FILES[1])
    load_weights(model, folder / _FILES[0])
    _set_random_states(tensors)
    load_optimisers(optimisers, tensors)
    return state


def _random_states(model: nn.Module) -> dict[str, Tensor]:
    """The state of every generator that training draws from."""
    states = {"random.cpu": torch.get_rng_state()}
    if next(model.parameters()).is_cuda:
        states["random.cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(tensors: dict[str, Tensor]) -> None:
    """Restore the generators, and take their states out of the tensors."""
    torch.set_rng_state(tensors.pop("random.cpu"))
    if (state := tensors.pop("random.cuda", None)) is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state)


def optimiser_tensors(optimisers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """The optimisers' state as named tensors: `<optimiser>.<parameter>.<name>`."""
    return {
        f"{i}.{index}.{name}": value
        for i, optimiser in enumerate(optimisers)
        for index, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
    }


def load_optimisers(optimisers: Sequence[Optimizer], tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimiser_tensors`."""
    for i, optimiser in enumerate(optimisers):
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            owner, index, name = key.split(".", 2)
            if int(owner) == i:
                state.setdefault(int(index), {})[name] = value
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def sha256(path: Path) -> str:
    """Checksum of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
