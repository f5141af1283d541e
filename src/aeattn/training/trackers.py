"""The trackers of the package. Their libraries are imported where they are first used, in the tracker's thread."""

from __future__ import annotations

import html
import io
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from textwrap import indent
from typing import Any

from aeattn.files import Json, read_json, write_json
from aeattn.training.tracker import PACKAGE, Tracked, Tracker, register_tracker

PROJECT = "aeattn"  # where neither an option nor the library's own variable names one


@register_tracker("tensorboard", needs="tensorboard", install=f"{PACKAGE}[tensorboard]")
class TensorBoard(Tracker):
    """Event files in the run's folder, written by `torch.utils.tensorboard`."""

    has_projects = False

    def begin(self, run: Tracked) -> int:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard"
        last = run.step if any(folder.glob("events.*")) else 0
        self._samples = _samples_in(folder) if last else set()
        # whatever is there of later steps, a process that was killed has written and not noted
        self._writer: Any = SummaryWriter(str(folder), purge_step=last + 1 if last else None)
        self.where = f"tensorboard --logdir {folder}"
        for name, values in (("config", run.config), ("environment", run.environment)):
            self._writer.add_text(name, _as_code(json.dumps(values, indent=2)), last)
        self._writer.flush()
        return last

    def log(self, step: int, metrics: Mapping[str, float], sample: str | None) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        if sample is not None and step not in self._samples:
            self._writer.add_text("sample", _as_code(sample), step)
        self._writer.flush()

    def end(self, done: bool) -> None:
        self._writer.close()


def _samples_in(folder: Path) -> set[int]:
    """The steps of the samples in event files: TensorBoard passes over numbers that were purged, but not texts."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events: Any = EventAccumulator(str(folder), {"scalars": 1, "tensors": 0})
    events.Reload()
    texts = (name for name in events.Tags()["tensors"] if name.startswith("sample/"))
    return {event.step for name in texts for event in events.Tensors(name)}


@register_tracker("wandb", needs="wandb", install=f"{PACKAGE}[wandb]")
class WeightsAndBiases(Tracker):
    """Weights & Biases, online or offline as WANDB_MODE says.

    Offline it writes a folder for each process, some seconds late: that of one that was killed is put aside, and
    what was in it is sent again.
    """

    def begin(self, run: Tracked) -> int | None:
        import wandb

        settings = wandb.Settings(console="off", silent=True)
        mode = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
        online = mode in ("online", "shared")
        if online and not wandb.login(prompt=False, verify=False):  # `init` would ask whoever is at the terminal
            raise RuntimeError("nobody is logged in: run `wandb login`, or set WANDB_MODE=offline")
        self._wandb: Any = wandb
        self._open = run.folder / "wandb.open"
        last = None if online else self._before_the_kill(run)
        self._run: Any = wandb.init(
            project=run.project or os.environ.get("WANDB_PROJECT") or PROJECT,
            id=run.id,
            name=run.name,
            dir=str(run.folder),
            resume="allow",
            settings=settings,
        )
        config = {**run.config, "environment": run.environment}
        self._run.config.update(config, allow_val_change=True)
        if last is None:
            self.where = str(self._run.url)
            return max(0, int(self._run.step) - 1)
        folder = Path(self._run.dir).parent
        self.where = f"wandb sync {folder}"
        write_json(self._open, {"folder": folder.name, "step": last})
        return last

    def _before_the_kill(self, run: Tracked) -> int:
        """Up to which step all is in whole folders."""
        if not self._open.exists():
            return run.step if any(run.folder.glob("wandb/offline-run-*")) else 0
        begun = read_json(self._open, "")
        torn = run.folder / "wandb" / str(begun["folder"])
        if any(torn.glob("*.synced")):  # what the service has of it, it has
            return run.step
        if torn.is_dir():
            torn.rename(torn.with_name(f"killed-{torn.name}"))
        return int(begun["step"])

    def log(self, step: int, metrics: Mapping[str, float], sample: str | None) -> None:
        text = {} if sample is None else {"sample": self._wandb.Html(f"<pre>{html.escape(sample)}</pre>")}
        self._run.log({**metrics, **text}, step=step, commit=True)

    def end(self, done: bool) -> None:
        self._run.finish(exit_code=0 if done else 1)
        self._open.unlink(missing_ok=True)


@register_tracker("mlflow", needs="mlflow", install=f"{PACKAGE}[mlflow]")
class MLflow(Tracker):
    """MLflow: a server or a store as MLFLOW_TRACKING_URI says, else what MLflow takes by default."""

    TAG, BATCH = "aeattn.run", 100

    def begin(self, run: Tracked) -> int:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # what it does to its tables
        self._metric, self._client = Metric, MlflowClient()
        self.where = str(self._client.tracking_uri)
        experiment = self._experiment(run.project or os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT)
        found = self._client.search_runs([experiment], f"tags.`{self.TAG}` = '{run.id}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return max((each.step for each in self._client.get_metric_history(self._id, "chars")), default=0)
        environment = {f"environment.{name}": value for name, value in _flat(run.environment)}
        made = self._client.create_run(experiment, run_name=run.name, tags={self.TAG: run.id, **environment})
        self._id = made.info.run_id
        settings = [Param(name, value) for name, value in _flat(run.config)]
        for first in range(0, len(settings), self.BATCH):
            self._client.log_batch(self._id, params=settings[first : first + self.BATCH], synchronous=True)
        return 0

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def log(self, step: int, metrics: Mapping[str, float], sample: str | None) -> None:
        if sample is not None:
            self._client.log_text(self._id, sample, f"samples/step-{step:08d}.txt")
        now = int(1000 * time.time())
        names = sorted(metrics, key="chars".__eq__)  # last: by its steps we know what is here
        values = [self._metric(name, metrics[name], now, step) for name in names]
        self._client.log_batch(self._id, metrics=values, synchronous=True)

    def end(self, done: bool) -> None:
        self._client.set_terminated(self._id, status="FINISHED" if done else "KILLED")


@register_tracker("trackio", needs="trackio", install=f"{PACKAGE}[trackio]")
class Trackio(Tracker):
    """Trackio: on this machine, or where TRACKIO_SPACE_ID or TRACKIO_SERVER_URL say."""

    def begin(self, run: Tracked) -> int | None:
        import trackio

        project = run.project or PROJECT
        self._trackio: Any = trackio
        with redirect_stdout(io.StringIO()):  # where nobody expects its greetings
            self._run: Any = trackio.init(
                project=project,
                name=f"{run.name}-{run.id[:8]}",  # by which it knows a run
                config={**run.config, "environment": run.environment},
                resume="allow",
                embed=False,
            )
        self.where = f"trackio show --project {project}"
        following = getattr(self._run, "_next_step", None)
        return following - 1 if isinstance(following, int) and following > 0 else following

    def log(self, step: int, metrics: Mapping[str, float], sample: str | None) -> None:
        text = {} if sample is None else {"sample": self._trackio.Markdown(_as_code(sample))}
        self._run.log({**metrics, **text}, step=step)

    def end(self, done: bool) -> None:
        with redirect_stdout(io.StringIO()):
            self._run.finish()


def _as_code(text: str) -> str:
    """In Markdown, shown as it is."""
    return indent(text, "    ", lambda line: True)


def _flat(values: Json, above: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as names with dots and texts."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", _text(value)


def _text(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)
