"""How long a comparison will take, before anything runs: an estimate, and labelled as one."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aeattn.compare.declaration import Declaration, ResolvedArm
from aeattn.compare.jobs import CURVE_POINTS, Records, is_current, jobs, untuned_work, work
from aeattn.compare.records import Record
from aeattn.config.run import RunConfig
from aeattn.hardware import pick_device
from aeattn.training.ahead import FORWARD
from aeattn.training.compiling import COMPILE_GAIN, pays_to_compile

Measure = Callable[[Sequence[RunConfig]], list[float]]  # seconds of an update of each config
LITTLE_WORK, GUESS = 1e12, 2e10  # FLOPs, and FLOPs a second of any machine
RUN_SECONDS = 10.0  # to start a run, and to write its record


@dataclass(frozen=True)
class Estimate:
    """Seconds for so many runs, and where the speed, of tokens that are called `unit`, comes from."""

    seconds: float
    runs: int
    at_once: int
    tokens_per_second: float
    unit: str
    source: str

    def sentence(self) -> str:
        """For those who wait."""
        together = f", {self.at_once} at a time" if self.at_once > 1 else ""
        return (
            f"estimate: {duration(self.seconds)} for {self.runs} runs{together}, at {self.tokens_per_second:,.0f} "
            f"{self.unit} a second ({self.source})"
        )


def estimate(declaration: Declaration, records: Records, at_once: int, measure: Measure) -> Estimate | None:
    """What is missing of a comparison, at the speed of its runs so far, or by a short measurement of the first
    arm, which is left out where there is too little work for that. None where nothing is missing."""
    wanted = jobs(declaration, records)
    missing = [job for job in wanted if not is_current(job, records)]
    later = 0
    total = sum(map(work, missing))
    if wanted and all(job.phase == "tune" for job in wanted):
        later = len(declaration.arms) * len(declaration.seeds.final)
        total += untuned_work(declaration, records)
    if not (runs := len(missing) + later):
        return None
    arm = declaration.arms[0]
    rate, source = _rate(declaration, arm, list(records.values()), measure if total > LITTLE_WORK else None)
    final = later + sum(job.phase == "final" for job in missing)
    judged = sum(side.chars for side in declaration.text[arm.text].judged.values())
    evaluated = FORWARD * (runs * _evaluated(declaration, arm) + final * judged) * arm.train_flops
    together = min(at_once, runs)
    seconds = ((total + evaluated) / rate + RUN_SECONDS * runs) / together
    unit = "characters" if arm.run_config.data.tokenizer == "char" else "tokens"
    return Estimate(seconds, runs, together, rate / arm.train_flops, unit, source)


def _rate(
    declaration: Declaration, arm: ResolvedArm, records: Sequence[Record], measure: Measure | None
) -> tuple[float, str]:
    """FLOPs a second of training, and where that comes from."""
    arms = {each.id for each in declaration.arms}
    known = [r.cost.train_flops / r.cost.seconds for r in records if r.cost is not None and r.arm in arms]
    if known:
        return statistics.median(known), "from the records that are there"
    if measure is None:
        return GUESS, "a guess: there is too little to do to measure it"
    config = arm.run_config
    (seconds,) = measure([config])
    rate, device = config.tokens_per_step * arm.train_flops / seconds, pick_device(config.training.device)
    if config.training.compile == "auto" and pays_to_compile("auto", device, seconds * arm.steps):
        rate /= 1 - COMPILE_GAIN  # it was measured without
    return rate, "measured just now"


def _evaluated(declaration: Declaration, arm: ResolvedArm) -> int:
    """Characters of the two texts that a run evaluates on its way and at its end."""
    text, most = declaration.text[arm.text], arm.run_config.training.eval_chars
    return CURVE_POINTS * (min(most, text.train.chars) + min(most, text.valid.chars)) + text.valid.chars


def duration(seconds: float) -> str:
    """In words that do not pretend to be exact."""
    for limit, unit, name in ((90, 1, "seconds"), (90 * 60, 60, "minutes"), (36 * 3600, 3600, "hours")):
        if seconds < limit:
            return f"about {seconds / unit:.2g} {name}"
    return f"about {seconds / 86400:.2g} days"
