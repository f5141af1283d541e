"""What benchmarks and records found, as tables and sentences: one rendering, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aeattn.benchmarks.results import (
    GenerationBench,
    LongContext,
    ProcessesBench,
    Rates,
    Speed,
    Spread,
    Timed,
    TrainingBench,
)
from aeattn.compare.intervals import median_interval


@dataclass(frozen=True)
class Table:
    """The first `words` columns hold words, the others figures."""

    heading: Sequence[str]
    rows: Iterable[Sequence[str]]
    words: int = 1


Block = Table | str  # a string is a paragraph


def to_markdown(blocks: Iterable[Block]) -> list[str]:
    """Lines, blocks with an empty one between them."""
    lines: list[str] = []
    for block in blocks:
        lines += ["", *([block] if isinstance(block, str) else _markdown_table(block))]
    return lines[1:]


def _markdown_table(table: Table) -> list[str]:
    sides = "---|" * table.words + "--:|" * (len(table.heading) - table.words)
    heading, *rows = (f"| {' | '.join(row)} |" for row in (table.heading, *table.rows))
    return [heading, f"|{sides}", *rows]


# -- training ----------------------------------------------------------------------------------------------


def training(found: TrainingBench) -> list[Block]:
    """Speed at each context, ratios with what limits them, and how fast text is read."""
    blocks: list[Block] = []
    for speed in found.contexts.values():
        blocks += [_steps(speed), _ratios(speed), _shares(speed), *skipped(speed)]
    speeds = (f"{megabytes:,.0f} MB/s of {alphabet}" for alphabet, megabytes in found.encoding.items())
    return [*blocks, f"Characters become ids at {', '.join(speeds)}."]


def _steps(speed: Speed) -> Table:
    heading = (f"{speed.shape['batch']} x {speed.shape['context']} a step", "parameters", "chars/s", "lowest",
               "highest", "of ceiling")  # fmt: skip
    return Table(heading, ((name, f"{timed.parameters:,}", *_rates(timed), _percent(timed.of_ceiling))
                           for name, timed in speed.everyone.items()))  # fmt: skip


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _ratios(speed: Speed) -> str:
    first = next(iter(speed.ours))
    times = (f"{interval(paired(speed, name), 2)} times as fast as {name}" for name in speed.ratio)
    return f"{first} trains {', '.join(times)} (medians over rounds, with their 95 % intervals)."


def _shares(speed: Speed) -> str:
    first, limits = next(iter(speed.parts)), speed.ceilings
    shares = (f"{part} {100 * share:.0f} %" for part, share in speed.parts[first].items())
    ceilings = (f"{precision} {limits.best(precision):,.0f}" for precision in limits.gflops)
    return (
        f"Its time: {', '.join(shares)}. The machine's ceilings, of which the table gives the part that products "
        f"reach: {', '.join(ceilings)} GFLOP/s, {limits.gigabytes_per_second:.0f} GB/s of memory."
    )


def paired(speed: Speed, name: str) -> Spread:
    """How many times as fast as `name`, in its better mode, ours is: median over rounds, and its 95 % interval."""
    modes = [timed.chars_per_second for mode, timed in speed.everyone.items() if f"{mode},".startswith(f"{name},")]
    theirs, ours = max(modes, key=lambda rates: rates.median), next(iter(speed.ours.values())).chars_per_second
    low, high = median_interval([a / b for a, b in zip(ours.rounds, theirs.rounds, strict=True)])
    return Spread(speed.ratio[name].median, low, high)


def cost(found: TrainingBench) -> list[Block]:
    """The time of a step of ours as a multiple of one of standard attention."""
    items = []
    for speed in found.contexts.values():
        ours, other = speed.ours
        faster, shape = paired(speed, other), speed.shape
        slower = Spread(1 / faster.median, 1 / faster.high, 1 / faster.low)
        items.append(f"- {shape['batch']} x {shape['context']} characters a step: {interval(slower, 3)}")
    return [f"The time of a step of `{ours}` as a multiple of one of `{other}`, the median over rounds with its "
            "95 % interval.", "\n".join(items)]  # fmt: skip


def processes(found: ProcessesBench) -> list[Block]:
    """What each further process brings, and where its time goes."""
    shape = f"{found.shape['batch']} x {found.shape['context']} a step, processes"
    heading = (shape, "threads each", "chars/s", "lowest", "highest", "times as fast", "gradients, ms",
               "waiting, ms", "sending, ms", "optimizers, ms")  # fmt: skip
    rows = ((name, f"{each.threads}", *_spread(each.chars_per_second), interval(found.ratio[name], 2),
             *(f"{milliseconds:.1f}" for milliseconds in each.parts.values()))
            for name, each in found.shared.items())  # fmt: skip
    return [Table(heading, rows)]


# -- generation --------------------------------------------------------------------------------------------


def generation(found: GenerationBench) -> list[Block]:
    """Speed of each number of sequences, the ceilings, and the curves over length."""
    blocks: list[Block] = []
    for speed in found.batches.values():
        limits = speed.ceilings.chars_per_second
        ceilings = (f"{limit:,.0f} by {name}" for name, limit in limits.items() if limit)
        said = f"Ceilings of this machine in chars/s: {', '.join(ceilings)}."
        blocks += [_sequences(speed), said, *skipped(speed)]
    return blocks + _long_context(found.long_context)


def _sequences(speed: Speed) -> Table:
    first = f"{speed.shape['batch']} at once, {speed.shape['chars']} characters"
    heading = (first, "chars/s", "lowest", "highest", "ours: times as fast", "KV-cache bytes")
    rows = []
    for name, timed in speed.everyone.items():
        times = interval(speed.ratio[name], 1) if name in speed.ratio else ""
        kept = "" if timed.cache_bytes is None else f"{timed.cache_bytes:,}"
        rows.append((name, *_rates(timed), times, kept))
    return Table(heading, rows)


def _long_context(found: LongContext) -> list[Block]:
    if not found.lengths:
        return []
    curves, lengths = found.curves.items(), [f"{length:,}" for length in found.lengths]
    rates = ((name, *(f"{rate:,.0f}" for rate in curve.chars_per_second)) for name, curve in curves)
    kept = ((name, *(f"{number:,}" for number in curve.cache_bytes)) for name, curve in curves)
    return [
        Table(("chars/s of one sequence, context full", *lengths), rates),
        Table(("KV-cache bytes of one sequence, context full", *lengths), kept),
    ]


# -- pieces ------------------------------------------------------------------------------------------------


def _rates(timed: Timed) -> tuple[str, ...]:
    return _spread(timed.chars_per_second)


def _spread(rates: Rates) -> tuple[str, ...]:
    spread = rates.spread
    return tuple(f"{rate:,.0f}" for rate in (spread.median, spread.low, spread.high))


def interval(spread: Spread, digits: int) -> str:
    return f"{spread.median:.{digits}f} [{spread.low:.{digits}f}, {spread.high:.{digits}f}]"


def skipped(speed: Speed) -> list[Block]:
    return [f"Not timed: {name} ({reason})." for name, reason in speed.skipped.items()]
