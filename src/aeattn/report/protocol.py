"""What was declared, and every record: the part of a report that others check it by."""

from __future__ import annotations

import json
from collections.abc import Iterator

from aeattn.compare.declaration import Declaration, ResolvedArm
from aeattn.compare.metrics import describe_measure
from aeattn.compare.records import Record
from aeattn.compare.spec import Matching, Tuning
from aeattn.report.blocks import Block, Cell, Code, Table, Text, shown
from aeattn.report.data import COSTS, Comparison, cost_of, group_name, group_of


def protocol(comparison: Comparison) -> list[Block]:
    sizes = ["#off by", "#steps", "#parameters", "#training FLOPs/token"]
    columns = ["variant", "matching", *sizes, "how it differs"]
    rows = [
        [Cell(comparison.full_name(arm)), Cell(group_name(group_of(arm))), shown(arm.off_by, "+.3%"),
         *(shown(n, ",.0f") for n in (arm.steps, arm.parameters, arm.train_flops)),
         Cell(_differs(arm, comparison.arms[0]))]
        for arm in comparison.arms
    ]  # fmt: skip
    configs = {arm.id: arm.config for arm in comparison.arms}
    return [
        Table("Variants as they were resolved", columns, rows, folded=True),
        *([Code("The spec as it was given", comparison.toml)] if comparison.toml else []),
        Code("Every setting of every variant", json.dumps(configs, indent=1)),
    ]


def declared(declaration: Declaration) -> Table:
    """What was fixed before anything ran."""
    facts = [[Cell(name), Cell(value)] for name, value in _declared(declaration) if value]
    return Table("", ["before anything ran", "it was declared"], facts)


def _declared(d: Declaration) -> Iterator[tuple[str, str]]:
    contrasts = (f"{c.arm} minus {c.than}, {describe_measure(c.measure).text}" for c in d.contrasts if c.primary)
    sides = [(name, getattr(text, name)) for text in d.text for name in ("train", "valid")]
    texts = (f"{name}: {side.chars:,} characters, sha256 {side.sha256[:16]}" for name, side in sides)
    yield "primary difference", "; ".join(contrasts)
    yield "smallest effect that matters", f"{d.smallest_effect} nats/char"
    yield "final seeds", ", ".join(map(str, d.seeds.final))
    yield "tuning seeds", ", ".join(map(str, d.seeds.tuning)) if d.tuning else ""
    yield "tuned", _tuned(d.tuning) if d.tuning else "nothing"
    yield "budget", f"{d.budget.amount:,.0f} {d.budget.kind} a run"
    yield "matched by", _matching(d.matching)
    yield "text", "; ".join(texts)
    judged = [f"{name}: {side.chars:,} characters, sha256 {side.sha256[:16]}"
              for text in d.text for name, side in text.judged.items()]  # fmt: skip
    yield "judged on, once", "; ".join(judged)
    yield "primary differences that Holm's correction counts", str(d.family or "")
    yield "intervals of losses", "a model of seeds and books" if d.two_way else ""
    yield "commit of all runs", d.commit or ""
    yield "declared", d.declared
    yield "hash", d.hash
    amended = (f"{a.date} from {a.hash[:12]}" + "".join(f", {c}" for c in a.changed) for a in d.amended)
    yield "amended", "; ".join(amended)


def _tuned(tuning: Tuning) -> str:
    tried = list(tuning.rates) if tuning.search == "grid" else tuning.space
    return f"{tuning.search}: {tried}, {tuning.share:.0%} of the budget"


def _matching(matching: Matching) -> str:
    aim = f"target {matching.target:,.0f}" if matching.target else f"as {matching.reference}"
    return f"{', '.join(matching.by)}; {aim}, by changing {matching.vary}, within {matching.tolerance:.1%}"


def _differs(arm: ResolvedArm, base: ResolvedArm) -> str:
    ours, theirs = dict(_flat(arm.config)), dict(_flat(base.config))
    changed = [f"{name.split('.', 1)[-1]} = {value}" for name, value in ours.items() if theirs.get(name) != value]
    return ", ".join(changed) or ("the others are shown against it" if arm is base else "nothing")


def _flat(values: object, name: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _flat(value, f"{name}.{key}" if name else key)
    else:
        yield name, values


# -- records -------------------------------------------------------------------------------------------------


def all_records(comparison: Comparison) -> list[Block]:
    if not comparison.records:
        return [Text("There are no records yet.")]
    columns = ["record", "phase", "variant", "#seed", "#learning-rate multiplier", "status", "#nats/char",
               "#training nats/char",
               *(f"#{heading}" for heading, _ in COSTS.values()), "commit", "versions and hardware"]  # fmt: skip
    names = {arm.id: comparison.full_name(arm) for arm in comparison.arms}
    rows = [_record_row(record, names[record.arm]) for record in comparison.records]
    return [Table("Every run", columns, rows).filled]


def _record_row(r: Record, arm: str) -> list[Cell]:
    cost = [shown(cost_of(r, name), form) for name, (_, form) in COSTS.items()]
    at = r.environment
    commit = ((at and at.commit) or "-")[:10] + (" (changed)" if at and at.dirty else "")
    machine = f"Python {at.python}, torch {at.packages.get('torch')}, {at.gpu or at.cpu}, {at.threads} threads" \
              if at else "-"  # fmt: skip
    return [
        Cell(r.name), Cell(r.phase), Cell(arm), Cell(str(r.seed), r.seed), shown(r.rate, "g"), Cell(_status(r)),
        shown(r.nats_per_char), shown(r.train_nats), *cost, Cell(commit), Cell(machine),
    ]  # fmt: skip


def _status(r: Record) -> str:
    failed = f" ({r.failure}): {r.reason}" if r.status == "failed" else ""
    resumed = f", resumed after step {', '.join(f'{step:,}' for step in r.resumed)}" if r.resumed else ""
    return f"{r.status}{failed}{resumed}"
