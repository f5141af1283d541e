"""Which runs a declaration asks for, as far as the records so far tell: a pure function, so that a comparison that
was killed goes on where it stood."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aeattn.compare.convert import digest
from aeattn.compare.declaration import Declaration, ResolvedArm
from aeattn.compare.records import Phase, Record, Text, TextSide, TrialSettings
from aeattn.config.run import TrainingConfig
from aeattn.errors import InputError

Records = Mapping[str, Record]
Key = float | tuple[float, float]
"""A rate, or the number of a trial; or AdamW's rate and Muon's."""
CURVE_POINTS = 10  # evaluations of a final run, and checkpoints where attention is to be measured


@dataclass(frozen=True)
class Tried:
    """What a run is trained with: a factor on both learning rates, or one on AdamW's and one on Muon's, or what a
    trial of Optuna's drew."""

    rate: float = 1.0
    trial: int | None = None
    settings: TrialSettings = field(default_factory=dict)
    matrix_rate: float | None = None

    @property
    def key(self) -> Key:
        if self.matrix_rate is not None:
            return self.rate, self.matrix_rate
        return self.rate if self.trial is None else float(self.trial)


@dataclass(frozen=True)
class Choice:
    """What tuning came to for an arm: `losses` of each rate (or trial), by seed; None where a run failed.

    `chosen` is the rate (or the number of the trial) of the least mean over all seeds; None where none was trained
    on all of them. `sensitivity` is the mean loss one step of the grid away from it, less its own.
    """

    arm: str
    losses: dict[Key, dict[int, float | None]]
    tried: dict[Key, Tried]

    @property
    def chosen(self) -> Key | None:
        return min(self.means, key=self.means.__getitem__, default=None)

    @property
    def at_edge(self) -> bool:
        """Whether a rate that was chosen is the least or the largest that was tried."""
        if self.chosen is None:
            return False
        axes = zip(coordinates(self.chosen), *map(coordinates, self.losses), strict=True)
        return any(best in (min(tried), max(tried)) for best, *tried in axes)

    @property
    def means(self) -> dict[Key, float]:
        """The mean loss of every rate that was trained on all seeds."""
        whole = {rate: [x for x in by.values() if x is not None] for rate, by in self.losses.items()}
        return {rate: sum(xs) / len(xs) for rate, xs in whole.items() if len(xs) == len(self.losses[rate])}

    @property
    def sensitivity(self) -> float | None:
        if self.chosen is None:
            return None
        means = self.means
        beside = [means[key] for key in self._beside(self.chosen) if key in means]
        return sum(beside) / len(beside) - means[self.chosen] if beside else None

    def _beside(self, chosen: Key) -> list[Key]:
        """What was tried one step of the grid away in one rate, with the other the same."""
        found: list[Key] = []
        for axis in range(len(coordinates(chosen))):
            line = sorted(key for key in self.losses if _others(key, axis) == _others(chosen, axis))
            at = line.index(chosen)
            found += [key for key in line[max(0, at - 1) : at + 2] if key != chosen]
        return found


def coordinates(key: Key) -> tuple[float, ...]:
    """One rate, or two."""
    return key if isinstance(key, tuple) else (key,)


def _others(key: Key, axis: int) -> tuple[float, ...]:
    rates = coordinates(key)
    return rates[:axis] + rates[axis + 1 :]


def is_current(job: Record, records: Records) -> bool:
    """Whether a job has been finished, well or not, just as it is now."""
    known = records.get(job.name)
    return known is not None and known.hash == job.hash and known.status != "running"


def jobs(declaration: Declaration, records: Records) -> list[Record]:
    """Every run that can be named now, finished or not, in the order to do them: final runs follow when all tuning
    is done. Arms that no rate could train have no final runs."""
    tuning = tuning_jobs(declaration, records)
    if not all(is_current(job, records) for job in tuning):
        return tuning
    return [*tuning, *final_jobs(declaration, records)]


def final_jobs(declaration: Declaration, records: Records) -> list[Record]:
    """Seed by seed, so that what is there after a while is paired."""
    found = choices(declaration, records)
    chosen = {
        id: choice.tried[choice.chosen] if choice.chosen is not None else None for id, choice in found.items()
    }
    return [
        _job(declaration, arm, "final", seed, tried)
        for seed in declaration.seeds.final
        for arm in declaration.arms
        if (tried := chosen.get(arm.id, Tried())) is not None
    ]


