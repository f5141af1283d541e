"""A comparison that nobody ran: its folder, with figures drawn at random, to make reports from."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aeattn.analysis.maps import pack
from aeattn.analysis.results import (
    MEASURES,
    TOP,
    Ablation,
    AttentionMeasures,
    CodeMeans,
    CodeMeasures,
    CodeSummary,
    Distribution,
    HeadMeasures,
    Inspection,
    LayerMeasures,
    Maps,
    RunAnalysis,
    Snapshot,
    TextRead,
)
from aeattn.compare.intervals import estimate, holm, percent_perplexity
from aeattn.compare.records import Cost, Folder, Record

HOSTILE = "</pre><script>alert('x')</script><img src=x onerror=alert(1)> & \u202e``` \x1b[31m once upon a time"
ARMS = {
    "standard": ("standard attention", 1.300, ("linear", "linear", "linear")),
    "bottleneck": ("linear bottleneck on q, k and v", 1.312, ("bottleneck",) * 3),
    "autoencoder": ("autoencoder on q, k and v", 1.292, ("autoencoder",) * 3),
    "autoencoder-kv": ("autoencoder on k and v", 1.288, ("linear", "autoencoder", "autoencoder")),
}
RATES = (0.5, 1.0, 2.0)
STEPS = (100, 200, 300, 400, 500)


def make(
    path: Path,
    *,
    seeds: Sequence[int] = (1, 2, 3, 4, 5, 6),
    matchings: Sequence[str] = ("parameters",),
    sizes: Sequence[str | None] = (None,),
    analysis: bool = True,
    hostile: bool = False,
    arms: Sequence[str] = tuple(ARMS),
) -> Folder:
    """Write a whole comparison and return its folder."""
    folder, random = Folder(path), np.random.default_rng(0)
    for made in (folder.records, folder.analysis):
        made.mkdir(parents=True)
    resolved = [_arm(arm, m, s, len(matchings), len(sizes)) for s in sizes for m in matchings for arm in arms]
    contrasts = [
        _contrast(a, b, measure)
        for a in resolved
        for b in resolved
        for measure in ("valid_nats", "chars_per_second")
        if b["arm"] == "standard" and a["arm"] != "standard" and all(a[k] == b[k] for k in ("matching", "size"))
    ]
    if contrasts:
        contrasts[0]["primary"] = True
    spec = _spec(resolved, contrasts, seeds)
    if hostile:
        spec["title"] = HOSTILE
    folder.spec.write_text(json.dumps(spec))
    folder.toml.write_text('title = "made up"\nseeds = [1, 2]\n')
    finals = {(a["id"], s): _final(a, s, random, hostile) for a in resolved for s in seeds}
    for record in finals.values():
        folder.write_record(record)
        if analysis:
            values = RunAnalysis(record.name, record.hash, _snapshots(record, random)).to_dict()
            (folder.analysis / f"{record.name}.json").write_text(json.dumps(values))
    for record in _tuning(resolved):
        folder.write_record(record)
    folder.summary.write_text(json.dumps(_summary(spec, finals, seeds)))
    return folder


def _arm(arm: str, matching: str, size: str | None, matchings: int, sizes: int) -> dict[str, Any]:
    label, _, kinds = ARMS[arm]
    parts = [arm] + ([matching] if matchings > 1 or sizes > 1 else []) + ([str(size)] if sizes > 1 else [])
    scale = {None: 1.0, "460k": 1.0, "120k": 0.26, "30k": 0.07}[size]
    model = dict(zip(("query", "key", "value"), kinds, strict=True)) | {"d_model": int(128 * math.sqrt(scale))}
    return {
        "id": "@".join(parts), "arm": arm, "label": label, "about": "made up", "matching": matching, "size": size,
        "config": {"model": model, "training": {"steps": STEPS[-1]}}, "steps": STEPS[-1],
        "parameters": int(460_000 * scale), "train_flops": int(2_900_000 * scale), "off_by": 0.0004, "text": 0,
    }  # fmt: skip


def _contrast(ours: dict[str, Any], theirs: dict[str, Any], measure: str) -> dict[str, Any]:
    return {
        "id": f"{ours['id']}-vs-{theirs['id']}", "arm": ours["id"], "than": theirs["id"], "measure": measure,
        "matching": ours["matching"], "size": ours["size"], "primary": False, "claim": "it works",
        "labels": [ours["label"], theirs["label"]],
    }  # fmt: skip


def _spec(resolved: Any, contrasts: Any, seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "format": 1, "hash": "ab12" * 16, "name": "made-up", "title": "Autoencoder attention, made up",
        "question": "Is attention through an autoencoder better than standard attention of the same size?",
        "smallest_effect": 0.005, "seeds": {"final": list(seeds), "tuning": [101]},
        "budget": {"kind": "chars", "amount": 2e7},
        "matching": {"by": ["parameters"], "reference": "standard", "target": 460_000, "vary": "d_ff",
                     "tolerance": 0.005},
        "tuning": {"search": "grid", "rates": list(RATES), "share": 0.25, "extend": 1}, "arms": resolved,
        "contrasts": contrasts, "declared": "2026-11-22", "amended": [],
        "text": [{"train": {"chars": 10_000_000, "sha256": "cd" * 32},
                  "valid": {"chars": 2_700_000, "sha256": "ef" * 32, "files": ["alice"]}}],
    }  # fmt: skip


def _loss(arm: dict[str, Any], step: int) -> float:
    return ARMS[arm["arm"]][1] + 0.12 * math.log10(460_000 / arm["parameters"]) + 1.2 * math.exp(-step / 90)


def _final(arm: dict[str, Any], seed: int, random: np.random.Generator, hostile: bool) -> Record:
    shift = random.normal(0, 0.004) + 0.01 * math.sin(seed)
    curve = [
        {"step": s, "chars": s * 40_000, "seconds": s / 2, "train_nats": _loss(arm, s) - 0.03,
         "valid_nats": _loss(arm, s) + shift, "valid_chars": 200_000}
        for s in STEPS
    ]  # fmt: skip
    text = HOSTILE if hostile else "the old woman went down to the river and sang of the winter. " * 4
    nats = curve[-1]["valid_nats"]
    cost = Cost(
        seconds=250.0 + 40 * (arm["arm"] == "autoencoder") + random.normal(0, 4), chars=20_000_000,
        chars_per_second=30_000 + random.normal(0, 500) - 3000 * (arm["arm"] != "standard"),
        train_flops=2e7 * arm["train_flops"], train_flops_per_char=arm["train_flops"],
        parameters=arm["parameters"], cache_bytes=3072,
        latent_cache_bytes=None if arm["arm"] == "standard" else 768, peak_memory_bytes=900_000_000,
    )  # fmt: skip
    return Record(
        name=f"final-{arm['id']}-seed{seed}", hash="00", spec="ab12" * 16, phase="final", arm=arm["id"], seed=seed,
        rate=1.0, status="done", config=arm["config"], environment={"commit": "0123456789abcdef", "dirty": False,
        "python": "3.11", "packages": {"torch": "2.9"}, "cpu": "made up", "threads": 1}, batches="b",
        valid={"nats_per_char": nats, "chars": 1, "files": []}, train_nats=curve[-1]["train_nats"], curve=curve,
        samples=[{"step": s, "text": text} for s in STEPS], cost=cost,
    )  # fmt: skip


def _tuning(resolved: Sequence[dict[str, Any]]) -> list[Record]:
    return [
        Record(
            name=f"tune-{arm['id']}-rate{rate:g}-seed101", hash="00", spec="ab12" * 16, phase="tune",
            arm=arm["id"], seed=101, rate=rate, status="done" if rate < 2 else "failed", config={},
            failure=None if rate < 2 else "diverged", reason=None if rate < 2 else "loss is nan at step 12",
            valid={"nats_per_char": 1.4 + abs(rate - 1), "chars": 1, "files": []},
        )
        for arm in resolved
        for rate in RATES
    ]  # fmt: skip


def measured(kind: float, random: np.random.Generator, *, maps: bool) -> Inspection:
    """Something of the shape of what `inspect_run` returns."""

    def figures() -> dict[str, float]:
        return {name: float(kind + random.normal(0, 0.01)) for name in MEASURES}

    def whole() -> dict[str, Any]:
        return {**figures(), "first_share": 0.01, "without_first": Distribution(**figures())}

    names = [field.name for field in fields(CodeMeans)]
    codes = CodeMeans(**dict.fromkeys(names, kind))
    top, nearest = ({k: 1.3 + 2 / k + kind * 0.1 for k in TOP} for _ in range(2))
    scores = 4 * torch.randn(2, 3, 20, 20) + torch.full((20, 20), -torch.inf).triu(1)
    shown = Maps("once upon a time the", pack(scores.softmax(-1).numpy()))
    return Inspection(
        run="made up", step=None, text=TextRead(("alice",), 0, 4, 20, 10, 40, "d"),
        attention=AttentionMeasures(**whole()),
        layers=tuple(
            LayerMeasures(i, tuple(HeadMeasures(head=j, **whole()) for j in range(3))) for i in range(2)
        ),
        loss=Ablation(1.3, top, nearest, 1.301, (1.4, 1.4)),
        codes=CodeSummary(**vars(codes), query=codes, key=codes, value=codes),
        projections=tuple(_projection(i, name, kind + i) for i in range(2) for name in ("key", "value")),
        maps=shown if maps else None,
    )  # fmt: skip


def with_gini(gini: float) -> Inspection:
    """Something measured, with this Gini index as the mean over heads."""
    found = measured(0.5, np.random.default_rng(0), maps=False)
    return replace(found, attention=replace(found.attention, gini=gini))


def _projection(layer: int, name: str, rank: float) -> CodeMeasures:
    return CodeMeasures(
        layer=layer, projection=name, head=None, kind="autoencoder", width=32, effective_rank=rank, dead=0,
        saturated_below=1, saturated_above=None, readout_r2=0.5, pca_r2=0.6,
    )  # fmt: skip


def _snapshots(record: Record, random: np.random.Generator) -> tuple[Snapshot, ...]:
    kind = 0.5 + 0.1 * list(ARMS).index(record.arm.split("@")[0])
    return tuple(
        Snapshot(line["step"], line["valid_nats"],
                 measured(kind + i / 20, random, maps=i == len(record.curve) - 1))
        for i, line in enumerate(record.curve)
    )  # fmt: skip


def _summary(spec: dict[str, Any], finals: Any, seeds: Sequence[int]) -> dict[str, Any]:
    contrasts = [_concluded(c, finals, seeds) for c in spec["contrasts"]]
    for contrast, p in zip(contrasts, holm([c["p"] for c in contrasts]), strict=True):
        contrast["p_holm"] = p
    arms = [
        {"id": arm["id"], "perplexity": 3.6, "sd": 0.004, "rate": 1.0, "losses": {}, "cost": {}}
        for arm in spec["arms"]
    ]
    tuning = [
        {"id": a["id"], "chosen": 1.0, "at_edge": False, "extended": False, "sensitivity": 0.01,
         "rates": [{"rate": r, "mean": None if r == 2 else 1.4 + 0.05 * abs(r - 1), "losses": {"101": 1.4},
                    "failed": int(r == 2)} for r in RATES]}
        for a in spec["arms"]
    ]  # fmt: skip
    return {
        "format": 1, "spec": spec["hash"],
        "answer": contrasts[0]["sentence"] if contrasts else "Nothing was asked.",
        "notes": ["tune-standard-rate2-seed101 failed (diverged) and counts nowhere: loss is nan at step 12"],
        "runs": {"wanted": 40, "done": 36, "failed": 4, "missing": 0}, "failed": [], "arms": arms,
        "tuning": tuning,
        "noise": {"arm": "standard", "n": len(seeds), "sd": 0.004, "resolvable": 0.005}, "contrasts": contrasts,
    }  # fmt: skip


def _concluded(contrast: dict[str, Any], finals: Any, seeds: Sequence[int]) -> dict[str, Any]:
    is_loss = contrast["measure"] == "valid_nats"

    def read(record: Record) -> float:
        value = record.nats_per_char if is_loss else record.cost.chars_per_second  # type: ignore[union-attr]
        assert value is not None
        return value

    differences = {s: read(finals[contrast["arm"], s]) - read(finals[contrast["than"], s]) for s in seeds}
    found = estimate(list(differences.values()))
    interval = list(found.interval) if found.interval else None
    verdict = "better" if (found.mean < 0) == is_loss else "worse"
    ends = [percent_perplexity(end) for end in interval] if interval and is_loss else None
    return {
        **contrast, "unit": "nats" if is_loss else "characters/s", "n": found.n, "seeds": list(seeds),
        "differences": differences, "mean": found.mean, "interval": interval, "p": found.p,
        "baseline": 1.3 if is_loss else 30_000.0,
        "bootstrap": {"interval": interval, "seeds": found.n, "books": 7} if is_loss else None,
        "percent_perplexity": {"mean": percent_perplexity(found.mean), "interval": ends} if is_loss else None,
        "verdict": verdict if interval else "one seed", "paired_batches": True,
        "sentence": f"{contrast['labels'][0]} is {verdict} than {contrast['labels'][1]} by {abs(found.mean):.4f} "
        f"nats at equal {contrast['matching']}.",
    }  # fmt: skip
