"""Texts that final runs are judged on when they have ended, and that nothing else is evaluated on: which documents
they are, what tells them from others, and a model's losses on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import nn

from aeattn.compare.records import FileScore, TextSide, Valid
from aeattn.compare.spec import Judged
from aeattn.data.corpora import Corpus, Document, documents_to_evaluate
from aeattn.data.store import TokenStore, cached_store
from aeattn.data.tokenizer import Tokenizer
from aeattn.errors import InputError
from aeattn.training.evaluate import Score, evaluate_store, total

Documents = Mapping[str, tuple[Document, ...]]
Stores = Mapping[str, TokenStore]


def documents(judged: Judged, corpus: Corpus, say: Callable[[str], None] = lambda _: None) -> Documents:
    """`test`: as it is named; `beyond`: what the training texts hold behind the part that is trained on;
    `trained`: as much of that part. Normalised as the corpus is. Raises InputError where there is no such text."""
    found: dict[str, tuple[Document, ...]] = {}
    if judged.test:
        test = documents_to_evaluate(judged.test, corpus.options, progress=say)
        found["test"] = tuple(replace(each, limit=judged.test_chars, floor_nats=None) for each in test)
    if chars := judged.beyond_chars:
        found["beyond"] = tuple(replace(each, skip=_end(each), limit=chars) for each in corpus.train)
        found["trained"] = tuple(replace(each, limit=min(_end(each), chars)) for each in corpus.train)
    return found


def _end(document: Document) -> int:
    if document.limit is None or document.stop != 1.0:
        raise InputError(
            "judged.beyond_chars: whole texts are trained on, nothing is left of them: set data.limit_chars, or "
            "leave beyond_chars out"
        )
    return document.limit


def stores(found: Documents, corpus: Corpus, tokenizer: Tokenizer) -> Stores:
    """The texts as ids. Raises InputError for one that is empty."""
    made = {name: cached_store(each, tokenizer, corpus.options) for name, each in found.items()}
    for name, store in made.items():
        if not store.chars:
            raise InputError(f"judged: there is no text for {name!r}: give longer texts, or fewer characters")
    return made


def facts(made: Stores) -> dict[str, TextSide]:
    """What tells these texts from others, for a declaration."""
    return {
        name: TextSide(store.chars, store.sha256, store.unknown.total(), tuple(d.name for d in store.documents))
        for name, store in made.items()
    }


def scores(model: nn.Module, made: Stores, context: int, tokenizer: Tokenizer) -> dict[str, Valid]:
    """The losses of a model on each text."""
    return {name: valid(evaluate_store(model, store, context, tokenizer)) for name, store in made.items()}


def valid(found: list[tuple[str, Score]]) -> Valid:
    """Losses on documents as a record has them."""
    whole = total(score for _, score in found)
    assert whole.nats_per_char is not None
    files = tuple(FileScore(name, score.nats_per_char, score.chars) for name, score in found)
    return Valid(whole.nats_per_char, whole.chars, files)
