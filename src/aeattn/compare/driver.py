"""A whole comparison: declare, run what is missing, conclude."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from aeattn.compare import throughput
from aeattn.compare.declaration import Declaration, ResolvedArm
from aeattn.compare.elsewhere import Elsewhere
from aeattn.compare.estimate import estimate
from aeattn.compare.executors import Chosen, Place, check_jobs
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import jobs
from aeattn.compare.local import Here, worker_environment
from aeattn.compare.metrics import describe_measure
from aeattn.compare.plan import declared
from aeattn.compare.progress import GridProgress
from aeattn.compare.results import Summary
from aeattn.compare.runner import Runner
from aeattn.compare.sentences import MATCHED
from aeattn.compare.spec import Spec
from aeattn.compare.studies import studies
from aeattn.compare.summary import summarise
from aeattn.config.run import RunConfig
from aeattn.files import Lock, write_json
from aeattn.host import available_cores
from aeattn.terminal.tables import figure, table_lines
from aeattn.terminal.wrapping import WIDTH

ESTIMATE_ROUNDS = 2
ALL = 1 << 30  # an executor has a queue of its own


def compare(
    spec: Spec,
    source: Path,
    out: Path | None,
    *,
    at_once: int | None = None,
    executor: Chosen | None = None,
    storage: str | None = None,
    amend: bool = False,
    only_declare: bool = False,
    console: Console,
) -> tuple[Folder, Summary]:
    """Run a spec that was read from `source` in the folder `out` (runs/compare-<name>-<budget> if not given), on
    this machine or by an executor's workers. `storage` is where Optuna keeps its studies.

    Returns the folder and the summary, which is also written. Raises InputError, Stopped, NoRoom;
    what is done by then is kept, and summarised.
    """
    cores = available_cores()
    jobs_here = min(spec.jobs, cores) if at_once is None else at_once
    if executor is None:
        check_jobs(jobs_here)
    name = "-".join(filter(None, ("compare", spec.name, spec.chosen_budget)))
    folder = Folder(out or Path("runs") / name)
    progress = GridProgress(console)
    with folder.locked() as lock:
        if lock.warning:
            progress.note(f"warning: {lock.warning}")
        declaration = declared(spec, source, folder, _throughput(min(jobs_here, cores)), progress.note, amend)
        for line in protocol(folder, declaration):
            progress.note(line)
        try:
            if only_declare:
                _estimate(folder, declaration, at_once or jobs_here, min(jobs_here, cores), progress.note)
            else:
                keep = studies(folder, declaration, storage or spec.storage)
                with _place(folder, declaration, executor, at_once, jobs_here, lock, progress.note) as place:
                    Runner(folder, declaration, progress, place, keep).run()
        finally:
            progress.close()
            records = {record.name: record for record in folder.read_records(lambda path, error: None)}
            summary = summarise(folder, declaration, records)
            write_json(folder.summary, summary.to_dict())
    return folder, summary


@contextmanager
def _place(
    folder: Folder,
    declaration: Declaration,
    chosen: Chosen | None,
    at_once: int | None,
    jobs_here: int,
    lock: Lock,
    say: Callable[[str], None],
) -> Iterator[Place]:
    if chosen is None:
        yield Here(folder, jobs_here, lock.descriptor)
        return
    executor = chosen.kind(chosen.address, jobs_here, folder.executor)
    try:
        for line in executor.about():
            say(line)
        yield Elsewhere(folder, declaration, executor, at_once or ALL, say)
    finally:
        executor.close()


def _estimate(
    folder: Folder, declaration: Declaration, at_once: int, beside: int, say: Callable[[str], None]
) -> None:
    """Say how long what is missing will take."""
    records = {record.name: record for record in folder.read_records(lambda path, error: None)}

    def measure(configs: Sequence[RunConfig]) -> list[float]:
        say("measuring how fast the first variant trains, for the estimate: some seconds")
        return throughput.measure(configs, worker_environment(beside), ESTIMATE_ROUNDS)

    found = estimate(declaration, records, at_once, measure)
    more = "; tuning that goes on past the edge of its grid takes longer" if declaration.tuning else ""
    say("nothing is missing" if found is None else found.sentence() + more)


def _throughput(at_once: int) -> Callable[[Sequence[RunConfig]], list[float]]:
    return lambda configs: throughput.measure(configs, worker_environment(at_once))


FEW_SEEDS = {
    1: ("warning: one seed only, so no confidence interval will be possible: declare three or more",),
    2: ("warning: two seeds only: a 95 % confidence interval reaches 12.7 standard errors to each side, with "
        "three seeds 4.3, with six 2.6: declare three or more",),
}  # fmt: skip


def protocol(folder: Folder, declaration: Declaration) -> list[str]:
    """What is going to be done, in a few lines."""
    seeds, tuning = declaration.seeds.final, declaration.tuning
    final = len(declaration.arms) * len(seeds)
    plural = "s" * (len(seeds) > 1)
    amount, kind = declaration.budget.amount, declaration.budget.kind
    budget = f"{amount:,.0f} {kind} a run" if kind != "flops" else f"{amount:.3g} training FLOPs a run"
    lines = [
        f"{declaration.title}: {declaration.question}" if declaration.question else declaration.title,
        f"pre-registered as {declaration.hash[:12]} in {folder.spec}",
        *(
            f"primary comparison: {c.arm} and {c.than}, {describe_measure(c.measure).text} {MATCHED[c.matching]}"
            for c in declaration.contrasts
            if c.primary
        ),
        f"smallest difference that matters: {declaration.smallest_effect:g} nats/char",
        f"{len(declaration.arms)} variants x {len(seeds)} seed{plural} = {final} final runs, {budget}; "
        + (f"{len(jobs(declaration, {}))} or more runs to tune" if tuning else "nothing is tuned"),
    ]
    lines += FEW_SEEDS.get(len(seeds), ())
    return lines + _variants(declaration.arms)


def _variants(arms: Sequence[ResolvedArm]) -> list[str]:
    """What each variant is, as a table."""
    matched = any(arm.off_by is not None for arm in arms)
    columns = ("variant", "parameters", "FLOPs/token", *(("off by, %",) if matched else ()), "steps")
    rows = [
        (arm.id, f"{arm.parameters:,}", f"{arm.train_flops:,}",
         *((figure(None if arm.off_by is None else 100 * arm.off_by, "+.2f"),) if matched else ()),
         f"{arm.steps:,}")
        for arm in arms
    ]  # fmt: skip
    ways = ", ".join(sorted({arm.matching for arm in arms}))
    legend = f"FLOPs/token: to train; off by: from equal in what is matched ({ways})." if matched else ""
    return [*table_lines(columns, rows, 1, WIDTH), *filter(None, [legend])]
