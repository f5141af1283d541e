"""Drawing texts from a grammar, fast."""

from random import Random
from typing import NamedTuple, TypeAlias

from aeattn.data.tales.nodes import Choice, Entry, Literal, Node, Pick, Recall


class _Table(NamedTuple):
    """A choice made ready to draw from: (nats, parts last first), each repeated by its weight."""

    size: int
    rows: "list[tuple[float, tuple[_Fast, ...]]]"


class _Words(NamedTuple):
    """A pick made ready to draw from."""

    size: int
    nats: float
    words: list[str]
    slot: str | None
    entries: tuple[Entry, ...]


_Fast: TypeAlias = str | Recall | _Table | _Words


class Sampler:
    """Draws texts from a grammar.

    A draw takes one `random()` u in [0, 1), a multiple of 2**-53, and the alternative number floor(n u) of n
    equally likely ones, so that probabilities are exact to n 2**-53.
    """

    def __init__(self, root: Node) -> None:
        self._done: dict[Node, _Table | _Words] = {}
        self.root = self._fast(root)

    def _fast(self, node: Node) -> _Fast:
        if isinstance(node, Literal):
            return node.text
        if isinstance(node, Recall):
            return node
        if node not in self._done:
            self._done[node] = self._words(node) if isinstance(node, Pick) else self._table(node)
        return self._done[node]

    @staticmethod
    def _words(pick: Pick) -> _Words:
        words = [entry[pick.form] for entry in pick.entries]
        return _Words(len(words), pick.nats, words, pick.slot, pick.entries)

    def _table(self, choice: Choice) -> _Table:
        rows: list[tuple[float, tuple[_Fast, ...]]] = []
        for option in choice.options:
            parts = tuple(self._fast(part) for part in reversed(option.parts))
            rows += [(choice.nats(option), parts)] * option.weight
        return _Table(len(rows), rows)

    def sample(self, random: Random) -> tuple[str, float]:
        """A text and its exact -log probability in nats."""
        draw = random.random
        written: list[str] = []
        bound: dict[str, Entry] = {}
        nats = 0.0
        stack = [self.root]
        pop, push, write = stack.pop, stack.extend, written.append
        while stack:  # the inner loop of everything: written for speed
            node = pop()
            if isinstance(node, str):
                write(node)
            elif isinstance(node, _Table):
                cost, parts = node.rows[int(draw() * node.size)]
                nats += cost
                push(parts)
            elif isinstance(node, _Words):
                index = int(draw() * node.size)
                nats += node.nats
                write(node.words[index])
                if node.slot is not None:
                    bound[node.slot] = node.entries[index]
            else:
                write(bound[node.slot][node.form])
        return "".join(written), nats
