"""What attention does in a trained model: everything that is measured of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aeattn.analysis.ablation import ablate, passes
from aeattn.analysis.bottleneck import code_measures, over_projections
from aeattn.analysis.heads import head_measures, over_heads, passage_maps
from aeattn.analysis.results import Inspection, Maps, TextRead
from aeattn.analysis.windows import Sample, rows_at_once, sample
from aeattn.config.generation import DEVICE
from aeattn.config.run import RunConfig
from aeattn.data.corpora import documents_to_evaluate
from aeattn.data.store import TokenStore, cached_store
from aeattn.data.tokenizer import Tokenizer
from aeattn.errors import InputError
from aeattn.hardware import pick_device
from aeattn.nn.transformer import LanguageModel
from aeattn.runs.checkpoint import all_checkpoints, step_of
from aeattn.runs.folder import RunFolder
from aeattn.runs.load import load_model, model_of
from aeattn.runs.weights import read_weights
from aeattn.terminal.work import SILENT, Work
from aeattn.training.plan import corpus_of

CHARS = 16_384
MAP_TOKENS = 40
Say = Callable[[str], None]


def inspect_run(
    run: Path,
    texts: Sequence[str] = (),
    *,
    step: int | None = None,
    chars: int = CHARS,
    context: int | None = None,
    device: str = DEVICE,
    maps: bool = True,
    say: Say = lambda _: None,
    work: Work = SILENT,
) -> Inspection:
    """Measure attention and bottlenecks of a run folder.

    Two runs with the same characters that are given the same `texts`, `chars` and `context` are measured at the
    same positions of the same windows: `text.digest` of both results is then equal.

    Args:
        run: a run folder, finished or not.
        texts: files, folders, globs or a corpus by name; none means the run's own validation text.
        step: the checkpoint to look at; the run's last weights if not given.
        chars: about how much text is read, in evenly spaced windows.
        context: tokens that the model sees, at most its own context, which is the default.
        device: where to compute.
        say, work: where notes go, and progress.
        maps: whether to keep the weights of a short passage, for pictures.

    Raises:
        InputError: what is no whole run, a checkpoint that is not there, a text that cannot be read.
    """
    folder = RunFolder(run)
    config = folder.read_config()
    tokenizer = folder.read_tokenizer()
    model = load_at(folder, config, step).to(pick_device(device))
    if tokenizer.vocab_size != config.model.vocab_size:
        raise InputError(f"{run}: tokenizer.json and config.json differ in vocabulary: restore the run folder")
    most = config.model.context
    if context is not None and not 2 <= context <= most:
        raise InputError(f"context is {context}: choose from 2 to {most}, what the model can see")
    work.stage("reading the text")
    store = read_text(config, tokenizer, texts, say)
    tokens = max(1, round(chars / store.chars_per_token))
    windows = replace(
        sample(store, most if context is None else context, tokens), read=work.add,
        chars_per_token=None if (tokenizer.chars_per_token == 1).all() else tokenizer.chars_per_token,
    )  # fmt: skip
    rows = rows_at_once(windows.length, model.config.n_heads)
    work.stage("measuring heads", len(windows.starts))
    layers = head_measures(model, windows, rows)
    work.stage("measuring codes", len(windows.starts))
    projections = code_measures(model, windows, rows)
    work.stage("losses with some of the weights alone", len(windows.starts) * passes(model.config.n_layers))
    return Inspection(
        run=run.name,
        step=step,
        text=_text_read(store, windows),
        attention=over_heads(layers),
        layers=layers,
        loss=ablate(model, windows, rows),
        codes=over_projections(projections),
        projections=projections,
        maps=_maps(model, windows, tokenizer) if maps else None,
    )


def _text_read(store: TokenStore, windows: Sample) -> TextRead:
    return TextRead(
        documents=tuple(document.name for document in store.documents),
        unknown_chars=store.unknown.total(),
        windows=len(windows.starts),
        context=windows.length,
        first_query=windows.first_query,
        queries=windows.queries,
        digest=windows.digest(),
    )


def _maps(model: LanguageModel, windows: Sample, tokenizer: Tokenizer) -> Maps:
    ids = windows.window(int(windows.starts[0]))[: min(MAP_TOKENS, windows.length)]
    return passage_maps(model, tokenizer, ids)


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
    there = {step_of(path): path for path in all_checkpoints(folder)}
    if step not in there:
        known = ", ".join(f"{each:,}" for each in sorted(there)) or "none"
        raise InputError(f"{folder.path} has no checkpoint of step {step:,}; there are: {known}")
    return model_of(config.model, read_weights(there[step] / folder.model.name, config.model))
