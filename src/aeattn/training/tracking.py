"""Trackers, told of what is logged: each in a thread of its own, for which training does not wait.

A tracker is sent a step once, and only when no rollback can take that step back. What it has not been sent when a
run goes on, it is sent then, from the run's folder. So whatever happens to a run, a tracker has no step twice, and
in the end what `metrics.jsonl` and `samples.txt` have.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from aeattn import hardware
from aeattn.errors import InputError
from aeattn.files import read_json, write_json
from aeattn.runs.folder import RunFolder
from aeattn.training.evaluate import Score
from aeattn.training.hooks import Lines
from aeattn.training.tracker import Tracked, kind_of

if TYPE_CHECKING:
    from aeattn.training.trainer import Trainer

PATIENCE, HASTE = 60.0, 10.0  # seconds that the end of a training waits for its trackers, and an interruption


@dataclass
class Entry:
    """All there is of a step."""

    step: int
    metrics: dict[str, float]
    sample: str | None = None


def entries(metrics: Iterable[dict[str, Any]], samples: Iterable[tuple[int, str]]) -> list[Entry]:
    """Lines of `metrics.jsonl` and samples by their steps, in order. What is no number is left out."""
    found: dict[int, Entry] = {}
    for line in metrics:
        values = {name: value for name, value in line.items() if name != "step" and _is_number(value)}
        if isinstance(step := line.get("step"), int):
            found[step] = Entry(step, values)
    for step, text in samples:
        found.setdefault(step, Entry(step, {})).sample = text
    return [found[step] for step in sorted(found)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


class Feed:
    """One tracker and its thread. What is to be said of it waits in `news`: a text, and whether that warns."""

    def __init__(self, wanted: str, run: RunFolder) -> None:
        self.kind, self.project = kind_of(wanted)
        self.note = run.tracking / f"{self.kind.name}.json"
        self.news: SimpleQueue[tuple[str, bool]] = SimpleQueue()
        self._entries: SimpleQueue[Entry | bool] = SimpleQueue()
        self._failed = False
        self._thread = threading.Thread(target=self._work, name=f"tracker {self.kind.name}", daemon=True)

    def start(self, run: Tracked, past: Sequence[Entry]) -> None:
        """Begin, and send what the run's folder has."""
        self._run = replace(run, project=self.project, **self._noted(run.id))
        for entry in past:
            self.put(entry)
        self._thread.start()

    def _noted(self, fresh: str) -> dict[str, Any]:
        with suppress(InputError):
            values = read_json(self.note, "")
            if isinstance(values.get("id"), str) and isinstance(values.get("step"), int):
                return {"id": values["id"], "step": values["step"]}
        return {"id": fresh, "step": 0}

    def _note(self, step: int) -> None:
        write_json(self.note, {"id": self._run.id, "step": step})

    def put(self, entry: Entry) -> None:
        if not self._failed:
            self._entries.put(entry)

    def finish(self, done: bool) -> None:
        self._entries.put(done)

    def join(self, seconds: float) -> None:
        """Wait so long for it to have had everything."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                self._tell("does not answer: `aeattn resume` sends what it lacks")

    def _work(self) -> None:
        try:
            self._send()
        except (Exception, SystemExit) as error:
            says = " ".join(str(error).split())[:300]
            self._tell(f"failed: {type(error).__name__}: {says}: training goes on without it")
            self._failed = True

    def _send(self) -> None:
        self.note.parent.mkdir(exist_ok=True)
        self._note(self._run.step)
        tracker = self.kind.make()
        begun = tracker.begin(self._run)
        last = self._run.step if begun is None else begun
        self.news.put((f"tracked by {self.kind.name}: {tracker.where}", False))
        while not isinstance(entry := self._entries.get(), bool):
            if entry.step > last:
                tracker.log(entry.step, entry.metrics, entry.sample)
                last = entry.step
                self._note(last)
        tracker.end(entry)

    def _tell(self, what: str) -> None:
        self.news.put((f"tracker {self.kind.name} {what}", True))


class Track(Lines):
    """Tells trackers what `Log` writes."""

    def __init__(self, run: RunFolder, names: Sequence[str]) -> None:
        super().__init__()
        self.run = run
        self.feeds = [Feed(name, run) for name in names]
        self._held: list[Entry] = []  # which a rollback may still take back
        self._sent = self._rollbacks = 0
        self._done = False
        self._say: Callable[[str, bool], None] = lambda text, warning: None

    def start(self, trainer: Trainer) -> None:
        self._rollbacks, self._say = trainer.state.rollbacks, trainer.say
        past = entries(self.run.read_metrics(), self.run.read_samples())
        final = self._final(trainer)
        self._held = [entry for entry in past if entry.step > final]
        self._sent = max((entry.step for entry in past if entry.step <= final), default=0)
        told = Tracked(
            uuid.uuid4().hex, self.run.path.resolve().name, None, self.run.tracking, 0, trainer.config.to_dict(),
            hardware.describe(),
        )  # fmt: skip
        for feed in self.feeds:
            feed.start(told, [entry for entry in past if entry.step <= final])

    def after_update(self, trainer: Trainer) -> None:
        if trainer.state.rollbacks != self._rollbacks:
            self._forget(trainer)
        super().after_update(trainer)
        self._send(self._final(trainer))
        self._pass_on()

    def end(self, trainer: Trainer, score: Score) -> None:
        super().end(trainer, score)
        self._send(math.inf)
        self._done = True

    def write(self, metrics: Sequence[dict[str, Any]], samples: Sequence[tuple[int, str]]) -> None:
        self._held += entries(metrics, samples)

    def close(self) -> None:
        deadline = time.monotonic() + (PATIENCE if self._done else HASTE)
        for feed in self.feeds:
            feed.finish(self._done)
        for feed in self.feeds:
            feed.join(max(0.0, deadline - time.monotonic()))
        self._pass_on()

    def _send(self, final: float) -> None:
        """To all trackers what is held of the steps up to `final`."""
        for entry in [entry for entry in self._held if entry.step <= final]:
            for feed in self.feeds:
                feed.put(entry)
            self._sent = entry.step
        self._held = [entry for entry in self._held if entry.step > final]

    def _final(self, trainer: Trainer) -> int:
        """The last step that a rollback of the next update leaves as it is."""
        settings, state = trainer.config.training, trainer.state
        if not settings.spike_factor or state.rollbacks >= settings.spike_rollbacks:
            return state.step
        return max(0, state.step - 1) // settings.spike_every * settings.spike_every

    def _forget(self, trainer: Trainer) -> None:
        """What a rollback has taken back: all from this update on."""
        self._rollbacks, step = trainer.state.rollbacks, trainer.state.step
        self._held = [entry for entry in self._held if entry.step < step]
        if self._sent >= step:
            kept = f"steps {step:,} to {self._sent:,} as they were before the rollback"
            self._say(f"trackers have had, and keep, {kept}", True)

    def _pass_on(self) -> None:
        for feed in self.feeds:
            with suppress(Empty):
                while True:
                    self._say(*feed.news.get_nowait())
