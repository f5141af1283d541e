"""The one training loop.

Shapes: B windows a micro-batch, T time, V vocabulary.
"""

from __future__ import annotations

import copy
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aeattn.data.batches import Int64, TrainBatches
from aeattn.data.store import Prepared
from aeattn.data.text import TextOptions
from aeattn.generation.text_model import TextModel
from aeattn.nn.transformer import LanguageModel
from aeattn.training import checkpoint, compiling, machine
from aeattn.training.config import Precision, RunConfig, TrainingConfig
from aeattn.training.evaluation import Score, evaluate_store, sample_windows, score_windows, total
from aeattn.training.optimisers import clip_gradients, make_optimisers, rate_factor, set_rates
from aeattn.training.progress import Reporter, Status
from aeattn.training.run_folder import RunFolder, replacing
from aeattn.training.weights import save_tensors

PROBE_STEPS = 3  # timed before deciding whether to compile, or how many steps fit into some minutes
SMOOTHING = 0.98


class Diverged(Exception):
    """The loss or its gradient is no finite number. The message names the step and the mend."""


class Interrupted(Exception):
    """A signal asked to stop; the run has been saved."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after saving a checkpoint")
        self.exit_code = 128 + signal_number


@dataclass
class State:
    """Where a run stands, apart from tensors: what a checkpoint holds as JSON."""

    step: int = 0
    seconds: float = 0.0
    smooth_nats: float | None = None
    valid_nats: float | None = None


class Trainer:
    """Trains the model of a run folder on prepared text; `run` does all of it.

    `minutes` replaces the number of steps by as many as fit, measured on the first ones.
    """

    def __init__(
        self,
        run: RunFolder,
        config: RunConfig,
        text: Prepared,
        reporter: Reporter,
        *,
        floor_nats: float | None = None,
        minutes: float | None = None,
    ) -> None:
        self.run_folder, self.config, self.text, self.reporter = run, config, text, reporter
        self.floor_nats, self.minutes = floor_nats, minutes
        settings = config.training
        torch.manual_seed(settings.seed)
        self.device = machine.pick_device(settings.device)
        self.dtype = machine.pick_precision(settings.precision, self.device)
        self.model = LanguageModel(config.model).to(self.device)
        self.optimisers = make_optimisers(self.model, settings)
        rows = settings.batch * settings.accumulate
        self.batches = TrainBatches(text.train.ids, batch=rows, context=config.model.context, seed=settings.seed)
        self.quick_windows = sample_windows(text.valid, config.model.context, settings.eval_chars)
        self.loss: Callable[[Tensor, Tensor], Tensor] = self._loss
        self.compiled_before = compiling.CompiledBefore(config.model, settings.batch, self.dtype, self.device)
        self.state = State()
        self.file_scores: list[tuple[str, Score]] = []  # of the whole validation text, at the end
        self._stop_signal: int | None = None
        self._clock = 0.0

    # -- the run -----------------------------------------------------------------------------------------

    def run(self) -> Score:
        """Train to the end, evaluate the whole validation text, write the model. Returns that score.

        Raises Diverged, Interrupted.
        """
        machine.keep_freed_memory()
        with self._signals():
            self.prepare()
            self._clock = time.perf_counter() - self.state.seconds
            while self.state.step < self.config.training.steps:
                self.update()
                self._housekeeping()
                if self._stop_signal is not None:
                    self.save()
                    raise Interrupted(self._stop_signal)
        return self._finish()

    def resume(self) -> list[str]:
        """Go back to the newest whole checkpoint, or to the start if there is none. Returns warnings."""
        state, warnings = checkpoint.load_newest(self.run_folder, self.model, self.optimisers)
        if state is not None:
            self.state = State(**{name: state[name] for name in State.__dataclass_fields__})
        # what the end adds to a step (the whole evaluation, a last sample) will be added again
        self.run_folder.truncate(min(self.state.step, self.config.training.steps - 1))
        return warnings

    def save(self) -> None:
        """Write a checkpoint of this moment."""
        keep = self.config.training.keep_checkpoints
        checkpoint.save(self.run_folder, self.state.step, self.model, self.optimisers, vars(self.state), keep)
        self._publish()

    def _publish(self) -> None:
        """Put the weights where `aeattn generate` finds them."""
        with replacing(self.run_folder.model) as temporary:
            save_tensors(temporary, dict(self.model.state_dict()))

    def _finish(self) -> Score:
        settings = self.config.training
        self.save()
        self.file_scores = evaluate_store(self.model, self.text.valid, self.config.model.context)
        whole = total(score for _, score in self.file_scores)
        self.state.valid_nats = whole.nats_per_char
        self._write_metrics(valid=whole)
        self.reporter.evaluated(self._status())
        if settings.sample_every != 0:
            self._sample()
        return whole

    # -- one update --------------------------------------------------------------------------------------

    def update(self) -> None:
        step, settings = self.state.step, self.config.training
        set_rates(self.optimisers, rate_factor(step, settings))
        loss = self._gradients(self.batches.at(step))
        norm = clip_gradients(self.optimisers, settings.clip or math.inf)
        self._check_finite(loss, norm)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        share = max(1 - SMOOTHING, 1 / (step + 1))  # a plain mean until there are enough losses
        self.state.smooth_nats = (1 - share) * (self.state.smooth_nats or 0.0) + share * loss
        self.state.step = step + 1
        self.state.seconds = time.perf_counter() - self._clock

    def _gradients(self, windows: Int64) -> float:
        """Accumulate the gradient of the mean loss over all micro-batches; return that loss."""
        parts = np.split(windows.astype(np.int64), self.config.training.accumulate)
        loss = 0.0
        for part in parts:
            ids = torch.from_numpy(part).to(self.device, non_blocking=True)
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

    def _check_finite(self, loss: float, norm: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient norm is {norm}"
        raise Diverged(
            f"{what} at step {self.state.step}, before the update; {self._keep_last_good_state()}: lower the "
            "learning rate, or train with --precision fp32"
        )

    def _keep_last_good_state(self) -> str:
        """Save this moment if its weights are sound; says where the last good state is."""
        if all(bool(p.isfinite().all()) for p in self.model.parameters()):
            self.save()
        kept = checkpoint.all_checkpoints(self.run_folder)
        return f"the last good state is checkpoint {kept[-1].name}" if kept else "no checkpoint was written yet"

    # -- before, between and after updates ---------------------------------------------------------------

    def prepare(self) -> None:
        """Resolve what `auto` and `minutes` leave open, from the time of the first steps, and record it.

        A resumed run finds everything resolved, so that it computes as it did before.
        """
        settings = self.config.training
        if self.minutes is None and settings.compile != "auto":
            self.use_compiler(settings.compile == "on")
            self._warm_up()
            return
        seconds = self.time_updates()
        # minutes of training are the user's to spend, and compiling is not counted among them: it pays as soon
        # as it takes less time than they do
        planned = settings.steps * seconds if self.minutes is None else self.minutes * 60 / compiling.COMPILE_GAIN
        cached = bool(self.compiled_before)
        self.use_compiler(compiling.pays_to_compile(settings.compile, self.device, planned, cached))
        steps = settings.steps
        if self.minutes is not None:
            steps = max(1, round(self.minutes * 60 / (self.time_updates() if self.compiled else seconds)))
        resolved = replace(settings, steps=steps, compile="on" if self.compiled else "off")
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
                self.reporter.note("compiling the training step (the first time takes up to a minute)")
            self.loss = compiling.compile_step(self._loss)

    def _warm_up(self) -> None:
        """Compile before the clock starts: `seconds` are those of training alone."""
        random_state = torch.get_rng_state()
        if self.compiled:
            self._gradients(self.batches.at(self.state.step))
            self.compiled_before.note()
        self.model.zero_grad(set_to_none=True)
        torch.set_rng_state(random_state)

    def time_updates(self) -> float:
        """Seconds of one update, from a few that are taken back."""
        weights = copy.deepcopy(self.model.state_dict())
        random_state, state = torch.get_rng_state(), replace(self.state)
        times = []
        for _ in range(PROBE_STEPS):
            self._clock = start = time.perf_counter()
            self.update()
            times.append(time.perf_counter() - start)
        self.model.load_state_dict(weights)
        self.optimisers, self.state = make_optimisers(self.model, self.config.training), state
        torch.set_rng_state(random_state)
        return min(times)

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
            score = score_windows(self.model, self.quick_windows)
            self.state.valid_nats = score.nats_per_char
            if not math.isfinite(score.nats_per_char or 0.0):
                raise Diverged(
                    f"validation loss is {score.nats_per_char} after step {step}: lower the learning rate"
                )
            self._write_metrics(valid=score)
            self.reporter.evaluated(self._status())
        elif _due(step, max(1, (eval_every or settings.steps) // 10)):
            self._write_metrics()
        if _due(step, self._interval(settings.sample_every)):
            self._sample()
        if _due(step, settings.checkpoint_every):
            self.save()

    def _interval(self, every: int | None) -> int:
        return -(-self.config.training.steps // 10) if every is None else every

    def _write_metrics(self, valid: Score | None = None) -> None:
        line: dict[str, Any] = {
            "step": self.state.step,
            "chars": self.state.step * self._chars_per_step,
            "seconds": round(self.state.seconds, 3),
            "train_nats": self.state.smooth_nats,
        }
        if valid is not None:
            line |= {"valid_nats": valid.nats_per_char, "valid_chars": valid.chars}
        self.run_folder.append_metrics(line)

    def _sample(self) -> None:
        settings = self.config.training
        random_state = torch.get_rng_state()
        self.model.eval()
        writer = TextModel(self.model, self.text.tokenizer, TextOptions())
        text = writer.generate(chars=settings.sample_chars, temperature=0.8, seed=settings.seed)
        self.model.train()
        torch.set_rng_state(random_state)
        self.run_folder.append_sample(self.state.step, text)
        self.reporter.sample(self.state.step, text)

    @property
    def _chars_per_step(self) -> int:
        settings = self.config.training
        return settings.batch * settings.accumulate * self.config.model.context

    def _status(self) -> Status:
        state, steps = self.state, self.config.training.steps
        pace = state.seconds / state.step if state.step else 0.0
        return Status(
            step=state.step,
            steps=steps,
            train_nats=state.smooth_nats if state.smooth_nats is not None else math.nan,
            valid_nats=state.valid_nats,
            floor_nats=self.floor_nats,
            chars_per_second=self._chars_per_step / pace if pace else 0.0,
            seconds_left=pace * (steps - state.step),
        )

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM finish the step; a second one stops at once."""

        def handle(number: int, frame: FrameType | None) -> None:
            self._stop_signal = number
            for each, handler in before.items():
                signal.signal(each, handler)

        numbers = (signal.SIGINT, signal.SIGTERM)
        try:
            before = {number: signal.signal(number, handle) for number in numbers}
        except ValueError:  # not in the main thread: whoever runs us there handles signals
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
