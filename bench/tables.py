"""The records of results/ as Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import quantile_test

Record = dict[str, Any]


def markdown(results: Path, runs: Sequence[str]) -> str:
    """The records of a folder: of these training runs, and of every measurement in `SECTIONS`."""
    lines = [
        "# Results",
        "",
        "Written by `python bench/record.py` from the records beside this file; not to be edited. Losses are",
        "nats a character over the whole validation text, with fixed windows of the context; `sliding` lets every",
        "prediction see at least three quarters of it. One seed each, so differences of a few thousandths mean",
        "nothing; the comparison with intervals has [a report of its own](../docs/first/report.md).",
        "",
        "| record | parameters | characters trained on | nats/char | sliding | 5-gram | characters/s | CPU |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    lines += [_run(name, read(results, name)) for name in runs]
    for name, (title, section) in SECTIONS.items():
        known = read(results, name)
        lines += ["", f"{title}: not measured."] if known is None else ["", f"## {title}", "", *section(known)]
    return "\n".join(lines) + "\n"


def read(results: Path, name: str) -> Record | None:
    """A record, or None if there is none of this name."""
    path = results / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _run(name: str, known: Record | None) -> str:
    if known is None or known["status"] != "done":
        return f"| {name} | | | {'not measured' if known is None else 'failed'} | | | | |"
    result = known["evaluation"]
    sliding = result.get("sliding", {}).get("nats_per_char")
    baseline = result.get("ngram_nats_per_char", {}).get("5")
    return (
        f"| {name} | {known['parameters']:,} | {known['curve'][-1]['chars']:,} | {result['nats_per_char']:.4f} "
        f"| {'' if sliding is None else f'{sliding:.4f}'} | {'' if baseline is None else f'{baseline:.4f}'} "
        f"| {known['chars_per_second']:,} | {_machine(known)} |"
    )


# -- speed of training -------------------------------------------------------------------------------------


def _training(known: Record) -> list[str]:
    """What `aeattn bench train --json` found, for each context."""
    lines = [
        "From `aeattn bench train --json > results/speed/train.json`: median characters a second of steps that",
        f"alternate in one run, with the lowest and highest, on {_machine(known)}.",
    ]
    for found in known["contexts"].values():
        lines += ["", *_steps(found), "", *_limits(found), *_skipped(found)]
    if encoding := known.get("encoding"):
        speeds = (f"{speed:,.0f} MB/s of {alphabet}" for alphabet, speed in encoding.items())
        lines += ["", f"Characters become ids at {', '.join(speeds)}."]
    return lines


def _steps(found: Record) -> list[str]:
    shape = found["shape"]
    rows = (
        (
            name,
            f"{facts['parameters']:,}",
            *_rates(facts),
            f"{100 * facts['of_ceiling']:.0f} %" if "of_ceiling" in facts else "",
        )
        for name, facts in {**found["ours"], **found["peers"]}.items()
    )
    heading = f"{shape['batch']} x {shape['context']} a step"
    return _table((heading, "parameters", "chars/s", "lowest", "highest", "of ceiling"), rows)


def _limits(found: Record) -> list[str]:
    """The ratios, where the time goes, and the ceilings, as sentences."""
    ratios = (f"{_interval(_ratio(found, name), 2)} times as fast as {name}" for name in found["ratio"])
    first = next(iter(found["parts"]))
    shares = (f"{part} {100 * share:.0f} %" for part, share in found["parts"][first].items())
    gflops = found["ceilings"]["gflops"]
    limits = (f"{precision} {max(rates.values()):,.0f}" for precision, rates in gflops.items())
    return [
        f"{first} trains {', '.join(ratios)} (medians over rounds, with their 95 % intervals).",
        f"Its time: {', '.join(shares)}. The machine's ceilings,",
        f"of which the table gives the part that is reached in matrix products: {', '.join(limits)} GFLOP/s,",
        f"{found['ceilings']['gigabytes_per_second']:.0f} GB/s of memory.",
    ]


def _ratio(found: Record, name: str) -> Record:
    """How many times as fast as `name`, in its better mode, ours is: median over rounds, and its 95 % interval."""
    everyone = {**found["ours"], **found["peers"]}
    sides = [facts["chars_per_second"] for mode, facts in everyone.items() if f"{mode},".startswith(f"{name},")]
    theirs = max(sides, key=lambda side: side["median"])["rounds"]
    ours = next(iter(found["ours"].values()))["chars_per_second"]["rounds"]
    low, high = quantile_test([a / b for a, b in zip(ours, theirs, strict=True)]).confidence_interval(0.95)
    return {"median": found["ratio"][name]["median"], "low": low, "high": high}


def _cost(known: Record) -> list[str]:
    """What `aeattn bench train --no-peers --json` found: one side's time as a multiple of the other's."""
    ours, other = known["ours"]
    rounds = len(known["ours"][ours]["chars_per_second"]["rounds"])
    lines = [
        f"From `aeattn bench train --no-peers --rounds {rounds} --json > results/speed/cost.json`, on",
        f"{_machine(known)}: the time of a step of `{ours}` as a multiple of one of `{other}`,",
        "the median over rounds with its 95 % interval.",
        "",
    ]
    for found in known["contexts"].values():
        speed, shape = _ratio(found, other), found["shape"]
        cost = {"median": 1 / speed["median"], "low": 1 / speed["high"], "high": 1 / speed["low"]}
        lines.append(f"- {shape['batch']} x {shape['context']} characters a step: {_interval(cost, 3)}")
    return lines


def _time_to_loss(known: Record) -> list[str]:
    rows = []
    for name, seconds in (("nanogpt", "training_seconds"), ("compiled", "training_seconds"),
                          ("nanogpt", "command_seconds"), ("cold", "command_seconds")):  # fmt: skip
        took = ", ".join(f"{r[name][seconds]:.1f}" for r in known["rounds"])
        loss = ", ".join(f"{r[name]['valid_nats']:.4f}" for r in known["rounds"])
        rows.append((name, seconds.replace("_", " "), took, loss))
    shares = (f"{what} {_interval(share, 3)}" for what, share in known["share_of_nanogpt"].items())
    return [
        f"From `python bench/time_to_loss.py`, alternating, on {_machine(known)}. Parts of nanoGPT's",
        f"time: {', '.join(shares)}. `compiled` found its step in the compiler's cache, `cold` found nothing.",
        "",
        *_table(("who", "what", "seconds, a round each", "nats/char"), rows, words=2),
    ]


def _start(known: Record) -> list[str]:
    """What `python bench/start.py` found."""
    what = {
        "training": "training of a shape that was trained before begins",
        "first step": "its first step is done",
        "--help": "`--help` has answered",
        "bad argument": "a bad argument has been refused",
    }
    rows = (
        (what[name], *(f"{s[end]:.2f}" for end in ("median", "low", "high")))
        for name, s in known["seconds"].items()
    )
    return [
        f"From `python bench/start.py`, {len(known['rounds'])} rounds, on {_machine(known)}; the first time, with",
        f"everything to compile, training begins after {known['cold']['training']:.0f} seconds.",
        "",
        *_table(("seconds after the command, until", "median", "lowest", "highest"), rows),
    ]


# -- speed of writing --------------------------------------------------------------------------------------


def _writing(known: Record) -> list[str]:
    """What `aeattn bench generate --json` found: each number of sequences at once, and the curves over length."""
    lines = [
        "From `aeattn bench generate RUN --json > results/speed/generate.json`: median characters a second,",
        f"sampling included, of everyone in turn in one run, with the lowest and highest, on {_machine(known)}.",
    ]
    for found in known["batches"].values():
        limits = found["ceilings"]["chars_per_second"]
        ceilings = (f"{limit:,.0f} by {name}" for name, limit in limits.items() if limit)
        said = f"Ceilings of this machine, characters a second: {', '.join(ceilings)}."
        lines += ["", *_sequences(found), "", said, *_skipped(found)]
    return lines + _long_context(known["long_context"])


def _sequences(found: Record) -> list[str]:
    shape = found["shape"]
    rows = (
        (
            name,
            *_rates(facts),
            _interval(found["ratio"][name], 1) if name in found["ratio"] else "",
            f"{facts['cache_bytes']:,}" if "cache_bytes" in facts else "",
        )
        for name, facts in {**found["ours"], **found["peers"]}.items()
    )
    heading = f"{shape['batch']} at once, {shape['chars']} characters"
    return _table((heading, "chars/s", "lowest", "highest", "ours: times", "bytes of the cache"), rows)


def _long_context(found: Record) -> list[str]:
    lines = []
    for key, title in (("chars_per_second", "characters a second"), ("cache_bytes", "bytes of the cache")):
        rows = ((name, *(f"{value:,.0f}" for value in curve[key])) for name, curve in found["curves"].items())
        heading = f"{title}, one sequence, context full"
        lines += ["", *_table((heading, *(f"{n:,}" for n in found["lengths"])), rows)]
    return lines


# -- faults ------------------------------------------------------------------------------------------------


def _faults(known: Record) -> list[str]:
    """What `make faults` recorded: the faults of tests/faults, injected into real runs."""
    rows = ((kind, f"{count['right']:,}", f"{count['tried']:,}") for kind, count in known["counts"].items())
    return [
        "Written by `make faults`: real processes killed at every file event of a run and at other moments, files",
        "cut and flipped, disks filled, signals sent, files forged. After every crash and fallback, the run is",
        "compared with an uninterrupted one: weights, optimizer, random state, metrics, samples, checkpoints.",
        f"The largest difference of all is {known['largest_difference']}.",
        *(f"Left out, {name}: {reason}." for name, reason in known["skipped"].items()),
        "",
        *_table(("", "right", "tried"), rows),
    ]


# -- the first screen of the README ------------------------------------------------------------------------

BEGIN, END = "<!-- from results/first -->", "<!-- until here -->"


PICTURE = "\n\n[![The differences with their intervals](docs/first/report.svg)](docs/first/report.md)"


def with_answer(readme: str, results: Path) -> str:
    """The README with what the first comparison has found, as far as it has been run."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{answer(read(results, 'first/summary'))}\n{END}{after}"


