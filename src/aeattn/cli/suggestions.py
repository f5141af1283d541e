"""What somebody may have meant who wrote a command or an option that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from aeattn.errors import nearest
from aeattn.terminal.escaping import printable

# words of other programs for what is called otherwise here; the first that the command has is named
_OPTIONS: dict[str, tuple[str, ...]] = {
    "lr": ("--learning-rate",), "max-lr": ("--learning-rate",), "muon-lr": ("--matrix-learning-rate",),
    "wd": ("--weight-decay",), "batch-size": ("--batch",), "bs": ("--batch",),
    "gradient-accumulation-steps": ("--accumulate",), "grad-accum": ("--accumulate",),
    "iters": ("--steps",), "max-iters": ("--steps",), "iterations": ("--steps",), "updates": ("--steps",),
    "max-steps": ("--steps",), "num-steps": ("--steps",), "epochs": ("--chars", "--steps"),
    "n-epochs": ("--chars", "--steps"),
    "time": ("--minutes",), "hours": ("--minutes",), "seconds": ("--minutes",),
    "block-size": ("--context",), "seq-len": ("--context",), "context-length": ("--context",),
    "max-seq-len": ("--context",),
    "layers": ("--n-layers",), "n-layer": ("--n-layers",), "depth": ("--n-layers",), "num-layers": ("--n-layers",),
    "heads": ("--n-heads",), "n-head": ("--n-heads",), "num-heads": ("--n-heads",),
    "n-embd": ("--d-model",), "dim": ("--d-model",), "width": ("--d-model",), "hidden-size": ("--d-model",),
    "embed-dim": ("--d-model",), "ffn": ("--d-ff",), "d-bottleneck": ("--bottleneck",), "code": ("--bottleneck",),
    "latent": ("--bottleneck",), "kv-heads": ("--n-kv-heads",), "eval-interval": ("--eval-every",),
    "warmup-steps": ("--warmup",), "warmup-iters": ("--warmup",), "lr-schedule": ("--schedule",),
    "optim": ("--optimizer",), "grad-clip": ("--clip",), "output": ("--out",), "out-dir": ("--out",),
    "output-dir": ("--out",), "save": ("--out",), "dir": ("--out",), "model": ("--preset",), "size": ("--preset",),
    "gpu": ("--device",), "cuda": ("--device",), "dtype": ("--precision",), "bf16": ("--precision",),
    "validation": ("--valid",), "val": ("--valid",), "vocab": ("--vocab-size", "--tokenizer"),
    "temp": ("--temperature",), "length": ("--chars",), "max-tokens": ("--chars",), "n": ("--chars",),
    "max-new-tokens": ("--chars",), "num-tokens": ("--chars",), "num-samples": ("--samples",),
    "start": ("--prompt",), "text": ("--prompt",), "params": ("--parameters",), "workers": ("--jobs",),
    "dry-run": ("--plan",), "silent": ("--quiet",), "force": ("--yes",), "settings": ("--set",),
}  # fmt: skip
_COMMANDS = {
    "eval": "evaluate", "test": "evaluate", "sample": "generate", "write": "generate", "gen": "generate",
    "params": "size", "cost": "size", "benchmark": "bench", "speed": "bench", "list": "presets",
    "models": "presets", "recipes": "presets", "plot": "report", "run": "train", "fit": "train",
    "continue": "resume", "experiment": "compare", "convert": "export", "attention": "inspect",
}  # fmt: skip


def command(word: str, known: Iterable[str]) -> str | None:
    """The command that is meant by a word, if there is a likely one."""
    return _COMMANDS.get(word.lower()) or nearest(word, known)


def option(given: str, known: Iterable[str]) -> str | None:
    """The option that is meant by `--setps` or `--lr`, if there is a likely one."""
    there, name = list(known), given.partition("=")[0].lower().replace("_", "-")
    if name in there:
        return name  # --d_model
    for word in _OPTIONS.get(name.lstrip("-"), ()):
        if word in there:
            return word
    near = nearest(name.lstrip("-"), [each.removeprefix("--") for each in there if each.startswith("--")])
    return None if near is None else f"--{near}"


def runs(folder: Path = Path("runs")) -> str:
    """The newest runs below a folder, in words; empty where there is none."""
    with suppress(OSError):
        found = sorted(folder.glob("*/config.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        names = [printable(str(path.parent)) for path in found[:3]]
        return f"; runs there are: {', '.join(names)}" if names else ""
    return ""
