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
from aeattn.compare.declaration import Declaration, ResolvedArm, ResolvedContrast, Seeds
from aeattn.compare.folder import Folder
from aeattn.compare.intervals import estimate
from aeattn.compare.records import Cost, Environment, Passage, Point, Record, Text, TextSide, Valid
from aeattn.compare.results import (
    ArmSummary,
    Bootstrap,
    ContrastResult,
    MeanCost,
    Noise,
    RunCounts,
    Summary,
    TriedRate,
    TuningResult,
)
from aeattn.compare.sentences import verdict
from aeattn.compare.spec import Budget, Matching, Tuning
from aeattn.compare.summary import together

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
    analysed: Sequence[str] = tuple(ARMS),
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
        if b.arm == "standard" and a.arm != "standard" and (a.matching, a.size) == (b.matching, b.size)
    ]
    if contrasts:
        contrasts[0] = replace(contrasts[0], primary=True)
    spec = _spec(resolved, contrasts, seeds)
    if hostile:
        spec = replace(spec, title=HOSTILE)
    folder.spec.write_text(json.dumps(spec.to_dict()))
    folder.toml.write_text('title = "made up"\nseeds = [1, 2]\n')
    finals = {(a.id, s): _final(a, s, random, hostile) for a in resolved for s in seeds}
    for record in finals.values():
        folder.write_record(record)
        if record.arm.partition("@")[0] in analysed:
            values = RunAnalysis(record.name, record.hash, _snapshots(record, random)).to_dict()
            (folder.analysis / f"{record.name}.json").write_text(json.dumps(values))
    for record in _tuning(resolved):
        folder.write_record(record)
    folder.summary.write_text(json.dumps(_summary(spec, finals, seeds).to_dict()))
    return folder


def _arm(arm: str, matching: Any, size: str | None, matchings: int, sizes: int) -> ResolvedArm:
    label, _, kinds = ARMS[arm]
    parts = [arm] + ([matching] if matchings > 1 or sizes > 1 else []) + ([str(size)] if sizes > 1 else [])
    scale = {None: 1.0, "460k": 1.0, "120k": 0.26, "30k": 0.07}[size]
    model = dict(zip(("query", "key", "value"), kinds, strict=True)) | {"d_model": int(128 * math.sqrt(scale))}
    return ResolvedArm(
        id="@".join(parts), arm=arm, label=label, about="made up", matching=matching, size=size,
        config={"model": model, "training": {"steps": STEPS[-1]}}, steps=STEPS[-1],
        parameters=int(460_000 * scale), train_flops=int(2_900_000 * scale), off_by=0.0004, text=0,
    )  # fmt: skip


def _contrast(ours: ResolvedArm, theirs: ResolvedArm, measure: str) -> ResolvedContrast:
    return ResolvedContrast(
        id=f"{ours.id}-vs-{theirs.id}", arm=ours.id, than=theirs.id, measure=measure, matching=ours.matching,
        size=ours.size, primary=False, claim="it works",
    )  # fmt: skip


def _spec(
    resolved: Sequence[ResolvedArm], contrasts: Sequence[ResolvedContrast], seeds: Sequence[int]
) -> Declaration:
    return Declaration(
        name="made-up", title="Autoencoder attention, made up",
        question="Is attention through an autoencoder better than standard attention of the same size?",
        smallest_effect=0.005, seeds=Seeds(tuple(seeds), (101,)), budget=Budget("chars", 2e7),
        matching=Matching(("parameters",), target=460_000.0), attention=True,
        tuning=Tuning((101,), RATES, share=0.25, extend=1), arms=tuple(resolved), contrasts=tuple(contrasts),
        text=(Text(TextSide(10_000_000, "cd" * 32), TextSide(2_700_000, "ef" * 32, files=("alice",))),),
        given="", declared="2026-11-22",
    )  # fmt: skip


def _loss(arm: ResolvedArm, step: int) -> float:
    return ARMS[arm.arm][1] + 0.12 * math.log10(460_000 / arm.parameters) + 1.2 * math.exp(-step / 90)


