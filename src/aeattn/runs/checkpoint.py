"""Everything that a run needs to go on where it stopped, in files without pickle.

checkpoints/step-NNNNNNNN/
  model.safetensors       weights
  optimizer.safetensors   the optimizers' state and that of every random generator
  metrics.jsonl           as they were at that step
  samples.txt
  state.json              the rest as JSON, the config, and the checksums of the files above and of itself
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.optim import AdamW, Optimizer

from aeattn import files
from aeattn.errors import Damaged, InputError
from aeattn.files import Json
from aeattn.nn.transformer import LanguageModel
from aeattn.runs.folder import FORMAT, RunFolder
from aeattn.runs.parts import spread, whole
from aeattn.runs.random_state import PREFIX, random_states, set_random_states
from aeattn.runs.weights import Arrays, Form, Limits, check_fit, check_weights, form, from_bytes, tensors, to_bytes

WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
LOGS = ("metrics.jsonl", "samples.txt")
FILES = (WEIGHTS, OPTIMIZER, *LOGS)
_NAME = re.compile(r"step-(\d{8,})")
_STATES = 3  # tensors of the size of a parameter, at most, that an optimizer keeps for it


class NotFinite(Exception):
    """There is nothing to save: weights or the optimizers' state hold NaN or infinity."""


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint in memory: copies, so that training can go on while it is written."""

    weights: dict[str, Tensor]
    tensors: dict[str, Tensor]
    logs: dict[str, bytes]
    state: Json

    @property
    def step(self) -> int:
        return int(self.state["step"])

    def files(self) -> dict[str, bytes]:
        """The content of every file of the checkpoint."""
        there = {WEIGHTS: to_bytes(self.weights), OPTIMIZER: to_bytes(self.tensors), **self.logs}
        written = {name: {"bytes": len(data), "sha256": files.sha256(data)} for name, data in there.items()}
        return {**there, STATE: files.to_json(files.sealed({"format": FORMAT, **self.state, "files": written}))}


@dataclass(frozen=True)
class Found:
    """A checkpoint that was read from the disk and is whole; `limits` are those of its weights."""

    path: Path
    state: Json
    files: dict[str, bytes]
    limits: Limits

    @property
    def step(self) -> int:
        return step_of(self.path)


def take(run: RunFolder, model: LanguageModel, optimizers: Sequence[Optimizer], state: Json) -> Snapshot:
    """This moment of a run. `state` is what else must be known, as JSON values; `step` among them.

    Raises NotFinite where there is NaN or infinity in it.
    """
    weights = {name: whole(tensor) for name, tensor in model.state_dict().items()}
    moments = optimizer_tensors(optimizers)  # in another order in each process, where they were read from a file
    moments.update((name, whole(moments[name])) for name in sorted(moments))
    if broken := first_not_finite(weights) or first_not_finite(moments):
        raise NotFinite(broken)
    tensors = {**moments, **random_states(next(model.parameters()).device)}
    logs = {name: run.read_log(name) for name in LOGS}
    return Snapshot(_copies(weights), _copies(tensors), logs, dict(state))


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity."""
    return next((name for name, t in tensors.items() if not bool(t.isfinite().all())), None)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def commit(run: RunFolder, snapshot: Snapshot, keep: int, anchors: int = 0) -> None:
    """Write a checkpoint atomically; then drop those that are no longer needed, and publish the weights."""
    contents = snapshot.files()
    files.replace_folder(run.checkpoints / f"step-{snapshot.step:08d}", contents)
    for newer in all_checkpoints(run):
        if step_of(newer) > snapshot.step:  # damaged, or of a course that was given up
            files.remove(newer)
    prune(run, snapshot.step, keep, anchors)
    run.publish(contents[WEIGHTS])


def prune(run: RunFolder, step: int, keep: int, anchors: int = 0) -> None:
    """Of the checkpoints up to `step`, which is one that is whole, drop all but the newest `keep`.

    Where `anchors` is not 0, the newest of a step that it divides is kept as well.
    """
    found = [path for path in all_checkpoints(run) if step_of(path) <= step]
    anchor = newest_anchor(found, anchors) if anchors else None
    for old in found[:-keep]:
        if old != anchor:
            files.remove(old)


def newest_anchor(checkpoints: Sequence[Path], every: int, before: float = float("inf")) -> Path | None:
    """The newest checkpoint of a step that `every` divides, and that is less than `before`."""
    fitting = [path for path in checkpoints if step_of(path) % every == 0 and step_of(path) < before]
    return fitting[-1] if fitting else None


def step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def all_checkpoints(run: RunFolder) -> list[Path]:
    """Folders of finished checkpoints, oldest first."""
    if not run.checkpoints.is_dir():
        return []
    return sorted((p for p in run.checkpoints.iterdir() if _NAME.fullmatch(p.name)), key=step_of)


def newest(run: RunFolder, limits: Limits) -> tuple[Found | None, list[str]]:
    """The newest whole checkpoint, or None if there is none at all, and a warning for each damaged one that was
    passed over. `limits` are those of the weights. Raises Damaged where all are, InputError where one cannot be
    read."""
    found = all_checkpoints(run)
    damages: list[str] = []
    for folder in reversed(found):
        try:
            return read(folder, limits), [f"{damage}: falling back to the checkpoint before" for damage in damages]
        except Damaged as error:
            damages.append(str(error))
    if found:
        raise Damaged(
            f"no whole checkpoint is left in {run.checkpoints} ({damages[0]}): restore one, or train again"
        )
    return None, []


