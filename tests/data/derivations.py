"""What a grammar of tales derives, computed the slow and exact way: every derivation, parsing, expectations."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

from aeattn.data import tales
from aeattn.data.tales.grammar import read_grammar
from aeattn.data.tales.nodes import Choice, Entry, Literal, Node, Pick, Recall
from aeattn.data.tales.words import kinds

PLOTS = Path(tales.__file__).with_name("plots.txt").read_text(encoding="utf-8")

Bound: TypeAlias = Mapping[str, Entry]
"""What the slots of a story remember."""


@dataclass(frozen=True, slots=True)
class Step:
    """One way to go on: its cost, what it writes, what remains to be expanded, and what it remembers."""

    nats: float
    text: str
    parts: "tuple[Node, ...]" = ()
    binding: tuple[str, Entry] | None = None


def steps(node: Node, bound: Bound) -> Sequence[Step]:
    """One step for each alternative or entry; the only one where there is no choice."""
    if isinstance(node, Recall):
        return (Step(0.0, bound[node.slot][node.form]),)
    return _steps(node)


@cache
def _steps(node: Literal | Pick | Choice) -> Sequence[Step]:
    if isinstance(node, Literal):
        return (Step(0.0, node.text),)
    if isinstance(node, Choice):
        return tuple(Step(node.nats(option), "", option.parts) for option in node.options)
    return tuple(
        Step(node.nats, entry[node.form], (), (node.slot, entry) if node.slot else None) for entry in node.entries
    )


@cache
def _by_initial(pick: Pick) -> dict[str, list[Step]]:
    groups: dict[str, list[Step]] = {}
    for step in _steps(pick):
        groups.setdefault(step.text[0], []).append(step)
    return groups


class Derivation(NamedTuple):
    """A text, the position where it ends in the text it was read from, and its -log probability in nats."""

    text: str
    end: int
    nats: float


class Expectation(NamedTuple):
    """Expected -log probability in nats and expected length in characters of one derivation."""

    nats: float
    chars: float


_Rest: TypeAlias = "tuple[Node, _Rest] | None"
_Path: TypeAlias = "tuple[str, _Path] | None"


class _Thread(NamedTuple):
    """A derivation under way: what was written and what remains to be expanded, as linked lists."""

    position: int
    rest: _Rest
    bound: Bound
    nats: float
    path: _Path

    def after(self, step: Step, rest: _Rest) -> "_Thread":
        """The derivation one step further."""
        for part in reversed(step.parts):
            rest = part, rest
        bound = {**self.bound, step.binding[0]: step.binding[1]} if step.binding else self.bound
        path = (step.text, self.path) if step.text else self.path
        return _Thread(self.position + len(step.text), rest, bound, self.nats + step.nats, path)

    def derivation(self) -> Derivation:
        """The finished derivation."""
        pieces, path = [], self.path
        while path:
            pieces.append(path[0])
            path = path[1]
        return Derivation("".join(reversed(pieces)), self.position, self.nats)


class Grammar:
    """A grammar, and what it derives; the arguments are those of `read_grammar`."""

    def __init__(self, source: str, kinds: Mapping[str, Sequence[Entry]], start: str = "story") -> None:
        self.root = read_grammar(source, kinds, start)

    def derivations(self) -> Iterator[Derivation]:
        """Every derivation of the grammar (for grammars small enough)."""
        threads = [_Thread(0, (self.root, None), {}, 0.0, None)]
        while threads:
            thread = threads.pop()
            if thread.rest is None:
                yield thread.derivation()
            else:
                node, rest = thread.rest
                threads += [thread.after(step, rest) for step in steps(node, thread.bound)]

    def parse(self, text: str, start: int = 0) -> Derivation:
        """The derivation of the piece of `text` that begins at `start`.

        Follows every derivation that agrees with the text, so that it would find a second one if there was.

        Raises:
            ValueError: when there is no derivation (with the position that no derivation gets past), or two.
        """
        threads = [_Thread(start, (self.root, None), {}, 0.0, None)]
        found, furthest = [], start
        while threads:
            thread = threads.pop()
            furthest = max(furthest, thread.position)
            if thread.rest is None:
                found.append(thread)
            else:
                threads += _agreeing(thread, text)
        if len(found) != 1:
            raise ValueError(f"{len(found)} derivations of the text at position {furthest}")
        return found[0].derivation()

    def expectation(self) -> Expectation:
        """The exact expectation of nats and characters over all derivations.

        Raises:
            ValueError: when a slot is recalled that nothing has filled.
        """
        whole = Summaries().of(self.root)
        if whole.recalls:
            raise ValueError(f"slots recalled before they are filled: {sorted(whole.recalls)}")
        return Expectation(whole.nats, whole.chars)

    def least_nats(self) -> float:
        """The -log probability of the likeliest derivation, in nats."""

        @cache
        def least(node: Node) -> float:
            if isinstance(node, Choice):
                return min(node.nats(option) + sum(map(least, option.parts)) for option in node.options)
            return node.nats if isinstance(node, Pick) else 0.0

        return least(self.root)


def _agreeing(thread: _Thread, text: str) -> Iterator[_Thread]:
    """The threads one step on that agree with the text."""
    assert thread.rest is not None
    node, rest = thread.rest
    at = thread.position
    found = _by_initial(node).get(text[at : at + 1], ()) if isinstance(node, Pick) else steps(node, thread.bound)
    return (thread.after(step, rest) for step in found if text.startswith(step.text, at))


@dataclass
class Summary:
    """Expectations for a node: nats, characters, open recalls and the lengths of the forms it remembers.

    Recalls of slots that the node itself does not fill stay open: they count how often each form of a slot is
    expected, and become characters where the slot's expected lengths are known.
    """

    nats: float = 0.0
    chars: float = 0.0
    recalls: dict[tuple[str, str], float] = field(default_factory=dict)
    filled: dict[str, dict[str, float]] = field(default_factory=dict)

    def then(self, other: "Summary") -> None:
        """Appends what follows, in place."""
        self.nats += other.nats
        self.chars += other.chars
        for (slot, form), count in other.recalls.items():
            if slot in self.filled:
                self.chars += count * self.filled[slot][form]
            else:
                self.recalls[slot, form] = self.recalls.get((slot, form), 0.0) + count
        self.filled.update(other.filled)

    def mix(self, share: float, other: "Summary") -> None:
        """Adds an alternative that is taken with probability `share`, in place."""
        self.nats += share * other.nats
        self.chars += share * other.chars
        for key, count in other.recalls.items():
            self.recalls[key] = self.recalls.get(key, 0.0) + share * count
        for slot, lengths in other.filled.items():
            mixed = self.filled.setdefault(slot, {})
            for form, length in lengths.items():
                mixed[form] = mixed.get(form, 0.0) + share * length


class Summaries:
    """The summaries of nodes, each computed once."""

    def __init__(self) -> None:
        self._done: dict[Node, Summary] = {}

    def of(self, node: Node) -> Summary:
        """The summary of a node."""
        if node not in self._done:
            self._done[node] = self._compute(node)
        return self._done[node]

    def _compute(self, node: Node) -> Summary:
        if isinstance(node, Literal):
            return Summary(chars=len(node.text))
        if isinstance(node, Recall):
            return Summary(recalls={(node.slot, node.form): 1.0})
        return self._pick(node) if isinstance(node, Pick) else self._choice(node)

    @staticmethod
    def _pick(pick: Pick) -> Summary:
        share = 1 / len(pick.entries)
        lengths = {form: share * sum(len(entry[form]) for entry in pick.entries) for form in pick.entries[0]}
        return Summary(pick.nats, lengths[pick.form], {}, {pick.slot: lengths} if pick.slot else {})

    def _choice(self, choice: Choice) -> Summary:
        """The mean over the alternatives; only slots that all of them fill count as filled."""
        mixed = Summary()
        always: set[str] | None = None
        for option in choice.options:
            sequence = Summary(nats=choice.nats(option))
            for part in option.parts:
                sequence.then(self.of(part))
            mixed.mix(option.weight / choice.total, sequence)
            always = set(sequence.filled) if always is None else always & set(sequence.filled)
        mixed.filled = {slot: mixed.filled[slot] for slot in mixed.filled if slot in (always or ())}
        return mixed


@cache
def the_grammar() -> Grammar:
    """That of the corpus."""
    return Grammar(PLOTS, kinds())


def log_probability(text: str) -> float:
    """The exact log-probability of a text of whole stories, in nats, found by parsing the text.

    Raises:
        ValueError: when the text is not one or more whole stories, with the position that no story gets past.
    """
    position, nats = 0, 0.0
    while position < len(text):
        story = the_grammar().parse(text, position)
        position, nats = story.end, nats + story.nats
    return -nats


@cache
def entropy_rate() -> float:
    """The lowest possible loss on the long stream of stories, in nats per character.

    It is the expected -log probability of a story over its expected length, both computed from the grammar.
    """
    expected = the_grammar().expectation()
    return expected.nats / expected.chars


def collision_bound(train_stories: float, valid_stories: float) -> float:
    """A bound on the probability that any of so many train stories is also one of so many valid stories.

    Two independent stories are equal with at most the probability of the likeliest story; the bound adds that
    up over all pairs.
    """
    return train_stories * valid_stories * math.exp(-the_grammar().least_nats())
