"""Figures of finished models: evaluation over texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from aeattn.config.generation import DEVICE
from aeattn.config.run import BYTE_TOKENS, RowsAre, RunConfig
from aeattn.data.corpora import documents_to_evaluate
from aeattn.data.decoder import Decoder
from aeattn.data.ngram import TRAIN_CHARS, ngram_baseline
from aeattn.data.quality import quality
from aeattn.data.store import TokenStore, cached_overlap, cached_store
from aeattn.data.tokenizer import Ids, Tokenizer
from aeattn.errors import InputError
from aeattn.files import Json
from aeattn.runs.load import model_on, read_run
from aeattn.terminal.work import SILENT, Work
from aeattn.training.evaluate import evaluate_rolling, evaluate_store, total
from aeattn.training.plan import corpus_of

_DECODED = 1 << 18  # tokens at once


def evaluate_run(
    run: Path,
    texts: Sequence[str],
    *,
    device: str = DEVICE,
    stride: int | None = None,
    sliding: bool = True,
    baseline: bool = True,
    rolling: bool = False,
    column: str | None = None,
    rows: RowsAre = "auto",
    split: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    work: Work = SILENT,
) -> Json:
    """Losses of a run's model over texts, normalised as its own were: overall and for each file with fixed
    windows, overall with a sliding window, and of n-gram models of the run's training text for scale. With
    `rolling`, also as lm-evaluation-harness measures.

    A corpus by name means its validation side; `column`, `rows` and `split` say what of tables is read. Raises
    InputError for what cannot be read.
    """
    config, tokenizer, weights = read_run(run)
    model = model_on(device, config.model, weights)
    work.stage("reading the text")
    documents = documents_to_evaluate(
        texts, config.data.text, config.text_seed, say, column=column, rows=rows, split=split
    )
    store = cached_store(documents, tokenizer, config.data.text)
    if unknown := store.unknown.total():
        kinds = " ".join(map(repr, list(store.unknown)[:10]))
        say(f"{unknown:,} characters unknown to the model were read as {tokenizer.substitute!r}: {kinds}")
    if dropped := store.dropped.total():
        say(f"{dropped:,} characters were dropped by the run's text options")
    context = config.model.context
    step = max(1, context // 4) if stride is None else stride
    if sliding and step > context:
        raise InputError(f"stride is {step}, more than the context of {context}: choose at most that")
    work.stage("evaluating with fixed windows", len(store.ids))
    scores = evaluate_store(model, store, context, tokenizer, work=work)
    result: Json = {
        **total(score for _, score in scores).to_dict(),
        "files": [{"name": name, **score.to_dict()} for name, score in scores],
        "unknown_chars": unknown,
    }
    if not result["chars"]:
        raise InputError("nothing to evaluate: give a text of at least 2 characters")
    if sliding:
        work.stage("evaluating with a sliding window", len(store.ids) * context / step)
        slid = total(score for _, score in evaluate_store(model, store, context, tokenizer, step, work=work))
        result["sliding"] = {**slid.to_dict(), "stride": step}
    if rolling:
        work.stage("evaluating as lm-evaluation-harness does")
        rolled = total(score for _, score in evaluate_rolling(model, store, context, tokenizer))
        result["rolling"] = rolled.to_dict()
    work.stage("reading the training text, for scale")
    train = _training_text(config, tokenizer, say) if baseline else None
    shared = None if train is None else cached_overlap(train, store, tokenizer)
    result["quality"] = quality(None, (documents, store), config.data.text, shared).to_dict()
    if baseline:
        work.stage("counting n-grams of the training text, for scale")
        nats = _baseline(tokenizer, train, store)
        each = result["bytes"] / result["chars"] * math.log(2)
        result["ngram_nats_per_char"] = nats
        result["ngram_bits_per_byte"] = {order: loss / each for order, loss in nats.items()}
    return result


def _training_text(config: RunConfig, tokenizer: Tokenizer, say: Callable[[str], None]) -> TokenStore | None:
    """What the run was trained on, if it is still there."""
    try:
        corpus = corpus_of(config.data, config.training.seed)
        return cached_store(corpus.train, tokenizer, corpus.options)
    except InputError as error:
        say(f"no n-gram baseline, the training text is not there: {error}")
        return None


def _baseline(tokenizer: Tokenizer, train: TokenStore | None, store: TokenStore) -> dict[int, float]:
    """Nats a character of n-grams of characters where tokens are characters; else of the texts' bytes, whatever
    the tokenizer, so that one table holds them all."""
    if train is None:
        return {}
    if (tokenizer.chars_per_token == 1).all():
        return ngram_baseline(train.ids, store.ids, tokenizer.vocab_size)
    size = len(units := _bytes(tokenizer, store.ids))
    losses = ngram_baseline(_bytes(tokenizer, train.ids, TRAIN_CHARS), units, BYTE_TOKENS)
    return {order: nats * (size - 1) / max(1, store.chars - 1) for order, nats in losses.items()}


def _bytes(tokenizer: Tokenizer, ids: Ids, most: int | None = None) -> Ids:
    """The text of ids as bytes of UTF-8, or its first `most`."""
    decoder, found = Decoder(tokenizer), bytearray()
    for at in range(0, len(ids), _DECODED):
        found += decoder.push(ids[at : at + _DECODED]).encode()
        if most is not None and len(found) >= most:
            return np.frombuffer(found[:most], np.uint8)
    return np.frombuffer(found + decoder.close().encode(), np.uint8)
