"""The corpus `tales`: short stories drawn from a probabilistic grammar, whose exact log-probability is known.

A story draws its people, animals, places and things once and comes back to them until its last line, so
that a model has something to learn at every range: spelling, agreement of articles, pronouns and numbers,
quotations that close, and names, objects and riddles that return many sentences later.

The grammar (plots.txt, over the words of words.txt) is unambiguous (its tests prove it): a text has one
derivation, whose probability is that of the text, and the expected -log probability of the derivation
is the entropy of the text, the lowest loss that any model can reach.

The streams "train" and "valid" come from differently seeded generators. They are all but surely disjoint: no story
has a probability above exp(-n) for an n of hundreds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from aeattn.data.tales.grammar import read_grammar
from aeattn.data.tales.sampler import Sampler
from aeattn.data.tales.words import kinds

STREAMS = ("train", "valid")
"""The names of the independent streams of stories."""


@dataclass(frozen=True, slots=True)
class Story:
    """A story.

    Attributes:
        text: the story, a title line and paragraphs, ending with a blank line.
        nats: the exact -log probability of the text, its end included, in nats.
    """

    text: str
    nats: float


@cache
def _sampler() -> Sampler:
    plots = Path(__file__).with_name("plots.txt").read_text(encoding="utf-8")
    return Sampler(read_grammar(plots, kinds()))


def stories(seed: int = 0, stream: str = "train") -> Iterator[Story]:
    """The endless stories of a stream, the same on every machine and Python version.

    Args:
        seed: a number from 0 on; each gives other stories.
        stream: "train" or "valid".

    Raises:
        ValueError: when the seed is negative or the stream unknown.
    """
    if seed < 0 or stream not in STREAMS:
        raise ValueError(f"no stream {stream!r} with seed {seed}: give one of {STREAMS} and a seed from 0 on")
    return _stories(Random(len(STREAMS) * seed + STREAMS.index(stream)))


def _stories(random: Random) -> Iterator[Story]:
    sampler = _sampler()
    while True:
        yield Story(*sampler.sample(random))


def generate(chars: int, seed: int = 0, stream: str = "train") -> tuple[str, float]:
    """The first whole stories of a stream, at least `chars` characters, and their -log probability in nats.

    Raises:
        ValueError: when the seed is negative or the stream unknown.
    """
    source, texts, length, nats = stories(seed, stream), [], 0, 0.0
    while length < chars:
        story = next(source)
        texts.append(story.text)
        length += len(story.text)
        nats += story.nats
    return "".join(texts), nats