def read(folder: Path, limits: Limits) -> Found:
    """Read and verify one checkpoint. Raises Damaged where a file is not what was written, InputError where it
    cannot be read."""
    content = _content_of(folder / STATE, files.JSON_BYTES)
    state = files.parse_json(content, f"checkpoint {folder} is damaged: {STATE}")
    changed = Damaged(f"checkpoint {folder} is damaged: {STATE} is not what was written")
    current = state.get("format") == FORMAT  # earlier ones had no checksum
    if content != files.to_json(state) or not files.unseal(state, required=current):
        raise changed
    if (version := state.get("format", 1)) != FORMAT:
        raise InputError(
            f"checkpoint {folder} has format {str(version)[:20]}, this version of aeattn reads {FORMAT}: go on "
            "with the version that wrote it"
        )
    written = state.get("files")
    if not isinstance(written, dict) or set(written) != set(FILES):
        raise changed
    most = {WEIGHTS: limits.file, OPTIMIZER: _optimizer_limits(limits).file}
    contents = {name: _verified(folder / name, written[name], most.get(name)) for name in FILES}
    return Found(folder, state, contents, limits)


def _verified(path: Path, written: object, most: int | None) -> bytes:
    """The content of a file that is as large as it was written, at most as large as it can be, and has its sum."""
    size = written.get("bytes") if isinstance(written, dict) else None
    if not isinstance(size, int) or (most is not None and size > most):
        raise Damaged(f"checkpoint {path.parent} does not fit config.json: {path.name} has {size} bytes")
    content = _content_of(path, size)
    if written != {"bytes": len(content), "sha256": files.sha256(content)}:
        raise Damaged(f"checkpoint {path.parent} is damaged: {path.name} is not what was written")
    return content


def _content_of(path: Path, most: int) -> bytes:
    """What a file of a checkpoint holds. A checkpoint got its name when all of it was there: what is missing
    since, or is on a broken part of the disk, is damage."""
    try:
        return files.read_bytes(path, most)
    except OSError as error:
        kind = Damaged if error.errno in (errno.ENOENT, errno.EIO, errno.EISDIR) else InputError
        raise kind(
            f"checkpoint {path.parent} is damaged: {path.name} cannot be read ({error.strerror})"
        ) from error


def _optimizer_limits(weights: Limits) -> Limits:
    return Limits(_STATES * weights.tensors + 8, _STATES * weights.bytes + (1 << 20))


def restore(found: Found, model: LanguageModel, optimizers: Sequence[Optimizer]) -> None:
    """Give model, optimizers and generators the state of a checkpoint; all is verified before anything changes.

    Raises InputError where it does not fit.
    """
    path = found.path / OPTIMIZER
    weights = from_bytes(found.files[WEIGHTS], found.path / WEIGHTS, found.limits, verified=True)
    moments = from_bytes(found.files[OPTIMIZER], path, _optimizer_limits(found.limits), verified=True)
    states = {name: moments.pop(name) for name in list(moments) if name.startswith(PREFIX)}
    check_weights(weights, model.config, found.path / WEIGHTS)
    check_fit(moments, _wanted(moments, optimizers), path)
    state, owners = model.state_dict(), _owners(optimizers)
    model.load_state_dict({name: spread(tensor, state[name]) for name, tensor in tensors(weights).items()})
    kept = {n: spread(t, owners[n.rpartition(".")[0]]) if t.ndim else t for n, t in tensors(moments).items()}
    load_optimizers(optimizers, kept)
    set_random_states(tensors(states))


def _wanted(moments: Arrays, optimizers: Sequence[Optimizer]) -> dict[str, Form]:
    """What the optimizers' state must look like: a number, or of the shape of the parameter that it belongs to."""
    parameters = _owners(optimizers)
    owners = {name: parameters.get(name.rpartition(".")[0]) for name in moments}
    return {
        name: form(owner) if moments[name].ndim else form(moments[name])
        for name, owner in owners.items()
        if owner is not None
    }


def _owners(optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Parameters by the beginning of their moments' names."""
    return {
        f"{i}.{index}": parameter
        for i, optimizer in enumerate(optimizers)
        for index, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"])
    }


def optimizer_tensors(optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """The optimizers' state as named tensors: `<optimizer>.<parameter>.<name>`."""
    return {
        f"{i}.{index}.{name}": value
        for i, optimizer in enumerate(optimizers)
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def load_optimizers(optimizers: Sequence[Optimizer], tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`."""
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for key, value in tensors.items():
        owner, index, name = key.split(".", 2)
        states[int(owner)].setdefault(int(index), {})[name] = value
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def bytes_of(model: LanguageModel, optimizers: Sequence[Optimizer]) -> int:
    """How large a checkpoint will be, but for its logs."""
    numbers = sum(p.numel() for p in model.parameters())
    for optimizer in optimizers:
        moments = 2 if isinstance(optimizer, AdamW) else 1
        numbers += moments * sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    return 4 * numbers + (1 << 16)
