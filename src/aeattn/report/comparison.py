"""From what a comparison's folder holds to the page that answers its question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from aeattn.compare.metrics import LOSSES, TIMED, describe_measure
from aeattn.compare.records import Record
from aeattn.compare.results import ContrastResult, TuningResult
from aeattn.report.answer import answer, detail
from aeattn.report.attention import attention_blocks
from aeattn.report.blocks import Block, Cell, Figures, Page, Samples, Section, Table, Text, shown, with_interval
from aeattn.report.charts import (
    NATS,
    OTHERS,
    cost_figures,
    curve,
    learning_curves,
    rate_figures,
    size_figures,
    whole_text,
)
from aeattn.report.claims import claim_blocks
from aeattn.report.data import COSTS, Comparison, Group, cost_of, group_name, group_of, over_seeds
from aeattn.report.forest import forest_figures
from aeattn.report.frontier import frontier_figures
from aeattn.report.overhead import with_steps
from aeattn.report.protocol import all_records, declared, protocol
from aeattn.report.published import beside
from aeattn.report.variants import variants

SAMPLES_SHOWN = 6
WORSE_OR_BETTER = "A difference is the first variant minus the second; of a loss, less is better."


def make_page(comparison: Comparison) -> Page:
    """The whole report of a comparison."""
    declaration, summary = comparison.declaration, comparison.summary
    family, screening = declaration.family, declaration.screening
    timed = with_steps(comparison.contrasts, comparison.steps)
    sections = [
        Section("Variants", variants(comparison), brief=True),
        Section("Published claims", claim_blocks(*timed) if family else [], brief=True),
        Section("Learning curves", _curves(comparison), brief=True),
        Section("Beside the published curves", beside(comparison)),
        Section("Differences", [] if screening else _contrasts(comparison)),
        Section("Cost of training", _costs(comparison)),
        Section("Learning rates", _rates(comparison)),
        Section("Sizes", _sizes(comparison)),
        Section("What attention does", attention_blocks(comparison)),
        Section("Samples", _samples(comparison)),
        Section("Pre-registered", [declared(declaration)], brief=True),
        Section("Protocol", protocol(comparison)),
        Section("Records", all_records(comparison)),
    ]
    return Page(
        title=declaration.title or declaration.name,
        question=declaration.question,
        answer=answer(comparison),
        hero=_hero(comparison),
        facts=_facts(comparison),
        notes=[*(summary.notes if summary else ()), *comparison.problems],
        sections=[section for section in sections if section.blocks],
        conditions=summary.conditions if summary else "",
        detail=detail(comparison),
    )


def _hero(comparison: Comparison) -> Figures | None:
    """The differences of what the primary one is measured in, beside loss against bytes of cache."""
    primary = next((contrast for contrast in comparison.contrasts if contrast.primary), None)
    figures = []
    if primary is not None:
        same = [contrast for contrast in comparison.contrasts if contrast.measure == primary.measure]
        figures += forest_figures(comparison, same, group_of(primary))[:1]
    frontier = frontier_figures(comparison)
    figures += frontier.figures[:1] if frontier else []
    return Figures([replace(figures[0], name="report"), *figures[1:]], wide=True) if figures else None


def _facts(comparison: Comparison) -> list[str]:
    declaration, records = comparison.declaration, comparison.records
    seeds, runs = len(declaration.seeds.final), comparison.summary and comparison.summary.runs
    finals = [record for record in records if record.phase == "final"]
    done, failed = (sum(record.status == status for record in finals) for status in ("done", "failed"))
    of = f"{runs.done} of {runs.wanted} runs" if runs else f"{done} of {seeds * len(comparison.arms)} final runs"
    return [
        f"{len(comparison.arms)} variants",
        f"{seeds} seed{'s' if seeds != 1 else ''}",
        f"{of} done",
        f"{runs.failed if runs else failed} failed",
        f"pre-registered {declaration.declared}",
        f"declaration {declaration.hash[:12]}",
    ]


def _curves(comparison: Comparison) -> list[Block]:
    figures = learning_curves(comparison)
    if figures is None:
        return [Text("No run has been evaluated yet.")]
    columns = ["variant", "#characters", f"#{NATS}", "of"]
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
    about = Text("Means over seeds, with 95 % confidence intervals as bands." + (
        " Lines are of one part of the validation text, rings of all of it: losses on two texts do not compare."
        if part else ""
    ) + (f" {OTHERS}" if comparison.many else ""))  # fmt: skip
    return [about, figures, Table("Validation loss as training went on", columns, rows, folded=True).filled]


def _sizes(comparison: Comparison) -> list[Block]:
    figures = size_figures(comparison)
    if figures is None:
        return []
    return [Text("Loss over the number of parameters; the figures are those of the variants above."), figures]


# -- costs ------------------------------------------------------------------------------------------------


def _costs(comparison: Comparison) -> list[Block]:
    arms = [(arm, finals) for arm in comparison.arms if (finals := comparison.finals(arm.id))]
    if not arms:
        return []
    slowed, steps = comparison.slowed, comparison.steps
    left_out = ("chars", "parameters", *(TIMED if slowed else ()))
    columns = {name: how for name, how in COSTS.items() if name not in left_out}
    rows = [
        [
            Cell(comparison.full_name(arm)),
            *(shown(over_seeds(cost_of(r, name) for r in finals)[0], form) for name, (_, form) in columns.items()),
            *([shown(median(known) if (known := steps.arms.get(arm.id)) else None, ",.0f")] if steps else []),
        ]
        for arm, finals in arms
    ]
    note = Text("Runs shared the machine, so their seconds and chars/s are not compared.", role="note")
    figures = cost_figures(comparison)
    heads = [*(name for name, _ in columns.values()), *(["chars/s of steps in turn"] if steps else [])]
    table = Table("", ["variant", *(f"#{name}" for name in heads)], rows).filled
    return [*([note] if slowed else []), *([figures] if figures else []), table]


# -- differences ---------------------------------------------------------------------------------------------


def _contrasts(comparison: Comparison) -> list[Block]:
    contrasts = comparison.contrasts
    if not contrasts:
        return [Text("Nothing has been concluded yet.")] if comparison.summary is None else []
    hero = next((c for c in contrasts if c.primary), None)
    figures = [
        figure
        for group in comparison.groups
        for losses in (True, False)
        for figure in forest_figures(comparison, _not_above(contrasts, hero, group, losses), group)
    ]
    there = [Figures([figure], wide=True) for figure in figures]
    columns = ["variant", "minus", "of", "declared as", "claim", "#seeds", "#difference [interval]", "unit", "#p",
               "#p, Holm", "#seeds and books [95 %]", "#% of perplexity", "verdict"]  # fmt: skip
    rows = [_contrast_row(contrast, len(comparison.groups) > 1) for contrast in contrasts]
    about = "The interval of the primary difference holds at 95 %; those of exploratory ones hold all at once."
    if any(c.family for c in contrasts):
        about = "Intervals of the primary differences hold all at once at 95 %, as do those of exploratory ones."
    alone = [*_by_seeds_alone(contrasts)]
    sentences = [c.sentence for c in contrasts if c.sentence and not c.primary and c.verdict != "no runs"]
    said = [Text("Besides what was pre-registered as the question:", sentences)] if sentences else []
    every = Table("Every difference, with p-values", columns, rows, folded=True).filled
    return [Text(f"{WORSE_OR_BETTER} {about}"), *said, *there, every, *alone]


def _not_above(
    contrasts: Sequence[ContrastResult], hero: ContrastResult | None, group: Group, losses: bool
) -> list[ContrastResult]:
    """The contrasts of a group that the picture at the top of the page does not show."""
    shown = [c for c in contrasts if hero and c.measure == hero.measure and group_of(c) == group_of(hero)]
    return [c for c in contrasts if c not in shown and group_of(c) == group and (c.measure in LOSSES) == losses]


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
    columns = ["variant", "minus", "of", "#seeds and books, 95 %", "#degrees of freedom", "#sd, seeds",
               "#sd, books", "#sd, rest", "#paired by seed alone, 95 %"]  # fmt: skip
    return [Table("Intervals of single differences, by both models", columns, rows)] if rows else []


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
        return []
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
    heads = ["#AdamW's multiplier", "#Muon's multiplier"] if apart else ["#multiplier"]
    columns = ["variant", *heads, f"#{NATS}", "#seeds", "#failed", "chosen", "#sensitivity"]
    about = "The same multipliers of the learning rates for every variant, on seeds that the final runs do not " \
            "use; sensitivity is what one step of the grid away from the best costs."  # fmt: skip
    figures = rate_figures(comparison)
    every = Table("Every multiplier", columns, rows, folded=bool(figures)).filled
    return [Text(about), *([figures] if figures else []), every]


def _chosen(tuning: TuningResult) -> str:
    return "chosen" + ", on the edge" * tuning.at_edge + ", extended" * tuning.extended


# -- samples -------------------------------------------------------------------------------------------------


def _samples(comparison: Comparison) -> list[Block]:
    """Text of each arm from a seed that all of them have, as training goes on."""
    apart = [arm for arm in comparison.arms if arm.arm in comparison.told_apart]
    arms = [(arm, {r.seed: r for r in comparison.finals(arm.id) if r.samples}) for arm in apart]
    having = [(arm, runs) for arm, runs in arms if runs]
    if not having:
        return []
    common = sorted(set.intersection(*(set(runs) for _, runs in having)))
    chosen = [(arm, runs[common[0] if common else min(runs)]) for arm, runs in having]
    about = "The same seed for every variant." if common else "No seed is common to all variants."
    return [
        Text(f"Drawn at temperature 0.8 as training went on. {about}"),
        *(Samples(f"{comparison.full_name(arm)}, seed {run.seed}", _passages(run)) for arm, run in chosen),
    ]


def _passages(record: Record) -> Sequence[tuple[str, str]]:
    samples = record.samples
    keep = min(SAMPLES_SHOWN, len(samples))
    picked = [samples[(i * (len(samples) - 1)) // max(1, keep - 1)] for i in range(keep)]
    return [(f"after {sample.step:,} steps", sample.text) for sample in picked]
