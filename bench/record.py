"""Train and evaluate the recorded runs, and write one JSON record a run to results/.

    python bench/record.py                       every record that is missing or stale
    python bench/record.py books-460k            this one, again
    python bench/record.py NAME --from RUN       the same from a run folder that its command has made already
    python bench/record.py --tables              only what is made from the records: the tables in
                                                 results/README.md, the answer in the README, docs/first

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

sys.path.insert(0, str(Path(__file__).parent))  # for those who import this file by its path

import tables

from aeattn.compare.folder import Folder
from aeattn.report import write_report

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
BOOKS = ["books", "--recipe", "books10m", "--chars", "20500000"]
PLAYS = ["shakespeare", "--chars", "19900000", "--context", "256", "--preset", "460k", "--dropout", "0.1"]
TUNED = [*BOOKS[:3], "--chars", "2000000", "--preset", "460k-classic", "--learning-rate"]

# name: (arguments of `aeattn train`, text of `aeattn evaluate`)
RUNS: dict[str, tuple[list[str], str]] = {
    "books-460k": ([*BOOKS, "--preset", "460k"], "books"),
    "books-460k-linear": ([*BOOKS, "--preset", "460k-linear"], "books"),
    "books-460k-classic": ([*BOOKS, "--preset", "460k-classic"], "books"),
    "shakespeare-460k": ([*PLAYS, "--weight-decay", "0.1"], "shakespeare"),
    "shakespeare-460k-8heads": ([*PLAYS, "--weight-decay", "0.1", "--n-heads", "8"], "shakespeare"),
    "shakespeare-460k-decay": ([*PLAYS, "--weight-decay", "0.3"], "shakespeare"),
    # fewer epochs and more dropout: the text is a million characters, and the model has seen it twenty times above
    "shakespeare-460k-13m": (
        [*PLAYS[:2], "13000000", *PLAYS[3:-1], "0.15", "--weight-decay", "0.1"],
        "shakespeare",
    ),
    # the one tuning of the plain recipe: its learning rate, on a tenth of the characters
    **{f"tuning-460k-classic-{rate}": ([*TUNED, rate], "books") for rate in ("1e-3", "3e-3", "1e-2")},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(RUNS)}")
    parser.add_argument("--from", dest="run", type=Path, metavar="RUN", help="a finished run of NAME's command")
    parser.add_argument("--tables", action="store_true", help="only write what is made from the records")
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
    (RESULTS / "README.md").write_text(tables.markdown(RESULTS, list(RUNS)), encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(tables.with_answer(readme.read_text(encoding="utf-8"), RESULTS), encoding="utf-8")
    if Folder(RESULTS / "first").summary.exists():
        write_report(RESULTS / "first", ROOT / "docs" / "first")
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
    from aeattn.config.model import ModelConfig
    from aeattn.nn.size import parameters

    return parameters(ModelConfig(**config["model"]))


def _definition(name: str) -> str:
    """A hash over what defines a record: it is stale when this has changed."""
    return hashlib.sha256(json.dumps(RUNS[name]).encode()).hexdigest()[:16]


def _is_stale(name: str) -> bool:
    known = tables.read(RESULTS, name)
    return known is None or known["status"] != "done" or known["definition"] != _definition(name)


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
