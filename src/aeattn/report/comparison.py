"""From what a comparison's folder holds to the page that answers its question."""

from __future__ import annotations

from collections.abc import Sequence

from aeattn.compare.declaration import ResolvedArm
from aeattn.compare.metrics import TIMED, describe_measure
from aeattn.compare.records import Record
from aeattn.compare.results import ArmSummary, ContrastResult, TuningResult
from aeattn.report.attention import attention_blocks
from aeattn.report.blocks import Block, Cell, Figures, Page, Samples, Section, Table, Text, shown, with_interval
from aeattn.report.charts import (
    NATS,
    cost_figures,
    curve,
    forest_figure,
    is_loss,
    learning_curves,
    rate_figures,
    size_figures,
    whole_text,
)
from aeattn.report.claims import claim_blocks
from aeattn.report.data import COSTS, Comparison, cost_of, group_name, group_of, mean_cell, over_seeds
from aeattn.report.frontier import frontier_blocks, frontier_figure, has_bytes
from aeattn.report.protocol import all_records, protocol

SAMPLES_SHOWN = 6
PERCENT = "% of the arm compared with"


def make_page(comparison: Comparison) -> Page:
    """The whole report of a comparison."""
    declaration, summary = comparison.declaration, comparison.summary
    done = sum(record.status == "done" for record in comparison.records)
    return Page(
        title=declaration.title or declaration.name,
        question=declaration.question,
        answer=summary.answer
        if summary
        else f"There is no answer yet: {done} runs are done, and nothing has been concluded from them.",
        hero=_hero(comparison),
        facts=_facts(comparison),
        notes=[*(summary.notes if summary else ()), *comparison.problems],
        sections=[
            *([Section("Published claims", claim_blocks(comparison.contrasts))] if declaration.family else []),
            *([Section("Loss for every byte", frontier_blocks(comparison))] if has_bytes(comparison) else []),
            Section("Arms", _arms(comparison)),
            Section("Learning curves", _curves(comparison)),
            *([] if declaration.screening else [Section("Contrasts", _contrasts(comparison))]),
            Section("Cost against loss", _costs(comparison)),
            Section("Learning rates", _rates(comparison)),
            Section("Sizes", _sizes(comparison)),
            Section("What attention does", attention_blocks(comparison)),
            Section("What the models write", _samples(comparison)),
            Section("Protocol", protocol(comparison)),
            Section("Records", all_records(comparison)),
        ],
        conditions=summary.conditions if summary else "",
    )


def _hero(comparison: Comparison) -> Block | None:
    """The declared differences of the loss in the group of the primary contrast; else the curves."""
    primary = next((contrast for contrast in comparison.contrasts if contrast.primary), None)
    if primary is not None:
        same = [contrast for contrast in comparison.contrasts if contrast.measure == primary.measure]
        unit = NATS if is_loss(primary) else PERCENT
        if figure := forest_figure(comparison, same, group_of(primary), unit):
            return Figures([figure], wide=True)
    if has_bytes(comparison) and (frontier := frontier_figure(comparison)):
        return frontier
    curves = learning_curves(comparison)
    return Figures(curves.figures[:1], curves.legend) if curves else None


def _facts(comparison: Comparison) -> list[str]:
    declaration, records = comparison.declaration, comparison.records
    seeds, runs = len(declaration.seeds.final), comparison.summary and comparison.summary.runs
    done, failed = (sum(record.status == status for record in records) for status in ("done", "failed"))
    return [
        f"{len(comparison.arms)} arms",
        f"{seeds} seed{'s' if seeds != 1 else ''}",
        f"{runs.done if runs else done} of {runs.wanted if runs else len(records)} runs done",
        f"{runs.failed if runs else failed} failed",
        f"declared {declaration.declared}",
        f"declaration {declaration.hash[:12]}",
    ]


def _curves(comparison: Comparison) -> list[Block]:
    figures = learning_curves(comparison)
    if figures is None:
        return [Text("No run has been evaluated yet.")]
    columns = ["arm", "#characters", "#nats a character", "of"]
    part = (
        "part of the validation text" if any(whole_text(comparison.finals(a.id)) for a in comparison.arms) else ""
    )
    rows = []
    for arm in comparison.arms:
        means = [(mean, part) for mean in curve(comparison.finals(arm.id))]
        whole = whole_text(comparison.finals(arm.id))
        for mean, of in [*means, *([(whole, "whole validation text")] if whole else [])]:
            cells = [shown(mean.at, ",.0f"), with_interval(mean.nats, mean.interval), Cell(of)]
            rows.append([Cell(comparison.full_name(arm)), *cells])
    about = Text("Means over seeds, with 95 % intervals as bands." + (
        " Lines are of one part of the validation text, rings of all of it: losses on two texts do not compare."
        if part else ""
    ))  # fmt: skip
    return [about, figures, Table("Validation loss as training went on", columns, rows, folded=True)]


