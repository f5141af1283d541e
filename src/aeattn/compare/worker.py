"""One run of a comparison in a process of its own: `python -m aeattn.compare.worker DIR NAME`.

The record DIR/records/NAME.json, with status `running`, says what to do; it is replaced by what came of it.
Standard output is one JSON object a line: where the training stands. A process that nobody listens to any more
stops, after a checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

from aeattn import hardware, host
from aeattn.analysis.results import RunAnalysis, Snapshot
from aeattn.compare.convert import from_json, to_json
from aeattn.compare.declaration import Declaration, read_declaration
from aeattn.compare.executors import BAD_INPUT, NO_ROOM, NOT_HERE
from aeattn.compare.folder import Folder
from aeattn.compare.judged import documents, facts, scores, stores, valid
from aeattn.compare.progress import Line
from aeattn.compare.records import (
    CACHED_CHARS,
    Cost,
    Environment,
    Passage,
    Point,
    Record,
    Text,
    Valid,
    comparable,
    now,
)
from aeattn.compare.spec import Judged
from aeattn.errors import Damaged, Diverged, InputError
from aeattn.generation.torch_engine import evaluating
from aeattn.host import Startup
from aeattn.nn.cache import Cache
from aeattn.nn.size import size, use_latent_cache
from aeattn.runs.checkpoint import all_checkpoints, step_of
from aeattn.runs.identity import text_facts
from aeattn.terminal.progress import Status
from aeattn.training.compiled_cache import keep_compiled
from aeattn.training.evaluate import Score
from aeattn.training.plan import Plan, corpus_of, plan_resume
from aeattn.training.signals import Interrupted, Stop
from aeattn.training.start import Training, resume, start
from aeattn.training.trainer import Trainer

FIRST_BATCHES = 100
WAY_POINTS = 4  # at which attention is measured as training goes on
WAY_CHARS = 4096  # read to measure attention on the way; at the end it is measured on four times as many


class NotHere(InputError):
    """This machine has not what the run needs: another may."""


class PipeReporter:
    """Tells the parent, once a second; notes go to the log."""

    def __init__(self) -> None:
        self._next = 0.0

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        self.note(f"warning: {text}")

    def status(self, status: Status) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1.0
            self._tell(Line(status.step, status.steps, status.chars_per_second, train_nats=status.train_nats))

    def evaluated(self, status: Status) -> None:
        self._tell(Line(status.step, status.steps, status.chars_per_second, valid_nats=status.valid_nats))
        self.note(f"step {status.step}: {status.valid_nats} nats")

    def sample(self, step: int, text: str) -> None:
        pass

    def close(self) -> None:
        pass

    def _tell(self, line: Line) -> None:
        try:
            print(json.dumps(to_json(line)), flush=True)
        except BrokenPipeError:  # the comparison was killed
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            os.kill(os.getpid(), signal.SIGTERM)


def work(folder: Folder, name: str, stop: Stop, startup: Startup) -> int:
    """Do the run of a record, or measure again what its attention does if it is done; returns the exit code.
    Raises InputError, Interrupted, OSError."""
    job = folder.read_record(name)
    if job is None:
        raise InputError(f"there is no record {name} in {folder.path}")
    reporter = PipeReporter()
    if job.status == "done":
        _analyse(folder, job, reporter)
        return 0
    declaration = read_declaration(folder)
    _check_commit(declaration)
    judged = declaration.judged if job.phase == "final" else None
    if judged:  # that the texts are there, before hours of training
        try:
            documents(judged, corpus_of(job.run_config.data, job.seed, reporter.note), reporter.note)
        except InputError as error:
            raise NotHere(str(error)) from error
    training, job = _training(folder, job, reporter)
    try:
        score = training.run(stop, startup.over)
        if score.nats_per_char is None or not math.isfinite(score.nats_per_char):
            raise Diverged(f"the validation loss is {score.nats_per_char} at the end: lower the learning rate")
    except Diverged as error:
        reason = " ".join(str(error).split())
        ended = replace(job, status="failed", failure="diverged", reason=reason, finished=now())
        folder.write_record(replace(ended, environment=environment()))
        return 0
    finally:
        training.run_folder.unlock()
    record = _done(job, training, score)
    if judged:
        record = replace(record, judged=_judge(judged, declaration, record, training, reporter))
    if job.phase == "final" and declaration.attention:
        _analyse(folder, record, reporter)
    folder.write_record(record)
    _tidy(folder, job)
    return 0


def _check_commit(declaration: Declaration) -> None:
    commit = host.revision()["commit"]
    if declaration.commit and commit and commit != declaration.commit:
        raise InputError(
            f"runs are pinned to commit {declaration.commit[:12]}, this is {commit[:12]}: check that one out, or "
            "declare with --amend"
        )


def _judge(
    judged: Judged, declaration: Declaration, record: Record, training: Training, reporter: PipeReporter
) -> dict[str, Valid]:
    """The losses on the texts that were declared for the end. Raises InputError where they are others."""
    trainer, config = training.trainer, record.run_config
    corpus = corpus_of(config.data, record.seed, reporter.note)
    made = stores(documents(judged, corpus, reporter.note), corpus, trainer.text.tokenizer)
    declared = declaration.text[declaration.arm(record.arm).text].judged
    if other := next((name for name, side in facts(made).items() if declared.get(name) != side), None):
        raise NotHere(f"{record.name}: the text {other!r} is not the one that was declared: restore it")
    reporter.note("judging")
    return scores(trainer.model, made, config.model.context, trainer.text.tokenizer)


def _training(folder: Folder, job: Record, reporter: PipeReporter) -> tuple[Training, Record]:
    """Go on with the run folder if there is one, else start. What is proven damaged is put aside; where anything
    else is in the way, nothing is touched."""
    run, config = folder.run(job.name), job.run_config
    try:
        corpus = corpus_of(config.data, config.training.seed, reporter.note)
    except InputError as error:  # without its text, no run is begun anew
        raise NotHere(str(error)) from error
    if run.path.is_dir():
        run.lock()  # nothing is moved where somebody else trains
        run.unlock()
    if run.config.exists():
        try:
            return _resumed(folder, job, reporter)
        except Damaged as error:
            reporter.warn(f"{error}; the run is moved to {folder.stale} and begins anew")
    if run.path.exists():
        folder.set_run_aside(job.name)
    training = start(Plan(config, corpus, run), reporter)
    try:
        _check_text(training, job)
    except InputError:
        shutil.rmtree(run.path)  # it was made a moment ago
        raise
    return training, replace(job, resumed=())


def _resumed(folder: Folder, job: Record, reporter: PipeReporter) -> tuple[Training, Record]:
    """Go on, and say so in the record. Raises Damaged, and InputError where the run cannot go on as it is."""
    run, given = folder.run(job.name), None
    try:
        given = plan_resume(run.path, None, False, reporter.note)
        training = resume(given, reporter)
        _check_text(training, job)
    except InputError as error:
        if given is not None:
            given.run.unlock()
        if isinstance(error, Damaged | NotHere):
            raise
        raise InputError(
            f"{job.name} cannot go on: {error}; or move {run.path} away, and it begins anew"
        ) from error
    if step := training.trainer.state.step:
        job = replace(job, resumed=(*job.resumed, step))
        folder.write_record(job)
    return training, job


def _check_text(training: Training, job: Record) -> None:
    facts = text_facts(training.trainer.text)
    if any(facts[side]["sha256"] != getattr(job.text, side).sha256 for side in ("train", "valid")):
        raise NotHere(
            f"{job.name}: the text is not the one that was declared: restore it, or declare it with --amend"
        )


def environment() -> Environment:
    """This machine, as records have it."""
    return from_json(Environment, hardware.describe(), "what this machine says of itself")


def _done(job: Record, training: Training, score: Score) -> Record:
    trainer, run = training.trainer, training.run_folder
    cost = _cost(trainer)
    curve = tuple(from_json(Point, line, str(run.metrics)) for line in run.read_metrics())
    return replace(
        job,
        status="done",
        finished=now(),
        config=trainer.config.to_dict(),
        environment=environment(),
        text=from_json(Text, text_facts(trainer.text), job.name),
        batches=first_batches(trainer),
        valid=valid(trainer.file_scores),
        train_nats=trainer.train_nats,
        curve=curve,
        samples=tuple(Passage(step, text) for step, text in run.read_samples()),
        floor_nats=training.floor_nats,
        cost=cost,
        passes=cost.chars / trainer.text.train.chars,
        best_valid_nats=min((p.valid_nats for p in comparable(curve) if p.valid_nats is not None), default=None),
    )


def first_batches(trainer: Trainer) -> str:
    """A hash over where the windows of the first batches begin, or of all where there are fewer."""
    steps = range(min(FIRST_BATCHES, trainer.config.training.steps))
    return hashlib.sha256(b"".join(trainer.batches.starts(step).tobytes() for step in steps)).hexdigest()


def _cost(trainer: Trainer) -> Cost:
    config, cost = trainer.config, size(trainer.config.model, window=trainer.config.window)
    tokens = trainer.state.step * config.tokens_per_step
    chars, flops = round(tokens * trainer.text.train.chars_per_token), tokens * cost.train_flops
    return Cost(
        seconds=trainer.state.seconds,
        chars=chars,
        chars_per_second=chars / trainer.state.seconds,
        train_flops=float(flops),
        train_flops_per_char=round(flops / chars),
        parameters=cost.parameters,
        cache_bytes=cost.cache_bytes,
        latent_cache_bytes=cost.latent_cache_bytes,
        peak_memory_bytes=_peak_memory(trainer),
        allocated_cache_bytes=_allocated(trainer),
    )


def _allocated(trainer: Trainer) -> int:
    """Bytes of a cache for `CACHED_CHARS` characters, when the first of them is there."""
    import torch

    config = trainer.config.model
    cache = Cache(config.n_layers, CACHED_CHARS, use_latent_cache(config))
    with torch.inference_mode(), evaluating(trainer.model):
        trainer.model(torch.zeros(1, 1, dtype=torch.long, device=trainer.device), cache)
    return cache.bytes


def _peak_memory(trainer: Trainer) -> int:
    """The most that this process, or its GPU, has held. VmHWM is this program's own, where Linux gives it;
    getrusage counts the parent's, too, from before the program was loaded."""
    import torch

    if trainer.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(re.findall(r"^VmHWM:\s*(\d+) kB", status, flags=re.MULTILINE)[0])
    except (OSError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _analyse(folder: Folder, record: Record, reporter: PipeReporter) -> None:
    """Measure attention with the last weights, and at some checkpoints that are there and were evaluated."""
    from aeattn.analysis.inspection import inspect_run

    reporter.note("measuring what attention does")
    run = folder.run(record.name).path
    losses = {point.step: point.valid_nats for point in record.curve if point.valid_nats is not None}
    kept = {step_of(path) for path in all_checkpoints(folder.run(record.name))}
    *way, last = sorted(losses)
    at = [
        Snapshot(step, losses[step], inspect_run(run, step=step, maps=False, chars=WAY_CHARS))
        for step in evenly([step for step in way if step in kept], WAY_POINTS)
    ]
    at.append(Snapshot(last, losses[last], inspect_run(run, say=reporter.note)))
    folder.write_analysis(RunAnalysis(record.name, record.hash, tuple(at)))


def evenly(items: list[int], most: int) -> list[int]:
    """At most so many of the items, evenly spaced, the last of them included."""
    return [items[(i + 1) * len(items) // most - 1] for i in range(most)] if len(items) > most else items


def _tidy(folder: Folder, job: Record) -> None:
    """Weights of tuning runs, and checkpoints that were for resuming, are not wanted any more."""
    run = folder.run(job.name)
    shutil.rmtree(run.path if job.phase == "tune" else run.checkpoints, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Exit codes as those of the command line, and those of `executors`; the last line on standard error says what
    was wrong."""
    folder, name = Folder(Path(arguments[0])), arguments[1]
    keep_compiled()
    try:
        with Stop() as stop, Startup() as startup:
            return work(folder, name, stop, startup)
    except (InputError, Interrupted) as error:
        print(error, file=sys.stderr)
        if isinstance(error, Interrupted):
            return error.exit_code
        return NOT_HERE if isinstance(error, NotHere) else BAD_INPUT
    except OSError as error:  # a full disk: the run has not failed, it could not be done
        traceback.print_exc()
        print(error, file=sys.stderr)
        return NO_ROOM
    except Exception as error:
        traceback.print_exc()
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
