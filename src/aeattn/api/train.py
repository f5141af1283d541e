"""Training from Python: `aeattn.train`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from aeattn.api.text_model import TextModel
from aeattn.config import sources
from aeattn.config.convert import check_keys, nested, overlay
from aeattn.config.fields import settings as settings_of
from aeattn.config.presets import PRESETS
from aeattn.config.run import RunConfig
from aeattn.data.corpora import NAMES, Corpus, Document
from aeattn.data.splits import VALID_SHARE
from aeattn.data.store import prepare
from aeattn.errors import InputError
from aeattn.files import Json
from aeattn.terminal.progress import make_reporter
from aeattn.training import hooks as built_in
from aeattn.training.hooks import Hook
from aeattn.training.plan import corpus_of, located, plan
from aeattn.training.processes import current
from aeattn.training.start import floor, make_trainer, start
from aeattn.training.trainer import Trainer

PathLike: TypeAlias = str | os.PathLike[str]
Config: TypeAlias = RunConfig | str | Mapping[str, Any]


def train(
    config: Config | None = None,
    text: str | None = None,
    *,
    corpus: PathLike | Sequence[PathLike] | None = None,
    preset: str | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    chars: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    out: PathLike | None = None,
    hooks: Sequence[Hook] = (),
    quiet: bool = False,
    **settings: Any,
) -> TextModel:
    """Train a model, and return it.

        model = aeattn.train(corpus="tales", minutes=1)
        model = aeattn.train(corpus="my_book.txt", preset="1m", steps=2000, out="runs/mine")
        model = aeattn.train(text="once upon a time there was a fox. " * 100, steps=50, d_model=64, n_layers=1)

    Defaults are those of `aeattn train`.

    Args:
        config: The name of a preset, nested settings as a config file has them (`preset`, `model`, `training`,
            `data`), or a whole RunConfig.
        text: The text itself, of which the last tenth is validated on.
        corpus: Instead of a text, what `aeattn train` takes: a corpus by name (`tales`, `books`, `shakespeare`,
            `bookcorpus`, `hf:NAME`), files, folders or globs. Where there is neither, what `config` names, or else
            `tales`.
        preset: The name of a preset (`aeattn presets` lists them), instead of one in `config`.
        steps: Number of updates.
        minutes: Instead, as many updates as fit into so many minutes.
        chars: Instead, so many characters to train on.
        seed: Of weights, batches and dropout: the same seed gives the same model on the same machine.
        device: `auto`, a GPU where there is one, `cpu`, `cuda` and so on.
        out: A new folder for config, metrics, checkpoints, samples and weights, which `aeattn.load` and
            `aeattn resume` read. Without one nothing is written but the cache of encoded texts.
        hooks: Called before checkpoints are written, in this order; of several processes, in the main one.
        quiet: No progress. Else it is shown on standard error, or in the cell of a notebook, redrawn in place.
        **settings: Any other setting with an option of `aeattn train`, by its name with underscores, as in
            `d_model=64`, `n_layers=2`, `learning_rate=3e-3`, `lower=True`, `tokenizer="bytes"`. They are laid over
            `config`.

    Where torch.distributed has a process group, all of its processes must call this, and train together; number 0
    alone writes and shows.

    Returns:
        The trained model with its tokenizer.

    Raises:
        InputError: A setting, text or folder that cannot be, a `text` that names a corpus or a file, and a `text`
            with `out`: a run folder says where its text is.
        Diverged: The loss is no finite number.

    Stable: all arguments; settings are those of docs/reference.md.

    Examples:
        >>> model = aeattn.train(text="once upon a time there was a fox. " * 40, steps=4, batch=2, context=16,
        ...                      d_model=16, n_heads=2, bottleneck=4, d_ff=24, compile="off", quiet=True)
        >>> len(model.generate("once", chars=10))
        14
    """
    if sum(length is not None for length in (steps, minutes, chars)) > 1:
        raise InputError("more than one of steps, minutes and chars is given: give one of them")
    changes = _changes({"seed": seed, "device": device, "steps": steps, "minutes": minutes}, settings)
    if steps is not None or chars is not None:
        changes = overlay(changes, nested("training.minutes", None))
    run = _run_config(config, preset, changes)
    if text is None:
        if corpus is not None:
            names = [corpus] if isinstance(corpus, str | os.PathLike) else corpus
            recipe = settings.get("recipe")  # a config's own belongs to its corpus
            data = replace(run.data, corpus=tuple(map(_text_name, names)), recipe=recipe)
            run = replace(run, data=data)
        if out is not None:
            return _in_folder(run, Path(out), chars, hooks, quiet)
        return _in_memory(run, corpus_of(located(run.data), run.training.seed), chars, hooks, quiet)
    _check_text(text, corpus, out)
    whole = Document("text", text=text)
    parts = (replace(whole, stop=1 - VALID_SHARE),), (replace(whole, start=1 - VALID_SHARE),)
    return _in_memory(run, Corpus("text", *parts, run.data.text), chars, hooks, quiet)


# -- what is meant -------------------------------------------------------------------------------------------


def keywords() -> dict[str, str]:
    """Every setting with an option of its own, and its place, such as `training.batch`."""
    return dict(_flags(RunConfig, ""))


def _flags(cls: type[Any], above: str) -> list[tuple[str, str]]:
    found = []
    for each in settings_of(cls):
        if isinstance(each.type, type) and is_dataclass(each.type):
            found += _flags(each.type, f"{above}{each.name}.")
        elif each.flag and each.name != "preset":
            found.append((each.name, above + each.name))
    return found


def _changes(named: Json, settings: Mapping[str, Any]) -> Json:
    """What keywords say, as nested settings. Raises InputError for one that is none."""
    known = keywords()
    check_keys(settings, [*known, "corpus", "preset", "text", "out", "hooks", "quiet", "chars"], "aeattn.train")
    changes: Json = {}
    for name, value in {**named, **settings}.items():
        if value is not None:
            changes = overlay(changes, nested(known[name], _plain(value)))
    return changes


def _plain(value: Any) -> Any:
    """Paths as settings have them."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _run_config(config: Config | None, preset: str | None, changes: Json) -> RunConfig:
    if preset is not None:
        if config is not None and not (isinstance(config, Mapping) and "preset" not in config):
            raise InputError("both config and preset say what to begin with: give one of them")
        config = {**(config or {}), "preset": preset}
    if isinstance(config, RunConfig):
        return RunConfig.from_dict(overlay(config.to_dict(), changes)) if changes else config
    if isinstance(config, str):
        if config not in PRESETS and (config in NAMES or Path(config).exists()):
            raise InputError(f"{config!r} is a text, not a preset: write corpus={config!r}")
        config = {"preset": config}
    settings = dict(config or {})
    return sources.resolve(overlay({**settings, "preset": sources.preset_of(settings)}, changes))


