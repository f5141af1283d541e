"""From records to conclusions: `summary.json`. docs/experiments.md lists its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, fields, replace

import numpy as np

from aeattn.compare import intervals, results
from aeattn.compare.convert import to_json
from aeattn.compare.declaration import Declaration, ResolvedArm, ResolvedContrast
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import Choice, Records, choices, is_current, jobs
from aeattn.compare.metrics import ANALYSED, TIMED, describe_measure, read_measure
from aeattn.compare.records import Record
from aeattn.compare.results import ContrastResult, RunCounts, Summary, TuningResult, Verdict
from aeattn.compare.sentences import conditions, notes, sentence, verdict

Finals = Mapping[str, Mapping[int, Record]]  # arm, seed


def summarise(folder: Folder, declaration: Declaration, records: Records) -> Summary:
    """Everything that follows from the records of a declaration, as far as they are there. Failed runs count
    nowhere. Raises InputError without SciPy."""
    wanted = jobs(declaration, records)
    current = [records[job.name] for job in wanted if is_current(job, records)]
    finals = {arm.id: _done(current, arm.id) for arm in declaration.arms}
    chosen = choices(declaration, records)
    shared = sharing_the_machine(list(records.values()))
    found = [_contrast(folder, declaration, c, finals, shared) for c in declaration.contrasts]
    contrasts = [replace(c, verdict=verdict(c, declaration.smallest_effect)) for c in together(found)]
    said = tuple(replace(contrast, sentence=sentence(contrast, declaration)) for contrast in contrasts)
    runs = _runs(declaration, wanted, current)
    failed = tuple(
        results.FailedRun(r.name, r.arm, r.seed, r.failure, r.reason) for r in current if r.status == "failed"
    )
    tuning = tuple(_tuning(declaration, choice) for choice in chosen.values())
    return Summary(
        spec=declaration.hash,
        answer=next(contrast.sentence for contrast in said if contrast.primary),
        runs=runs,
        failed=failed,
        arms=tuple(_arm(arm, finals[arm.id], chosen.get(arm.id)) for arm in declaration.arms),
        tuning=tuning,
        noise=_noise(declaration, finals),
        contrasts=said,
        notes=tuple(notes(declaration, current, runs, failed, tuning)),
        conditions=conditions(declaration),
    )


def _done(records: Sequence[Record], arm: str) -> dict[int, Record]:
    return {r.seed: r for r in records if r.phase == "final" and r.arm == arm and r.status == "done"}


def _runs(declaration: Declaration, wanted: Sequence[Record], current: Sequence[Record]) -> RunCounts:
    final = [job for job in wanted if job.phase == "final"]
    later = 0 if final else len(declaration.arms) * len(declaration.seeds.final)
    done = sum(record.status == "done" for record in current)
    total = len(wanted) + later
    return RunCounts(total, done, failed=len(current) - done, missing=total - len(current))


def _arm(arm: ResolvedArm, finals: Mapping[int, Record], choice: Choice | None) -> results.ArmSummary:
    losses = {seed: nats for seed, r in finals.items() if (nats := r.nats_per_char) is not None}
    found = intervals.estimate(list(losses.values())) if losses else None
    return results.ArmSummary(
        id=arm.id,
        label=arm.label,
        n=len(losses),
        mean=found.mean if found else None,
        interval=found.interval if found else None,
        sd=found.sd if found else None,
        perplexity=float(np.exp(found.mean)) if found else None,
        losses=losses,
        rate=next((record.rate for record in finals.values()), choice.chosen if choice else None),
        settings=next((record.settings for record in finals.values()), {}),
        cost=_mean_cost(finals),
    )


def _mean_cost(finals: Mapping[int, Record]) -> results.MeanCost:
    costs = [to_json(record.cost) for record in finals.values() if record.cost is not None]
    columns = {
        f.name: [cost[f.name] for cost in costs if cost[f.name] is not None] for f in fields(results.MeanCost)
    }
    return results.MeanCost(**{name: float(np.mean(column)) for name, column in columns.items() if column})


def _tuning(declaration: Declaration, choice: Choice) -> TuningResult:
    tuning = declaration.tuning
    assert tuning is not None
    grid, means = tuning.search == "grid", choice.means
    rates = tuple(
        results.TriedRate(
            rate=rate,
            settings=choice.tried[rate].settings,
            mean=means.get(rate),
            losses=losses,
            failed=sum(nats is None for nats in losses.values()),
        )
        for rate, losses in sorted(choice.losses.items())
    )
    return TuningResult(
        id=choice.arm,
        rates=rates,
        chosen=choice.chosen,
        at_edge=choice.at_edge if grid else _near_edge(choice, tuning.space),
        extended=grid and len(rates) > len(tuning.rates),
        sensitivity=choice.sensitivity if grid else None,
    )


def _near_edge(choice: Choice, space: Mapping[str, Sequence[float]]) -> bool:
    """Whether the best trial lies within a twentieth of an end of what was searched, on the logarithmic scale."""
    if choice.chosen is None:
        return False
    best = choice.tried[choice.chosen].settings
    shares = [np.log(best[name] / low) / np.log(high / low) for name, (low, high) in space.items()]
    return any(not 0.05 <= share <= 0.95 for share in shares)


def _noise(declaration: Declaration, finals: Finals) -> results.Noise:
    """How much the baseline of the primary contrast varies over seeds."""
    arm = declaration.primary.than
    losses = [nats for r in finals[arm].values() if (nats := r.nats_per_char) is not None]
    sd = float(np.std(losses, ddof=1)) if len(losses) > 1 else None
    return results.Noise(arm, len(losses), sd, intervals.resolvable(sd, len(losses)) if sd is not None else None)


def _contrast(
    folder: Folder, declaration: Declaration, contrast: ResolvedContrast, finals: Finals, shared: Set[str]
) -> ContrastResult:
    """One difference, without what follows from there being several, and without its sentence."""
    ours, theirs = finals[contrast.arm], finals[contrast.than]
    pairs = [seed for seed in declaration.seeds.final if seed in ours and seed in theirs]
    mine, baseline = _figures(folder, contrast.measure, ours), _figures(folder, contrast.measure, theirs)
    differences = {seed: mine[seed] - baseline[seed] for seed in pairs if seed in mine and seed in baseline}
    lost = len(declaration.seeds.final) - len(differences)
    state: Verdict = "one seed" if differences else "not measured" if pairs else "no runs"
    if contrast.measure in TIMED and any(side[s].name in shared for side in (ours, theirs) for s in differences):
        differences, state = {}, "not comparable"
    found = intervals.estimate(list(differences.values())) if differences else None
    return ContrastResult(
        **asdict(contrast),
        labels=(declaration.arm(contrast.arm).label, declaration.arm(contrast.than).label),
        unit=describe_measure(contrast.measure).unit,
        n=len(differences),
        seeds=tuple(differences),
        lost=lost,
        differences=differences,
        mean=found.mean if found else None,
        interval=found.interval if found else None,
        p=found.p if found else None,
        baseline=float(np.mean(list(baseline.values()))) if baseline else None,
        bootstrap=_bootstrap(differences, ours, theirs) if contrast.measure == "valid_nats" else None,
        percent_perplexity=None,
        paired_batches=all(ours[seed].batches == theirs[seed].batches for seed in differences),
        verdict=state,
    )


def _figures(folder: Folder, measure: str, runs: Mapping[int, Record]) -> dict[int, float]:
    """A measure by seed, of the runs that have it."""
    analysed = measure.split(".")[0] in ANALYSED
    read = {
        s: read_measure(measure, r, folder.read_analysis(r.name) if analysed else None) for s, r in runs.items()
    }
    return {seed: value for seed, value in read.items() if value is not None}


def _bootstrap(
    seeds: Mapping[int, float], ours: Mapping[int, Record], theirs: Mapping[int, Record]
) -> results.Bootstrap:
    """The two-level bootstrap over the seeds of both arms and the books that they were validated on."""
    tables = [[_books(runs[seed]) for seed in seeds] for runs in (ours, theirs)]
    names = sorted(set.intersection(*(set(books) for table in tables for books in table))) if seeds else []
    sides = [np.array([[books[n][0] for n in names] for books in table]) for table in tables]
    chars = np.array([tables[0][0][n][1] for n in names], float) if seeds else np.empty(0)
    interval = intervals.two_level_bootstrap(sides[0] - sides[1], chars) if seeds else None
    return results.Bootstrap(interval, len(seeds), len(names))


def _books(record: Record) -> dict[str, tuple[float, int]]:
    """Summed loss and characters of each validation document in which anything was predicted."""
    files = record.valid.files if record.valid else ()
    return {f.name: (f.nats_per_char * f.chars, f.chars) for f in files if f.nats_per_char is not None and f.chars}


def together(contrasts: Sequence[ContrastResult]) -> list[ContrastResult]:
    """With what follows from there being several: Holm's p over all of them, and intervals of the exploratory
    ones that hold all at once at 95 % (Bonferroni). Figures that are the same with every seed do not count."""
    several = sum(not c.primary and c.interval is not None and c.interval[0] < c.interval[1] for c in contrasts)
    return [
        _with_percent(replace(contrast, p_holm=p, simultaneous=_simultaneous(contrast, max(1, several))))
        for contrast, p in zip(contrasts, intervals.holm([c.p for c in contrasts]), strict=True)
    ]


def _simultaneous(contrast: ContrastResult, several: int) -> intervals.Interval | None:
    if contrast.primary or contrast.interval is None:
        return None
    return intervals.estimate(list(contrast.differences.values()), 1 - (1 - intervals.LEVEL) / several).interval


def _with_percent(contrast: ContrastResult) -> ContrastResult:
    if contrast.mean is None or contrast.measure != "valid_nats":
        return contrast
    ends = contrast.shown and (
        intervals.percent_perplexity(contrast.shown[0]),
        intervals.percent_perplexity(contrast.shown[1]),
    )
    change = results.PerplexityChange(intervals.percent_perplexity(contrast.mean), ends)
    return replace(contrast, percent_perplexity=change)


def sharing_the_machine(records: Sequence[Record]) -> set[str]:
    """Names of runs that were made while another one was: how fast they were says nothing of their arms."""
    timed = sorted((r.started, r.finished or r.started, r.name) for r in records if r.started)
    found: set[str] = set()
    for i, (_, end, name) in enumerate(timed):
        beside = [other for begin, _, other in timed[i + 1 :] if begin < end]
        found |= {name, *beside} if beside else set()
    return found