def answer(summary: Record | None) -> str:
    """The sentences of a summary that are about losses, the primary one first."""
    if summary is None:
        return "Not measured yet."
    runs = summary["runs"]
    contrasts = sorted(summary["contrasts"], key=lambda c: not c["primary"])
    found = [c["sentence"] for c in contrasts if c["measure"] == "valid_nats" and c["mean"] is not None]
    losses = [sentence[:1].upper() + sentence[1:] for sentence in found]
    if not losses:
        return f"Not measured yet: {runs['done']} of {runs['wanted']} runs are done."
    lines = [f"**{losses[0]}**{PICTURE}", "", *(f"- {sentence}" for sentence in losses[1:])]
    if runs["done"] < runs["wanted"]:
        lines = [f"So far, with {runs['done']} of {runs['wanted']} runs done:", "", *lines]
    return "\n".join(lines)


# -- pieces ------------------------------------------------------------------------------------------------


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> list[str]:
    """A table whose first `words` columns are words, the others numbers."""
    rule = "---|" * words + "--:|" * (len(heading) - words)
    return [f"| {' | '.join(heading)} |", f"|{rule}", *(f"| {' | '.join(row)} |" for row in rows)]


def _rates(facts: Record) -> tuple[str, ...]:
    return tuple(f"{facts['chars_per_second'][key]:,.0f}" for key in ("median", "low", "high"))


def _interval(ratio: Record, digits: int) -> str:
    return f"{ratio['median']:.{digits}f} [{ratio['low']:.{digits}f}, {ratio['high']:.{digits}f}]"


def _skipped(found: Record) -> list[str]:
    return [f"Not timed: {name} ({reason})." for name, reason in found["skipped"].items()]


def _machine(known: Record) -> str:
    return f"{known['environment']['cpu']}, {known['environment']['threads']} threads"


# record: heading, and what stands under it
SECTIONS: dict[str, tuple[str, Callable[[Record], list[str]]]] = {
    "speed/train": ("Speed of training", _training),
    "speed/cost": ("What the autoencoders cost in training", _cost),
    "speed/generate": ("Speed of writing", _writing),
    "speed/time-to-loss": ("Time to the loss that nanoGPT's recipe for a CPU ends with", _time_to_loss),
    "speed/start": ("How soon a command has begun", _start),
    "faults": ("Faults", _faults),
}