def _text_name(name: PathLike) -> str:
    found = os.fspath(name)
    if found in PRESETS and not Path(found).exists():
        raise InputError(f"{found!r} is a preset, not a text: write preset={found!r}")
    return found


def _check_text(text: object, corpus: object, out: object) -> None:
    if not isinstance(text, str):
        raise InputError(f"text is a {type(text).__name__}: give a string, or files as corpus=")
    if corpus is not None:
        raise InputError("both text and corpus are given: give one of them")
    if text in NAMES or (len(text) < 256 and "\n" not in text and "\0" not in text and Path(text).exists()):
        raise InputError(f"text is the text itself, not where it is: write corpus={text!r}")
    if out is not None:
        raise InputError("a run folder says where its text is: write the text to a file, and give that as corpus=")


# -- training ------------------------------------------------------------------------------------------------


def _in_folder(config: RunConfig, out: Path, chars: int | None, hooks: Sequence[Hook], quiet: bool) -> TextModel:
    world = current()
    reporter = make_reporter(quiet, speaks=world.main)
    try:
        given = plan(config, out=out, chars=chars, say=reporter.note, world=world)
        try:
            training = start(given, reporter, hooks, world)
            training.run()
            return _model(training.trainer, out)
        finally:
            given.run.unlock()
    finally:
        reporter.close()


def _in_memory(
    config: RunConfig, corpus: Corpus, chars: int | None, hooks: Sequence[Hook], quiet: bool
) -> TextModel:
    if config.training.spike_factor:
        raise InputError("spike_factor goes back to checkpoints: give out, a folder for them")
    if config.track:
        raise InputError("track keeps in a run's folder how far trackers are: give out, a folder for that")
    world = current()
    begun = time.monotonic()
    reporter = make_reporter(quiet, speaks=world.main)
    try:
        text = world.agreed(lambda: prepare(corpus, None, reporter.note, spec=config.data.tokenizer))
        config = replace(config, data=replace(config.data, text=corpus.options))
        if chars is not None:
            config = config.with_chars(chars, text.train.chars_per_token)
        trainer = make_trainer(config.with_vocabulary(text.tokenizer.vocab_size), text, world)
        trainer.begun = begun
        if world.main:
            shown: list[Hook] = [] if quiet else [built_in.Report(reporter, floor(corpus)), built_in.Sample()]
            trainer.hooks += [*shown, *(kind() for kind in built_in.REGISTERED), *hooks]
        trainer.run()
    finally:
        reporter.close()
    return _model(trainer)


def _model(trainer: Trainer, run: Path | None = None) -> TextModel:
    anywhere = trainer.config.training.device == "auto"
    return TextModel(trainer.model, trainer.text.tokenizer, trainer.config.data.text, anywhere=anywhere, run=run)
