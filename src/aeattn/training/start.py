"""From settings to a trainer that is ready to run, and from a finished run to what a person is told."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from aeattn import hardware
from aeattn.config.run import RunConfig
from aeattn.config.text import TextOptions
from aeattn.data.corpora import Corpus
from aeattn.data.quality import Quality, quality
from aeattn.data.store import Prepared, cached_overlap, prepare
from aeattn.data.tokenizer import Tokenizer, tokenizer_from_dict
from aeattn.errors import InputError
from aeattn.files import Json, read_json, write_json
from aeattn.generation.writer import check_vocabulary
from aeattn.nn.size import unread
from aeattn.runs.checkpoint import Found, bytes_of, newest
from aeattn.runs.folder import RunFolder
from aeattn.runs.identity import (
    MACHINE,
    config_changes,
    machine_changes,
    text_changes,
    text_facts,
    version_changes,
    vocabulary_changes,
)
from aeattn.runs.weights import check_memory, limits_of
from aeattn.terminal.progress import Reporter
from aeattn.terminal.tables import sentences_of
from aeattn.training import hooks
from aeattn.training.evaluate import Score
from aeattn.training.hooks import Hook
from aeattn.training.plan import Plan, ResumePlan
from aeattn.training.processes import check_alike
from aeattn.training.saving import Save
from aeattn.training.signals import Stop
from aeattn.training.tracking import Track
from aeattn.training.trainer import Trainer
from aeattn.training.world import ALONE, World


@dataclass(frozen=True)
class Training:
    """A trainer and the folder of its run; `floor_nats` is the lowest possible loss, where it is known."""

    trainer: Trainer
    run_folder: RunFolder
    floor_nats: float | None

    def run(self, stop: Stop | None = None, prepared: Callable[[], None] = lambda: None) -> Score:
        """`Trainer.run`; an OSError says how to go on."""
        try:
            return self.trainer.run(stop, prepared)
        except OSError as error:
            path = error.filename2 or error.filename  # of a file that was to be renamed, what it was to become
            what = (f"{path}: " if path else "") + (error.strerror or str(error))
            raise OSError(
                f"stopped at step {self.trainer.state.step}: {what}{self.trainer.kept()}: "
                f"mend that, then go on with `aeattn resume {self.run_folder.path}`"
            ) from error


def start(
    plan: Plan,
    reporter: Reporter,
    more: Sequence[Hook] = (),
    world: World = ALONE,
    shard: bool = False,
    begun: float | None = None,
) -> Training:
    """Read the text, build the model, and only then make the run folder, which the main process locks.
    `more` hooks are called before checkpoints are written; minutes count from when all of it had `begun`, by the
    monotonic clock, or from now on. Raises InputError."""
    begun = time.monotonic() if begun is None else begun
    text = _prepare(plan.corpus, reporter, spec=plan.config.data.tokenizer, world=world)
    config = plan.config.with_vocabulary(text.tokenizer.vocab_size)
    if plan.chars is not None:
        config = config.with_chars(plan.chars, text.train.chars_per_token)
    trainer = make_trainer(config, text, world, shard)
    trainer.begun = begun
    run, floor_nats = plan.run, floor(plan.corpus)
    world.on_main(lambda: run.check_space(_space(trainer, config.training.keep_checkpoints + 1)))
    parameters = sum(p.numel() for p in trainer.model.parameters())
    kind = "" if text.train.chars_per_token == 1 else f", tokens of {text.train.chars_per_token:.3g} characters"
    reporter.note(f"model: {parameters:,} parameters, vocabulary size {text.tokenizer.vocab_size:,}{kind}")
    for line in unread(config.model):
        reporter.note(line)
    reporter.note(f"run folder: {run.path}")
    found = text_quality(plan.corpus, text)
    for line in sentences_of(("", "training", "validation"), found.rows()):
        reporter.note(line)
    environment = {
        **hardware.describe(),
        **({"processes": world.size} if world.size > 1 else {}),
        "command": ["aeattn", *sys.argv[1:]],
        "text": text_facts(text),
        "quality": found.to_dict(),
        "tokenizer": text.tokenizer.digest,
        "config": trainer.config.to_dict(),
    }

    if warning := world.on_main(lambda: run.create(trainer.config, text.tokenizer, environment)):
        reporter.warn(warning)
    add_hooks(trainer, run, reporter, floor_nats, more)
    return Training(trainer, run, floor_nats)


def make_trainer(config: RunConfig, text: Prepared, world: World, shard: bool = False) -> Trainer:
    """Raises InputError, in every process, where one of them cannot train what the others do."""

    def make() -> Trainer:
        check_memory(config.model)
        return Trainer(config, text, world=world, shard=shard)

    if world.size > 1:
        check_alike(world, {**facts(config, text), "shard": shard}, differences)
    return world.agreed(make)


def add_hooks(
    trainer: Trainer, run: RunFolder, reporter: Reporter, floor_nats: float | None, more: Sequence[Hook]
) -> Save:
    """All that a run in a folder has. Checkpoints come last: what is in them, hooks before have written."""
    save = Save(run, trainer)
    if trainer.world.main:
        more = [*(kind() for kind in hooks.REGISTERED), *more]
        sample = [] if trainer.sharded else [hooks.Sample()]  # for which all would have to compute
        tracked = [Track(run, trainer.config.track)] if trainer.config.track else []
        trainer.hooks += [hooks.Report(reporter, floor_nats), *sample, hooks.Log(run), *tracked, *more]
    trainer.hooks.append(save)
    return save


@dataclass(frozen=True)
class _Before:
    """What a run folder says of a run that is to go on."""

    found: Found | None
    warnings: list[str]
    environment: Json
    tokenizer: Json


def resume(
    plan: ResumePlan, reporter: Reporter, more: Sequence[Hook] = (), world: World = ALONE, shard: bool = False
) -> Training:
    """A trainer that goes on at the newest checkpoint of a run, exactly. Raises InputError where it cannot."""
    run, config = plan.run, plan.config
    before = world.on_main(lambda: _read(plan))
    found, environment, here = before.found, before.environment, hardware.describe()
    world.agreed(lambda: _refuse(version_changes(environment, here), plan))
    text = _same_text(plan, before, reporter, world)
    if plan.steps is not None:
        config = _longer(config, plan.steps, found)
    config = replace(config, track=plan.track)
    trainer, floor_nats = make_trainer(config, text, world, shard), floor(plan.corpus)
    world.on_main(lambda: _make_ready(run, trainer))
    for warning in [
        *before.warnings,
        *(f"not bit for bit: {c}" for c in _machine_changes(environment, here, world)),
    ]:
        reporter.warn(warning)
    add_hooks(trainer, run, reporter, floor_nats, more).restore(trainer, found)
    if world.main and (plan.accept or config != plan.config):
        versions = {name: here[name] for name in ("packages", *MACHINE)} if plan.accept else {}
        facts = {"text": text_facts(text), "tokenizer": text.tokenizer.digest, "config": config.to_dict()}
        write_json(run.environment, {**environment, **versions, **facts})
        run.write_config(config)
    reporter.note(f"going on after step {trainer.state.step:,} of {config.training.steps:,}")
    return Training(trainer, run, floor_nats)


def _read(plan: ResumePlan) -> _Before:
    """Raises InputError where the config is not that of the checkpoint."""
    run, config = plan.run, plan.config
    check_memory(config.model)
    found, warnings = newest(run, limits_of(config.model))
    environment = read_json(run.environment, f"{run.path} is damaged")
    if not plan.sealed:
        before = environment.get("config") if found is None else found.state.get("config")
        _refuse(_config_changes(before, config), plan)
    return _Before(found, warnings, environment, run.read_tokenizer().to_dict())


def _make_ready(run: RunFolder, trainer: Trainer) -> None:
    run.check_writable()
    run.remove_leftovers()
    run.check_space(_space(trainer, 2))


def _machine_changes(before: Json, here: Json, world: World) -> list[str]:
    """What can change the last bits of a result, the number of processes among it."""
    processes = before.get("processes", 1)
    more = [f"processes were {processes}, are {world.size}"] if processes != world.size else []
    return [*machine_changes(before, here), *more]


# -- what must be as it was, and the same in all processes ----------------------------------------------------


def facts(config: RunConfig, text: Prepared) -> Json:
    """What must be the same in all processes. Where the text lies is another matter in each."""
    values = config.to_dict()
    for name in ("corpus", "valid", "tokenizer"):
        values["data"].pop(name, None)
    for name in ("plugins", "track"):
        values.pop(name, None)
    found = {"config": values, "text": text_facts(text), "tokenizer": text.tokenizer.digest}
    return {"packages": hardware.describe()["packages"], **found}


def differences(first: Json, other: Json) -> list[str]:
    """Phrases for what is not the same there."""
    return [
        *config_changes(first["config"], other["config"]),
        *text_changes(first["text"], other["text"]),
        *([] if first["tokenizer"] == other["tokenizer"] else ["another tokenizer"]),
        *version_changes(first, other),
        *(["--shard in one of them alone"] if first.get("shard") != other.get("shard") else []),
    ]


def _refuse(changes: Iterable[str], plan: ResumePlan) -> None:
    """Raise InputError for what has changed, unless told to go on nevertheless."""
    if (phrases := list(changes)) and not plan.accept:
        shown = "; ".join(phrases[:8]) + (f" and {len(phrases) - 8} more" if len(phrases) > 8 else "")
        raise InputError(
            f"{plan.run.path} is not as it was when it was trained: {shown}: undo that, or go on nevertheless "
            "with --accept-changes"
        )


def _config_changes(before: object, now: RunConfig) -> list[str]:
    known = before if isinstance(before, dict) else {}
    changes = list(config_changes(known, json.loads(json.dumps(now.to_dict()))))
    return changes or ["config.json was written by something else"]


def _same_text(plan: ResumePlan, before: _Before, reporter: Reporter, world: World) -> Prepared:
    """The text of the run, in the characters that the run knows."""
    tokenizer, noted = tokenizer_from_dict(before.tokenizer), before.environment.get("tokenizer")
    check_vocabulary(plan.config.model, tokenizer)
    if noted is not None and noted != tokenizer.digest:  # older runs have no note of it
        _refuse(["tokenizer.json is another"], plan)
    text = _prepare(plan.corpus, reporter, tokenizer, world=world)

    def check() -> None:
        if changes := list(text_changes(before.environment.get("text"), text_facts(text))):
            vocabulary = prepare(plan.corpus, spec=plan.config.data.tokenizer).tokenizer
            _refuse([*changes, *vocabulary_changes(tokenizer, vocabulary)], plan)

    world.agreed(check)
    return text


def _longer(config: RunConfig, steps: int, found: Found | None) -> RunConfig:
    if found is not None and steps < found.step:
        raise InputError(f"--steps is {steps}, the run is at step {found.step}: choose at least as many")
    return replace(config, training=replace(config.training, steps=steps, minutes=None))


def _space(trainer: Trainer, checkpoints: int) -> int:
    """Bytes that so many checkpoints and the published weights, twice while they are replaced, will take."""
    weights = 4 * sum(p.numel() for p in trainer.model.parameters())
    return checkpoints * bytes_of(trainer.model, trainer.optimizers) + 2 * weights


def _prepare(
    corpus: Corpus,
    reporter: Reporter,
    tokenizer: Tokenizer | None = None,
    spec: str = "char",
    world: World = ALONE,
) -> Prepared:
    text = world.agreed(lambda: prepare(corpus, tokenizer, reporter.note, spec=spec))
    for note in text.notes:
        reporter.note(note)
    return text


def text_quality(corpus: Corpus, text: Prepared) -> Quality:
    """What became of a corpus on its way to ids."""
    known = all(document.generated for document in corpus.valid)
    shared = None if known else cached_overlap(text.train, text.valid, text.tokenizer)
    return quality((corpus.train, text.train), (corpus.valid, text.valid), corpus.options, shared)


def floor(corpus: Corpus) -> float | None:
    """The lowest possible validation loss in nats a character, where the text's true entropy is known."""
    known = [document.floor_nats for document in corpus.valid]
    if corpus.options != TextOptions() or any(nats is None for nats in known):
        return None
    chars = sum(len(chunk) for document in corpus.valid for chunk in document.chunks(corpus.options))
    return sum(nats for nats in known if nats is not None) / chars if chars else None
