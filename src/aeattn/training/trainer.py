"""The one training loop.

Shapes: B windows a micro-batch, T time, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from aeattn import hardware
from aeattn.config.run import RunConfig
from aeattn.data.batches import TrainBatches
from aeattn.data.store import Prepared
from aeattn.errors import BadValidation, Diverged, Spike
from aeattn.nn.layers import key_dropouts, row_keys
from aeattn.nn.transformer import LanguageModel
from aeattn.runs import parts
from aeattn.runs.random_state import random_states, set_random_states, untouched
from aeattn.training import compiling
from aeattn.training.compiled_cache import keep_compiled
from aeattn.training.evaluate import Score, evaluate_store, summed, total
from aeattn.training.exchange import Exchange
from aeattn.training.hooks import Evaluate, Guard, Hook
from aeattn.training.loader import Loader
from aeattn.training.optimizers import clip_gradients, make_optimizers, rate_factor, set_rates
from aeattn.training.processes import check_device
from aeattn.training.saving import State
from aeattn.training.signals import Interrupted, Stop
from aeattn.training.world import ALONE, World, check_batch

T = TypeVar("T")

PASS_NUMBERS = 1 << 17  # what a pass on a CPU has between two layers: more do not stay in a core's cache
PASS_TOKENS = 8  # by the width of the model: with fewer, to add up the weights' gradients costs more than is saved


class Trainer:
    """Trains a model on prepared text: `run` does all of it, `update` one step.

    It writes nothing and says nothing; `hooks` do, beside those that guard updates and evaluate. With `shard`,
    each of several processes keeps its part of the model.
    """

    def __init__(
        self,
        config: RunConfig,
        text: Prepared,
        *,
        hooks: Sequence[Hook] = (),
        world: World = ALONE,
        shard: bool = False,
    ) -> None:
        settings = config.training
        check_batch(settings.batch, world)
        self.text, self.world = text, world
        self.evaluation = Evaluate()
        self.hooks: list[Hook] = [Guard(), self.evaluation, *hooks]
        self.compiler_note = keep_compiled()
        torch.manual_seed(settings.seed)
        self.device = hardware.pick_device(settings.device)
        check_device(self.device, world)
        self.dtype = world.on_main(lambda: hardware.pick_precision(settings.precision, self.device))
        self.config = config
        self.settle(device=self.device.type, precision="fp32" if self.dtype == torch.float32 else "bf16")
        self.model, self.sharded = LanguageModel(config.model), shard
        if shard:
            parts.shard(self.model, self.device, world.size)
        else:
            self.model.to(self.device)
        self.optimizers = make_optimizers(self.model, self.config.training, world)
        self.exchange = Exchange(world, list(self.model.parameters()), settings.gradients)
        rows = settings.batch * settings.accumulate
        self.batches = TrainBatches(text.train.ids, batch=rows, context=config.window, seed=settings.seed)
        self.loader = Loader(self.batches, self.device, world)
        self.windows_at_once = self._windows_at_once(settings.batch // world.size)
        self._dropout_keys = (
            key_dropouts(self.model, self.windows_at_once, self.device) if config.model.dropout else None
        )
        self.loss: compiling.Step = self.plain_loss
        self.state, self.stop = State(), Stop()
        self.begun = time.monotonic()  # all that `minutes` are counted from
        self.minutes = settings.minutes
        self.file_scores: list[tuple[str, Score]] = []  # of the whole validation text, at the end
        self._clock = 0.0
        self._drawn_from = random_states(self.device)  # before the update that is being made

    # -- the run -----------------------------------------------------------------------------------------

    def run(self, stop: Stop | None = None, prepared: Callable[[], None] = lambda: None) -> Score:
        """Train to the end and evaluate the whole validation text. Returns that score.

        `prepared` is called once before the first update, when everything is compiled.
        Raises InputError, Diverged, Interrupted, and OSError where something cannot be written.
        """
        hardware.keep_freed_memory()
        self.stop = stop or self.stop
        try:
            compiling.prepare(self)
            prepared()
            with self.stop.patiently():
                self._train()
                return self._finish()
        except BadValidation as error:
            raise BadValidation(f"{error}{self.kept()}: lower the learning rate") from error
        except Diverged as error:
            raise Diverged(self._after_divergence(error)) from error
        finally:
            for hook in self.hooks:
                hook.close()

    def _train(self) -> None:
        """All updates that are left."""
        for hook in self.hooks:
            hook.start(self)
        self._clock = time.perf_counter() - self.state.seconds
        if self.state.unfinished:
            self._after_update()
        while self.state.step < self.config.training.steps:
            try:
                self.update()
            except Spike as spike:
                self._pass_over(spike)
                continue
            except Interrupted as error:  # between micro-batches
                self._undo_gradients()
                self._leave(error.number)
            self._after_update()
            if self.stop.number is not None and self.world.size == 1:  # several agree at the next update
                self._leave(self.stop.number)

    def _after_update(self) -> None:
        pause, self.state.unfinished = time.perf_counter(), None
        try:
            for hook in self.hooks:
                hook.after_update(self)
        except Interrupted as error:
            self.state.unfinished = True
            if self.world.size == 1:
                self._leave(error.number)
            self.stop.number = error.number
        self._clock += time.perf_counter() - pause

    def _leave(self, number: int) -> NoReturn:
        """Save, and stop as a signal asked for; processes end when all is saved."""
        saved = self._save()
        self.world.gather(None)
        raise Interrupted(number, saved=saved)

    def _finish(self) -> Score:
        self._save()
        try:
            whole = self._evaluate()
            self.state.valid_nats = whole.nats_per_char
            self.state.train_eval_nats = self.evaluation.of_training(self)
            self.evaluated(whole)
            for hook in self.hooks:
                hook.end(self, whole)
        except Interrupted as error:  # resumed, a run that has made its updates does all of this again
            self._leave(error.number)
        return whole

    def _evaluate(self) -> Score:
        """The whole validation text; of several processes, each evaluates its share of the windows."""
        context, valid = self.config.model.context, self.text.valid
        shares = self.together(
            lambda: evaluate_store(self.model, valid, context, self.text.tokenizer, world=self.world)
        )
        self.file_scores = summed(shares)
        return total(score for _, score in self.file_scores)

    def together(self, work: Callable[[], T]) -> list[T]:
        """What some work, which a signal may break off, gives in each process. Raises Interrupted in all of them
        where one broke it off."""
        result, number = None, 0
        prompt = nullcontext() if self.sharded else self.stop.promptly()  # else others would wait for its weights
        try:
            with prompt:
                result = work()
        except Interrupted as error:
            number = error.number
        results = self.world.gather((number, result))
        if broken_off := max(number for number, _ in results):
            raise Interrupted(broken_off)
        return [result for _, result in results]  # type: ignore[misc]

    # -- what hooks are told -----------------------------------------------------------------------------

    def evaluated(self, score: Score) -> None:
        """Tell all hooks of a score."""
        for hook in self.hooks:
            hook.evaluated(self, score)

    def sampled(self, text: str) -> None:
        """Show all hooks a passage that the model has generated."""
        for hook in self.hooks:
            hook.sampled(self, text)

    def say(self, text: str, warning: bool = False) -> None:
        """Tell whoever watches, if anybody does."""
        for hook in self.hooks:
            hook.say(text, warning)

    def _save(self) -> bool:
        saved = [hook.save(self) for hook in self.hooks]
        return any(saved)

    @property
    def train_nats(self) -> float | None:
        """The smoothed training loss in nats a character."""
        return self.per_char(self.state.smooth_nats)

    def per_char(self, nats: float | None) -> float | None:
        """A training loss in nats a character, of one in nats a token."""
        return None if nats is None else nats / self.text.train.chars_per_token

    # -- what goes wrong ---------------------------------------------------------------------------------

    def _pass_over(self, spike: Spike) -> None:
        where = f"{spike} at step {self.state.step:,}, {self.batches.where(self.state.batch)}"
        if not any(hook.roll_back(self) for hook in self.hooks):
            raise Diverged(f"nothing keeps a state to go back to: {spike}")
        self.model.zero_grad(set_to_none=True)
        self._clock = time.perf_counter() - self.state.seconds
        self.say(f"{where}: back to step {self.state.step:,}, and on behind that batch", warning=True)

    def _after_divergence(self, error: Diverged) -> str:
        """Save the state before the update, if it is sound; says what is left, and what to do."""
        self._undo_gradients()
        with suppress(Diverged):
            self._save()
        return (
            f"{error} at step {self.state.step}, before the update{self.kept()}; the batch was "
            f"{self.batches.where(self.state.batch)}: lower the learning rate, or train with --precision fp32"
        )

    def _undo_gradients(self) -> None:
        """Back to the moment before the update that is being made."""
        set_random_states(self._drawn_from)
        self.model.zero_grad(set_to_none=True)

    def kept(self) -> str:
        """Where the last good state is, as the end of a sentence; empty where nothing is kept."""
        return "".join(f"; {kept}" for hook in self.hooks if (kept := hook.kept(self)))

    # -- one update --------------------------------------------------------------------------------------

    def update(self) -> None:
        """Raises Spike and Diverged, and then nothing has changed but random states."""
        step, settings = self.state.step, self.config.training
        self._drawn_from = random_states(self.device)
        set_rates(self.optimizers, rate_factor(step, settings))
        loss = self._gradients(self.loader.at(self.state.batch))
        loss = self.exchange.average(loss, self.stop.number)
        norm = clip_gradients(self.optimizers, settings.clip or math.inf)
        for hook in self.hooks:
            hook.before_update(self, loss, norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.state.take(loss)
        self.state.seconds = time.perf_counter() - self._clock

    def _windows_at_once(self, most: int) -> int:
        """How many windows of a micro-batch one pass takes: all of them, or on a CPU the part that stays in its
        caches, as the gradient is the same."""
        width = self.config.model.d_model
        tokens = PASS_NUMBERS // width
        if self.device.type != "cpu" or self.sharded or tokens < PASS_TOKENS * width:
            return most
        fitting = max(1, tokens // self.config.window)
        return max(n for n in range(1, min(most, fitting) + 1) if most % n == 0)

    def _gradients(self, windows: Tensor) -> float:
        """Accumulate the gradient of the mean loss over all windows, pass by pass; return that loss."""
        passes, loss = torch.split(windows, self.windows_at_once), 0.0
        in_full = self.dtype == torch.float32
        autocast: AbstractContextManager[Any] = (
            nullcontext() if in_full else torch.autocast(self.device.type, self.dtype)
        )
        for number, ids in enumerate(passes):
            if self.world.size == 1:  # several agree when all have their gradients
                self.stop.heed()
            self._key_dropout(number * len(ids), len(ids))
            if self.device.type == "cuda":
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            with autocast:  # outside of what is compiled, which could not be cached with it
                part_loss = self.loss(ids[:, :-1].contiguous(), ids[:, 1:].contiguous()) / len(passes)
            part_loss.backward()  # type: ignore[no-untyped-call]
            loss += float(part_loss.detach())
        return loss

    def _key_dropout(self, first: int, count: int) -> None:
        """Have dropout drawn for so many of this process's rows of the batch."""
        if self._dropout_keys is not None:
            rows = self.loader.rows[first : first + count]
            self._dropout_keys.copy_(row_keys(self.config.training.seed, self.state.batch, rows))

    def plain_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihood of windows (B, T), in nats a character."""
        logits = self.model(inputs)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    # -- before the first --------------------------------------------------------------------------------

    @property
    def compiled(self) -> bool:
        return self.loss != self.plain_loss

    def settle(self, **settings: Any) -> None:
        """Replace settings of `config.training`."""
        self.config = replace(self.config, training=replace(self.config.training, **settings))

    def try_out(self, step: compiling.Step) -> None:
        """Compute losses by this step from now on, and gradients once, which leave nothing behind."""
        self.loss = step
        try:
            with untouched(self.device):
                self._gradients(self.loader.at(self.state.batch))
        finally:
            self.model.zero_grad(set_to_none=True)
