"""How well a model predicts a text: negative log-likelihood in nats a character and bits a byte, without sampling.

Every token but the first of each document is predicted exactly once. Losses are summed in float64, and divided by
the characters or bytes of what was predicted: those of the text itself, less those of the first token.

Shapes: B windows, T time, V vocabulary.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeattn.config.text import TextOptions
from aeattn.data.batches import (
    IGNORED,
    Int64,
    before_text,
    count_windows,
    eval_windows,
    rolling_windows,
    sliding_windows,
)
from aeattn.data.documents import Document
from aeattn.data.store import TokenStore
from aeattn.data.stored import StoredDocument, evenly, lengths_of
from aeattn.data.tokenizer import Ids, Tokenizer
from aeattn.generation.torch_engine import evaluating
from aeattn.runs.parts import is_sharded
from aeattn.terminal.work import SILENT, Work
from aeattn.training.world import ALONE, World

Windows = tuple[Int64, Int64]
Named = tuple[str, "Score"]  # of a document
TOKENS_AT_ONCE = 32 * 256  # of a batch of windows
CPU_TOKENS = 8 * 256  # of a forward pass on a CPU: more leave a core's caches, and take longer


@dataclass(frozen=True)
class Score:
    """Summed loss in nats over predicted tokens, and the characters and bytes that these stand for."""

    nats: float
    tokens: int
    chars: int
    bytes: int

    @property
    def nats_per_token(self) -> float | None:
        """None where nothing was predicted, as all the others."""
        return self.nats / self.tokens if self.tokens else None

    @property
    def nats_per_char(self) -> float | None:
        return self.nats / self.chars if self.chars else None

    @property
    def bits_per_char(self) -> float | None:
        return None if self.nats_per_char is None else self.nats_per_char / math.log(2)

    @property
    def nats_per_byte(self) -> float | None:
        return self.nats / self.bytes if self.bytes else None

    @property
    def bits_per_byte(self) -> float | None:
        return None if self.nats_per_byte is None else self.nats_per_byte / math.log(2)

    def __add__(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def to_dict(self) -> dict[str, float | int | None]:
        names = ("nats_per_char", "bits_per_char", "chars", "nats_per_byte", "bits_per_byte", "bytes", "tokens")
        return {name: getattr(self, name) for name in names}


NOTHING = Score(0.0, 0, 0, 0)


def score_windows(model: nn.Module, windows: Iterable[Windows], tokenizer: Tokenizer) -> Score:
    """The summed loss of windows of inputs and targets, each (B, T); targets of -1 are not scored."""
    device = next(model.parameters()).device
    by_passes = device.type == "cpu" and not is_sharded(model)  # processes must agree on those of a model in parts
    total = NOTHING
    with torch.inference_mode(), evaluating(model):
        for inputs, targets in windows:
            rows = max(1, CPU_TOKENS // inputs.shape[1]) if by_passes else len(inputs)
            ids, after = (torch.split(torch.from_numpy(side).to(device), rows) for side in (inputs, targets))
            nats = sum(_nats(model(x), y) for x, y in zip(ids, after, strict=True))
            total = total + _counted(nats, targets[targets != IGNORED], tokenizer)
    return total


def _nats(logits: Tensor, targets: Tensor) -> float:
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    return float(losses.double().sum())


def _counted(nats: float, ids: Int64, tokenizer: Tokenizer) -> Score:
    chars, size = (int(table[ids].sum()) for table in (tokenizer.chars_per_token, tokenizer.bytes_per_token))
    return Score(nats, len(ids), chars, size)


def at_once(context: int) -> int:
    """How many windows a batch has."""
    return max(1, TOKENS_AT_ONCE // context)


def evaluate(model: nn.Module, ids: Ids, context: int, tokenizer: Tokenizer, stride: int | None = None) -> Score:
    """The loss over a whole document with fixed, neighbouring windows of `context` tokens; with a stride, windows
    where every prediction sees at least `context - stride` tokens, if there are as many."""
    step = context if stride is None else stride
    return score_windows(model, sliding_windows(ids, 0, len(ids), context, step, at_once(context)), tokenizer)


def evaluate_store(
    model: nn.Module,
    store: TokenStore,
    context: int,
    tokenizer: Tokenizer,
    stride: int | None = None,
    world: World = ALONE,
    work: Work = SILENT,
) -> list[Named]:
    """Name and score of every document of a store, with fixed windows, or sliding ones where there is a stride. Of
    several processes, each scores its share of the batches of windows (`summed` adds them up). `work` is
    told of tokens.

    Characters and bytes are the text's own, those that no token stands for (`TokenStore.unknown`) among them; of
    several processes, the main one counts them.
    """
    scores: list[Named] = []
    done = 0  # batches of windows
    for document, (_, ids) in zip(store.documents, store.texts(), strict=True):
        windows = sliding_windows(ids, 0, len(ids), context, stride or context, at_once(context))
        score = score_windows(model, _told(world.each(windows, done), work), tokenizer)
        scores.append((document.name, _of_text(score, document, ids, tokenizer, world)))
        done += -(-count_windows(len(ids), context, stride or context) // at_once(context))
    pass_along(model, done, world)
    return scores


def _told(windows: Iterable[Windows], work: Work) -> Iterator[Windows]:
    """The windows, whose tokens count as done when the next ones are asked for."""
    for inputs, targets in windows:
        yield inputs, targets
        work.add(inputs.size)


def evaluate_rolling(model: nn.Module, store: TokenStore, context: int, tokenizer: Tokenizer) -> list[Named]:
    """Name and score of every document as lm-evaluation-harness measures: every token is predicted, the first of a
    document after a line's end (`before_text`), in windows as `rolling_windows` has them."""
    before, scores = before_text(tokenizer), []
    for document, (_, ids) in zip(store.documents, store.texts(), strict=True):
        windows = rolling_windows(np.asarray(ids), before, context, at_once(context))
        score = score_windows(model, windows, tokenizer)
        scores.append((document.name, replace(score, chars=document.chars, bytes=document.bytes)))
    return scores