def untuned_work(declaration: Declaration, records: Records) -> float:
    """Training FLOPs of the final runs, which cannot be named before tuning is done."""
    per_seed = sum(arm.steps * arm.run_config.tokens_per_step * arm.train_flops for arm in declaration.arms)
    return float(per_seed * len(declaration.seeds.final))


def tuning_jobs(declaration: Declaration, records: Records) -> list[Record]:
    """On a grid, all rates as far as it has grown; with Optuna, all trials up to the next of each arm."""
    if declaration.tuning is None:
        return []
    if declaration.tuning.search == "optuna":
        return _trial_jobs(declaration, records)
    if declaration.tuning.apart:
        return _jobs_apart(declaration, records)
    return _on_grid(declaration, records, lambda rates: _rate_jobs(declaration, rates))


def choices(declaration: Declaration, records: Records) -> dict[str, Choice]:
    """What tuning came to for each resolved arm; empty where nothing is tuned."""
    found = tuning_jobs(declaration, records)
    return {arm.id: _choice(arm.id, found, records) for arm in declaration.arms} if found else {}


def _choice(arm: str, found: Sequence[Record], records: Records) -> Choice:
    choice = Choice(arm, {}, {})
    for job in found:
        if job.arm == arm:
            tried = Tried(job.rate, job.trial, job.settings, job.matrix_rate)
            done = is_current(job, records)
            choice.losses.setdefault(tried.key, {})[job.seed] = records[job.name].nats_per_char if done else None
            choice.tried[tried.key] = tried
    return choice


def _on_grid(
    declaration: Declaration, records: Records, jobs_at: Callable[[Sequence[float]], list[Record]], axis: int = 0
) -> list[Record]:
    """The jobs at the rates for every arm: while one arm does best on an edge, one more there for all of them.
    `axis` says which of two rates is meant."""
    assert declaration.tuning is not None
    rates = list(declaration.tuning.rates)
    for _ in range(declaration.tuning.extend):
        found = jobs_at(rates)
        if not all(is_current(job, records) for job in found):
            break
        chosen = [_choice(arm.id, found, records).chosen for arm in declaration.arms]
        best = [coordinates(key)[axis] for key in chosen if key is not None]
        low = [rates[0] ** 2 / rates[1]] if rates[0] in best else []
        high = [rates[-1] ** 2 / rates[-2]] if rates[-1] in best else []
        if not low and not high:
            break
        rates = [*low, *rates, *high]
    return jobs_at(rates)


def _rate_jobs(declaration: Declaration, rates: Sequence[float]) -> list[Record]:
    return [
        _job(declaration, arm, "tune", seed, Tried(rate))
        for seed in declaration.seeds.tuning
        for rate in rates
        for arm in declaration.arms
    ]


def _jobs_apart(declaration: Declaration, records: Records) -> list[Record]:
    """Muon's rates with AdamW's as in the base, then AdamW's with each arm's best of Muon's."""

    def of_muon(rates: Sequence[float]) -> list[Record]:
        return _pairs(declaration, rates, lambda _, rate: Tried(1.0, matrix_rate=rate))

    first = _on_grid(declaration, records, of_muon, axis=1)
    if not all(is_current(job, records) for job in first):
        return first
    best = {arm.id: _choice(arm.id, first, records).chosen for arm in declaration.arms}

    def of_adamw(rates: Sequence[float]) -> list[Record]:
        others = [rate for rate in rates if rate != 1.0]
        return [*first, *_pairs(declaration, others, lambda arm, rate: _with_best(best[arm.id], rate))]

    return _on_grid(declaration, records, of_adamw, axis=0)


def _with_best(chosen: Key | None, rate: float) -> Tried | None:
    return None if chosen is None else Tried(rate, matrix_rate=coordinates(chosen)[1])


def _pairs(
    declaration: Declaration, rates: Sequence[float], tried: Callable[[ResolvedArm, float], Tried | None]
) -> list[Record]:
    """The jobs of what is tried of each arm; None is an arm that no rate could train."""
    found = [
        (arm, seed, tried(arm, rate))
        for seed in declaration.seeds.tuning
        for rate in rates
        for arm in declaration.arms
    ]
    return [_job(declaration, arm, "tune", seed, what) for arm, seed, what in found if what is not None]


def _trial_jobs(declaration: Declaration, records: Records) -> list[Record]:
    """Trials of each arm, one after the other: each is drawn from what came of those before it."""
    assert declaration.tuning is not None
    by_trial: list[list[Record]] = [[] for _ in range(declaration.tuning.trials)]
    for arm in declaration.arms:
        history: list[tuple[TrialSettings, float | None]] = []
        for trial, jobs_of_trial in enumerate(by_trial):
            tried = Tried(1.0, trial, suggest(declaration.tuning.space, history))
            found = [_job(declaration, arm, "tune", seed, tried) for seed in declaration.seeds.tuning]
            jobs_of_trial += found
            if not all(is_current(job, records) for job in found):
                break
            history.append((tried.settings, _choice(arm.id, found, records).means.get(tried.key)))
    return [job for found in by_trial for job in found]


