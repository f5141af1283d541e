"""A whole comparison: declare, run what is missing, conclude."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from aeattn.compare import throughput
from aeattn.compare.declaration import Declaration
from aeattn.compare.folder import Folder
from aeattn.compare.intervals import check_installed
from aeattn.compare.jobs import jobs
from aeattn.compare.plan import declared
from aeattn.compare.progress import GridProgress
from aeattn.compare.results import Summary
from aeattn.compare.runner import Runner, worker_environment
from aeattn.compare.spec import Spec
from aeattn.compare.summary import summarise
from aeattn.config.run import RunConfig
from aeattn.errors import InputError
from aeattn.files import write_json
from aeattn.host import available_cores


def compare(
    spec: Spec,
    source: Path,
    out: Path | None,
    *,
    at_once: int | None = None,
    amend: bool = False,
    only_declare: bool = False,
    console: Console,
) -> tuple[Folder, Summary]:
    """Run a spec that was read from `source` in the folder `out` (runs/compare-<name>-<budget> if not given).

    Returns the folder and the summary, which is also written. Raises InputError, Stopped, NoRoom;
    what is done by then is kept, and summarised.
    """
    check_installed()
    if at_once is None:
        at_once = min(spec.jobs, available_cores())
    if not 1 <= at_once <= available_cores():
        raise InputError(f"--jobs is {at_once}: choose from 1 to {available_cores()}, the processors there are")
    name = "-".join(filter(None, ("compare", spec.name, spec.chosen_budget)))
    folder = Folder(out or Path("runs") / name)
    progress = GridProgress(console)
    with folder.locked() as lock:
        if lock.warning:
            progress.note(f"warning: {lock.warning}")
        declaration = declared(spec, source, folder, _throughput(at_once), progress.note, amend)
        for line in protocol(folder, declaration):
            progress.note(line)
        try:
            if not only_declare:
                Runner(folder, declaration, progress, at_once=at_once, lock=lock.descriptor).run()
        finally:
            progress.close()
            records = {record.name: record for record in folder.read_records(lambda path, error: None)}
            summary = summarise(folder, declaration, records)
            write_json(folder.summary, summary.to_dict())
    return folder, summary


def _throughput(at_once: int) -> Callable[[Sequence[RunConfig]], list[float]]:
    return lambda configs: throughput.measure(configs, worker_environment(at_once))


def protocol(folder: Folder, declaration: Declaration) -> list[str]:
    """What is going to be done, in a few lines."""
    seeds, tuning = declaration.seeds.final, declaration.tuning
    final = len(declaration.arms) * len(seeds)
    budget = f"{declaration.budget.amount:,.0f} {declaration.budget.kind} a run"
    lines = [
        f"{declaration.title}: {declaration.question}" if declaration.question else declaration.title,
        f"declared as {declaration.hash[:12]} in {folder.spec}",
        *(
            f"primary: {c.arm} against {c.than}, {c.measure}, {c.matching}"
            for c in declaration.contrasts
            if c.primary
        ),
        f"smallest difference that matters: {declaration.smallest_effect:g} nats",
        f"{len(declaration.arms)} arms x {len(seeds)} seeds = {final} final runs, {budget}; "
        + (f"{len(jobs(declaration, {}))} or more runs to tune" if tuning else "nothing is tuned"),
    ]
    if len(seeds) == 1:
        lines.append("one seed only: no interval will be possible")
    for arm in declaration.arms:
        off = "" if arm.off_by is None else f", {100 * arm.off_by:+.2f} % off in {arm.matching}"
        lines.append(
            f"  {arm.id}: {arm.parameters:,} parameters, {arm.train_flops:,} FLOPs/char{off}, {arm.steps:,} steps"
        )
    return lines
