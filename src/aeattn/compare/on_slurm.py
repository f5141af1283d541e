"""Runs as jobs of Slurm, by submitit, for those who have Slurm alone.

submitit passes functions and what they return through a folder that the nodes see as well: the comparison's. Jobs
outlive whoever handed them in, so it is noted which are whose: started again, the comparison takes them up.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import submitit

from aeattn.compare.elsewhere import perform
from aeattn.compare.executors import Executor, Future, register_executor
from aeattn.errors import InputError
from aeattn.files import Json, digest, read_json, write_json

MARK = "aeattn-line "  # before what a run says of itself, among all that a job prints
TAIL = 4096  # bytes of a job's output in which that is looked for
LOOK_SECONDS = 5.0
MINUTES = 24 * 60  # a job's time, unless it is set


class Job:
    """A job under way, and the file that remembers it."""

    def __init__(self, job: submitit.Job[Json], note: Path) -> None:
        self.job, self.note = job, note

    def done(self) -> bool:
        return bool(self.job.done())

    def result(self) -> Json:
        self.note.unlink(missing_ok=True)
        return self.job.result()

    def cancel(self) -> None:
        self.note.unlink(missing_ok=True)
        self.job.cancel(check=False)

    def last_line(self) -> Json | None:
        """Where the run stands, as the job's output says it last."""
        with suppress(OSError, ValueError):
            with self.job.paths.stdout.open("rb") as file:
                file.seek(max(0, self.job.paths.stdout.stat().st_size - TAIL))
                lines = file.read().decode("utf-8", "replace").splitlines()
            said = [line for line in lines if line.startswith(MARK)]
            return dict(json.loads(said[-1][len(MARK) :])) if said else None
        return None


@register_executor("slurm")
class Slurm(Executor):
    """`--on slurm`, or with settings of submitit's: `--on slurm:partition=gpu,time=600,cpus_per_task=4`. With
    `--on slurm:local` jobs are processes of this machine."""

    def __init__(self, address: str, jobs: int, folder: Path) -> None:
        cluster = "local" if address == "local" else "slurm"
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise InputError(
                "--on slurm: there is no sbatch on this machine: start it where Slurm's commands are, or try "
                "--on slurm:local"
            )
        self.folder, self._jobs, self._next = folder, dict[str, Job](), 0.0
        self._executor = submitit.AutoExecutor(folder / "jobs", cluster=cluster)
        try:
            self._executor.update_parameters(**({} if cluster == "local" else _settings(address)))
        except (NameError, AssertionError, ValueError) as error:
            raise InputError(f"--on slurm:{address}: {str(error).splitlines()[0]}") from error

    def submit(self, function: Callable[[Json], Json], parcel: Json) -> Future:
        name, what = str(parcel["record"]["name"]), digest({**parcel, "record": parcel["record"]["hash"]})
        note = self.folder / f"{name}.json"
        job = self._known(note, what)
        if job is None:
            job = self._executor.submit(perform_in_job, parcel)
            write_json(note, {"parcel": what, "job": job.job_id})
        self._jobs[name] = Job(job, note)
        return self._jobs[name]

    def _known(self, note: Path, what: str) -> submitit.Job[Json] | None:
        """The job that was handed in for this very run, by a comparison that was killed."""
        with suppress(InputError):
            known = read_json(note, str(note))
            note.unlink()
            job: submitit.Job[Json] = self._executor._executor.job_class(self._executor.folder, known["job"])
            if known["parcel"] == what:
                return job
            job.cancel(check=False)
        return None

    def heard(self) -> Iterable[tuple[str, Json]]:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK_SECONDS
        for name, job in self._jobs.items():
            if (line := job.last_line()) is not None:
                yield name, line


def _settings(address: str) -> Json:
    """`partition=gpu,time=600` as submitit has it."""
    found: dict[str, Any] = {"slurm_time": MINUTES}
    for setting in filter(None, address.split(",")):
        name, is_there, value = setting.partition("=")
        if not is_there:
            raise InputError(f"--on slurm:{address}: write settings as in slurm:partition=gpu,time=600")
        found[f"slurm_{name}"] = int(value) if value.isdecimal() else value
    return found


def perform_in_job(parcel: Json) -> Json:
    """`perform` in a job, which prints where the run stands."""
    return perform(parcel, tell=lambda line: print(MARK + json.dumps(line), flush=True))
