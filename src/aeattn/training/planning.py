"""What is to be trained, checked as far as it can be before PyTorch is loaded: bad settings get a quick answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from glob import has_magic
from itertools import count
from pathlib import Path
from typing import Any

from aeattn.data.corpora import NAMES, Corpus, resolve
from aeattn.data.text import TextOptions
from aeattn.errors import InputError
from aeattn.nn.config import ModelConfig
from aeattn.training.config import DataConfig, RunConfig, TrainingConfig, build, check_keys
from aeattn.training.run_folder import RunFolder


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
    check_keys(settings, ["preset", "model", "training", "data"], "config")
    data = _data_config(settings.get("data", {}))
    given = {} if minutes is None else {"minutes": minutes}
    training = build(TrainingConfig, {**settings.get("training", {}), **given}, "training")
    model = settings.get("model", {})
    if "vocab_size" in model:
        raise InputError("model: vocab_size comes from the text: leave it out")
    _model({**model, "vocab_size": 1})
    if out is None:
        name = "-".join(map(_stem, data.corpus)) or data.recipe or "tales"
        out = _free_folder(f"{name}-{settings.get('preset')}")
    run = RunFolder(out)
    run.check_free()
    corpus = corpus_of(data, training.seed, say)
    return Plan(settings.get("preset"), model, training, data, corpus, run, chars)


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
    return resolve(
        data.corpus,
        valid=data.valid,
        recipe=data.recipe,
        options=None if data.text == TextOptions() else data.text,
        limit_chars=data.limit_chars,
        seed=seed,
        progress=say,
    )


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
