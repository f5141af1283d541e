"""The first table of a comparison: the loss of each variant, its KV cache and its speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from aeattn.compare.declaration import ResolvedArm
from aeattn.compare.results import ArmSummary, ContrastResult
from aeattn.report.blocks import Block, Cell, Figures, Table, Text, shown, with_interval
from aeattn.report.charts import NATS
from aeattn.report.data import Comparison, cost_of, mean_cell, over_seeds
from aeattn.report.frontier import AT_LENGTH, BYTES, SPEED, frontier_figures, kept, speeds
from aeattn.report.ranking import ranking_figure

FEW = 6  # variants, of which the picture shows at once which are on the frontier


def variants(comparison: Comparison) -> list[Block]:
    """The first table: loss, what is kept of a token, and speed; with their picture."""
    rates, summary = speeds(comparison), comparison.summary
    timed = not comparison.slowed
    against, bytes_ = _against_baseline(comparison), kept(comparison)
    several = len({at for at in bytes_.values() if at is not None}) > 1
    best = comparison.on_frontier if several and len(comparison.arms) > FEW else []
    rows = [
        _variant_row(
            comparison, arm, against.get(arm.id), bytes_[arm.id], rates.get(arm.id), timed, arm.id in best
        )
        for arm in comparison.arms
    ]
    if comparison.declaration.screening:
        rows.sort(key=lambda row: (row[1].value is None, row[1].value or 0.0))
    columns = ["variant", f"#{NATS}", f"#minus {_baseline(comparison).label}", f"#{BYTES}",
               "#training chars/s" if timed else "#training FLOPs/char", f"#{SPEED}", "#parameters", "#seeds",
               "on the frontier"]  # fmt: skip
    about = f"Lower {NATS}, fewer bytes and more chars/s are better; brackets hold 95 % confidence intervals."
    frontier = frontier_figures(comparison)
    figures = frontier and replace(frontier, figures=frontier.figures[1:])  # the first stands above
    details = [_spread_row(comparison, arm, concluded) for arm, concluded in _concluded(comparison)]
    more = Table("Spread over seeds, and learning rates", ["variant", "#sd over seeds", "#perplexity",
                 "#learning-rate multiplier"], details, folded=True).filled  # fmt: skip
    notes = [*_speed_notes(comparison, timed, bool(rates)), *(_noise(comparison) if summary else [])]
    drawn = [figures] if figures and figures.figures else []
    ranking = ranking_figure(comparison) if comparison.many else None
    return [
        *([Figures([ranking], full=True)] if ranking else []),
        Text(about),
        Table("", columns, rows).filled,
        *drawn,
        *notes,
        *([more] if len(more.columns) > 1 else []),
    ]


def _baseline(comparison: Comparison) -> ResolvedArm:
    """The variant that most differences of the loss are declared from."""
    declaration = comparison.declaration
    than = [declaration.arm(c.than).arm for c in declaration.contrasts if c.measure == declaration.loss]
    most = Counter([declaration.arm(declaration.baseline).arm, *than]).most_common(1)[0][0]
    return next(arm for arm in declaration.arms if arm.arm == most)


def _against_baseline(comparison: Comparison) -> Mapping[str, ContrastResult]:
    """The declared differences of the loss from the baseline, by variant."""
    declaration, base = comparison.declaration, _baseline(comparison).arm
    return {
        c.arm: c
        for c in comparison.contrasts
        if c.measure == declaration.loss and declaration.arm(c.than).arm == base
    }


def _variant_row(
    comparison: Comparison, arm: ResolvedArm, against: ContrastResult | None, kept_bytes: float | None,
    rate: float | None, timed: bool, best: bool,
) -> list[Cell]:  # fmt: skip
    finals = comparison.finals(arm.id)
    training = "chars_per_second" if timed else "train_flops_per_char"
    return [
        Cell(comparison.full_name(arm), note=arm.about),
        mean_cell(map(comparison.loss, finals)),
        with_interval(against.center, against.shown, "+.4f") if against else Cell(""),
        shown(kept_bytes, ",.0f"),
        shown(over_seeds(cost_of(record, training) for record in finals)[0], ",.0f"),
        shown(rate, ",.0f"),
        shown(arm.parameters, ",.0f"),
        Cell(str(len(finals)), len(finals)),
        Cell("yes" if best else ""),
    ]


def _speed_notes(comparison: Comparison, timed: bool, generated: bool) -> list[Block]:
    notes = []
    if generated and comparison.writing is not None:
        at = comparison.writing.environment
        notes.append(f"Speed of generation: {AT_LENGTH}, variants in turn, on {at.cpu}, {at.threads} threads.")
    if not timed:
        notes.append("Runs shared the machine, so how fast they trained is not compared; FLOPs are.")
    if not generated:
        notes.append(
            f"How fast variants generate {AT_LENGTH} has not been measured; this does so, variants in turn: "
            "python -m aeattn.benchmarks.writing DIR"
        )
    return [Text(" ".join(notes), role="note")] if notes else []


def _concluded(comparison: Comparison) -> list[tuple[ResolvedArm, ArmSummary]]:
    found = {arm.id: arm for arm in comparison.summary.arms} if comparison.summary else {}
    return [(arm, found[arm.id]) for arm in comparison.arms if arm.id in found]


def _spread_row(comparison: Comparison, arm: ResolvedArm, concluded: ArmSummary) -> list[Cell]:
    return [
        Cell(comparison.full_name(arm)),
        shown(concluded.sd),
        shown(concluded.perplexity, ".3f"),
        shown(concluded.rate, "g"),
    ]


def _noise(comparison: Comparison) -> list[Block]:
    noise = comparison.summary and comparison.summary.noise
    if not noise or noise.sd is None or noise.resolvable is None:
        return []
    of = f"standard deviation of {noise.n}"
    if noise.variants:
        label, of = "a variant", f"{of}, from {noise.variants} variants"
    else:
        label = next((arm.label for arm in comparison.arms if arm.id == noise.arm), noise.arm)
    return [Text(
        f"Noise: seeds alone spread {label} by {noise.sd:.4f} {NATS} ({of}); without pairing, a difference below "
        f"{noise.resolvable:.4f} cannot be told from it."
    )]  # fmt: skip
