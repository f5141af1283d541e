"""From settings to a trainer that is ready to run, and from a finished run to what a person is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aeattn.data.corpora import Corpus
from aeattn.data.store import Prepared, prepare
from aeattn.data.text import TextOptions
from aeattn.errors import InputError
from aeattn.training import curve, machine
from aeattn.training.evaluation import Score
from aeattn.training.load import load
from aeattn.training.loop import Trainer
from aeattn.training.planning import Plan, ResumePlan
from aeattn.training.progress import Reporter
from aeattn.training.run_folder import read_json


def start(plan: Plan, reporter: Reporter) -> Trainer:
    """Read the text, build the model, and only then make the run folder. Raises InputError."""
    text = _prepare(plan.corpus, reporter)
    config = plan.config(text.tokenizer.vocab_size)
    machine.check_memory(config.model)
    run, floor_nats = plan.run, floor(plan.corpus)
    trainer = Trainer(run, config, text, reporter, floor_nats=floor_nats, minutes=plan.minutes)
    trainer.config = replace(config, training=trainer.resolved())
    parameters = sum(p.numel() for p in trainer.model.parameters())
    reporter.note(
        f"{parameters:,} parameters; {len(text.train.ids):,} characters to train on, "
        f"{len(text.valid.ids):,} to validate on, {text.tokenizer.vocab_size} different; {run.path}"
    )
    run.create(trainer.config, text.tokenizer, {**machine.describe(), "text": text_facts(text)})
    return trainer


def resume(plan: ResumePlan, reporter: Reporter) -> Trainer:
    """A trainer that goes on at the newest checkpoint of a run. Raises InputError where it cannot."""
    run, config = plan.run, plan.config
    text = _prepare(plan.corpus, reporter)
    known = read_json(run.environment, f"{run.path} is damaged")
    if text.tokenizer != run.read_tokenizer() or known.get("text") != text_facts(text):
        raise InputError(f"{run.path} was trained on another text than {plan.corpus.name} is now: restore it")
    trainer = Trainer(run, config, text, reporter, floor_nats=floor(plan.corpus))
    for warning in trainer.resume():
        reporter.note(f"warning: {warning}")
    run.write_config(config)
    reporter.note(f"going on after step {trainer.state.step:,} of {config.training.steps:,}")
    return trainer


def _prepare(corpus: Corpus, reporter: Reporter) -> Prepared:
    text = prepare(corpus, progress=reporter.note)
    for note in text.notes:
        reporter.note(note)
    return text


def text_facts(text: Prepared) -> dict[str, Any]:
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
