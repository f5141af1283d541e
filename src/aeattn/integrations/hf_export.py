"""A run as a folder for `transformers`, which loads without aeattn, and back, bit for bit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from aeattn import files
from aeattn.config.model import ModelConfig
from aeattn.config.run import RunConfig
from aeattn.data.tokenizer import Tokenizer, tokenizer_from_dict
from aeattn.errors import Damaged, InputError
from aeattn.files import Json, read_json, sealed, to_json, unseal
from aeattn.integrations.folder import write_folder
from aeattn.integrations.hf import from_hf_name, library, register, to_hf_config, to_hf_model
from aeattn.integrations.hf_card import card
from aeattn.runs.folder import RunFolder, config_content
from aeattn.runs.load import read_run
from aeattn.runs.weights import Arrays, Limits, check_weights, from_bytes, limits_of, tensors, to_bytes

CODE = tuple(f"{name}_aeattn.py" for name in ("configuration", "projections", "attention", "caches", "modeling"))
AUTO_MAP = {
    "AutoConfig": "configuration_aeattn.AeattnConfig",
    "AutoModel": "modeling_aeattn.AeattnModel",
    "AutoModelForCausalLM": "modeling_aeattn.AeattnForCausalLM",
}
CONFIG, WEIGHTS, ORIGIN = "config.json", "model.safetensors", "aeattn.json"
HEADER_BYTES = 1 << 20  # that another library may add to the file of the weights
ORIGIN_BYTES = 128 << 20


# -- out ---------------------------------------------------------------------------------------------------


def export(run: Path, folder: Path) -> int:
    """Write the model of a run to a folder that is not there yet; returns how many bytes that took.

    Raises InputError for a run that another process works on, for what is no whole run, for kinds of projection
    or tokenizer from a plug-in, where something is at `folder`, and where `transformers` is not installed.
    """
    files.refuse_existing(folder)
    library()
    return write_folder(run, folder, contents)


def contents(run: RunFolder, name: str) -> dict[str, bytes]:
    """The files of the exported folder, by name."""
    config, tokenizer, weights = read_run(run.path)
    to_hf_config(config.model)  # refused before anything is built
    register()
    model = to_hf_model(config.model, tensors(weights), tokenizer)
    model.config.auto_map = dict(AUTO_MAP)
    origin = sealed({"run": config.to_dict(), "tokenizer": tokenizer.to_dict()})
    return {
        CONFIG: model.config.to_json_string(use_diff=True).encode(),
        WEIGHTS: _safetensors(model),
        "generation_config.json": model.generation_config.to_json_string(use_diff=True).encode(),
        "README.md": card(name, config, run.read_metrics(), model.kept_numbers).encode(),
        ORIGIN: to_json(origin),
        **dict(_tokenizer_files(tokenizer, config.model)),
        **{file: resources.files("aeattn.integrations").joinpath(file).read_bytes() for file in CODE},
    }


def _safetensors(model: Any) -> bytes:
    from safetensors.torch import save

    shared = {"lm_head.weight"} if model.config.tied else set()
    state = {name: t.contiguous() for name, t in model.state_dict().items() if name not in shared}
    return bytes(save(state, metadata={"format": "pt"}))


def _tokenizer_files(tokenizer: Tokenizer, config: ModelConfig) -> Iterator[tuple[str, bytes]]:
    from aeattn.integrations.hf_tokenizer import to_hf_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        to_hf_tokenizer(tokenizer, config.context).save_pretrained(folder)
        for path in sorted(Path(folder).iterdir()):
            yield path.name, path.read_bytes()


# -- back --------------------------------------------------------------------------------------------------


def bring_back(folder: Path, run: Path) -> None:
    """Make a run folder of an exported one: its config, tokenizer and weights are those of the run it came from,
    or the weights that have been trained on since. Raises InputError for any other folder, where something is at
    `run`, and where config.json was changed by hand."""
    files.refuse_existing(run)
    values = read_json(folder / CONFIG, f"{folder} is no exported folder")
    if values.get("model_type") != "aeattn":
        raise InputError(
            f"{folder} holds a model of type {str(values.get('model_type'))[:40]!r}, none of aeattn's"
        )
    config, tokenizer = _origin(folder)
    _check_same(values, config.model, folder / CONFIG)
    weights = _read_weights(folder / WEIGHTS, config.model)
    made = RunFolder(run)
    content = {
        made.config: config_content(config, made.config),
        made.tokenizer: json.dumps(tokenizer.to_dict()).encode() + b"\n",
        made.environment: to_json({"imported_from": folder.absolute().name}),
        made.model: to_bytes(tensors(weights)),
    }
    try:
        files.replace_folder(run, {path.name: each for path, each in content.items()})
    except OSError as error:
        raise InputError(f"{run} cannot be written ({error.strerror}): name another folder") from error


def _origin(folder: Path) -> tuple[RunConfig, Tokenizer]:
    path = folder / ORIGIN
    values = read_json(
        path, f"{folder} was not written by `aeattn export`, or {ORIGIN} was left out", ORIGIN_BYTES
    )
    if not unseal(values) or not all(isinstance(values.get(part), dict) for part in ("run", "tokenizer")):
        raise InputError(f"{path} is not as it was written: restore it from the folder that `aeattn export` wrote")
    return RunConfig.from_dict(values["run"]), tokenizer_from_dict(values["tokenizer"])


def _check_same(values: Json, config: ModelConfig, path: Path) -> None:
    """Raise InputError where config.json no longer describes the model that was exported."""
    wanted = json.loads(json.dumps(config.to_dict()))
    changed = [name for name, value in wanted.items() if values.get(name, value) != value]
    if changed:
        name = changed[0]
        raise InputError(
            f"{path} has been changed by hand: {name} is {values[name]!r}, it was {wanted[name]!r}: put it back"
        )


def _read_weights(path: Path, config: ModelConfig) -> Arrays:
    """Weights by our names, as float32. Raises InputError, or Damaged for a file that is torn or does not fit."""
    least = limits_of(config)
    limits = Limits(least.tensors + HEADER_BYTES // 512, least.bytes + 4 * config.vocab_size * config.d_model)
    try:
        content = files.read_bytes(path, limits.file)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): save the model in one file") from error
    try:
        arrays: Mapping[str, Any] = from_bytes(content, path, limits)
    except Damaged as error:
        raise Damaged(str(error).replace("or train again", "or export again")) from error
    named = {from_hf_name(name): array for name, array in arrays.items()}
    if config.tied:
        named.pop("head.weight", None)
    check_weights(named, config, path)
    return named
