"""A part of the second comparison that nobody ran: as it is declared, with figures drawn at random."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aeattn.compare import plan
from aeattn.compare.convert import digest
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import is_current, jobs
from aeattn.compare.parse import find_spec, read_spec
from aeattn.compare.records import Cost, Environment, FileScore, Point, Record, Text, TextSide, Valid
from aeattn.compare.summary import summarise
from aeattn.config.run import DataConfig
from aeattn.files import write_json
from aeattn.nn.size import size

BETTER = {
    "deep-v": -0.012,
    "multi-query": 0.002,
    "grouped-query": 0.001,
    "autoencoder-kv": 0.008,
    "latent": -0.001,
}
BOOKS = {"test": 16, "beyond": 5, "trained": 5}


def stand_in(self: plan._Resolver, data: DataConfig, seed: int) -> plan.ReadText:
    """In place of texts that are not read."""
    judged = {name: TextSide(1000 * n, name) for name, n in BOOKS.items()} if self.spec.judged else {}
    self.read.append(plan.ReadText(data, data, 49, 1.0))
    self.texts.append(Text(TextSide(10**6, ""), TextSide(1, ""), judged))
    return self.read[-1]


def made(spec: str, path: Path, monkeypatch: Any) -> Folder:
    """Declare a shipped spec in a folder, and make up every record of it."""
    monkeypatch.setattr(plan._Resolver, "_text", stand_in)
    declaration = plan.declare(read_spec(find_spec(spec)), digest(spec), lambda _: [], lambda _: None)
    folder, random = Folder(path), np.random.default_rng(5)
    path.mkdir(parents=True)
    write_json(folder.spec, declaration.to_dict())
    records: dict[str, Record] = {}
    while todo := [job for job in jobs(declaration, records) if not is_current(job, records)]:
        for job in todo:
            records[job.name] = _done(job, random, bool(declaration.judged))
            folder.write_record(records[job.name])
    write_json(folder.summary, summarise(folder, declaration, records).to_dict())
    return folder


def _done(job: Record, random: np.random.Generator, judged: bool) -> Record:
    config, of_seed = job.run_config, 0.01 * np.sin(job.seed)
    cost = size(config.model)
    nats = 1.3 + BETTER.get(job.arm, 0.0) + of_seed + random.normal(0, 0.002)
    nats += 0.01 * abs(np.log2(job.rate)) + 0.01 * abs(np.log2(job.matrix_rate or 1.0))
    nats = float(nats)
    kept = cost.latent_cache_bytes or cost.cache_bytes
    steps = config.training.steps
    return replace(
        job,
        status="done",
        valid=_valid(nats, 7, random),
        train_nats=nats - 0.05,
        batches="same",
        curve=tuple(Point(s, s * 4096, s / 2, nats, nats + 0.1 - 0.1 * s / steps, 9) for s in (steps // 2, steps)),
        cost=Cost(60.0, 10**6, 3e4, 1e12, cost.train_flops, cost.parameters, cost.cache_bytes,
                  cost.latent_cache_bytes, 10**9, 8192 * kept + 4608),
        environment=Environment("3.11", "Linux", {"torch": "2.13"}, "made up", 1, None, "ab" * 20, False),
        passes=10.0,
        best_valid_nats=nats - 0.01,
        judged={name: _valid(nats + 0.1 * (name != "trained"), n, random) for name, n in BOOKS.items()}
        if judged and job.phase == "final" else {},
    )  # fmt: skip


def _valid(nats: float, books: int, random: np.random.Generator) -> Valid:
    each = nats + 0.05 * np.cos(np.arange(books)) + random.normal(0, 0.002, books)
    files = tuple(FileScore(f"book {i}", float(x), 1000) for i, x in enumerate(each))
    return Valid(float(each.mean()), 1000 * books, files)
