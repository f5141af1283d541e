"""Runs on a Dask cluster: one that is there, or one of this machine's processors while the comparison lasts.

A worker does one run at a time, however many threads it has: it is given one unit of a resource, and a run takes
one. The resource is called after the source of this package: workers with another one have none of it, and get no
run.
"""

from __future__ import annotations

import logging
import signal
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import distributed
from distributed.diagnostics.plugin import WorkerPlugin

from aeattn.compare.elsewhere import perform
from aeattn.compare.executors import Executor, Future, check_jobs, register_executor
from aeattn.compare.versions import differences, versions
from aeattn.errors import InputError
from aeattn.files import Json
from aeattn.host import cores_each

CONNECT_SECONDS = 10
AT_WORK = ("executing", "long-running")  # states of a task at its worker that somebody waits for


@register_executor("dask")
class Dask(Executor):
    """`--on dask` starts workers on this machine, `--on dask:tcp://host:port` takes those of a scheduler."""

    def __init__(self, address: str, jobs: int, folder: Path) -> None:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._cluster = None if address else _local_cluster(jobs)
        self._client = _connect(address or self._cluster)
        self._topic = f"aeattn-{uuid.uuid4()}"
        self._heard: deque[tuple[str, Json]] = deque()
        try:
            self._client.subscribe_topic(self._topic, lambda event: self._heard.append(tuple(event[1])))
            self._enlist()
        except BaseException:
            self.close()
            raise

    def _enlist(self) -> None:
        """Give the resource to every worker that has our versions, and to those that come later."""
        wanted = versions().to_dict()
        answers = self._client.run(enlist, wanted, on_error="return")
        refused = {
            worker: answer if isinstance(answer, str) else f"it cannot load aeattn ({answer})"
            for worker, answer in answers.items()
            if answer
        }
        if answers and len(refused) == len(answers):
            worker, reason = next(iter(refused.items()))
            raise InputError(f"none of {len(refused)} workers can be used; worker {worker}: {_mend(reason)}")
        for worker, reason in refused.items():
            self._heard.append(("", {"note": f"worker {worker} is left out: {_mend(reason)}"}))
        with suppress(Exception):  # of workers that cannot load us, which are named already
            self._client.register_plugin(Recruit(wanted, self._topic), name=self._topic)

    def about(self) -> Sequence[str]:
        found = len(self._client.nthreads())
        address, dashboard = self._client.scheduler_info()["address"], self._client.dashboard_link
        return (f"Dask: {found} workers at {address}, dashboard {dashboard}",)

    def submit(self, function: Callable[[Json], Json], parcel: Json) -> Future:
        key = f"{parcel['record']['name']}-{uuid.uuid4()}"
        resources = {resource(parcel["versions"]): 1}
        future: Future = self._client.submit(
            perform_at_worker, parcel, self._topic, key=key, resources=resources, pure=False
        )
        return future

    def heard(self) -> Iterable[tuple[str, Json]]:
        while self._heard:
            yield self._heard.popleft()

    def leave_out(self, worker: str, reason: str) -> bool:
        name = resource(versions().to_dict())
        with suppress(OSError, ValueError):  # it may be gone
            self._client.run(_set_resource, name, 0, workers=[worker])
        if not any(self._client.run(_has_resource, name, on_error="ignore").values()):
            raise InputError(f"no worker is left that can do runs; the last was {worker}: {reason}")
        return True

    def gives_up(self, error: BaseException) -> bool:
        return isinstance(error, distributed.KilledWorker)

    def close(self) -> None:
        with suppress(Exception):
            self._client.unregister_worker_plugin(self._topic)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def resource(wanted: Json) -> str:
    return f"aeattn-{wanted['source']}"


def _mend(reason: str) -> str:
    return f"{reason}: install the same there"


def _local_cluster(jobs: int) -> Any:
    check_jobs(jobs)
    with _no_interrupt():  # Ctrl-C in a terminal is for us, and we tell the workers
        return distributed.LocalCluster(
            n_workers=jobs,
            threads_per_worker=cores_each(jobs),
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )


@contextmanager
def _no_interrupt() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _connect(address: Any) -> distributed.Client:
    try:
        return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} within {CONNECT_SECONDS} seconds: start one, "
            "or mend the address, as in --on dask:tcp://host:8786"
        ) from error


# -- at the worker ------------------------------------------------------------------------------------------


async def enlist(wanted: Json, dask_worker: distributed.Worker) -> str:
    """Give a worker its one unit of the resource, unless its versions are others: then says which."""
    reason = "; ".join(differences(wanted, versions().to_dict()))
    await dask_worker.set_resources(**{resource(wanted): 0 if reason else 1})
    return reason


async def _set_resource(name: str, units: int, dask_worker: distributed.Worker) -> None:
    await dask_worker.set_resources(**{name: units})


def _has_resource(name: str, dask_worker: distributed.Worker) -> bool:
    return bool(dask_worker.state.total_resources.get(name))


class Recruit(WorkerPlugin):
    """Enlists workers that come while a comparison is under way."""

    def __init__(self, wanted: Json, topic: str) -> None:
        self.wanted, self.topic = wanted, topic

    async def setup(self, worker: distributed.Worker) -> None:
        reason = await enlist(self.wanted, worker)
        if reason:
            note = f"worker {worker.address} is left out: {_mend(reason)}"
            worker.log_event(self.topic, ["", {"note": note}])


def perform_at_worker(parcel: Json, topic: str) -> Json:
    """`perform` in a worker's thread. It is broken off when the task is cancelled, or whoever asked is gone."""
    worker = distributed.get_worker()
    task, name = worker.get_current_task(), parcel["record"]["name"]

    def wanted() -> bool:
        state = worker.state.tasks.get(task)
        return state is not None and state.state in AT_WORK

    return perform(
        parcel,
        tell=lambda line: worker.log_event(topic, [name, line]),
        wanted=wanted,
        threads=worker.state.nthreads,
        worker=worker.address,
    )
