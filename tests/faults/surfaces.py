"""Everything that commands read, each in a folder that is good, for one file of it to be changed."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeattn.cli import main
from tests.compare import made_up

TEXT = "the quick brown fox jumps over the lazy dog. and then she said nothing at all\n" * 30
MODEL = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 24, "bottleneck": 4, "context": 16}
TRAINING = {"batch": 2, "compile": "off", "precision": "fp32", "device": "cpu", "sample_chars": 5}
ONE_STEP = ("--steps", "1", "--batch", "2", "--compile", "off", "--device", "cpu", "--quiet")
Command = tuple[str, ...]


@dataclass(frozen=True)
class Surface:
    """`files` are globs of what is changed; `commands` read it (`{}` is the folder). They may write new files in
    `named`, and over what `may_change`."""

    make: Callable[[Path], object]
    files: tuple[str, ...]
    commands: tuple[Command, ...]
    named: str
    may_change: tuple[str, ...] = ()


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def _comparison(root: Path) -> None:
    made_up.make(root / "c", seeds=(1,), arms=("standard", "autoencoder"))


def _run(root: Path) -> None:
    text = write(root / "text.txt", TEXT)
    config = write(root / "good.json", json.dumps({"model": MODEL, "training": TRAINING}))
    _must(["train", str(text), "--config", str(config), "--out", str(root / "run"), *ONE_STEP])


def _must(arguments: Sequence[str]) -> None:
    assert main(list(arguments)) == 0, arguments


def _settings(root: Path) -> dict[str, Any]:
    data = {"corpus": [str(write(root / "text.txt", TEXT))], "tokenizer": "characters", "text": {"lower": True}}
    return {"model": MODEL, "training": TRAINING, "data": data}


def _config(root: Path) -> None:
    write(root / "a.toml.json", json.dumps(_settings(root)))


def _spec(root: Path) -> None:
    base = _settings(root)
    base["data"]["valid"] = [str(write(root / "valid.txt", TEXT[::-1]))]
    linear = {"query": "linear", "key": "linear", "value": "linear"}
    spec = {
        "title": "small", "question": "better?", "seeds": [1, 2], "budget": {"chars": 512},
        "smallest_effect": 0.01,
        "base": base,
        "arms": {"standard": {"label": "plain", "model": linear}, "auto": {"model": {"query": "linear"}}},
        "matching": {"by": ["width", "parameters"], "reference": "standard"},
        "tuning": {"rates": [0.5, 1.0, 2.0], "extend": 1, "share": 0.5},
        "contrasts": [{"arm": "auto", "than": "standard", "measure": "valid_nats", "matching": "width"}],
        "budgets": {"brief": {"budget": {"chars": 256}, "only": ["standard", "auto"]}},
    }  # fmt: skip
    write(root / "spec.toml.json", json.dumps(spec))


def _declared(root: Path) -> None:
    from aeattn.compare.declaration import read_declaration
    from aeattn.compare.folder import Folder
    from aeattn.compare.jobs import jobs
    from tests.compare.conftest import done
    from tests.faults.mutations import as_toml

    _spec(root)
    values = json.loads((root / "spec.toml.json").read_text())
    (root / "s.toml").write_bytes(as_toml(values))
    _must(["compare", str(root / "s.toml"), "--plan", "--out", str(root / "c"), "--quiet"])
    folder = Folder(root / "c")
    for job in jobs(read_declaration(folder), {})[:4]:
        folder.write_record(done(job, 1.5))


def _texts(root: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _run(root)
    rows = [{"id": i, "text": TEXT[: 400 + i]} for i in range(4)]
    write(root / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write(root / "a.csv", "id,text\n" + "".join(f'{row["id"]},"{row["text"]}"\n' for row in rows))
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, root / "a.parquet")
    with pa.ipc.new_file(root / "a.arrow", table.schema) as file:
        file.write_table(table)
    (root / "a.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    write(root / "books" / "b.txt", TEXT)
    write(root / "books" / "MANIFEST.tsv", "file\ttitle\tauthor\nb.txt\tA Book\tSomebody\n")


def _tokenizer(root: Path) -> None:
    text = write(root / "text.txt", TEXT)
    _run(root)
    _must(["train", str(text), "--config", str(root / "good.json"), "--tokenizer", "bpe:280",
           "--out", str(root / "bpe"), *ONE_STEP])  # fmt: skip
    shutil.copy(root / "bpe" / "tokenizer.json", root / "tok.json")


def _evaluate(*texts: str) -> Command:
    return ("evaluate", "{}/run", *texts, "--no-baseline", "--no-sliding")


_REPORT = ("report.html", "report.md", "report.svg", "report-loss-bytes.svg", "report-curves-training.svg",
           "report-curves-half.svg")  # fmt: skip
_RESUMED = ("config.json", "environment.json", "metrics.jsonl", "samples.txt", "model.safetensors",
            "learning_curve.png",
            "state.json", "random.safetensors", "optimizer.safetensors")  # fmt: skip
SURFACES: dict[str, Surface] = {
    "comparisons read by report": Surface(
        _comparison, ("c/spec.json", "c/summary.json", "c/records/*.json", "c/analysis/*.json", "c/spec.toml"),
        (("report", "{}/c", "--out", "{}/out"),), "out", _REPORT,
    ),
    "comparisons read by compare": Surface(
        _declared, ("c/spec.json", "c/records/*.json", "c/summary.json"),
        (("compare", "{}/s.toml", "--plan", "--out", "{}/c"),), "c", ("summary.json",),
    ),
    "specs": Surface(
        _spec, ("spec.toml.json",), (("compare", "{}/spec.toml", "--plan", "--out", "{}/out"),), "out"
    ),
    "configs": Surface(_config, ("a.toml.json",), (("size", "--config", "{}/a.toml"),), "out"),
    "configs to train by": Surface(
        _config, ("a.toml.json",), (("train", "--config", "{}/a.toml", "--out", "{}/out", *ONE_STEP),), "out"
    ),
    "runs": Surface(
        _run, ("run/*.json", "run/*.jsonl", "run/samples.txt", "run/model.safetensors"),
        (("generate", "{}/run", "--chars", "3"), _evaluate("{}/text.txt"), ("report", "{}/run"),
         ("inspect", "{}/run", "--chars", "64")),
        "run", ("learning_curve.png", "attention.png", *_REPORT),
    ),
    "runs to resume": Surface(
        _run, ("run/*.json", "run/metrics.jsonl", "run/checkpoints/*/*"),
        (("resume", "{}/run", "--quiet"), ("resume", "{}/run", "--steps", "2", "--accept-changes", "--quiet")),
        "run", _RESUMED,
    ),
    "tables and texts": Surface(
        _texts, ("a.*", "books/MANIFEST.tsv"),
        (_evaluate("{}/a.jsonl"), _evaluate("{}/a.csv"), _evaluate("{}/a.parquet", "--column", "text"),
         _evaluate("{}/a.arrow"), _evaluate("{}/a.txt.gz"), _evaluate("{}/books")),
        "run",
    ),
    "tokenizer files": Surface(
        _tokenizer, ("tok.json", "bpe/tokenizer.json"),
        (("train", "{}/text.txt", "--config", "{}/good.json", "--tokenizer", "{}/tok.json", "--out", "{}/out",
          *ONE_STEP),
         ("generate", "{}/bpe", "--chars", "3")),
        "out",
    ),
}  # fmt: skip
