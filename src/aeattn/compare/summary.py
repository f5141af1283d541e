"""From records to conclusions: `summary.json`. docs/experiments.md lists its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, fields, replace

import numpy as np

from aeattn.compare import by_book, intervals, results
from aeattn.compare.convert import to_json
from aeattn.compare.declaration import Declaration, ResolvedArm, ResolvedContrast
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import Choice, Records, choices, coordinates, is_current, jobs
from aeattn.compare.metrics import ANALYSED, LOSSES, TIMED, describe_measure, read_measure
from aeattn.compare.records import Record
from aeattn.compare.results import ContrastResult, RunCounts, Summary, TuningResult, Verdict
from aeattn.compare.sentences import SCREENING, brief, conditions, notes, sentence, verdict

Finals = Mapping[str, Mapping[int, Record]]  # arm, seed


def summarise(folder: Folder, declaration: Declaration, records: Records) -> Summary:
    """Everything that follows from the records of a declaration, as far as they are there. Failed runs count
    nowhere."""
    wanted = jobs(declaration, records)
    current = [records[job.name] for job in wanted if is_current(job, records)]
    finals = {arm.id: _done(current, arm.id) for arm in declaration.arms}
    chosen = choices(declaration, records)
    shared = sharing_the_machine(list(records.values()))
    found = [_contrast(folder, declaration, c, finals, shared) for c in declaration.contrasts]
    several = together(_with_books(declaration, found, finals))
    contrasts = [replace(c, verdict=verdict(c, declaration.smallest_effect)) for c in several]
    said = tuple(replace(contrast, sentence=sentence(contrast, declaration)) for contrast in contrasts)
    runs = _runs(declaration, wanted, current)
    failed = tuple(
        results.FailedRun(r.name, r.arm, r.seed, r.failure, r.reason) for r in current if r.status == "failed"
    )
    tuning = tuple(_tuning(declaration, choice) for choice in chosen.values())
    return Summary(
        spec=declaration.hash,
        answer=_answer(said),
        runs=runs,
        failed=failed,
        arms=tuple(_arm(arm, finals[arm.id], chosen.get(arm.id), declaration.loss) for arm in declaration.arms),
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


def _answer(contrasts: Sequence[ContrastResult]) -> str:
    """The sentence of the primary contrast, a phrase for each of a family, or what a screening is for."""
    primary = [c for c in contrasts if c.primary]
    if any(c.family for c in primary):
        return "; ".join(map(brief, primary)) + "."
    return primary[0].sentence if primary else SCREENING


def _losses(finals: Mapping[int, Record], loss: str) -> dict[int, float]:
    known = {seed: read_measure(loss, record, None) for seed, record in finals.items()}
    return {seed: nats for seed, nats in known.items() if nats is not None}


def _arm(arm: ResolvedArm, finals: Mapping[int, Record], choice: Choice | None, loss: str) -> results.ArmSummary:
    losses = _losses(finals, loss)
    chosen = coordinates(choice.chosen) if choice and choice.chosen is not None else ()
    found = intervals.estimate(list(losses.values())) if losses else None
    first = next(iter(finals.values()), None)
    return results.ArmSummary(
        id=arm.id,
        label=arm.label,
        n=len(losses),
        mean=found.mean if found else None,
        interval=found.interval if found else None,
        sd=found.sd if found else None,
        perplexity=float(np.exp(found.mean)) if found else None,
        losses=losses,
        rate=first.rate if first else chosen[0] if chosen else None,
        settings=first.settings if first else {},
        cost=_mean_cost(finals),
        matrix_rate=first.matrix_rate if first else chosen[1] if len(chosen) > 1 else None,
    )


def _mean_cost(finals: Mapping[int, Record]) -> results.MeanCost:
    costs = [to_json(record.cost) for record in finals.values() if record.cost is not None]
    columns = {
        f.name: [cost[f.name] for cost in costs if cost.get(f.name) is not None] for f in fields(results.MeanCost)
    }
    return results.MeanCost(**{name: float(np.mean(column)) for name, column in columns.items() if column})


def _tuning(declaration: Declaration, choice: Choice) -> TuningResult:
    tuning = declaration.tuning
    assert tuning is not None
    grid, means = tuning.search == "grid", choice.means
    rates = tuple(
        results.TriedRate(
            rate=coordinates(key)[0],
            settings=choice.tried[key].settings,
            mean=means.get(key),
            losses=losses,
            failed=sum(nats is None for nats in losses.values()),
            matrix_rate=choice.tried[key].matrix_rate,
        )
        for key, losses in sorted(choice.losses.items())
    )
    tried = {coordinates(key)[-1] for key in choice.losses}
    chosen = None if choice.chosen is None else coordinates(choice.chosen)
    return TuningResult(
        id=choice.arm,
        rates=rates,
        chosen=chosen[0] if chosen else None,
        at_edge=choice.at_edge if grid else _near_edge(choice, tuning.space),
        extended=grid and not {*tried, *(each.rate for each in rates)} <= set(tuning.rates),
        sensitivity=choice.sensitivity if grid else None,
        chosen_matrix=chosen[1] if chosen and len(chosen) > 1 else None,
    )


def _near_edge(choice: Choice, space: Mapping[str, Sequence[float]]) -> bool:
    """Whether the best trial lies within a twentieth of an end of what was searched, on the logarithmic scale."""
    if choice.chosen is None:
        return False
    best = choice.tried[choice.chosen].settings
    shares = [np.log(best[name] / low) / np.log(high / low) for name, (low, high) in space.items()]
    return any(not 0.05 <= share <= 0.95 for share in shares)


def _noise(declaration: Declaration, finals: Finals) -> results.Noise:
    """How much the baseline of the primary contrast varies over seeds; in a screening, whose seeds are few, how
    much all variants do."""
    arm = declaration.baseline
    ids = [each.id for each in declaration.arms] if declaration.screening else [arm]
    every = [list(_losses(finals[id], declaration.loss).values()) for id in ids]
    known = [losses for losses in every if len(losses) > 1]
    n = min(map(len, known), default=max(map(len, every)))
    if not known:
        return results.Noise(arm, n, None, None)
    sd, degrees = intervals.within(known)
    variants = len(known) if declaration.screening else 0
    return results.Noise(arm, n, sd, intervals.resolvable(sd, n, degrees), variants)


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
        bootstrap=_bootstrap(contrast.measure, differences, ours, theirs) if contrast.measure in LOSSES else None,
        percent_perplexity=None,
        paired_batches=all(ours[seed].batches == theirs[seed].batches for seed in differences),
        verdict=state,
        family=declaration.family if contrast.primary else 0,
    )


def _with_books(
    declaration: Declaration, contrasts: Sequence[ContrastResult], finals: Finals
) -> list[ContrastResult]:
    """With the model of seeds and books, where it was declared; what seeds do is pooled over a group's arms."""
    if not declaration.two_way:
        return list(contrasts)
    found, known = [], dict[tuple[str, str, str | None], intervals.Pooled | None]()
    for c in contrasts:
        key = c.measure, c.matching, c.size
        if key not in known:
            arms = [finals[a.id] for a in declaration.arms if (a.matching, a.size) == key[1:]]
            known[key] = by_book.pooled(arms, c.measure)
        model = by_book.difference(finals[c.arm], finals[c.than], c.seeds, c.measure, known[key])
        found.append(replace(c, two_way=model))
    return found


