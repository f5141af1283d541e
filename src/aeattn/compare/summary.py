"""From records to conclusions: `summary.json`. docs/experiments.md lists its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from aeattn.compare.intervals import (
    estimate,
    holm,
    percent_perplexity,
    resolvable,
    two_level_bootstrap,
)
from aeattn.compare.jobs import Choice, Records, choices, is_current, jobs
from aeattn.compare.metrics import ANALYSED, describe_measure, read_measure
from aeattn.compare.plan import Declaration, ResolvedArm, ResolvedContrast
from aeattn.compare.records import FORMAT, Folder, Record
from aeattn.compare.sentences import notes, sentence, verdict

Finals = Mapping[str, Mapping[int, Record]]  # arm, seed


def summarise(folder: Folder, declaration: Declaration, records: Records) -> dict[str, Any]:
    """Everything that follows from the records of a declaration, as far as they are there. Failed runs count
    nowhere. Raises InputError without SciPy."""
    wanted = jobs(declaration, records)
    current = [records[job.name] for job in wanted if is_current(job, records)]
    finals = {arm.id: _done(current, arm.id) for arm in declaration.arms}
    chosen = choices(declaration, records)
    contrasts = [_contrast(folder, declaration, c, finals) for c in declaration.contrasts]
    _correct(contrasts)
    for contrast in contrasts:
        contrast["sentence"] = sentence(contrast, declaration)
    summary = {
        "format": FORMAT,
        "spec": declaration.hash,
        "answer": next(c["sentence"] for c in contrasts if c["primary"]),
        "runs": _runs(declaration, wanted, current),
        "failed": [_failure(record) for record in current if record.status == "failed"],
        "arms": [_arm(arm, finals[arm.id], chosen.get(arm.id)) for arm in declaration.arms],
        "tuning": [_tuning(declaration, choice) for choice in chosen.values()],
        "noise": _noise(declaration, finals),
        "contrasts": contrasts,
    }
    return summary | {"notes": notes(summary, declaration, current)}


def _done(records: Sequence[Record], arm: str) -> dict[int, Record]:
    return {r.seed: r for r in records if r.phase == "final" and r.arm == arm and r.status == "done"}


def _runs(declaration: Declaration, wanted: Sequence[Record], current: Sequence[Record]) -> dict[str, int]:
    final = [job for job in wanted if job.phase == "final"]
    later = 0 if final else len(declaration.arms) * len(declaration.seeds["final"])
    done = sum(record.status == "done" for record in current)
    total = len(wanted) + later
    return {"wanted": total, "done": done, "failed": len(current) - done, "missing": total - len(current)}


def _failure(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("name", "arm", "seed", "failure", "reason")}


def _arm(arm: ResolvedArm, finals: Mapping[int, Record], choice: Choice | None) -> dict[str, Any]:
    losses = {seed: nats for seed, r in finals.items() if (nats := r.nats_per_char) is not None}
    found = estimate(list(losses.values())) if losses else None
    return {
        "id": arm.id,
        "label": arm.label,
        "n": len(losses),
        "mean": found.mean if found else None,
        "interval": found.interval if found else None,
        "sd": found.sd if found else None,
        "perplexity": float(np.exp(found.mean)) if found else None,
        "losses": losses,
        "rate": next((record.rate for record in finals.values()), choice.chosen if choice else None),
        "settings": next((record.settings for record in finals.values()), {}),
        "cost": _mean_cost(finals),
    }


def _mean_cost(finals: Mapping[int, Record]) -> dict[str, float | None]:
    costs = [asdict(record.cost) for record in finals.values() if record.cost is not None]
    names = list(costs[0]) if costs else []
    columns = {name: [cost[name] for cost in costs if cost[name] is not None] for name in names}
    return {name: float(np.mean(column)) if column else None for name, column in columns.items()}


def _tuning(declaration: Declaration, choice: Choice) -> dict[str, Any]:
    tuning = declaration.tuning or {}
    grid = tuning["search"] == "grid"
    means = choice.means
    rates = [
        {
            "rate": rate,
            "settings": choice.settings[rate],
            "mean": means.get(rate),
            "losses": losses,
            "failed": sum(nats is None for nats in losses.values()),
        }
        for rate, losses in sorted(choice.losses.items())
    ]
    edge = choice.at_edge if grid else _near_edge(choice, tuning["space"])
    extended = grid and len(rates) > len(tuning["rates"])
    return {
        "id": choice.arm, "rates": rates, "chosen": choice.chosen, "at_edge": edge, "extended": extended,
        "sensitivity": choice.sensitivity if grid else None,
    }  # fmt: skip


def _near_edge(choice: Choice, space: Mapping[str, Sequence[float]]) -> bool:
    """Whether the best trial lies within a twentieth of an end of what was searched, on the logarithmic scale."""
    if choice.chosen is None:
        return False
    best = choice.settings[choice.chosen]
    places = [np.log(best[name] / low) / np.log(high / low) for name, (low, high) in space.items()]
    return any(not 0.05 <= place <= 0.95 for place in places)


def _noise(declaration: Declaration, finals: Finals) -> dict[str, Any]:
    """How much the baseline of the primary contrast varies over seeds."""
    arm = next(contrast.than for contrast in declaration.contrasts if contrast.primary)
    losses = [nats for r in finals[arm].values() if (nats := r.nats_per_char) is not None]
    sd = float(np.std(losses, ddof=1)) if len(losses) > 1 else None
    least = resolvable(sd, len(losses)) if sd is not None else None
    return {"arm": arm, "n": len(losses), "sd": sd, "resolvable": least}


def _contrast(
    folder: Folder, declaration: Declaration, contrast: ResolvedContrast, finals: Finals
) -> dict[str, Any]:
    """One difference, without the correction for there being several and without its sentence."""
    ours, theirs = finals[contrast.arm], finals[contrast.than]
    analysed = contrast.measure.split(".")[0] in ANALYSED
    differences: dict[int, float] = {}
    pairs = [seed for seed in declaration.seeds["final"] if seed in ours and seed in theirs]
    for seed in pairs:
        pair = [
            read_measure(contrast.measure, r, folder.read_analysis(r.name) if analysed else None)
            for r in (ours[seed], theirs[seed])
        ]
        if pair[0] is not None and pair[1] is not None:
            differences[seed] = pair[0] - pair[1]
    found = estimate(list(differences.values())) if differences else None
    interval = found.interval if found else None
    measure, is_loss = describe_measure(contrast.measure), contrast.measure == "valid_nats"
    result: dict[str, Any] = {
        **asdict(contrast),
        "labels": [declaration.arm(id).label for id in (contrast.arm, contrast.than)],
        "unit": measure.unit,
        "n": len(differences),
        "seeds": list(differences),
        "lost": len(declaration.seeds["final"]) - len(differences),
        "differences": differences,
        "mean": found.mean if found else None,
        "interval": interval,
        "p": found.p if found else None,
        "baseline": _baseline(contrast.measure, folder, theirs, analysed),
        "bootstrap": _bootstrap(differences, ours, theirs) if is_loss else None,
        "percent_perplexity": _percent(found.mean, interval) if found and is_loss else None,
        "paired_batches": all(ours[seed].batches == theirs[seed].batches for seed in differences),
    }
    return result | {"verdict": verdict(result | {"pairs": len(pairs)})}


def _baseline(measure: str, folder: Folder, runs: Mapping[int, Record], analysed: bool) -> float | None:
    """The mean of the measure in the arm that is compared with, for scale."""
    values = [read_measure(measure, r, folder.read_analysis(r.name) if analysed else None) for r in runs.values()]
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _percent(mean: float, interval: tuple[float, float] | None) -> dict[str, Any]:
    ends = None if interval is None else [percent_perplexity(end) for end in interval]
    return {"mean": percent_perplexity(mean), "interval": ends}


def _bootstrap(
    seeds: Mapping[int, float], ours: Mapping[int, Record], theirs: Mapping[int, Record]
) -> dict[str, Any]:
    """The two-level bootstrap over the seeds of both arms and the books that they were validated on."""
    tables = [[_books(runs[seed]) for seed in seeds] for runs in (ours, theirs)]
    names = sorted(set.intersection(*(set(books) for table in tables for books in table))) if seeds else []
    sides = [np.array([[books[n][0] for n in names] for books in table]) for table in tables]
    chars = np.array([tables[0][0][n][1] for n in names], float) if seeds else np.empty(0)
    interval = two_level_bootstrap(sides[0] - sides[1], chars) if seeds else None
    return {"interval": interval, "seeds": len(seeds), "books": len(names)}


def _books(record: Record) -> dict[str, tuple[float, int]]:
    """Summed loss and characters of each validation document in which anything was predicted."""
    files = (record.valid or {})["files"]
    return {f["name"]: (f["nats_per_char"] * f["chars"], f["chars"]) for f in files if f["chars"]}


def _correct(contrasts: list[dict[str, Any]]) -> None:
    for contrast, p in zip(contrasts, holm([c["p"] for c in contrasts]), strict=True):
        contrast["p_holm"] = p
