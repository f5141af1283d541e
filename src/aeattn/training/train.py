"""Training from Python: `aeattn.train`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from aeattn.config import sources
from aeattn.config.presets import DEFAULT_PRESET
from aeattn.config.run import RunConfig
from aeattn.data.corpora import NAMES, Corpus, Document
from aeattn.data.splits import VALID_SHARE
from aeattn.data.store import prepare
from aeattn.errors import InputError
from aeattn.generation.text_model import TextModel
from aeattn.terminal.progress import make_reporter
from aeattn.training import hooks as built_in
from aeattn.training.hooks import Hook
from aeattn.training.plan import corpus_of, located, plan
from aeattn.training.processes import current
from aeattn.training.start import floor, make_trainer, start
from aeattn.training.trainer import Trainer

PathLike: TypeAlias = str | os.PathLike[str]


def train(
    config: RunConfig | str | Mapping[str, Any] = DEFAULT_PRESET,
    text: str | None = None,
    *,
    corpus: PathLike | Sequence[PathLike] | None = None,
    out: PathLike | None = None,
    hooks: Sequence[Hook] = (),
    quiet: bool = True,
) -> TextModel:
    """Train a model, and return it.

    Args:
        config: the name of a preset, nested settings as a config file has them (`preset`, `model`, `training`,
            `data`), or a whole RunConfig.
        text: the text itself, of which the last tenth is validated on.
        corpus: instead of a text, what `aeattn train` takes: a corpus by name, files, folders, globs. Where there
            is neither, what `config` names, or else `tales`.
        out: a new folder for config, metrics, checkpoints, samples and weights, which `aeattn.load` and
            `aeattn resume` read. Without one nothing is written but the cache of encoded texts.
        hooks: called before checkpoints are written, in this order; of several processes, in the main one.
        quiet: no progress on standard error.

    Where torch.distributed has a process group, all of its processes must call this, and train together; number 0
    alone writes and shows.

    Raises:
        InputError: a setting, text or folder that cannot be, a `text` that names a corpus or a file, and a `text`
            with `out`: a run folder says where its text is.
        Diverged: the loss is no finite number.

    >>> settings = {"model": {"d_model": 16, "n_heads": 2, "bottleneck": 4, "d_ff": 24, "context": 16},
    ...             "training": {"steps": 4, "batch": 2, "compile": "off"}}
    >>> model = aeattn.train(settings, "once upon a time there was a fox. " * 40)
    >>> len(model.generate("once", chars=10))
    14
    """
    run = _run_config(config)
    if text is None:
        if corpus is not None:
            names = [corpus] if isinstance(corpus, str | os.PathLike) else corpus
            data = replace(run.data, corpus=tuple(os.fspath(name) for name in names), recipe=None)
            run = replace(run, data=data)
        if out is not None:
            return _in_folder(run, Path(out), hooks, quiet)
        return _in_memory(run, corpus_of(located(run.data), run.training.seed), hooks, quiet)
    _check_text(text, corpus, out)
    whole = Document("text", text=text)
    parts = (replace(whole, stop=1 - VALID_SHARE),), (replace(whole, start=1 - VALID_SHARE),)
    return _in_memory(run, Corpus("text", *parts, run.data.text), hooks, quiet)


def _run_config(config: RunConfig | str | Mapping[str, Any]) -> RunConfig:
    if isinstance(config, RunConfig):
        return config
    return sources.resolve({"preset": config} if isinstance(config, str) else dict(config))


def _check_text(text: object, corpus: object, out: object) -> None:
    if not isinstance(text, str):
        raise InputError(f"text is a {type(text).__name__}: give a string, or files as corpus=")
    if corpus is not None:
        raise InputError("both text and corpus are given: give one of them")
    if text in NAMES or (len(text) < 256 and "\n" not in text and "\0" not in text and Path(text).exists()):
        raise InputError(f"text is the text itself, not where it is: write corpus={text!r}")
    if out is not None:
        raise InputError("a run folder says where its text is: write the text to a file, and give that as corpus=")


def _in_folder(config: RunConfig, out: Path, hooks: Sequence[Hook], quiet: bool) -> TextModel:
    world = current()
    reporter = make_reporter(quiet, speaks=world.main)
    given = plan(config, out=out, say=reporter.note, world=world)
    try:
        training = start(given, reporter, hooks, world)
        training.run()
        return _model(training.trainer)
    finally:
        reporter.close()
        given.run.unlock()


def _in_memory(config: RunConfig, corpus: Corpus, hooks: Sequence[Hook], quiet: bool) -> TextModel:
    if config.training.spike_factor:
        raise InputError("spike_factor goes back to checkpoints: give out, a folder for them")
    if config.track:
        raise InputError("track keeps in a run's folder how far trackers are: give out, a folder for that")
    world = current()
    reporter = make_reporter(quiet, speaks=world.main)
    text = world.agreed(lambda: prepare(corpus, None, reporter.note, spec=config.data.tokenizer))
    config = replace(config, data=replace(config.data, text=corpus.options))
    trainer = make_trainer(config.with_vocabulary(text.tokenizer.vocab_size), text, world)
    if world.main:
        shown: list[Hook] = [] if quiet else [built_in.Report(reporter, floor(corpus)), built_in.Sample()]
        trainer.hooks += [*shown, *(kind() for kind in built_in.REGISTERED), *hooks]
    try:
        trainer.run()
    finally:
        reporter.close()
    return _model(trainer)


def _model(trainer: Trainer) -> TextModel:
    return TextModel(trainer.model, trainer.text.tokenizer, trainer.config.data.text)
