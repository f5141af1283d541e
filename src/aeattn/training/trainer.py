"""The one training loop.

Shapes: B windows a micro-batch, T time, V vocabulary.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import functional as F

from aeattn import hardware
from aeattn.config.run import Precision, RunConfig, TrainingConfig
from aeattn.config.text import TextOptions
from aeattn.data.batches import TrainBatches
from aeattn.data.store import Prepared
from aeattn.generation.text_model import TextModel
from aeattn.kernels.causal_attention import is_ready
from aeattn.nn.transformer import LanguageModel
from aeattn.runs.checkpoint import Found
from aeattn.runs.folder import RunFolder
from aeattn.runs.random_state import random_states, set_random_states, untouched
from aeattn.runs.weights import to_bytes
from aeattn.terminal.progress import Reporter, Status
from aeattn.training import compiling, guard
from aeattn.training.evaluate import Score, evaluate_store, sample_windows, score_windows, total
from aeattn.training.guard import BadValidation, Diverged, Spike, name_windows
from aeattn.training.loader import Feed
from aeattn.training.optimizers import clip_gradients, make_optimizers, rate_factor, set_rates
from aeattn.training.saving import Saver
from aeattn.training.signals import Interrupted, Stop
from aeattn.training.state import State

PROBE_STEPS = 3  # timed before deciding whether to compile, or how many steps fit into some minutes
SMOOTHING = 0.98


class Trainer:
    """Trains the model of a run folder on prepared text; `run` does all of it."""

    def __init__(
        self,
        run: RunFolder,
        config: RunConfig,
        text: Prepared,
        reporter: Reporter,
        *,
        floor_nats: float | None = None,
    ) -> None:
        self.run_folder, self.config, self.text, self.reporter = run, config, text, reporter
        self.floor_nats = floor_nats
        settings = config.training
        compiling.keep_compiled()
        torch.manual_seed(settings.seed)
        self.device = hardware.pick_device(settings.device)
        self.dtype = hardware.pick_precision(settings.precision, self.device)
        self.model = LanguageModel(config.model).to(self.device)
        self.optimizers = make_optimizers(self.model, settings)
        rows = settings.batch * settings.accumulate
        self.batches = TrainBatches(text.train.ids, batch=rows, context=config.model.context, seed=settings.seed)
        self.feed = Feed(self.batches, self.device)
        self.quick_windows = sample_windows(text.valid, config.model.context, settings.eval_chars)
        self.loss: Callable[[Tensor, Tensor], Tensor] = self._loss
        self.compiled_before = compiling.CompiledBefore(config.model, settings.batch, self.dtype, self.device)
        self.state = State()
        self.file_scores: list[tuple[str, Score]] = []  # of the whole validation text, at the end
        self.saver = Saver(run, settings, self.model, self.optimizers)
        self._clock = 0.0
        self._drawn_from = random_states(self.device)  # before the update that is being made

    # -- the run -----------------------------------------------------------------------------------------

    def run(self, stop: Stop | None = None, prepared: Callable[[], None] = lambda: None) -> Score:
        """Train to the end, evaluate the whole validation text, write the model. Returns that score.

        `prepared` is called once before the first update, when everything is compiled.
        Raises Diverged, Interrupted, and OSError where something cannot be written.
        """
        hardware.keep_freed_memory()
        try:
            self.prepare()
            prepared()
            self._train(stop or Stop())
            return self._finish()
        except BadValidation:
            raise
        except Diverged as error:
            raise Diverged(self._after_divergence(error)) from error
        except OSError as error:
            raise OSError(self._after_failed_write(error)) from error
        finally:
            self.saver.close()

    def _train(self, stop: Stop) -> None:
        """All updates that are left. A signal lets the one that is being made be finished and saved."""
        if self.saver.anchors and self.state.step == 0:
            self.save()
        self._clock = time.perf_counter() - self.state.seconds
        with stop.patiently():
            while self.state.step < self.config.training.steps:
                try:
                    self.update()
                except Spike as spike:
                    self._roll_back(spike)
                    continue
                self._housekeeping()
                if stop.number is not None:
                    self.save()
                    self.saver.wait()
                    raise Interrupted(stop.number, saved=True)

    def resume(self, found: Found | None) -> None:
        """Go back to a checkpoint, or to the start if there is none. Raises InputError where it does not fit."""
        self.state = self.saver.restore(found)

    def save(self) -> None:
        """Write a checkpoint of this moment, in the background."""
        self.saver.save(self.state, self.config)

    def _finish(self) -> Score:
        self.save()
        self.saver.wait()
        self.run_folder.publish(to_bytes(self.model.state_dict()))  # a kill may have come before that
        self.file_scores = evaluate_store(
            self.model, self.text.valid, self.config.model.context, self.text.tokenizer
        )
        whole = total(score for _, score in self.file_scores)
        self.state.valid_nats = whole.nats_per_char
        self._write_metrics(valid=whole)
        self.reporter.evaluated(self._status())
        if self.config.training.sample_every != 0:
            self._sample()
        return whole

    # -- what goes wrong ---------------------------------------------------------------------------------

    def _roll_back(self, spike: Spike) -> None:
        where = f"{spike} at step {self.state.step:,}, {self._windows()}"
        self.state = self.saver.roll_back(self.state)
        self.model.zero_grad(set_to_none=True)
        self._clock = time.perf_counter() - self.state.seconds
        self.reporter.warn(f"{where}: back to step {self.state.step:,}, and on behind that batch")

    def _after_divergence(self, error: Diverged) -> str:
        """Save the state before the update, if it is sound; says what is left, and what to do."""
        set_random_states(self._drawn_from)
        with suppress(Diverged):
            self.save()
            self.saver.wait()
        return (
            f"{error} at step {self.state.step}, before the update; {self.saver.kept()}; the batch was "
            f"{self._windows()}: lower the learning rate, or train with --precision fp32"
        )

    def _give_up(self, score: Score) -> NoReturn:
        self.saver.wait()
        raise BadValidation(
            f"validation loss is {score.nats_per_char} after step {self.state.step}; {self.saver.kept()}: lower "
            "the learning rate"
        )

    def _after_failed_write(self, error: OSError) -> str:
        what = f"{error.filename}: " if error.filename else ""
        return (
            f"stopped at step {self.state.step}: {what}{error.strerror or error}; {self.saver.kept()}: mend that, "
            f"then go on with `aeattn resume {self.run_folder.path}`"
        )

    def _windows(self) -> str:
        return name_windows(self.batches.starts(self.state.batch).tolist())

    # -- one update --------------------------------------------------------------------------------------

    def update(self) -> None:
        step, settings = self.state.step, self.config.training
        self._drawn_from = random_states(self.device)
        set_rates(self.optimizers, rate_factor(step, settings))
        loss = self._gradients(self.feed.at(self.state.batch))
        norm = clip_gradients(self.optimizers, settings.clip or math.inf)
        guard.check(loss, norm, self.state.smooth_nats, settings, self.state.rollbacks)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        share = max(1 - SMOOTHING, 1 / (step + 1))  # a plain mean until there are enough losses
        self.state.smooth_nats = (1 - share) * (self.state.smooth_nats or 0.0) + share * loss
        self.state.step = step + 1
        self.state.seconds = time.perf_counter() - self._clock

    def _gradients(self, windows: Tensor) -> float:
        """Accumulate the gradient of the mean loss over all micro-batches; return that loss."""
        parts = windows.chunk(self.config.training.accumulate)
        loss = 0.0
        for ids in parts:
            if self.device.type == "cuda":
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            with self._autocast():  # outside of what is compiled, which could not be cached with it
                part_loss = self.loss(ids[:, :-1].contiguous(), ids[:, 1:].contiguous()) / len(parts)
            part_loss.backward()  # type: ignore[no-untyped-call]
            loss += float(part_loss.detach())
        return loss

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihood of windows (B, T), in nats a character."""
        logits = self.model(inputs)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    # -- before, between and after updates ---------------------------------------------------------------

    def prepare(self) -> None:
        """Resolve what `auto` and `minutes` leave open, from the time of the first steps, and record it.

        A resumed run finds everything resolved, so that it computes as it did before.
        """
        settings = self.config.training
        if settings.minutes is None and settings.compile != "auto":
            self.use_compiler(settings.compile == "on")
            self._warm_up()
            return
        seconds = self.time_updates()
        # minutes of training are the user's to spend, and compiling is not counted among them: it pays as soon
        # as it takes less time than they do
        gain = compiling.COMPILE_GAIN
        planned = settings.steps * seconds if settings.minutes is None else settings.minutes * 60 / gain
        cached = bool(self.compiled_before)
        self.use_compiler(compiling.pays_to_compile(settings.compile, self.device, planned, cached))
        steps = settings.steps
        if settings.minutes is not None:
            steps = max(1, round(settings.minutes * 60 / (self.time_updates() if self.compiled else seconds)))
        resolved = replace(settings, steps=steps, minutes=None, compile="on" if self.compiled else "off")
        self.config = replace(self.config, training=resolved)
        self.run_folder.write_config(self.config)
        self._warm_up()

    def resolved(self) -> TrainingConfig:
        """The training settings with `auto` replaced by what it came to here, but for compiling."""
        precision: Precision = "fp32" if self.dtype == torch.float32 else "bf16"
        return replace(self.config.training, device=self.device.type, precision=precision)

    @property
    def compiled(self) -> bool:
        return self.loss != self._loss

    def use_compiler(self, wanted: bool) -> None:
        if wanted and compiling.pays_to_compile("on", self.device, 0.0):
            if not self.compiled_before:
                self.reporter.note("compiling the training step (the first time takes about half a minute)")
            native = self.device.type == "cpu" and is_ready(self.config.model.d_head, self.dtype)
            self.loss = compiling.compile_step(
                self._loss, self.device, self.config.training.accumulate, built_before=native
            )

    def _warm_up(self) -> None:
        """Compile before the clock starts: `seconds` are those of training alone."""
        if self.compiled:
            with untouched(self.device):
                self._gradients(self.feed.at(self.state.batch))
            self.compiled_before.note()
        self.model.zero_grad(set_to_none=True)

    def time_updates(self) -> float:
        """Seconds of one update, from a few that are taken back."""
        weights, state = copy.deepcopy(self.model.state_dict()), replace(self.state)
        times = [0.0]
        with untouched(self.device), suppress(Diverged, Spike):  # which training itself will meet again
            for _ in range(PROBE_STEPS):
                self._clock = start = time.perf_counter()
                self.update()
                times.append(time.perf_counter() - start)
        self.model.load_state_dict(weights)
        self.model.zero_grad(set_to_none=True)
        for optimizer in self.optimizers:
            optimizer.state.clear()
        self.state = state
        return min(times[1:], default=0.0)

    def _housekeeping(self) -> None:
        step, settings = self.state.step, self.config.training
        self.reporter.status(self._status())
        pause = time.perf_counter()
        if step < settings.steps:  # the end has an evaluation, a sample and a checkpoint of its own
            self._between(step)
        self._clock += time.perf_counter() - pause

    def _between(self, step: int) -> None:
        settings = self.config.training
        eval_every = self._interval(settings.eval_every)
        if _due(step, eval_every):
            score = score_windows(self.model, self.quick_windows, self.text.tokenizer)
            self.state.valid_nats = score.nats_per_char
            if not math.isfinite(score.nats_per_char or 0.0):
                self._give_up(score)
            self._write_metrics(valid=score)
            self.reporter.evaluated(self._status())
        elif _due(step, max(1, (eval_every or settings.steps) // 10)):
            self._write_metrics()
        if _due(step, self._interval(settings.sample_every)):
            self._sample()
        if self.saver.due(step):
            self.save()

    def _interval(self, every: int | None) -> int:
        return -(-self.config.training.steps // 10) if every is None else every

    def _write_metrics(self, valid: Score | None = None) -> None:
        nats, chars_per_token = self.state.smooth_nats, self.text.train.chars_per_token
        line: dict[str, Any] = {
            "step": self.state.step,
            "chars": round(self.state.step * self.config.chars_per_step * chars_per_token),
            "seconds": round(self.state.seconds, 3),
            "train_nats": nats if nats is None else nats / chars_per_token,
        }
        if valid is not None:
            line |= {"valid_nats": valid.nats_per_char, "valid_chars": valid.chars}
        self.run_folder.append_metrics(line)

    def _sample(self) -> None:
        settings = self.config.training
        self.model.eval()
        writer = TextModel(self.model, self.text.tokenizer, TextOptions(), engine="simple")
        with untouched(self.device):
            text = writer.generate(chars=settings.sample_chars, temperature=0.8, seed=settings.seed)
        self.model.train()
        self.run_folder.append_sample(self.state.step, text)
        self.reporter.sample(self.state.step, text)

    def _status(self) -> Status:
        state, steps, chars_per_token = self.state, self.config.training.steps, self.text.train.chars_per_token
        pace = state.seconds / state.step if state.step else 0.0
        return Status(
            step=state.step,
            steps=steps,
            train_nats=math.nan if state.smooth_nats is None else state.smooth_nats / chars_per_token,
            valid_nats=state.valid_nats,
            floor_nats=self.floor_nats,
            chars_per_second=self.config.chars_per_step * chars_per_token / pace if pace else 0.0,
            seconds_left=pace * (steps - state.step),
        )


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
