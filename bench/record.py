"""Train and evaluate the recorded runs, and write one JSON record a run to results/.

    python bench/record.py                       every record that is missing or stale
    python bench/record.py books-460k            this one, again
    python bench/record.py NAME --from RUN       the same from a run folder that its command has made already
    python bench/record.py --tables              only the tables in results/README.md, from the records

A record says what was run, on what, what came of it, and whether it succeeded; a failed run is recorded as
failed and has no figures. `$AEATTN_CORPORA` must hold the texts, or the network be there.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
BOOKS = ["books", "--recipe", "books10m", "--chars", "20500000"]
SHAKESPEARE = ["--context", "256", "--preset", "460k"]

# name: (arguments of `aeattn train`, text of `aeattn evaluate`)
RUNS: dict[str, tuple[list[str], str]] = {
    "books-460k": ([*BOOKS, "--preset", "460k"], "books"),
    "books-460k-linear": ([*BOOKS, "--preset", "460k-linear"], "books"),
    "books-460k-classic": ([*BOOKS, "--preset", "460k-classic"], "books"),
    "shakespeare-460k": (
        ["shakespeare", "--chars", "19900000", *SHAKESPEARE, "--dropout", "0.1", "--weight-decay", "0.1"],
        "shakespeare",
    ),
    "shakespeare-460k-8heads": (
        [
            "shakespeare",
            "--chars",
            "19900000",
            *SHAKESPEARE,
            "--dropout",
            "0.1",
            "--weight-decay",
            "0.1",
            "--n-heads",
            "8",
        ],
        "shakespeare",
    ),
    "shakespeare-460k-decay": (
        ["shakespeare", "--chars", "19900000", *SHAKESPEARE, "--dropout", "0.1", "--weight-decay", "0.3"],
        "shakespeare",
    ),
    # fewer epochs and more dropout: the text is a million characters, and the model has seen it twenty times above
    "shakespeare-460k-13m": (
        ["shakespeare", "--chars", "13000000", *SHAKESPEARE, "--dropout", "0.15", "--weight-decay", "0.1"],
        "shakespeare",
    ),
}
# the one tuning of the plain recipe: its learning rate, on a tenth of the characters
CLASSIC_RATES = ("1e-3", "3e-3", "1e-2")
for rate in CLASSIC_RATES:
    RUNS[f"tuning-460k-classic-{rate}"] = (
        [
            "books",
            "--recipe",
            "books10m",
            "--chars",
            "2000000",
            "--preset",
            "460k-classic",
            "--learning-rate",
            rate,
        ],
        "books",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(RUNS)}")
    parser.add_argument("--from", dest="run", type=Path, metavar="RUN", help="a finished run of NAME's command")
    parser.add_argument("--tables", action="store_true", help="only write the tables")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in RUNS]:
        parser.error(f"unknown record {unknown[0]!r}: choose from {', '.join(RUNS)}")
    if options.run and (len(options.names) != 1 or _command_of(options.run) != RUNS[options.names[0]][0]):
        parser.error("--from takes one NAME, and a run made by exactly its command")
    if options.run:
        _write(RESULTS / f"{options.names[0]}.json", record(options.names[0], options.run))
    elif not options.tables:
        for name in options.names or [name for name in RUNS if _is_stale(name)]:
            _write(RESULTS / f"{name}.json", record(name))
    (RESULTS / "README.md").write_text(tables(), encoding="utf-8")
    return 0


def _command_of(run: Path) -> list[str]:
    """The arguments of `aeattn train` that made a run, without the folder."""
    command: list[str] = json.loads((run / "environment.json").read_text())["command"][2:]
    place = command.index("--out")
    return command[:place] + command[place + 2 :]


def record(name: str, trained: Path | None = None) -> dict[str, Any]:
    """Train (unless it has been done) and evaluate in a temporary folder; what came of it, or `failed` with the
    reason."""
    arguments, text = RUNS[name]
    facts: dict[str, Any] = {
        "name": name,
        "command": ["aeattn", "train", *arguments],
        "definition": _definition(name),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "status": "failed",
    }
    with tempfile.TemporaryDirectory() as folder:
        run = trained or Path(folder) / "run"
        try:
            if trained is None:
                _aeattn(["train", *arguments, "--out", str(run)])
            quick = ["--no-sliding", "--no-baseline"] if name.startswith("tuning-") else []
            quick = ["--no-sliding"] if name.endswith("-classic") else quick  # three times as slow as the others
            facts["evaluation"] = json.loads(_aeattn(["evaluate", str(run), text, "--json", *quick]))
        except subprocess.CalledProcessError as error:
            return facts | {"reason": (error.stderr or "see the log").strip().splitlines()[-1]}
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        facts["curve"] = [line for line in metrics if "valid_nats" in line]
        facts["config"] = json.loads((run / "config.json").read_text())
        facts["environment"] = json.loads((run / "environment.json").read_text())
        for known in ("command", "config"):
            facts["environment"].pop(known)
    last = facts["curve"][-1]
    facts["chars_per_second"] = round(last["chars"] / last["seconds"])
    return facts | {"parameters": _parameters(facts["config"]), "status": "done"}


def _aeattn(arguments: list[str]) -> str:
    """Standard output of a command; its progress goes on to ours."""
    print("$ aeattn", *arguments, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "aeattn", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _parameters(config: dict[str, Any]) -> int:
    from aeattn.nn.config import ModelConfig
    from aeattn.nn.sizing import parameters

    return parameters(ModelConfig(**config["model"]))


def _definition(name: str) -> str:
    """A hash over what defines a record: it is stale when this has changed."""
    return hashlib.sha256(json.dumps(RUNS[name]).encode()).hexdigest()[:16]


def _is_stale(name: str) -> bool:
    known = _read(name)
    return known is None or known["status"] != "done" or known["definition"] != _definition(name)


def _read(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def tables() -> str:
    """The records as Markdown."""
    lines = [
        "# Results",
        "",
        "Written by `python bench/record.py` from the records beside this file; not to be edited. Losses are",
        "nats a character over the whole validation text, with fixed windows of the context; `sliding` lets every",
        "prediction see at least three quarters of it. One seed each, so differences of a few thousandths mean",
        "nothing; the comparison with intervals is not part of these records.",
        "",
        "| record | parameters | characters trained on | nats/char | sliding | 5-gram | characters/s | CPU |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    return "\n".join([*lines, *(_row(name) for name in RUNS), *_speed(), *_time_to_loss(), *_faults()]) + "\n"


def _speed() -> list[str]:
    """What `aeattn bench train --json` found, for each context."""
    known = _read("speed/train")
    if known is None:
        return ["", "Speed of training: not measured."]
    lines = [
        "",
        "## Speed of training",
        "",
        "From `aeattn bench train --json > results/speed/train.json`: median characters a second of steps that",
        "alternate in one run, with the lowest and highest, on " + _machine(known["environment"]) + ".",
    ]
    for found in known["contexts"].values():
        lines += ["", *_rates(found), "", *_limits(found)]
    return lines


def _rates(found: dict[str, Any]) -> list[str]:
    shape, ours = found["shape"], found["ours"]
    lines = [
        f"| {shape['batch']} x {shape['context']} a step | parameters | chars/s | lowest | highest | of ceiling |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, facts in {**ours, **found["peers"]}.items():
        rates = " | ".join(f"{facts['chars_per_second'][key]:,.0f}" for key in ("median", "low", "high"))
        ceiling = f"{100 * facts['of_ceiling']:.0f} %" if "of_ceiling" in facts else ""
        lines.append(f"| {name} | {facts['parameters']:,} | {rates} | {ceiling} |")
    return lines


def _limits(found: dict[str, Any]) -> list[str]:
    """The ratios, where the time goes, and the ceilings, as sentences."""
    ratios = (f"{r['median']:.2f} [{r['low']:.2f}, {r['high']:.2f}] times {n}" for n, r in found["ratio"].items())
    first = next(iter(found["parts"]))
    shares = (f"{part} {100 * share:.0f} %" for part, share in found["parts"][first].items())
    gflops = found["ceilings"]["gflops"]
    limits = (f"{precision} {max(rates.values()):,.0f}" for precision, rates in gflops.items())
    memory = found["ceilings"]["gigabytes_per_second"]
    lines = [
        f"{first} is as fast as "
        + ", ".join(ratios)
        + f". Its time: {', '.join(shares)}. The machine's ceilings,",
        f"of which the table gives the part that is reached in matrix products: {', '.join(limits)} GFLOP/s,",
        f"{memory:.0f} GB/s of memory.",
    ]
    return lines + [f"Not timed: {name} ({reason})." for name, reason in found["skipped"].items()]


def _time_to_loss() -> list[str]:
    known = _read("speed/time-to-loss")
    if known is None:
        return ["", "Time to a loss: not measured."]
    rows = []
    for name, seconds in (("nanogpt", "training_seconds"), ("compiled", "training_seconds"),
                          ("nanogpt", "command_seconds"), ("cold", "command_seconds")):  # fmt: skip
        took = ", ".join(f"{r[name][seconds]:.1f}" for r in known["rounds"])
        loss = ", ".join(f"{r[name]['valid_nats']:.4f}" for r in known["rounds"])
        rows.append(f"| {name} | {seconds.replace('_', ' ')} | {took} | {loss} |")
    shares = (f"{what} {s['median']:.3f} [{s['low']:.3f}, {s['high']:.3f}]"
              for what, s in known["share_of_nanogpt"].items())  # fmt: skip
    return [
        "",
        "## Time to the loss that nanoGPT's recipe for a CPU ends with",
        "",
        "From `python bench/time_to_loss.py`, alternating, on "
        + _machine(known["environment"])
        + ". Parts of nanoGPT's",
        f"time: {', '.join(shares)}. `compiled` found its step in the compiler's cache, `cold` found nothing.",
        "",
        "| who | what | seconds, a round each | nats/char |",
        "|---|---|--:|--:|",
        *rows,
    ]


def _machine(environment: dict[str, Any]) -> str:
    return f"{environment['cpu']}, {environment['threads']} threads"


def _faults() -> list[str]:
    """What `make faults` recorded: the faults of tests/faults, injected into real runs."""
    known = _read("faults")
    if known is None:
        return ["", "Faults: not measured."]
    rows = [f"| {kind} | {count['right']:,} | {count['tried']:,} |" for kind, count in known["counts"].items()]
    return [
        "",
        "## Faults",
        "",
        "Written by `make faults`: real processes killed at every file event of a run and at other moments, files",
        "cut and flipped, disks filled, signals sent, files forged. After every crash and fallback, the run is",
        "compared with an uninterrupted one: weights, optimiser, random state, metrics, samples, checkpoints.",
        f"The largest difference of all is {known['largest_difference']}.",
        *(f"Left out, {name}: {reason}." for name, reason in known["skipped"].items()),
        "",
        "| | right | tried |",
        "|---|--:|--:|",
        *rows,
    ]


def _row(name: str) -> str:
    known = _read(name)
    if known is None or known["status"] != "done":
        return f"| {name} | | | {'not measured' if known is None else 'failed'} | | | | |"
    result, environment = known["evaluation"], known["environment"]
    sliding = result.get("sliding", {}).get("nats_per_char")
    baseline = result.get("ngram_nats_per_char", {}).get("5")
    return (
        f"| {name} | {known['parameters']:,} | {known['curve'][-1]['chars']:,} | {result['nats_per_char']:.4f} "
        f"| {'' if sliding is None else f'{sliding:.4f}'} | {'' if baseline is None else f'{baseline:.4f}'} "
        f"| {known['chars_per_second']:,} | {environment['cpu']}, {environment['threads']} threads |"
    )


if __name__ == "__main__":
    sys.exit(main())
