"""From what a comparison's folder holds to the page that answers its question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aeattn.compare.metrics import describe_measure
from aeattn.compare.records import Record
from aeattn.report.attention import attention_blocks
from aeattn.report.blocks import (
    Block,
    Cell,
    Figures,
    Page,
    Samples,
    Section,
    Table,
    Text,
    shown,
    with_interval,
)
from aeattn.report.data import Material, group_name, look_up, over_seeds
from aeattn.report.figures import (
    cost_figures,
    cost_of,
    curve,
    forest_figure,
    learning_curves,
    rate_figures,
    size_figures,
)
from aeattn.report.protocol import all_records, protocol

SAMPLES_SHOWN = 6
NATS, PERCENT = "nats a character", "% of the arm compared with"


def make_page(material: Material) -> Page:
    """The whole report of a comparison."""
    for contrast in (contrasts := material.contrasts):
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
            Section("Protocol", protocol(material)),
            Section("Records", all_records(material)),
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
        same = [c for c in contrasts if c["measure"] == primary["measure"] and _can_be_drawn(c)]
        if figure := forest_figure(material, same, where, _unit(primary)):
            return Figures([figure], wide=True)
    curves = learning_curves(material)
    return Figures(curves.figures[:1], curves.legend) if curves else None


def _unit(contrast: dict[str, Any]) -> str:
    return NATS if contrast["measure"] == "valid_nats" else PERCENT


def _can_be_drawn(contrast: dict[str, Any]) -> bool:
    """Losses are drawn in nats; all else in percent, where there is something to take a percentage of."""
    return contrast["measure"] == "valid_nats" or bool(contrast.get("baseline"))


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
    drawn = [c for c in contrasts if _can_be_drawn(c)]
    figures = [
        forest_figure(material, [c for c in drawn if (c["measure"] == "valid_nats") == is_loss], group, unit)
        for is_loss, unit in ((True, NATS), (False, PERCENT))
        for group in material.groups
    ]
    there = [Figures([figure], wide=True) for figure in figures if figure]
    columns = ["arm", "less arm", "of", "claim", "#seeds", "#difference [95 %]", "unit", "#p", "#p, Holm",
               "#seeds and books [95 %]", "#% of perplexity", "verdict"]  # fmt: skip
    rows = [_contrast_row(c) for c in contrasts]
    sentences = [str(c["sentence"]) for c in contrasts if c.get("sentence") and c.get("verdict") != "no runs"]
    return [*there, Table("", columns, rows), *([Text("In words:", sentences)] if sentences else [])]


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


# -- samples -----------------------------------------------------------------------------------------------


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
    samples = record.samples
    keep = min(SAMPLES_SHOWN, len(samples))
    picked = [samples[(i * (len(samples) - 1)) // max(1, keep - 1)] for i in range(keep)]
    return [(f"after {s.step:,} steps", s.text) for s in picked]