def _sizes(comparison: Comparison) -> list[Block]:
    figures = size_figures(comparison)
    if figures is None:
        return [Text("Every arm was run in one size.")]
    return [Text("Loss over the number of parameters; the figures are those of the arms above."), figures]


# -- arms and costs ------------------------------------------------------------------------------------------


def _arms(comparison: Comparison) -> list[Block]:
    columns = ["arm", "#runs", "#nats a character", "#perplexity", "#sd over seeds", "#parameters", "#rate",
               "what it is"]  # fmt: skip
    concluded = {arm.id: arm for arm in comparison.summary.arms} if comparison.summary else {}
    rows = [_arm_row(comparison, arm, concluded.get(arm.id)) for arm in comparison.arms]
    noise = comparison.summary and comparison.summary.noise
    if not noise or noise.sd is None or noise.resolvable is None:
        return [Table("", columns, rows)]
    return [Table("", columns, rows), Text(
        f"Noise: seeds alone spread {noise.arm} by {noise.sd:.4f} nats (standard deviation of {noise.n}); without "
        f"pairing, a difference below {noise.resolvable:.4f} is not told from it."
    )]  # fmt: skip


def _arm_row(comparison: Comparison, arm: ResolvedArm, concluded: ArmSummary | None) -> list[Cell]:
    losses = [comparison.loss(record) for record in comparison.finals(arm.id)]
    return [
        Cell(comparison.full_name(arm)),
        Cell(str(len(losses)), len(losses)),
        mean_cell(losses),
        shown(concluded.perplexity if concluded else None, ".3f"),
        shown(concluded.sd if concluded else None),
        shown(arm.parameters, ",.0f"),
        shown(concluded.rate if concluded else None, "g"),
        Cell(arm.about),
    ]


def _costs(comparison: Comparison) -> list[Block]:
    arms = [(arm, finals) for arm in comparison.arms if (finals := comparison.finals(arm.id))]
    if not arms:
        return [Text("No run has finished yet.")]
    slowed = comparison.slowed
    left_out = ("chars", "parameters", *(TIMED if slowed else ()))
    columns = {name: how for name, how in COSTS.items() if name not in left_out}
    rows = [
        [
            Cell(comparison.full_name(arm)),
            mean_cell(map(comparison.loss, finals)),
            *(shown(over_seeds(cost_of(r, name) for r in finals)[0], form) for name, (_, form) in columns.items()),
        ]
        for arm, finals in arms
    ]
    note = Text("Runs shared the machine, so that their seconds and characters/s are not compared.", role="note")
    figures = cost_figures(comparison)
    table = Table("", ["arm", "#nats a character", *(f"#{name}" for name, _ in columns.values())], rows)
    return [*([note] if slowed else []), *([figures] if figures else []), table]


# -- contrasts -----------------------------------------------------------------------------------------------


def _contrasts(comparison: Comparison) -> list[Block]:
    contrasts = comparison.contrasts
    if not contrasts:
        return [Text("Nothing has been concluded yet.")]
    figures = [
        forest_figure(comparison, [c for c in contrasts if is_loss(c) == losses], group, unit)
        for losses, unit in ((True, NATS), (False, PERCENT))
        for group in comparison.groups
    ]
    there = [Figures([figure], wide=True) for figure in figures if figure]
    columns = ["arm", "less arm", "of", "declared as", "claim", "#seeds", "#difference [interval]", "unit", "#p",
               "#p, Holm", "#seeds and books [95 %]", "#% of perplexity", "verdict"]  # fmt: skip
    rows = [_contrast_row(contrast, len(comparison.groups) > 1) for contrast in contrasts]
    about = "The interval of the primary contrast holds at 95 %; those of the exploratory ones hold all at once."
    if any(c.family for c in contrasts):
        about = "Intervals of the primary contrasts hold all at once at 95 %, as do those of the exploratory ones."
    alone = [*_by_seeds_alone(contrasts)]
    sentences = [c.sentence for c in contrasts if c.sentence and c.verdict != "no runs"]
    said = [Text("In words:", sentences)] if sentences else []
    return [*there, Text(about), Table("", columns, rows), *alone, *said]