def pass_along(model: nn.Module, batches: int, world: World) -> None:
    """Of a model that processes have in parts, all must make as many forward passes: make one more where this
    process had a batch less than others, and give back what was gathered."""
    if not is_sharded(model):
        return
    if batches % world.size and world.rank >= batches % world.size:
        with torch.inference_mode(), evaluating(model):
            model(torch.zeros(1, 1, dtype=torch.int64, device=next(model.parameters()).device))
    model.reshard()  # type: ignore[operator]


def _of_text(score: Score, document: StoredDocument, ids: Ids, tokenizer: Tokenizer, world: World) -> Score:
    if not world.main:
        return replace(score, chars=0, bytes=0)
    given = _counted(0.0, np.asarray(ids[:1], np.int64), tokenizer)  # not predicted
    return replace(score, chars=document.chars - given.chars, bytes=document.bytes - given.bytes)


def evaluate_texts(
    model: nn.Module,
    documents: Iterable[Document],
    options: TextOptions,
    context: int,
    tokenizer: Tokenizer,
    stride: int | None = None,
    unknown: Counter[str] | None = None,
) -> Score:
    """The score of `evaluate_store` for documents that fit in memory, without a store; `unknown` gains how often
    each character occurs that the tokenizer does not know."""
    scores = []
    for document in documents:
        chunks = list(document.chunks(options))
        parts = tokenizer.encode_chunks(chunks, unknown)
        ids = np.concatenate([np.empty(0, tokenizer.dtype), *parts])
        chars, size = sum(map(len, chunks)), sum(len(chunk.encode("utf-8", "surrogatepass")) for chunk in chunks)
        text = StoredDocument(document.name, 0, len(ids), chars, size)
        scores.append(_of_text(evaluate(model, ids, context, tokenizer, stride), text, ids, tokenizer, ALONE))
    return total(scores)


def summed(shares: Sequence[Sequence[Named]]) -> list[Named]:
    """The scores of all documents, from the shares of all processes."""
    return [(one[0][0], total(score for _, score in one)) for one in zip(*shares, strict=True)]


def total(scores: Iterable[Score]) -> Score:
    """The sum of scores."""
    return sum(scores, NOTHING)


def sample_windows(store: TokenStore, context: int, chars: int) -> list[Windows]:
    """Evenly spaced windows of a store, about `chars` characters in all: the same ones for a whole run."""
    tokens = max(1, round(chars / store.chars_per_token))
    counts = -(-np.maximum(0, lengths_of(store.documents) - 1) // context)
    texts, windows = store.texts(), []
    for document, number in evenly(counts, -(-tokens // context)):
        ids, at = texts[document][1], number * context
        windows.append(next(eval_windows(ids, at, min(len(ids), at + context + 1), context)))
    size = at_once(context)
    groups = [windows[i : i + size] for i in range(0, len(windows), size)]
    return [(np.concatenate([x for x, _ in g]), np.concatenate([y for _, y in g])) for g in groups]
