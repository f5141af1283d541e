"""From what a comparison's folder holds to the page that answers its question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aeattn.experiments.measures import describe_measure
from aeattn.experiments.records import Record
from aeattn.experiments.report.attention import attention_blocks
from aeattn.experiments.report.blocks import (
    Block,
    Cell,
    Code,
    Figures,
    Page,
    Samples,
    Section,
    Table,
    Text,
    shown,
    with_interval,
)
from aeattn.experiments.report.figures import (
    cost_figures,
    cost_of,
    curve,
    forest_figure,
    learning_curves,
    rate_figures,
    size_figures,
)
from aeattn.experiments.report.material import Material, group_name, look_up, over_seeds

SAMPLES_SHOWN = 6


def make_page(material: Material) -> Page:
    """The whole report of a comparison."""
    for contrast in (contrasts := material.summary.get("contrasts", [])):
        contrast["several"] = len(material.groups) > 1
    return Page(
        title=str(material.spec.get("title") or material.spec.get("name") or material.path.name),
        question=str(material.spec.get("question") or ""),
        answer=_answer(material),
        hero=_hero(material, contrasts),
        facts=_facts(material),
        notes=[*map(str, material.summary.get("notes", [])), *material.problems],
        sections=[
            Section("Arms", _arms(material)),
            Section("Learning curves", _curves(material)),
            Section("Contrasts", _contrasts(material, contrasts)),
            Section("Cost against loss", _costs(material)),
            Section("Learning rates", _rates(material)),
            Section("Sizes", _sizes(material)),
            Section("What attention does", attention_blocks(material)),
            Section("What the models write", _samples(material)),
            Section("Protocol", _protocol(material)),
            Section("Records", _records(material)),
        ],
    )


def _curves(material: Material) -> list[Block]:
    figures = learning_curves(material)
    if figures is None:
        return [Text("No run has been evaluated yet.")]
    rows = [
        [Cell(material.full_name(arm)), shown(chars, ",.0f"), with_interval(mean, interval)]
        for arm in material.arms
        for chars, mean, interval in curve(material.finals(arm["id"]))
    ]
    columns = ["arm", "#characters", "#nats a character"]
    return [figures, Table("Validation loss as training went on", columns, rows, folded=True)]


def _sizes(material: Material) -> list[Block]:
    figures = size_figures(material)
    if figures is None:
        return [Text("Every arm was run in one size.")]
    return [Text("Loss over the number of parameters; the figures are those of the arms above."), figures]


def _answer(material: Material) -> str:
    answer = material.summary.get("answer")
    if answer:
        return str(answer)
    done = sum(record.status == "done" for record in material.records)
    return f"There is no answer yet: {done} runs are done, and nothing has been concluded from them."


def _hero(material: Material, contrasts: Sequence[dict[str, Any]]) -> Block | None:
    """The declared differences of the loss in the group of the primary contrast; else the curves."""
    primary = next((c for c in contrasts if c.get("primary")), None)
    if primary is not None:
        where = (primary.get("matching"), primary.get("size"))
        losses = [c for c in contrasts if c["measure"] == primary["measure"]
                  and (c.get("matching"), c.get("size")) == where]  # fmt: skip
        alone = [{**contrast, "several": False} for contrast in losses]
        title = f"Differences {group_name(where)}"
        if figure := forest_figure(material, alone, title, _unit(primary)):
            return Figures([figure], wide=True)
    curves = learning_curves(material)
    return Figures(curves.figures[:1], curves.legend) if curves else None


def _unit(contrast: dict[str, Any]) -> str:
    return "nats a character" if contrast["measure"] == "valid_nats" else "% of the arm compared with"


def _facts(material: Material) -> list[str]:
    runs = material.summary.get("runs", {})
    failed = sum(record.status == "failed" for record in material.records)
    done = runs.get("done", sum(record.status == "done" for record in material.records))
    seeds = (material.spec.get("seeds") or {}).get("final", [])
    return [
        f"{len(material.arms)} arms",
        f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''}",
        f"{done} of {runs.get('wanted', len(material.records))} runs done",
        f"{runs.get('failed', failed)} failed",
        f"declared {material.spec.get('declared', 'at an unknown date')}",
        f"declaration {str(material.spec.get('hash', ''))[:12]}",
    ]


# -- arms and costs ------------------------------------------------------------------------------------------


def _arms(material: Material) -> list[Block]:
    columns = ["arm", "#runs", "#nats a character", "#perplexity", "#sd over seeds", "#parameters", "#rate",
               "what it is"]  # fmt: skip
    rows = [_arm_row(material, arm) for arm in material.arms]
    blocks: list[Block] = [Table("", columns, rows)]
    noise = material.summary.get("noise") or {}
    if noise.get("resolvable") is not None:
        blocks.append(Text(
            f"Noise: seeds alone spread {noise['arm']} by {noise['sd']:.4f} nats (standard deviation of "
            f"{noise['n']}); without pairing, a difference below {noise['resolvable']:.4f} is not told from it."
        ))  # fmt: skip
    return blocks


def _arm_row(material: Material, arm: dict[str, Any]) -> list[Cell]:
    losses = [record.nats_per_char for record in material.finals(arm["id"])]
    concluded: dict[str, Any] = next((a for a in material.summary.get("arms", []) if a.get("id") == arm["id"]), {})
    mean, interval = over_seeds(losses)
    return [
        Cell(material.full_name(arm)),
        Cell(str(len(losses)), len(losses)),
        with_interval(mean, interval),
        shown(look_up(concluded, "perplexity"), ".3f"),
        shown(look_up(concluded, "sd")),
        shown(look_up(arm, "parameters"), ",.0f"),
        shown(look_up(concluded, "rate"), "g"),
        Cell(str(arm.get("about") or "")),
    ]


COSTS = {
    "train_flops": ("training FLOPs", ".3g"),
    "train_flops_per_char": ("FLOPs a character", ",.0f"),
    "seconds": ("seconds", ",.1f"),
    "chars_per_second": ("characters/s", ",.0f"),
    "peak_memory_bytes": ("peak memory, bytes", ",.0f"),
    "cache_bytes": ("cache, bytes a character", ",.0f"),
    "latent_cache_bytes": ("latent cache", ",.0f"),
}


def _costs(material: Material) -> list[Block]:
    rows = []
    for arm in material.arms:
        finals = material.finals(arm["id"])
        if finals:
            means = [over_seeds(cost_of(r, name) for r in finals)[0] for name in COSTS]
            cells = [shown(mean, form) for mean, (_, form) in zip(means, COSTS.values(), strict=True)]
            loss = over_seeds(r.nats_per_char for r in finals)
            rows.append([Cell(material.full_name(arm)), with_interval(*loss), *cells])
    if not rows:
        return [Text("No run has finished yet.")]
    figures = cost_figures(material)
    table = Table("", ["arm", "#nats a character", *(f"#{name}" for name, _ in COSTS.values())], rows)
    return [*([figures] if figures else []), table]


# -- contrasts -----------------------------------------------------------------------------------------------


def _contrasts(material: Material, contrasts: Sequence[dict[str, Any]]) -> list[Block]:
    if not contrasts:
        return [Text("Nothing has been concluded yet.")]
    losses = [c for c in contrasts if c["measure"] == "valid_nats"]
    others = [c for c in contrasts if c["measure"] != "valid_nats" and c.get("baseline")]
    figures = [
        forest_figure(material, losses, "Differences of the validation loss", "nats a character"),
        forest_figure(material, others, "Other differences", "% of the arm compared with"),
    ]
    there = [Figures([figure], wide=True) for figure in figures if figure]
    columns = ["arm", "less arm", "of", "claim", "#seeds", "#difference [95 %]", "unit", "#p", "#p, Holm",
               "#seeds and books [95 %]", "#% of perplexity", "verdict"]  # fmt: skip
    rows = [_contrast_row(c) for c in contrasts]
    sentences = [str(c.get("sentence") or "") for c in contrasts]
    return [*there, Table("", columns, rows), Text("In words:", [s for s in sentences if s])]


def _contrast_row(c: dict[str, Any]) -> list[Cell]:
    form = f"+,.{describe_measure(c['measure']).digits}f"
    ends = (c.get("bootstrap") or {}).get("interval")
    percent = c.get("percent_perplexity") or {}
    ours, theirs = c.get("labels") or (c["arm"], c["than"])
    where = f", {group_name((c.get('matching'), c.get('size')))}" if c.get("several") else ""
    primary = " (primary)" if c.get("primary") else ""
    return [
        Cell(ours + primary),
        Cell(theirs + where),
        Cell(describe_measure(c["measure"]).text),
        Cell(str(c.get("claim") or "")),
        Cell(str(c.get("n", 0)), c.get("n", 0)),
        with_interval(c.get("mean"), c.get("interval"), form),
        Cell(str(c.get("unit") or "")),
        shown(c.get("p"), ".2g"),
        shown(c.get("p_holm"), ".2g"),
        Cell(f"[{ends[0]:+.4f}, {ends[1]:+.4f}]", ends[0]) if ends else Cell("-"),
        with_interval(percent.get("mean"), percent.get("interval"), "+.2f"),
        Cell(str(c.get("verdict") or "")),
    ]


# -- learning rates ------------------------------------------------------------------------------------------


def _rates(material: Material) -> list[Block]:
    tuned = material.summary.get("tuning", [])
    if not tuned:
        return [Text("No learning rate was tuned: every arm has that of the base.")]
    names = {arm["id"]: material.full_name(arm) for arm in material.arms}
    rows = [
        [
            Cell(names.get(t["id"], t["id"])),
            Cell(f"{r['rate']:g}", r["rate"]),
            shown(r["mean"]),
            Cell(str(len(r["losses"])), len(r["losses"])),
            Cell(str(r["failed"]), r["failed"]),
            Cell(_chosen(t) if r["rate"] == t["chosen"] else ""),
            shown(t["sensitivity"]),
        ]
        for t in tuned
        for r in t["rates"]
    ]
    columns = ["arm", "#rate", "#nats a character", "#seeds", "#failed", "chosen", "#sensitivity"]
    about = "The same rates for every arm, on seeds that the final runs do not use; sensitivity is what one " \
            "step of the grid away from the best costs."  # fmt: skip
    figures = rate_figures(material)
    return [Text(about), *([figures] if figures else []), Table("", columns, rows)]


def _chosen(tuning: dict[str, Any]) -> str:
    edge = ", on the edge" if tuning["at_edge"] else ""
    return "chosen" + edge + (", extended" if tuning["extended"] else "")


# -- samples, protocol, records ------------------------------------------------------------------------------


def _samples(material: Material) -> list[Block]:
    """Text of each arm from a seed that all of them have, as training goes on."""
    finals = {arm["id"]: {r.seed: r for r in material.finals(arm["id"]) if r.samples} for arm in material.arms}
    having = {id_: runs for id_, runs in finals.items() if runs}
    if not having:
        return [Text("No run has written anything.")]
    common = sorted(set.intersection(*map(set, having.values())))
    blocks: list[Block] = []
    for arm in material.arms:
        if runs := having.get(arm["id"]):
            record = runs[common[0]] if common else runs[min(runs)]
            blocks.append(Samples(f"{material.full_name(arm)}, seed {record.seed}", _passages(record)))
    about = "The same seed for every arm." if common else "No seed is common to all arms."
    return [Text(f"Drawn at temperature 0.8 as training went on. {about}"), *blocks]


def _passages(record: Record) -> list[tuple[str, str]]:
    samples = [s for s in record.samples if isinstance(s.get("text"), str)]
    keep = min(SAMPLES_SHOWN, len(samples))
    picked = [samples[(i * (len(samples) - 1)) // max(1, keep - 1)] for i in range(keep)]
    return [(f"after {s.get('step', 0):,} steps", s["text"]) for s in picked]


def _protocol(material: Material) -> list[Block]:
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


def _records(material: Material) -> list[Block]:
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
    place = r.environment or {}
    commit = str(place.get("commit") or "-")[:10] + (" (changed)" if place.get("dirty") else "")
    torch = (place.get("packages") or {}).get("torch")
    machine = f"Python {place.get('python')}, torch {torch}, {place.get('gpu') or place.get('cpu')}, " \
              f"{place.get('threads')} threads" if place else "-"  # fmt: skip
    return [
        Cell(r.name), Cell(r.phase), Cell(names.get(r.arm, r.arm)), Cell(str(r.seed), r.seed),
        shown(r.rate, "g"), Cell(status), shown(r.nats_per_char), shown(r.train_nats), *cost, Cell(commit),
        Cell(machine),
    ]  # fmt: skip