def _figures(folder: Folder, measure: str, runs: Mapping[int, Record]) -> dict[int, float]:
    """A measure by seed, of the runs that have it."""
    analysed = measure.split(".")[0] in ANALYSED
    read = {
        s: read_measure(measure, r, folder.read_analysis(r.name) if analysed else None) for s, r in runs.items()
    }
    return {seed: value for seed, value in read.items() if value is not None}


def _bootstrap(
    measure: str, seeds: Mapping[int, float], ours: Mapping[int, Record], theirs: Mapping[int, Record]
) -> results.Bootstrap:
    """The two-level bootstrap over the seeds of both arms and the books that the loss is of."""
    tables = [[_books(runs[seed], measure) for seed in seeds] for runs in (ours, theirs)]
    names = sorted(set.intersection(*(set(books) for table in tables for books in table))) if seeds else []
    sides = [np.array([[books[n][0] for n in names] for books in table]) for table in tables]
    chars = np.array([tables[0][0][n][1] for n in names], float) if seeds else np.empty(0)
    interval = intervals.two_level_bootstrap(sides[0] - sides[1], chars) if seeds else None
    return results.Bootstrap(interval, len(seeds), len(names))


def _books(record: Record, measure: str) -> dict[str, tuple[float, int]]:
    """Summed loss and characters of each document in which anything was predicted."""
    text = by_book.text_of(record, measure)
    files = text.files if text else ()
    return {f.name: (f.nats_per_char * f.chars, f.chars) for f in files if f.nats_per_char is not None and f.chars}


def together(contrasts: Sequence[ContrastResult]) -> list[ContrastResult]:
    """With what follows from there being several: Holm's p over all of them, and intervals of the exploratory
    ones that hold all at once at 95 % (Bonferroni). Figures that are the same with every seed do not count.

    Of a family of primary contrasts, Holm's p is over the family alone, and their intervals hold all at once, too.
    Those of other parts of a study count as not rejected, until `study.py` has them all.
    """
    family = max((c.family for c in contrasts), default=0)
    several = sum(not c.primary and c.interval is not None and c.interval[0] < c.interval[1] for c in contrasts)
    exploratory, primary = (1 - (1 - intervals.LEVEL) / max(1, n) for n in (several, family))
    elsewhere = max(0, family - sum(c.primary for c in contrasts))
    counted = [c.p_value if c.primary or not family else None for c in contrasts]
    corrected = intervals.holm([*counted, *[1.0] * elsewhere])[: len(contrasts)]
    return [
        _beside_others(c, p, primary if c.primary else exploratory)
        for c, p in zip(contrasts, corrected, strict=True)
    ]


def _beside_others(contrast: ContrastResult, p: float | None, level: float) -> ContrastResult:
    contrast = replace(contrast, p_holm=p)
    if (not contrast.primary or contrast.family) and contrast.interval is not None:
        together = intervals.estimate(list(contrast.differences.values()), level)
        contrast = replace(contrast, simultaneous=together.interval)
        if (found := contrast.two_way) is not None:
            wider = intervals.t_interval(found.mean, found.error, found.df, level)
            contrast = replace(contrast, two_way=replace(found, simultaneous=wider))
    if contrast.center is None or contrast.measure not in LOSSES:
        return contrast
    mean, *ends = map(intervals.percent_perplexity, (contrast.center, *(contrast.shown or ())))
    change = results.PerplexityChange(mean, (ends[0], ends[1]) if ends else None)
    return replace(contrast, percent_perplexity=change)


def sharing_the_machine(records: Sequence[Record]) -> set[str]:
    """Names of runs that were made while another one was: how fast they were says nothing of their arms."""
    timed = sorted((r.started, r.finished or r.started, r.name) for r in records if r.started)
    found: set[str] = set()
    for i, (_, end, name) in enumerate(timed):
        beside = [other for begin, _, other in timed[i + 1 :] if begin < end]
        found |= {name, *beside} if beside else set()
    return found
