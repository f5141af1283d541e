"""The report of one run folder: what it was, how it learned, what it attends to, what it generates."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from aeattn.analysis.passage import passage_maps
from aeattn.compare.records import Point
from aeattn.config.projections import ROLES
from aeattn.config.run import RunConfig
from aeattn.errors import InputError
from aeattn.files import Json, read_json
from aeattn.nn.size import size
from aeattn.report import curve, published
from aeattn.report.blocks import Block, Cell, Code, Figures, Page, Samples, Section, Table, Text, shown
from aeattn.report.charts import NATS
from aeattn.report.maps import HOW_TO_READ, map_figure
from aeattn.runs.folder import RunFolder
from aeattn.terminal.escaping import printable

MEASURED = {
    "step": ("step", ",.0f"),
    "chars": ("characters trained on", ",.0f"),
    "seconds": ("training seconds", ",.1f"),
    "train_nats": (f"training {NATS}, smoothed", ".4f"),
    "valid_nats": (f"validation {NATS}", ".4f"),
    "valid_chars": ("over characters", ",.0f"),
}
SAMPLES_SHOWN = 6


def make_page(path: Path) -> Page:
    """What a run was, its learning curve, attention and samples. Raises InputError for what is no run folder."""
    run = RunFolder(path)
    config, problems = run.read_config(), list[str]()
    points, samples = curve.read_points(run), run.read_samples()
    facts = [[Cell(name), Cell(value)] for name, value in _facts(run, config, points, problems) if value]
    scored = [point for point in points if point.valid_nats is not None]
    passages = [(f"after {step:,} steps", text) for step, text in _spaced(samples)]
    measured = Table("Every evaluation", [f"#{name}" for name, _ in MEASURED.values()], _rows(scored), folded=True)
    sections = [
        Section("What it is", [Table("", ["what", "value"], facts)], brief=True),
        *published.section(config, points),
        Section("Attention", _attention(run, samples, problems)),
        Section("Samples", [Samples("", passages)] if passages else [], brief=True),
        Section("Measurements", [measured.filled] if scored else []),
        Section("Protocol", [Code("Every setting", json.dumps(config.to_dict(), indent=1))]),
    ]
    return Page(
        title=printable(path.resolve().name),
        question="One run: another seed gives another loss, and aeattn compare says how different.",
        answer=_answer(config, scored),
        hero=_hero(points),
        facts=[],
        notes=problems,
        sections=[section for section in sections if section.blocks],
        detail=_detail(scored, _bytes(run)),
    )


def _hero(points: Sequence[Point]) -> Figures | None:
    drawn = curve.learning_curve(points)
    return curve.figures(drawn) if drawn.train or drawn.valid or drawn.whole else None


def _answer(config: RunConfig, scored: Sequence[Point]) -> str:
    of = f"{_parameters(config):,} parameters and {_kept(config):,} KV-cache bytes a token"
    if not scored:
        return f"This run has not been evaluated yet; its model has {of}."
    last = scored[-1]
    return f"Validation loss {last.valid_nats:.4f} {NATS} after {_short(last.chars)} characters, with {of}."


def _detail(scored: Sequence[Point], size: int | None) -> list[str]:
    """The last loss in other units, and what it is over."""
    if not scored:
        return []
    last, nats = scored[-1], scored[-1].valid_nats or 0.0
    over = f", over {last.valid_chars:,} characters" if last.valid_chars else ""
    each = f"{nats:.4f} {NATS} is {nats / math.log(2):.4f} bits/char"
    if size and last.valid_chars:
        per_byte = nats * last.valid_chars / size
        each += f", {per_byte:.4f} nats/byte and {per_byte / math.log(2):.4f} bits/byte"
    return [f"{each}{over}, after {_plural(last.step, 'step')}."]


def _plural(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _short(chars: int) -> str:
    return f"{chars / 1e6:.3g} million" if chars >= 1e6 else f"{chars:,}"


def _bytes(run: RunFolder) -> int | None:
    """Of what the last loss is over; runs of before have not noted them."""
    found = [line["valid_bytes"] for line in run.read_metrics() if "valid_nats" in line and "valid_bytes" in line]
    return found[-1] if found and isinstance(found[-1], int) else None


# -- what it is ----------------------------------------------------------------------------------------------


def _parameters(config: RunConfig) -> int:
    return size(config.model).parameters


def _kept(config: RunConfig) -> int:
    """KV-cache bytes a token in float32, of codes alone where that is exact."""
    of = size(config.model)
    return of.latent_cache_bytes or of.cache_bytes


def _facts(
    run: RunFolder, config: RunConfig, points: Sequence[Point], problems: list[str]
) -> Iterator[tuple[str, str]]:
    model, training, of = config.model, config.training, size(config.model, window=config.window)
    environment = _environment(run, problems)
    yield "preset", config.preset or ""
    yield "parameters", f"{of.parameters:,}"
    layers, heads = _plural(model.n_layers, "layer"), _plural(model.n_heads, "head")
    window = f", trained on windows of {config.window:,}" if config.window < model.context else ""
    sizes = f"context {model.context:,}{window}, vocabulary size {model.vocab_size:,}"
    yield "model", f"{layers} of width {model.d_model} with {heads}, {sizes}"
    kinds = ", ".join(f"{role}: {getattr(model, role)}" for role in ROLES)
    yield "projections", f"{kinds}; bottleneck {model.bottleneck}"
    yield "text", _text(config, environment)
    yield "tokenizer", config.data.tokenizer
    if points:
        last = points[-1]
        yield "trained on", f"{last.chars:,} characters in {last.step:,} of {_plural(training.steps, 'step')}"
        if last.seconds > 0:
            yield "training speed", f"{last.chars / last.seconds:,.0f} chars/s, {last.seconds:,.0f} seconds in all"
    latent = "" if of.latent_cache_bytes is None else f", {of.latent_cache_bytes:,} of codes alone (exact)"
    yield "KV cache", f"{of.cache_bytes:,} bytes a token in float32{latent}"
    yield "training FLOPs", f"{of.train_flops:,} a token"
    yield "seed", f"{training.seed}"
    yield "machine", _machine(environment)


def _environment(run: RunFolder, problems: list[str]) -> Json:
    if not run.environment.exists():
        return {}
    try:
        return read_json(run.environment, f"{run.environment} is damaged")
    except InputError as error:
        problems.append(str(error))
        return {}


def _text(config: RunConfig, environment: Json) -> str:
    names = ", ".join(Path(name).name if "/" in name else name for name in config.data.corpus) or "tales"
    recipe = f", recipe {config.data.recipe}" if config.data.recipe else ""
    sides = environment.get("text", {})
    verbs = {"train": "train on", "valid": "validate on"}
    known = {side: found["chars"] for side, found in sides.items() if isinstance(found, dict) and "chars" in found}
    counts = [f"{known[side]:,} characters to {verb}" for side, verb in verbs.items() if side in known]
    return printable(f"{names}{recipe}" + (f": {', '.join(counts)}" if counts else ""))


def _machine(environment: Json) -> str:
    where = environment.get("gpu") or environment.get("cpu")
    packages = environment.get("packages")
    torch = packages.get("torch") if isinstance(packages, dict) else None
    threads = environment.get("threads")
    counted = _plural(threads, "thread") if isinstance(threads, int) else ""
    parts = (where, counted, f"PyTorch {torch}" if torch else "")
    return printable(", ".join(str(part) for part in parts if part))


# -- attention, samples, measurements --------------------------------------------------------------------------


def _attention(run: RunFolder, samples: Sequence[tuple[int, str]], problems: list[str]) -> list[Block]:
    """Maps of what the model generated last; nothing where there are no weights or no sample."""
    if not samples or not run.model.exists():
        return []
    try:
        maps = passage_maps(run, samples[-1][1])
    except InputError as error:
        problems.append(f"Attention is not shown: {error}")
        return []
    figure = map_figure("one row a layer, one column a head", maps) if maps else None
    if figure is None:
        return []
    about = f"On the beginning of what the model generated last. {HOW_TO_READ}"
    more = Text("What each head attends to on average, in figures: aeattn inspect RUN")
    return [Text(about), Figures([figure], full=True), more]


def _spaced(samples: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Some of them, evenly spaced, with the first and the last."""
    keep = min(SAMPLES_SHOWN, len(samples))
    return [samples[(i * (len(samples) - 1)) // max(1, keep - 1)] for i in range(keep)]


def _rows(points: Sequence[Point]) -> list[list[Cell]]:
    return [[shown(getattr(point, name), form) for name, (_, form) in MEASURED.items()] for point in points]
