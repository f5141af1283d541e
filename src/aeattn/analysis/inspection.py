"""What attention does in a trained model: everything that is measured of a run, as one dictionary for JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from aeattn.analysis.ablation import ablate
from aeattn.analysis.bottleneck import code_measures, summarise_codes
from aeattn.analysis.heads import head_measures, summarise, weight_maps
from aeattn.analysis.maps import pack
from aeattn.analysis.windows import Sample, rows_at_once, sample
from aeattn.config.run import RunConfig
from aeattn.data.corpora import documents_to_evaluate
from aeattn.data.store import TokenStore, cached_store
from aeattn.data.tokenizer import Tokenizer
from aeattn.errors import InputError
from aeattn.hardware import pick_device
from aeattn.nn.transformer import LanguageModel
from aeattn.runs.checkpoint import all_checkpoints
from aeattn.runs.folder import RunFolder
from aeattn.runs.weights import load_model, load_weights
from aeattn.training.plan import corpus_of

FORMAT = 1  # of what `inspect_run` returns
CHARS = 16_384
MAP_CHARS = 40
Say = Callable[[str], None]


def inspect_run(
    run: Path,
    texts: Sequence[str] = (),
    *,
    step: int | None = None,
    chars: int = CHARS,
    context: int | None = None,
    device: str = "cpu",
    maps: bool = True,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Measure attention and bottlenecks of a run folder.

    Two runs with the same characters that are given the same `texts`, `chars` and `context` are measured at the
    same positions of the same windows: `text.digest` of both results is then equal.

    Args:
        run: a run folder, finished or not.
        texts: files, folders, globs or a corpus by name; none means the run's own validation text.
        step: the checkpoint to look at; the run's last weights if not given.
        chars: about how much text is read, in evenly spaced windows.
        context: characters that the model sees, at most its own context, which is the default.
        device: where to compute.
        maps: whether to keep the weights of a short passage, for pictures.

    Returns:
        `format`, `step`, `text` (what was read), `attention` (means over all heads), `layers` (one object a layer,
        with `heads`), `loss` (`ablation.ablate`), `codes` (means over all projections, and of `query`, `key` and
        `value` alone), `projections` (`bottleneck.code_measures`) and `maps`.

    Raises:
        InputError: what is no whole run, a checkpoint that is not there, a text that cannot be read.
    """
    folder = RunFolder(run)
    config = folder.read_config()
    tokenizer = folder.read_tokenizer()
    model = load_at(folder, config, step).to(pick_device(device))
    if tokenizer.vocab_size != config.model.vocab_size:
        raise InputError(f"{run}: tokenizer.json and config.json differ in vocabulary: restore the run folder")
    length = _context(config, context)
    store = read_text(config, tokenizer, texts, say)
    windows = sample(store, length, chars)
    measured = inspect_model(model, windows)
    kept = _maps(model, windows, tokenizer) if maps else None
    facts = _facts(store, windows)
    return {"format": FORMAT, "run": run.name, "step": step, "text": facts, **measured, "maps": kept}


def inspect_model(model: LanguageModel, windows: Sample) -> dict[str, Any]:
    """`attention`, `layers`, `loss`, `codes` and `projections` of a model over windows of ids."""
    rows = rows_at_once(windows.length, model.config.n_heads)
    layers = head_measures(model, windows, rows)
    projections = code_measures(model, windows, rows)
    return {
        "attention": summarise(layers),
        "layers": [
            {"layer": i, "heads": [{"head": j, **head} for j, head in enumerate(layer)]}
            for i, layer in enumerate(layers)
        ],
        "loss": ablate(model, windows, rows),
        "codes": summarise_codes(projections),
        "projections": projections,
    }


def _context(config: RunConfig, wanted: int | None) -> int:
    if wanted is None:
        return config.model.context
    if not 2 <= wanted <= config.model.context:
        raise InputError(f"context is {wanted}: choose from 2 to {config.model.context}, what the model can see")
    return wanted


def _facts(store: TokenStore, windows: Sample) -> dict[str, Any]:
    return {
        "documents": [document.name for document in store.documents],
        "unknown_chars": store.unknown.total(),
        "windows": len(windows.starts),
        "context": windows.length,
        "first_query": windows.first_query,
        "queries": windows.queries,
        "digest": windows.digest(),
    }


def _maps(model: LanguageModel, windows: Sample, tokenizer: Tokenizer) -> dict[str, Any]:
    ids = windows.window(int(windows.starts[0]))[: min(MAP_CHARS, windows.length)]
    return {"text": tokenizer.decode(ids), "weights": pack(weight_maps(model, torch.from_numpy(ids)).numpy())}


def read_text(config: RunConfig, tokenizer: Tokenizer, texts: Sequence[str], say: Say) -> TokenStore:
    """The texts as ids of the model's characters, or the run's own validation text where none are named."""
    seed, options = config.training.seed, config.data.text
    if texts:
        documents: Any = documents_to_evaluate(texts, options, config.text_seed, progress=say)
    else:
        corpus = corpus_of(config.data, seed, say)
        documents, options = corpus.valid, corpus.options
    store = cached_store(documents, tokenizer, options)
    if unknown := store.unknown.total():
        say(f"{unknown:,} characters unknown to the model were read as {tokenizer.substitute!r}")
    return store


def load_at(folder: RunFolder, config: RunConfig, step: int | None) -> LanguageModel:
    """The model as it was after `step` updates, or with its last weights, on the CPU.

    Raises InputError where no checkpoint of that step is there.
    """
    if step is None:
        return load_model(folder, config.model)
    there = {steps_of(path): path for path in all_checkpoints(folder)}
    if step not in there:
        known = ", ".join(f"{each:,}" for each in sorted(there)) or "none"
        raise InputError(f"{folder.path} has no checkpoint of step {step:,}; there are: {known}")
    with torch.device("meta"):
        model = LanguageModel(config.model)
    load_weights(model, there[step] / folder.model.name)
    return model.eval()


def steps_of(checkpoint: Path) -> int:
    """After how many updates a checkpoint's folder was written."""
    return int(checkpoint.name.removeprefix("step-"))


def step_at_loss(run: Path, nats_per_char: float) -> tuple[int, float] | None:
    """The checkpoint of a run whose validation loss, measured at that step, lies nearest to a loss: its step and
    that loss. None where no checkpoint was evaluated. With it, runs are compared at equal loss."""
    folder = RunFolder(run)
    kept = {steps_of(path) for path in all_checkpoints(folder)}
    scored = {
        line["step"]: line["valid_nats"] for line in folder.read_metrics() if line.get("valid_nats") is not None
    }
    candidates = [(abs(scored[step] - nats_per_char), step) for step in kept & set(scored)]
    if not candidates:
        return None
    step = min(candidates)[1]
    return step, scored[step]