def suggest(
    space: Mapping[str, Sequence[float]], history: Sequence[tuple[TrialSettings, float | None]]
) -> TrialSettings:
    """The next settings to try, drawn by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) from
    what came before; None is the loss of a trial that failed. The same history gives the same settings.

    Raises InputError where Optuna is not installed.
    """
    require_optuna()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ends = distributions(space)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    for _, loss in history:
        trial = study.ask(dict(ends))
        study.tell(trial, loss, state=optuna.trial.TrialState.FAIL if loss is None else None)
    return dict(study.ask(dict(ends)).params)


def distributions(space: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """What Optuna draws each setting from."""
    import optuna

    return {
        name: optuna.distributions.FloatDistribution(low, high, log=True) for name, (low, high) in space.items()
    }


def require_optuna() -> None:
    """Raise InputError where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise InputError(
            "tuning.search = 'optuna' needs Optuna: pip install 'autoencoder-attention[optuna]', or use a grid"
        ) from None


def _job(declaration: Declaration, arm: ResolvedArm, phase: Phase, seed: int, tried: Tried) -> Record:
    """The record of a run that is yet to be done."""
    config = arm.run_config.changed(tried.settings) if tried.settings else arm.run_config
    share = declaration.tuning.share if declaration.tuning and phase == "tune" else 1.0
    training = replace(
        config.training,
        seed=seed,
        steps=max(1, round(share * arm.steps)),
        learning_rate=tried.rate * config.training.learning_rate,
        matrix_learning_rate=config.training.matrix_learning_rate
        * (tried.rate if tried.matrix_rate is None else tried.matrix_rate),
    )
    timed = _for_tuning(training) if phase == "tune" else _for_a_curve(training, declaration.attention)
    values = replace(config, training=timed).to_dict()
    text = declaration.text[arm.text]
    determined = {"config": values, "text": {"train": text.train.sha256, "valid": text.valid.sha256}}
    if judged := {name: side.sha256 for name, side in text.judged.items()} if phase == "final" else {}:
        determined |= {"judged": judged}
    return Record(
        name=f"{phase}-{arm.id}{_named(tried) if phase == 'tune' else ''}-seed{seed}",
        hash=digest(determined | ({"plugins": declaration.plugins} if declaration.plugins else {})),
        spec=declaration.hash,
        phase=phase,
        arm=arm.id,
        seed=seed,
        rate=tried.rate,
        trial=tried.trial,
        matrix_rate=tried.matrix_rate,
        settings=tried.settings,
        status="running",
        config=values,
        text=Text(_known(text.train), _known(text.valid)),
    )


def _known(side: TextSide) -> TextSide:
    return TextSide(side.chars, side.sha256)


def _named(tried: Tried) -> str:
    if tried.trial is not None:
        return f"-trial{tried.trial}"
    return f"-rate{tried.rate:.4g}" + (f"-matrix{tried.matrix_rate:.4g}" if tried.matrix_rate is not None else "")


def _for_tuning(training: TrainingConfig) -> TrainingConfig:
    """Only the loss at the end is wanted."""
    return _with_checkpoints(replace(training, eval_every=0, sample_every=0), max(1, training.steps // 4), 1)


def _for_a_curve(training: TrainingConfig, attention: bool) -> TrainingConfig:
    """A curve, samples, and a checkpoint at each of its points; all are kept where attention is to be measured."""
    every = training.eval_every or max(1, -(-training.steps // CURVE_POINTS))
    kept = training.steps // every + 1 if attention else 1
    sample_every = every if training.sample_every is None else training.sample_every
    return _with_checkpoints(replace(training, eval_every=every, sample_every=sample_every), every, kept)


def _with_checkpoints(training: TrainingConfig, every: int, kept: int) -> TrainingConfig:
    """By steps alone: others, by time, would push those out where attention is to be measured."""
    return replace(training, checkpoint_every=every, checkpoint_minutes=None, keep_checkpoints=kept)


def work(job: Record) -> float:
    """Training FLOPs of a run."""
    from aeattn.nn.size import size

    config = job.run_config
    tokens = config.training.steps * config.tokens_per_step
    return float(tokens * size(config.model, window=config.window).train_flops)
