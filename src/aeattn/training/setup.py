"""From settings to a trainer that is ready to run, and from a finished run to what a person is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from aeattn.data.corpora import Corpus, resolve
from aeattn.data.store import Prepared, prepare
from aeattn.data.text import TextOptions
from aeattn.errors import InputError
from aeattn.training import curve, machine
from aeattn.training.config import DataConfig, RunConfig, TrainingConfig, build, check_keys
from aeattn.training.evaluation import Score
from aeattn.training.load import load
from aeattn.training.loop import Trainer
from aeattn.training.progress import Reporter
from aeattn.training.run_folder import RunFolder, read_json


@dataclass(frozen=True)
class Plan:
    """What is to be trained, as far as it is known before the text has been read."""

    settings: dict[str, Any]
    data: DataConfig
    training: TrainingConfig
    out: Path
    minutes: float | None
    chars: int | None


def plan(settings: dict[str, Any], *, out: Path | None, minutes: float | None, chars: int | None) -> Plan:
    """Check settings (nested dictionaries: preset, model, training, data) before anything is read or written.

    Raises InputError for unknown keys, impossible values and a folder that holds another run.
    """
    check_keys(settings, ["preset", "model", "training", "data"], "config")
    data = _data_config(settings.get("data", {}))
    training = build(TrainingConfig, settings.get("training", {}), "training")
    if "vocab_size" in settings.get("model", {}):
        raise InputError("model: vocab_size comes from the text: leave it out")
    _model_settings({**settings.get("model", {}), "vocab_size": 1})
    if minutes is not None and not 0 < minutes < float("inf"):
        raise InputError(f"--minutes is {minutes}: choose more than 0")
    if out is None:
        name = "-".join(map(_stem, data.corpus)) or data.recipe or "tales"
        out = _free_folder(f"{name}-{settings.get('preset')}")
    RunFolder(out).check_free()
    return Plan(settings, data, training, out, minutes, chars)


def _data_config(values: dict[str, Any]) -> DataConfig:
    text = build(TextOptions, values["text"], "data.text") if "text" in values else TextOptions()
    return build(DataConfig, {**values, "text": text}, "data")


def _model_settings(values: dict[str, Any]) -> Any:
    from aeattn.nn.transformer import ModelConfig

    return build(ModelConfig, values, "model")


def _stem(name: str) -> str:
    return Path(name).name.split(".")[0].strip("*?[]") or "text"


def _free_folder(name: str) -> Path:
    """runs/<name>, or runs/<name>-2 and so on where that is taken."""
    candidates = (Path("runs") / (name if i == 1 else f"{name}-{i}") for i in count(1))
    return next(path for path in candidates if not path.exists())


def start(plan: Plan, reporter: Reporter) -> Trainer:
    """Read the text, build the model, and only then make the run folder. Raises InputError."""
    corpus, text = _read_text(plan.data, plan.training.seed, reporter)
    model = _model_settings({**plan.settings.get("model", {}), "vocab_size": text.tokenizer.vocab_size})
    machine.check_memory(model)
    training = plan.training
    if plan.chars is not None:
        per_step = training.batch * training.accumulate * model.context
        training = replace(training, steps=max(1, plan.chars // per_step))
    data = replace(plan.data, text=corpus.options)
    config = RunConfig(model, training, data, plan.settings.get("preset"))
    run = RunFolder(plan.out)
    trainer = Trainer(run, config, text, reporter, floor_nats=floor(corpus), minutes=plan.minutes)
    trainer.config = replace(config, training=trainer.resolved())
    parameters = sum(p.numel() for p in trainer.model.parameters())
    reporter.note(
        f"{parameters:,} parameters; {len(text.train.ids):,} characters to train on, "
        f"{len(text.valid.ids):,} to validate on, {text.tokenizer.vocab_size} different; {run.path}"
    )
    run.create(trainer.config, text.tokenizer, {**machine.describe(), "text": _facts(text)})
    return trainer


def resume(path: Path, reporter: Reporter, steps: int | None = None) -> Trainer:
    """A trainer that goes on at the newest checkpoint of a run. Raises InputError where it cannot."""
    run = RunFolder(path)
    config = run.read_config()
    if steps is not None:
        config = replace(config, training=replace(config.training, steps=steps))
        run.write_config(config)
    corpus, text = _read_text(config.data, config.training.seed, reporter)
    known = read_json(run.environment, f"{path} is damaged")
    if text.tokenizer != run.read_tokenizer() or known.get("text") != _facts(text):
        raise InputError(f"{path} was trained on another text than {corpus.name} is now: restore it")
    trainer = Trainer(run, config, text, reporter, floor_nats=floor(corpus))
    for warning in trainer.resume():
        reporter.note(f"warning: {warning}")
    reporter.note(f"going on after step {trainer.state.step:,} of {config.training.steps:,}")
    return trainer


def _read_text(data: DataConfig, seed: int, reporter: Reporter) -> tuple[Corpus, Prepared]:
    corpus = resolve(
        data.corpus,
        valid=data.valid,
        recipe=data.recipe,
        options=None if data.text == TextOptions() else data.text,
        limit_chars=data.limit_chars,
        seed=seed,
        progress=reporter.note,
    )
    text = prepare(corpus, progress=reporter.note)
    for note in text.notes:
        reporter.note(note)
    return corpus, text


def _facts(text: Prepared) -> dict[str, Any]:
    """What identifies the text of a run."""
    return {
        side: {"chars": len(store.ids), "sha256": store.sha256, "unknown": store.unknown.total()}
        for side, store in (("train", text.train), ("valid", text.valid))
    }


def floor(corpus: Corpus) -> float | None:
    """The lowest possible validation loss in nats a character, where the text's true entropy is known."""
    known = [document.floor_nats for document in corpus.valid]
    if corpus.options != TextOptions() or any(nats is None for nats in known):
        return None
    chars = sum(len(chunk) for document in corpus.valid for chunk in document.chunks(corpus.options))
    return sum(nats for nats in known if nats is not None) / chars if chars else None


def finish(trainer: Trainer, score: Score) -> Sequence[str]:
    """Draw the learning curve, let the model write, and return the lines to show."""
    run, chars = trainer.run_folder, trainer.config.training.sample_chars
    curve.draw(run.read_metrics(), run.curve, run.path.name, trainer.floor_nats)
    passage = load(run.path).generate(chars=max(400, chars), temperature=0.7, seed=trainer.config.training.seed)
    nats, bits = score.nats_per_char, score.bits_per_char
    lines = [f"\n{passage.strip()}\n"]
    if nats is not None:
        above = (
            "" if trainer.floor_nats is None else f", {nats - trainer.floor_nats:.4f} above the lowest possible"
        )
        lines.append(
            f"validation: {nats:.4f} nats/char, {bits:.4f} bits/char over {score.chars:,} characters{above}"
        )
    return [
        *lines,
        f"run folder: {run.path}",
        f"learning curve: {run.curve}",
        f"more: aeattn generate {run.path}",
    ]
