"""What was declared, and every record: the part of a report that others check it by."""

from __future__ import annotations

import json
from typing import Any

from aeattn.compare.records import Record
from aeattn.report.blocks import Block, Cell, Code, Table, Text, shown
from aeattn.report.data import Material, group_name, look_up


def protocol(material: Material) -> list[Block]:
    spec = material.spec
    facts = [[Cell(name), Cell(value)] for name, value in _declared(spec) if value]
    columns = ["arm", "matching", "#off by", "#steps", "#parameters", "#FLOPs a character", "how it differs"]
    rows = [
        [
            Cell(material.full_name(arm)),
            Cell(group_name((arm.get("matching"), arm.get("size")))),
            shown(look_up(arm, "off_by"), "+.3%"),
            shown(look_up(arm, "steps"), ",.0f"),
            shown(look_up(arm, "parameters"), ",.0f"),
            shown(look_up(arm, "train_flops"), ",.0f"),
            Cell(_differs(arm, material.arms[0])),
        ]
        for arm in material.arms
    ]
    configs = {arm["id"]: arm.get("config") for arm in material.arms}
    return [
        Table("What was declared before anything ran", ["", "declared"], facts),
        Table("Arms as they were resolved", columns, rows),
        *([Code("The spec as it was given", material.toml)] if material.toml else []),
        Code("Every setting of every arm", json.dumps(configs, indent=1)),
    ]


def _declared(spec: dict[str, Any]) -> list[tuple[str, str]]:
    seeds, tuning, matching = spec.get("seeds") or {}, spec.get("tuning") or {}, spec.get("matching") or {}
    budget = spec.get("budget") or {}
    searched = f"{tuning.get('search')}: {tuning.get('rates') or tuning.get('space')}, " \
               f"{tuning.get('share', 1):.0%} of the budget" if tuning else "nothing"  # fmt: skip
    texts = [f"{side}: {facts.get('chars', 0):,} characters, sha256 {str(facts.get('sha256'))[:16]}"
             for text in spec.get("text", []) for side, facts in text.items()
             if isinstance(facts, dict)]  # fmt: skip
    primary = [f"{c.get('arm')} against {c.get('than')}, {c.get('measure')}" for c in spec.get("contrasts", [])
               if c.get("primary")]  # fmt: skip
    return [
        ("primary contrast", "; ".join(primary)),
        ("smallest effect that matters", f"{spec.get('smallest_effect')} nats a character"),
        ("final seeds", ", ".join(map(str, seeds.get("final", [])))),
        ("tuning seeds", ", ".join(map(str, seeds.get("tuning", []) or [])) if tuning else ""),
        ("tuned", searched),
        ("budget", f"{budget.get('amount', 0):,.0f} {budget.get('kind', '')} a run"),
        ("matched by", _matching(matching)),
        ("text", "; ".join(texts)),
        ("declared", str(spec.get("declared", ""))),
        ("hash", str(spec.get("hash", ""))),
        ("amended", "; ".join(f"{a.get('date')} from {str(a.get('hash'))[:12]}" for a in spec.get("amended", []))),
    ]


def _matching(matching: dict[str, Any]) -> str:
    if not matching:
        return ""
    by = ", ".join(map(str, matching.get("by", [])))
    aim = f"target {matching['target']:,}" if matching.get("target") else f"as {matching.get('reference')}"
    return f"{by}; {aim}, by changing {matching.get('vary')}, within {matching.get('tolerance', 0):.1%}"


def _differs(arm: dict[str, Any], base: dict[str, Any]) -> str:
    ours, theirs = _flat(arm.get("config") or {}), _flat(base.get("config") or {})
    changed = [f"{name.split('.', 1)[-1]} = {value}" for name, value in ours.items() if theirs.get(name) != value]
    return ", ".join(changed) or ("the others are shown against it" if arm is base else "nothing")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def all_records(material: Material) -> list[Block]:
    if not material.records:
        return [Text("There are no records yet.")]
    columns = ["record", "phase", "arm", "#seed", "#rate", "status", "#nats a character", "#training nats",
               "#characters", "#seconds", "#characters/s", "#FLOPs", "#memory, bytes", "#parameters", "#cache",
               "#latent", "commit", "versions and hardware"]  # fmt: skip
    names = {arm["id"]: material.full_name(arm) for arm in material.arms}
    rows = [_record_row(record, names) for record in material.records]
    return [Table("Every run", columns, rows)]


def _record_row(r: Record, names: dict[str, str]) -> list[Cell]:
    status = r.status if r.status != "failed" else f"failed ({r.failure}): {r.reason}"
    cost = [
        shown(getattr(r.cost, name) if r.cost else None, form)
        for name, form in (
            ("chars", ",.0f"), ("seconds", ",.1f"), ("chars_per_second", ",.0f"), ("train_flops", ".3g"),
            ("peak_memory_bytes", ",.0f"), ("parameters", ",.0f"), ("cache_bytes", ",.0f"),
            ("latent_cache_bytes", ",.0f"),
        )
    ]  # fmt: skip
    at = r.environment
    commit = ((at and at.commit) or "-")[:10] + (" (changed)" if at and at.dirty else "")
    machine = f"Python {at.python}, torch {at.packages.get('torch')}, {at.gpu or at.cpu}, {at.threads} threads" \
              if at else "-"  # fmt: skip
    return [
        Cell(r.name), Cell(r.phase), Cell(names.get(r.arm, r.arm)), Cell(str(r.seed), r.seed),
        shown(r.rate, "g"), Cell(status), shown(r.nats_per_char), shown(r.train_nats), *cost, Cell(commit),
        Cell(machine),
    ]  # fmt: skip