def _by_seeds_alone(contrasts: Sequence[ContrastResult]) -> list[Block]:
    """The model of seeds and books beside Student's paired interval."""
    rows = [
        [
            Cell(c.labels[0]), Cell(c.labels[1]), Cell(describe_measure(c.measure).text),
            with_interval(c.two_way.mean, c.two_way.interval, "+.4f"), shown(c.two_way.df, ".1f"),
            *(shown(c.two_way.sd[name], ".4f") for name in ("seeds", "books", "rest")),
            with_interval(c.mean, c.interval, "+.4f"),
        ]
        for c in contrasts if c.two_way
    ]  # fmt: skip
    columns = ["arm", "less arm", "of", "#seeds and books, 95 %", "#degrees of freedom", "#sd, seeds",
               "#sd, books", "#sd, rest", "#paired by seed alone, 95 %"]  # fmt: skip
    return [Table("Intervals of single contrasts, by both models", columns, rows)] if rows else []


def _contrast_row(c: ContrastResult, several: bool) -> list[Cell]:
    ends, percent = c.bootstrap and c.bootstrap.interval, c.percent_perplexity
    return [
        Cell(c.labels[0]),
        Cell(c.labels[1] + (f", {group_name(group_of(c))}" if several else "")),
        Cell(describe_measure(c.measure).text),
        Cell("primary" if c.primary else "exploratory"),
        Cell(c.claim or ""),
        Cell(str(c.n), c.n),
        with_interval(c.center, c.shown, f"+,.{describe_measure(c.measure).digits}f"),
        Cell(c.unit),
        shown(c.p_value, ".2g"),
        shown(c.p_holm, ".2g"),
        Cell(f"[{ends[0]:+.4f}, {ends[1]:+.4f}]", ends[0]) if ends else Cell("-"),
        with_interval(percent.mean, percent.interval, "+.2f") if percent else Cell("-"),
        Cell(c.verdict),
    ]


# -- learning rates ------------------------------------------------------------------------------------------


def _rates(comparison: Comparison) -> list[Block]:
    tuned = comparison.summary.tuning if comparison.summary else ()
    if not tuned:
        return [Text("No learning rate was tuned: every arm has that of the base.")]
    names = {arm.id: comparison.full_name(arm) for arm in comparison.arms}
    apart = comparison.declaration.tuning is not None and comparison.declaration.tuning.apart
    rows = [
        [
            Cell(names.get(t.id, t.id)),
            Cell(f"{r.rate:g}", r.rate),
            *([shown(r.matrix_rate, "g")] if apart else []),
            shown(r.mean),
            Cell(str(len(r.losses)), len(r.losses)),
            Cell(str(r.failed), r.failed),
            Cell(_chosen(t) if (r.rate, r.matrix_rate) == (t.chosen, t.chosen_matrix) else ""),
            shown(t.sensitivity),
        ]
        for t in tuned
        for r in t.rates
    ]
    heads = ["#AdamW's rate", "#Muon's rate"] if apart else ["#rate"]
    columns = ["arm", *heads, "#nats a character", "#seeds", "#failed", "chosen", "#sensitivity"]
    about = "The same rates for every arm, on seeds that the final runs do not use; sensitivity is what one " \
            "step of the grid away from the best costs."  # fmt: skip
    figures = rate_figures(comparison)
    return [Text(about), *([figures] if figures else []), Table("", columns, rows)]


def _chosen(tuning: TuningResult) -> str:
    return "chosen" + ", on the edge" * tuning.at_edge + ", extended" * tuning.extended


# -- samples -------------------------------------------------------------------------------------------------


def _samples(comparison: Comparison) -> list[Block]:
    """Text of each arm from a seed that all of them have, as training goes on."""
    arms = [(arm, {r.seed: r for r in comparison.finals(arm.id) if r.samples}) for arm in comparison.arms]
    having = [(arm, runs) for arm, runs in arms if runs]
    if not having:
        return [Text("No run has written anything.")]
    common = sorted(set.intersection(*(set(runs) for _, runs in having)))
    chosen = [(arm, runs[common[0] if common else min(runs)]) for arm, runs in having]
    about = "The same seed for every arm." if common else "No seed is common to all arms."
    return [
        Text(f"Drawn at temperature 0.8 as training went on. {about}"),
        *(Samples(f"{comparison.full_name(arm)}, seed {run.seed}", _passages(run)) for arm, run in chosen),
    ]


def _passages(record: Record) -> Sequence[tuple[str, str]]:
    samples = record.samples
    keep = min(SAMPLES_SHOWN, len(samples))
    picked = [samples[(i * (len(samples) - 1)) // max(1, keep - 1)] for i in range(keep)]
    return [(f"after {sample.step:,} steps", sample.text) for sample in picked]
