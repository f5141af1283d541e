"""The page results/README.md, made from the records beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from aeattn.benchmarks import tables
from aeattn.benchmarks.results import GenerationBench, ProcessesBench, Spread, TrainingBench
from aeattn.benchmarks.tables import Block, Table, interval, to_markdown
from aeattn.files import Json

INTRODUCTION = """# Results

Written by `python -m aeattn.benchmarks.records --tables` from the records beside this file; not to be edited.
Losses are nats/char over the whole validation text, with fixed windows of the context; `sliding` lets every
prediction see at least three quarters of it. One seed each, so differences of a few thousandths mean nothing; the
comparison with intervals has [a report of its own](../docs/first/report.md), and so have
[larger models of characters and of subwords](../docs/larger/report.md) and
[the screening of designs](../docs/screening/report.md)."""


def page(results: Path, runs: Sequence[str]) -> str:
    """The records of a folder: of these training runs, and of every measurement in `SECTIONS`."""
    blocks: list[Block] = [INTRODUCTION, _runs(results, runs)]
    for name, (title, section) in SECTIONS.items():
        known = read(results, name)
        blocks += [f"{title}: not measured."] if known is None else [f"## {title}", *section(known)]
    return "\n".join(to_markdown(blocks)) + "\n"


def read(results: Path, name: str) -> Json | None:
    """A record, or None if there is none of this name."""
    path = results / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _runs(results: Path, names: Sequence[str]) -> Table:
    heading = ("record", "parameters", "characters trained on", "nats/char", "sliding", "5-gram",
               "training chars/s", "CPU")  # fmt: skip
    return Table(heading, (_run(name, read(results, name)) for name in names))


def _run(name: str, known: Json | None) -> Sequence[str]:
    if known is None or known["status"] != "done":
        return (name, "", "", "not measured" if known is None else "failed", "", "", "", "")
    result = known["evaluation"]
    more = (result.get("sliding", {}).get("nats_per_char"), result.get("ngram_nats_per_char", {}).get("5"))
    losses = ("" if nats is None else f"{nats:.4f}" for nats in (result["nats_per_char"], *more))
    sizes = (f"{known['parameters']:,}", f"{known['curve'][-1]['chars']:,}")
    return (name, *sizes, *losses, f"{known['chars_per_second']:,}", _machine(known))


def _machine(known: Json) -> str:
    return f"{known['environment']['cpu']}, {known['environment']['threads']} threads"


def _from(command: str, known: Json, what: str) -> str:
    return f"From `{command}`, on {_machine(known)}: {what}."


def _training(name: str, known: Json) -> list[Block]:
    what = "median chars/s of steps that alternate in one run, with the lowest and highest"
    found = msgspec.convert(known, TrainingBench)
    return [_from(f"{found.command} --json > results/{name}.json", known, what), *tables.training(found)]


def _cost(name: str, known: Json) -> list[Block]:
    found = msgspec.convert(known, TrainingBench)
    ours = next(iter(next(iter(found.contexts.values())).ours.values()))
    rounds = len(ours.chars_per_second.rounds)
    command = f"{found.command} --no-peers --rounds {rounds} --json"
    return [_from(f"{command} > results/{name}.json", known, "two models in turn"), *tables.cost(found)]


def _generation(name: str, known: Json) -> list[Block]:
    what = "median chars/s of everyone in turn, sampling included, with the lowest and highest"
    found = msgspec.convert(known, GenerationBench)
    return [_from(f"{found.command} --json > results/{name}.json", known, what), *tables.generation(found)]


def _engines(known: Json) -> list[Block]:
    rows = []
    for batch, new in known["rounds"]["c++"].items():
        old = known["rounds"]["numba"][batch]
        times = Spread.of([a / b for a, b in zip(new, old, strict=True)])
        medians = (f"{Spread.of(rates).median:,.0f}" for rates in (old, new))
        rows.append((f"{batch} at once", *medians, interval(times, 2)))
    what = "checkouts of both in turn, median chars/s, and C++ as a multiple, lowest and highest"
    heading = ("sequences", f"Numba ({known['commits']['numba'][:7]})", "C++", "times")
    return [_from(known["command"], known, what), Table(heading, rows)]


def _time_to_loss(known: Json) -> list[Block]:
    rows = []
    for name, seconds in (("nanogpt", "training_seconds"), ("compiled", "training_seconds"),
                          ("nanogpt", "command_seconds"), ("cold", "command_seconds")):  # fmt: skip
        took = ", ".join(f"{r[name][seconds]:.1f}" for r in known["rounds"])
        loss = ", ".join(f"{r[name]['valid_nats']:.4f}" for r in known["rounds"])
        rows.append((name, seconds.replace("_", " "), took, loss))
    shares = (f"{what} {interval(Spread(**share), 3)}" for what, share in known["share_of_nanogpt"].items())
    what = (
        f"parts of nanoGPT's time: {', '.join(shares)}. `compiled` found its step in the compiler's cache, `cold` "
        "found nothing"
    )
    return [_from("python -m aeattn.benchmarks.time_to_loss", known, what),
            Table(("who", "what", "seconds, a round each", "nats/char"), rows, words=2)]  # fmt: skip


def _gpu_loss(known: Json) -> list[Block]:
    does = "reaches" if known["reached"] else "does not reach"
    what = (
        f"`{' '.join(known['command'])}` {does} {known['nanogpt_nats']:.4f} nats/char, which nanoGPT's README "
        "gives for its recipe on an A100, from a standing start: nothing compiled, no text read; one run"
    )
    row = (
        f"{known['command_seconds'] / 60:.1f}", f"{known['training_seconds'] / 60:.1f}", f"{known['chars']:,}",
        f"{known['valid_nats']:.4f}",
    )  # fmt: skip
    heading = ("minutes of the command", "minutes of training", "characters trained on", "nats/char")
    return [_from("python -m aeattn.benchmarks.gpu_loss", known, what), Table(heading, [row])]


def _processes(known: Json) -> list[Block]:
    what = "the same batch shared by processes that share the processors, in turn; times are of process 0"
    found = msgspec.convert(known, ProcessesBench)
    command = f"aeattn bench train --processes 1 2 --preset {found.preset} --json > results/speed/processes.json"
    return [_from(command, known, what), *tables.processes(found)]


START = {
    "training": "training of a shape that was trained before begins",
    "first step": "its first step is done",
    "--help": "`--help` has answered",
    "bad argument": "a bad argument has been refused",
}


def _start(known: Json) -> list[Block]:
    rows = (
        (START[name], *(f"{spread[end]:.2f}" for end in ("median", "low", "high")))
        for name, spread in known["seconds"].items()
    )
    cold = known["cold"]["training"]
    rounds = f"{len(known['rounds'])} rounds"
    what = f"{rounds}; the first time, with everything to compile, training begins after {cold:.0f} seconds"
    heading = ("seconds after the command, until", "median", "lowest", "highest")
    return [_from("python -m aeattn.benchmarks.start", known, what), Table(heading, rows)]


def _store(known: Json) -> list[Block]:
    rows = []
    for name, found in known["formats"].items():
        sizes = (f"{found[key] / 1e9:.2f} GB" for key in ("text_bytes", "file_bytes", "cache_bytes"))
        times = (f"{found['seconds']:.1f}", f"{found['mb_per_second']:.0f}", f"{found['again']['seconds']:.1f}")
        steps = [
            f"{of['batch_milliseconds']:.2f}" if "small" in found else "–" for of in (found, found.get("small"))
        ]
        rows.append((name, *sizes, *times, f"{found['peak_bytes'] / 1e6:.0f} MB", *steps))
    what = (
        f"{known['sentences']:,} sentences of `tales` in the layout of BookCorpus, from files to training: "
        "vocabulary, ids of both sides, and the check for passages that both have. Last, milliseconds to draw "
        "a batch from all over the ids, by memory map, and the same of a text of a hundredth of the size; medians"
    )
    heading = (
        "format", "text", "files", "in the cache", "seconds", "MB of text/s", "again", "peak memory",
        "ms a batch", "of the small text",
    )  # fmt: skip
    return [_from("python -m aeattn.benchmarks.store", known, what), Table(heading, rows)]


def _faults(known: Json) -> list[Block]:
    rows = ((kind, f"{count['right']:,}", f"{count['tried']:,}") for kind, count in known["counts"].items())
    return [
        "Written by `make faults`: real processes killed at every file event of a run and at other moments, files "
        "cut and flipped, disks filled, signals sent, files forged. After every crash and fallback, the run is "
        "compared with an uninterrupted one: weights, optimizer, random state, metrics, samples, checkpoints. The "
        f"largest difference of all is {known['largest_difference']}.",
        *(f"Left out, {name}: {reason}." for name, reason in known["skipped"].items()),
        Table(("kind of fault", "right", "tried"), rows),
    ]


# record: heading, and what stands under it
SECTIONS: dict[str, tuple[str, Callable[[Json], list[Block]]]] = {
    "speed/train": ("Speed of training", partial(_training, "speed/train")),
    "speed/cost": ("What autoencoders cost in training", partial(_cost, "speed/cost")),
    "speed/generate": ("Speed of generation", partial(_generation, "speed/generate")),
    **{
        f"{name}-460k": (f"{title}: the model of the first comparison", partial(section, f"{name}-460k"))
        for name, title, section in (
            ("speed/train", "Speed of training", _training),
            ("speed/cost", "What autoencoders cost in training", _cost),
            ("speed/generate", "Speed of generation", _generation),
        )
    },
    "speed/engines": ("The decoding loop in C++ against the one before it, compiled by Numba", _engines),
    "speed/engines-avx2": ("The same, on a processor without AVX-512", _engines),
    "speed/gpu-loss": ("Time to the loss that nanoGPT's recipe for a GPU ends with", _gpu_loss),
    "speed/time-to-loss": ("Time to the loss that nanoGPT's recipe for a CPU ends with", _time_to_loss),
    "speed/start": ("How soon a command has begun", _start),
    "speed/store": ("A text of the size of BookCorpus", _store),
    "speed/processes": ("Training in several processes", _processes),
    "faults": ("Faults", _faults),
}