def _final(arm: ResolvedArm, seed: int, random: np.random.Generator, hostile: bool) -> Record:
    shift = random.normal(0, 0.004) + 0.01 * math.sin(seed)
    curve = tuple(Point(s, s * 40_000, s / 2, _loss(arm, s) - 0.03, _loss(arm, s) + shift, 200_000) for s in STEPS)
    text = HOSTILE if hostile else "the old woman went down to the river and sang of the winter. " * 4
    nats = curve[-1].valid_nats
    assert nats is not None
    cost = Cost(
        seconds=250.0 + 40 * (arm.arm == "autoencoder") + random.normal(0, 4), chars=20_000_000,
        chars_per_second=30_000 + random.normal(0, 500) - 3000 * (arm.arm != "standard"),
        train_flops=2e7 * arm.train_flops, train_flops_per_char=arm.train_flops,
        parameters=arm.parameters, cache_bytes=3072,
        latent_cache_bytes=None if arm.arm == "standard" else 768, peak_memory_bytes=900_000_000,
    )  # fmt: skip
    return Record(
        name=f"final-{arm.id}-seed{seed}", hash="00", spec="ab12" * 16, phase="final", arm=arm.id, seed=seed,
        rate=1.0, status="done", config=arm.config, batches="b",
        environment=Environment("3.11", "Linux", {"torch": "2.9"}, "made up", 1, None, "0123456789abcdef", False),
        valid=Valid(nats, 1, ()), train_nats=curve[-1].train_nats, curve=curve,
        samples=tuple(Passage(s, text) for s in STEPS), cost=cost,
    )  # fmt: skip


def _tuning(resolved: Sequence[ResolvedArm]) -> list[Record]:
    return [
        Record(
            name=f"tune-{arm.id}-rate{rate:g}-seed101", hash="00", spec="ab12" * 16, phase="tune",
            arm=arm.id, seed=101, rate=rate, status="done" if rate < 2 else "failed", config={},
            failure=None if rate < 2 else "diverged", reason=None if rate < 2 else "loss is nan at step 12",
            valid=Valid(1.4 + abs(rate - 1), 1, ()),
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
        Snapshot(point.step, point.valid_nats, measured(kind + i / 20, random, maps=i == len(record.curve) - 1))
        for i, point in enumerate(record.curve)
    )  # fmt: skip


def _summary(spec: Declaration, finals: Any, seeds: Sequence[int]) -> Summary:
    concluded = [_concluded(spec, c, finals, seeds) for c in spec.contrasts]
    contrasts = [replace(c, verdict=verdict(c, spec.smallest_effect)) for c in together(concluded)]
    said = tuple(replace(c, sentence=_sentence(c)) for c in contrasts)
    arms = tuple(
        ArmSummary(a.id, a.label, len(seeds), 1.3, None, 0.004, 3.6, {}, 1.0, {}, MeanCost()) for a in spec.arms
    )
    rates = tuple(
        TriedRate(r, {}, None if r == 2 else 1.4 + 0.05 * abs(r - 1), {101: 1.4}, int(r == 2)) for r in RATES
    )
    return Summary(
        spec=spec.hash,
        answer=next((c.sentence for c in said if c.primary), "Nothing was asked."),
        runs=RunCounts(40, 36, 4, 0),
        failed=(),
        arms=arms,
        tuning=tuple(TuningResult(a.id, rates, 1.0, False, False, 0.01) for a in spec.arms),
        noise=Noise("standard", len(seeds), 0.004, 0.005),
        contrasts=said,
        notes=("tune-standard-rate2-seed101 failed (diverged) and counts nowhere: loss is nan at step 12",),
        conditions="Found at 460K parameters, 20M characters, made up.",
    )


def _concluded(spec: Declaration, contrast: ResolvedContrast, finals: Any, seeds: Sequence[int]) -> ContrastResult:
    is_loss = contrast.measure == "valid_nats"

    def read(record: Record) -> float:
        value = record.nats_per_char if is_loss else record.cost.chars_per_second  # type: ignore[union-attr]
        assert value is not None
        return value

    differences = {s: read(finals[contrast.arm, s]) - read(finals[contrast.than, s]) for s in seeds}
    found = estimate(list(differences.values()))
    return ContrastResult(
        **vars(contrast), labels=(spec.arm(contrast.arm).label, spec.arm(contrast.than).label),
        unit="nats/char" if is_loss else "chars/s", n=found.n, seeds=tuple(seeds), lost=0,
        differences=differences, mean=found.mean, interval=found.interval, p=found.p,
        baseline=1.3 if is_loss else 30_000.0,
        bootstrap=Bootstrap(found.interval, found.n, 7) if is_loss else None,
        percent_perplexity=None, paired_batches=True, verdict="one seed",
    )  # fmt: skip


def _sentence(contrast: ContrastResult) -> str:
    ours, theirs = contrast.labels
    exploratory = "" if contrast.primary else "Exploratory: "
    return f"{exploratory}{ours} against {theirs}: {contrast.verdict}, {contrast.mean:.4f} {contrast.unit}."
