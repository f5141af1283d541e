"""Train and evaluate the recorded runs, and write one JSON record a run to results/.

    python -m aeattn.benchmarks.records                    every record that is missing or stale
    python -m aeattn.benchmarks.records books-460k         this one, again
    python -m aeattn.benchmarks.records NAME --from RUN    the same from a run folder that its command has made
    python -m aeattn.benchmarks.records --tables           only what is made from the records: the tables in
                                                           results/README.md, figures in the README, the reports
                                                           of comparisons under docs/

To be called in a checkout of the repository. A record says what was run, on what, what came of it, and whether it
succeeded; a failed run is recorded as failed and has no figures. `$AEATTN_CORPORA` must hold the texts, or the
network be there.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aeattn.benchmarks.readme import with_facts
from aeattn.benchmarks.results_page import page, read
from aeattn.compare.study import parts_of
from aeattn.files import Json
from aeattn.report import write_report

BOOKS = ("books", "--recipe", "books10m", "--chars", "20500000")
ALL_BOOKS = (*BOOKS[:3], "--limit-chars", "10000000")
LONG = ("--learning-rate", "3.5e-3", "--matrix-learning-rate", "1.4e-2")  # rates of a run four times as long
PLAYS = ("shakespeare", "--chars", "19900000", "--context", "256", "--preset", "460k", "--dropout", "0.1")
TUNED = (*BOOKS[:3], "--chars", "2000000", "--preset", "460k-classic", "--learning-rate")
NO_SLIDING, QUICK = ("--no-sliding",), ("--no-sliding", "--no-baseline")


@dataclass(frozen=True)
class Run:
    """Arguments of `aeattn train`, the text of `aeattn evaluate`, and more arguments of that."""

    train: tuple[str, ...]
    text: str
    evaluate: tuple[str, ...] = ()

    @property
    def definition(self) -> str:
        """A hash over what defines a record: it is stale when this has changed."""
        return hashlib.sha256(json.dumps([self.train, self.text]).encode()).hexdigest()[:16]


RUNS = {
    "books-460k": Run((*BOOKS, "--preset", "460k"), "books"),
    "books-460k-linear": Run((*BOOKS, "--preset", "460k-linear"), "books"),
    "books-460k-classic": Run((*BOOKS, "--preset", "460k-classic"), "books", NO_SLIDING),  # which is slow
    "books-460k-best": Run((*ALL_BOOKS, *LONG, "--chars", "82000000", "--preset", "460k-best"), "books"),
    "shakespeare-460k-best": Run(
        (
            "shakespeare",
            "--chars",
            "50000000",
            "--preset",
            "460k-best",
            "--context",
            "2048",
            "--window",
            "256",
            "--batch",
            "16",
            "--d-model",
            "96",
            "--n-layers",
            "5",
            "--n-heads",
            "6",
            "--n-kv-heads",
            "2",
            "--d-ff",
            "192",
            "--dropout",
            "0.2",
            "--weight-decay",
            "0.1",
        ),
        "shakespeare",
    ),
    "shakespeare-460k": Run((*PLAYS, "--weight-decay", "0.1"), "shakespeare"),
    "shakespeare-460k-8heads": Run((*PLAYS, "--weight-decay", "0.1", "--n-heads", "8"), "shakespeare"),
    "shakespeare-460k-decay": Run((*PLAYS, "--weight-decay", "0.3"), "shakespeare"),
    # fewer epochs and more dropout: the text is a million characters, and the model has seen it twenty times above
    "shakespeare-460k-13m": Run(
        (*PLAYS[:2], "13000000", *PLAYS[3:-1], "0.15", "--weight-decay", "0.1"), "shakespeare"
    ),
    # the one tuning of the plain recipe: its learning rate, on a tenth of the characters
    **{f"tuning-460k-classic-{rate}": Run((*TUNED, rate), "books", QUICK) for rate in ("1e-3", "3e-3", "1e-2")},
}


REPORTED = ("first", "larger", "screening", "second")  # whose reports stand in docs/, under the same names


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(RUNS)}")
    parser.add_argument("--from", dest="run", type=Path, metavar="RUN", help="a finished run of NAME's command")
    parser.add_argument("--tables", action="store_true", help="only write what is made from the records")
    options = parser.parse_args(arguments)
    root = checkout()
    if unknown := [name for name in options.names if name not in RUNS]:
        parser.error(f"unknown record {unknown[0]!r}: choose from {', '.join(RUNS)}")
    if options.run and (len(options.names) != 1 or _command_of(options.run) != RUNS[options.names[0]].train):
        parser.error("--from takes one NAME, and a run made by exactly its command")
    if not options.tables:
        for name in options.names or [name for name in RUNS if _is_stale(root / "results", name)]:
            _write(root / "results" / f"{name}.json", record(name, options.run))
    write_documents(root)
    return 0


def checkout() -> Path:
    """The folder of the repository that this source lies in. Ends the program where it was installed without."""
    root = Path(__file__).parents[3]
    if not (root / "results").is_dir():
        raise SystemExit("there is no results folder here: call this in a checkout of the repository")
    return root


def write_documents(root: Path) -> None:
    """Everything that is made from the records of a checkout."""
    results, readme = root / "results", root / "README.md"
    (results / "README.md").write_text(page(results, list(RUNS)), encoding="utf-8")
    readme.write_text(with_facts(readme.read_text(encoding="utf-8"), root), encoding="utf-8")
    for comparison in REPORTED:
        folder, docs = results / comparison, root / "docs" / comparison
        parts = parts_of(folder)
        if (folder / "summary.json").exists() or parts:
            write_report(folder, docs)
        for part in parts:
            write_report(part.folder, docs / part.folder.name)


def _command_of(run: Path) -> tuple[str, ...]:
    """The arguments of `aeattn train` that made a run, without the folder."""
    command: list[str] = json.loads((run / "environment.json").read_text())["command"][2:]
    at = command.index("--out")
    return (*command[:at], *command[at + 2 :])


def record(name: str, trained: Path | None = None) -> Json:
    """Train (unless it has been done) and evaluate in a temporary folder; what came of it, or `failed` with the
    reason."""
    known = RUNS[name]
    facts: Json = {
        "name": name, "command": ["aeattn", "train", *known.train], "definition": known.definition,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "status": "failed",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = trained or Path(folder) / "run"
        try:
            if trained is None:
                _aeattn(["train", *known.train, "--out", str(run)])
            evaluated = _aeattn(["evaluate", str(run), known.text, "--json", *known.evaluate])
            facts["evaluation"] = json.loads(evaluated)
        except subprocess.CalledProcessError as error:
            return facts | {"reason": (error.stderr or "see the log").strip().splitlines()[-1]}
        return facts | _of_run(run) | {"status": "done"}


def _of_run(run: Path) -> Json:
    from aeattn.nn.size import parameters
    from aeattn.runs.folder import RunFolder

    folder = RunFolder(run)
    environment = json.loads(folder.environment.read_text(encoding="utf-8"))
    curve = [line for line in folder.read_metrics() if "valid_nats" in line]
    return {
        "curve": curve,
        "config": json.loads(folder.config.read_text(encoding="utf-8")),
        "environment": {key: value for key, value in environment.items() if key not in ("command", "config")},
        "chars_per_second": round(curve[-1]["chars"] / curve[-1]["seconds"]),
        "parameters": parameters(folder.read_config().model),
    }


def _aeattn(arguments: list[str]) -> str:
    """Standard output of a command; its progress goes on to ours."""
    print("$ aeattn", *arguments, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "aeattn", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _is_stale(results: Path, name: str) -> bool:
    known = read(results, name)
    return known is None or known["status"] != "done" or known["definition"] != RUNS[name].definition


def _write(path: Path, values: Json) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
