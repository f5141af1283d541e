"""Goes on with a run that was tracked, and prints what each tracker has in the end as one JSON object."""

from __future__ import annotations

import html
import json
import sys
from pathlib import Path
from typing import Any

from aeattn.cli import main

LEVELDB_BLOCK, LEVELDB_HEADER = 1 << 15, 7


def in_tensorboard(run: Path) -> list[dict[str, Any]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events: Any = EventAccumulator(str(run / "tracking" / "tensorboard"), {"scalars": 0, "tensors": 0})
    events.Reload()
    scalars = [{"step": e.step, name: e.value} for name in events.Tags()["scalars"] for e in events.Scalars(name)]
    texts = [
        {"step": e.step, name.partition("/")[0]: e.tensor_proto.string_val[0].decode()}
        for name in events.Tags()["tensors"]
        for e in events.Tensors(name)
    ]
    return scalars + texts


def in_wandb(run: Path) -> list[dict[str, Any]]:
    """Its records, from the files that `wandb sync` would send, oldest first."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: list[dict[str, Any]] = []
    for file in sorted(run.glob("tracking/wandb/offline-run-*/*.wandb")):
        for content in _leveldb_log(file.read_bytes()):
            record = Record()
            record.ParseFromString(content)
            if record.WhichOneof("record_type") == "history":
                items = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
                step = items.pop("_step", record.history.step.num)
                if "sample/path" in items:
                    page = (file.parent / "files" / items["sample/path"]).read_text(encoding="utf-8")
                    items["sample"] = html.unescape(page.partition("<pre>")[2].partition("</pre>")[0])
                found.append({"step": step, **{k: v for k, v in items.items() if not k.startswith("_")}})
            if record.WhichOneof("record_type") == "run":
                found.append({"step": 0, "id": record.run.run_id, "project": record.run.project})
            if record.WhichOneof("record_type") == "config":
                config = {u.key or u.nested_key[0]: json.loads(u.value_json) for u in record.config.update}
                found.append({"step": 0, "config": config})
    return found


def _leveldb_log(content: bytes) -> list[bytes]:
    """The records of a log as LevelDB writes them; one that was cut off by a kill is left out."""
    at, records, parts = LEVELDB_HEADER, [], b""
    while at + LEVELDB_HEADER <= len(content):
        if LEVELDB_BLOCK - at % LEVELDB_BLOCK < LEVELDB_HEADER:
            at += LEVELDB_BLOCK - at % LEVELDB_BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        if kind == 0:
            break
        parts += content[at + LEVELDB_HEADER : at + LEVELDB_HEADER + length]
        at += LEVELDB_HEADER + length
        if kind in (1, 4) and at <= len(content):  # the whole, or the last part
            records.append(parts)
            parts = b""
    return records


def in_mlflow(run: Path) -> list[dict[str, Any]]:
    from mlflow import MlflowClient

    client = MlflowClient()
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    found: list[dict[str, Any]] = [{"step": 0, "config": r.data.params, "tags": r.data.tags} for r in runs]
    for each in runs:
        of_run = each.info.run_id
        history = [client.get_metric_history(of_run, name) for name in each.data.metrics]
        found += [{"step": m.step, m.key: m.value} for metrics in history for m in metrics]
        for artifact in client.list_artifacts(of_run, "samples"):
            path = Path(client.download_artifacts(of_run, artifact.path))
            found.append({"step": int(path.stem.partition("-")[2]), "sample": path.read_text(encoding="utf-8")})
        found.append({"step": 0, "status": each.info.status})
    return found


def in_trackio(run: Path) -> list[dict[str, Any]]:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    [project] = [p for p in SQLiteStorage.get_projects() if p != "another"]
    runs = list(trackio.Api().runs(project))
    found: list[dict[str, Any]] = [{"step": 0, "config": r.config, "name": r.name} for r in runs]
    for each in runs:
        for line in SQLiteStorage.get_logs(project, each.name, run_id=each.id):
            found.append({k: v["_value"] if isinstance(v, dict) else v for k, v in line.items()})
    return found


if __name__ == "__main__":
    out = Path(sys.argv[1])
    code = main(["resume", str(out), "--quiet"])
    stores = {"tensorboard": in_tensorboard, "wandb": in_wandb, "mlflow": in_mlflow, "trackio": in_trackio}
    print(json.dumps({"code": code, **{name: stores[name](out) for name in sys.argv[2:]}}))
