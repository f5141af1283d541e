"""What is to be trained, checked as far as it can be before PyTorch is loaded: bad settings get a quick answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from glob import has_magic
from itertools import count
from pathlib import Path
from typing import Any

from aeattn.config.convert import build, check_keys, overlay
from aeattn.config.model import ModelConfig
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.config.text import TextOptions
from aeattn.data.corpora import NAMES, Corpus, resolve
from aeattn.errors import InputError
from aeattn.runs.folder import RunFolder


@dataclass(frozen=True)
class Plan:
    """A training as far as it is known before its text has been read, which gives the vocabulary."""

    preset: str | None
    model: dict[str, Any]
    training: TrainingConfig
    data: DataConfig
    corpus: Corpus
    run: RunFolder
    chars: int | None

    def config(self, vocab_size: int) -> RunConfig:
        """The whole config, for a text of so many different characters."""
        model, training = _model({**self.model, "vocab_size": vocab_size}), self.training
        if self.chars is not None:
            per_step = training.batch * training.accumulate * model.context
            training = replace(training, steps=max(1, self.chars // per_step))
        return RunConfig(model, training, replace(self.data, text=self.corpus.options), self.preset)


def plan(
    settings: dict[str, Any],
    *,
    out: Path | None,
    minutes: float | None,
    chars: int | None,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Check settings (nested dictionaries: preset, model, training, data) and find the text, before anything is
    written. `say` is told of downloads.

    Raises InputError for unknown keys, impossible values, a folder that holds another run, no such text.
    """
    given = {} if minutes is None else {"minutes": minutes}
    model, training, data = check_settings(overlay(settings, {"training": given}))
    if out is None:
        name = "-".join(map(_stem, data.corpus)) or data.recipe or "tales"
        out = _free_folder(f"{name}-{settings.get('preset')}")
    run = RunFolder(out)
    run.check_free()
    corpus = corpus_of(data, training.seed, say)
    return Plan(settings.get("preset"), model, training, data, corpus, run, chars)


def check_settings(settings: dict[str, Any]) -> tuple[dict[str, Any], TrainingConfig, DataConfig]:
    """Settings of the model (all but the vocabulary), of the training and of the text. Raises InputError."""
    check_keys(settings, ["preset", "model", "training", "data"], "config")
    for name in ("model", "training", "data"):
        if not isinstance(settings.get(name, {}), dict):
            raise InputError(f"config: {name} is {settings[name]!r}: write a table of settings there")
    data = _data_config(settings.get("data", {}))
    training = build(TrainingConfig, settings.get("training", {}), "training")
    model = settings.get("model", {})
    if "vocab_size" in model:
        raise InputError("model: vocab_size comes from the text: leave it out")
    _model({**model, "vocab_size": 1})
    return model, training, data


@dataclass(frozen=True)
class ResumePlan:
    """A run that is to go on. `sealed`: its config is as it was written; `accept`: go on whatever has changed."""

    run: RunFolder
    config: RunConfig
    corpus: Corpus
    sealed: bool
    steps: int | None
    accept: bool


def plan_resume(
    path: Path, steps: int | None, accept: bool, say: Callable[[str], None] = lambda _: None
) -> ResumePlan:
    """Lock a run. Raises InputError for what is no run folder, where another process is training there, and where
    its text is not to be found."""
    run = RunFolder(path)
    run.read_config()  # that there is one, before anything else is said
    if warning := run.lock():
        say(f"warning: {warning}")
    try:
        config, sealed = run.read_sealed_config()
        corpus = corpus_of(config.data, config.training.seed, say)
    except BaseException:
        run.unlock()
        raise
    return ResumePlan(run, config, corpus, sealed, steps, accept)


def corpus_of(data: DataConfig, seed: int, say: Callable[[str], None] = lambda _: None) -> Corpus:
    """The corpus that a config names, fetched if need be. Raises InputError where it is not to be had."""
    corpus = resolve(
        data.corpus,
        valid=data.valid,
        recipe=data.recipe,
        options=None if data.text == TextOptions() else data.text,
        limit_chars=data.limit_chars,
        seed=seed if data.seed is None else data.seed,
        progress=say,
    )
    if (limit := data.limit_valid_chars) is None:
        return corpus
    if limit < 2:
        raise InputError(f"data.limit_valid_chars is {limit}: choose at least 2")
    return replace(corpus, valid=tuple(replace(d, limit=limit, floor_nats=None) for d in corpus.valid))


def _data_config(values: dict[str, Any]) -> DataConfig:
    text = build(TextOptions, values["text"], "data.text") if "text" in values else TextOptions()
    data = build(DataConfig, {**values, "text": text}, "data")
    return replace(
        data, corpus=tuple(map(_from_anywhere, data.corpus)), valid=tuple(map(_from_anywhere, data.valid))
    )


def _from_anywhere(name: str) -> str:
    """A path that is there, or a pattern, as it is found from any folder: `resume` may be called in another."""
    path = Path(name).expanduser()
    return name if name in NAMES or not (path.exists() or has_magic(name)) else str(path.absolute())


def _model(values: dict[str, Any]) -> ModelConfig:
    return build(ModelConfig, values, "model")


def _stem(name: str) -> str:
    return Path(name).name.split(".")[0].strip("*?[]") or "text"


def _free_folder(name: str) -> Path:
    """runs/<name>, or runs/<name>-2 and so on where that is taken."""
    candidates = (Path("runs") / (name if i == 1 else f"{name}-{i}") for i in count(1))
    return next(path for path in candidates if not path.exists())
