"""A small language for writing probabilistic story grammars, and what can be computed from them exactly.

A grammar is a text of *rules* over a lexicon of *kinds* (lists of words with their forms)::

    greeting:
        {hero=girl.the} met {animal.a}[ by the river|]. @3
        "Good day," said {girl.the}.

Each line indented by four is one alternative, continued on lines indented further; ``@3`` gives it weight 3
(the default is 1). In an alternative

* ``{rule}`` expands a rule, ``{rule<x,y>}`` expands it with ``$1``, ``$2`` replaced by ``x``, ``y``;
* ``{kind}`` or ``{kind.form}`` picks an entry of a kind, all entries being equally likely;
* ``{slot=kind.form}`` does the same and remembers the entry in a slot of the story;
* ``{slot.form}`` repeats a form of the remembered entry, at no cost in probability;
* ``[a|b|c]`` chooses in line (``@`` weights work here too), and ``/`` ends a paragraph.

Choices never depend on what earlier choices gave, only the words shown by ``{slot.form}`` do. That is what
makes expected lengths and entropies computable in closed form (see :meth:`Grammar.expectation`).
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from random import Random
from typing import NamedTuple, TypeAlias

Entry: TypeAlias = Mapping[str, str]
"""One entry of a kind: what to write for each of its forms; the form named "" is the plain word."""

Bound: TypeAlias = Mapping[str, Entry]
"""What the slots of a story remember."""


class Derivation(NamedTuple):
    """A text, the position where it ends in the text it was read from, and its -log probability in nats."""

    text: str
    end: int
    nats: float


class Expectation(NamedTuple):
    """Expected -log probability in nats and expected length in characters of one derivation."""

    nats: float
    chars: float


@dataclass(frozen=True, slots=True)
class _Step:
    """One way to go on: its cost, what it writes, what remains to be expanded, and what it remembers."""

    nats: float
    text: str
    parts: "tuple[Node, ...]" = ()
    binding: tuple[str, Entry] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Literal:
    """A fixed text."""

    text: str

    def steps(self, bound: Bound) -> Sequence[_Step]:
        """The only step: write the text."""
        return (_Step(0.0, self.text),)


@dataclass(frozen=True, eq=False, slots=True)
class Recall:
    """A form of the entry that a slot remembers."""

    slot: str
    form: str

    def steps(self, bound: Bound) -> Sequence[_Step]:
        """The only step: write the remembered form."""
        return (_Step(0.0, bound[self.slot][self.form]),)


@dataclass(frozen=True, eq=False)
class Pick:
    """A uniform choice of an entry of a kind, written in one form, and remembered where a slot is named."""

    form: str
    entries: tuple[Entry, ...]
    slot: str | None = None

    def __post_init__(self) -> None:
        if len({entry[self.form] for entry in self.entries}) < len(self.entries):
            raise ValueError(f"entries share their form {self.form!r}: {self.entries[0]}...")

    @cached_property
    def nats(self) -> float:
        """What each entry costs, in nats."""
        return math.log(len(self.entries))

    @cached_property
    def _steps(self) -> tuple[_Step, ...]:
        return tuple(
            _Step(self.nats, entry[self.form], (), (self.slot, entry) if self.slot else None)
            for entry in self.entries
        )

    @cached_property
    def _by_initial(self) -> dict[str, list[_Step]]:
        groups: dict[str, list[_Step]] = {}
        for step in self._steps:
            groups.setdefault(step.text[0], []).append(step)
        return groups

    def steps(self, bound: Bound) -> Sequence[_Step]:
        """One step for each entry."""
        return self._steps

    def steps_at(self, initial: str) -> Sequence[_Step]:
        """The steps whose text starts with a given character."""
        return self._by_initial.get(initial, ())


@dataclass(frozen=True, slots=True)
class Option:
    """A weighted alternative of a choice, as the sequence of its parts."""

    parts: "tuple[Node, ...]"
    weight: int = 1


@dataclass(frozen=True, eq=False)
class Choice:
    """A choice among weighted alternatives."""

    options: tuple[Option, ...]

    @cached_property
    def total(self) -> int:
        """The sum of the weights."""
        return sum(option.weight for option in self.options)

    def nats(self, option: Option) -> float:
        """What an alternative costs, in nats."""
        return math.log(self.total / option.weight)

    @cached_property
    def _steps(self) -> tuple[_Step, ...]:
        return tuple(_Step(self.nats(option), "", option.parts) for option in self.options)

    def steps(self, bound: Bound) -> Sequence[_Step]:
        """One step for each alternative."""
        return self._steps


Node: TypeAlias = Literal | Recall | Pick | Choice


# --- From the text of the rules to nodes --------------------------------------------------------------------

_TOKEN = re.compile(r"[\[\]|]|\{[^{}]*\}|[^\[\]|{}]+")
_REFERENCE = re.compile(r"\{(?:(?P<slot>\w+)=)?(?P<name>\w+)(?:\.(?P<form>\w+))?(?:<(?P<args>[\w,=]+)>)?\}")
_WEIGHT = re.compile(r" *@(\d+) *$")


def split_rules(source: str) -> dict[str, list[str]]:
    """The alternatives of each rule in the text of a grammar, one string per alternative.

    Raises:
        ValueError: when a rule is given twice.
    """
    rules: dict[str, list[str]] = {}
    for line in filter(str.strip, source.splitlines()):
        indent, content = len(line) - len(line.lstrip()), " ".join(line.split())
        if indent == 0:
            name = content.removesuffix(":")
            if name in rules:
                raise ValueError(f"rule {name!r} is given twice")
            rules[name] = []
        elif indent == 4:
            rules[name].append(content)
        else:
            rules[name][-1] += " " + content
    return rules


class _Compiler:
    """Turns rules into nodes; a rule used in many places becomes one shared node."""

    def __init__(self, rules: Mapping[str, Sequence[str]], kinds: Mapping[str, Sequence[Entry]]) -> None:
        self.rules = {name: [re.sub(r" ?/ ?", "\n", a) for a in rule] for name, rule in rules.items()}
        self.kinds = {name: tuple(entries) for name, entries in kinds.items()}
        self.done: dict[str, Choice | None] = {}
        self.picks: dict[tuple[str, str, str | None], Pick] = {}

    def rule(self, name: str, args: str = "") -> Choice:
        """The node of a rule with its arguments put in."""
        key = f"{name}<{args}>"
        if key not in self.done:
            self.done[key] = None
            self.done[key] = Choice(tuple(self.option(self.fill(a, args)) for a in self.rules[name]))
        node = self.done[key]
        if node is None:
            raise ValueError(f"rule {name!r} contains itself")
        return node

    @staticmethod
    def fill(alternative: str, args: str) -> str:
        """An alternative with its ``$1``, ``$2`` replaced."""
        for number, arg in enumerate(args.split(","), start=1):
            alternative = alternative.replace(f"${number}", arg)
        return alternative

    def option(self, source: str) -> Option:
        """The node sequence and the weight of one alternative."""
        tokens = _TOKEN.findall(source)[::-1]
        parts, weight = self.sequence(tokens)
        if tokens or source.count("[") != source.count("]"):
            raise ValueError(f"unbalanced brackets in {source!r}")
        return Option(parts, weight)

    def sequence(self, tokens: list[str]) -> tuple[tuple[Node, ...], int]:
        """Reads tokens (last first) up to the ``|`` or ``]`` that ends a sequence."""
        parts: list[Node] = []
        weight = 1
        while tokens and tokens[-1] not in "|]":
            token = tokens.pop()
            if token == "[":
                parts.append(self.inline_choice(tokens))
            elif token[0] == "{":
                parts.append(self.reference(token))
            else:
                if found := _WEIGHT.search(token):
                    token, weight = token[: found.start()], int(found[1])
                parts += [Literal(token)] if token else []
        return tuple(parts), weight

    def inline_choice(self, tokens: list[str]) -> Choice:
        """Reads the rest of ``[a|b|c]``."""
        options = [Option(*self.sequence(tokens))]
        while tokens and tokens.pop() == "|":
            options.append(Option(*self.sequence(tokens)))
        return Choice(tuple(options))

    def reference(self, token: str) -> Node:
        """The node of a ``{...}``."""
        found = _REFERENCE.fullmatch(token)
        if found is None:
            raise ValueError(f"not a reference: {token}")
        slot, name, form, args = found.group("slot", "name", "form", "args")
        if name in self.rules:
            return self.rule(name, args or "")
        if name in self.kinds:
            return self.pick(name, form or "", slot)
        if slot or args:
            raise ValueError(f"no rule or kind for {token}")
        return Recall(name, form or "")

    def pick(self, kind: str, form: str, slot: str | None) -> Pick:
        """The shared node that picks from a kind."""
        if slot in self.rules or slot in self.kinds:
            raise ValueError(f"slot {slot!r} has the name of a rule or a kind")
        key = kind, form, slot
        if key not in self.picks:
            self.picks[key] = Pick(form, self.kinds[kind], slot)
        return self.picks[key]


# --- What is computed from a grammar ------------------------------------------------------------------------


@dataclass
class _Summary:
    """Expectations for a node: nats, characters, open recalls and the lengths of the forms it remembers.

    Recalls of slots that the node itself does not fill stay open: they count how often each form of a slot is
    expected, and become characters where the slot's expected lengths are known.
    """

    nats: float = 0.0
    chars: float = 0.0
    recalls: dict[tuple[str, str], float] = field(default_factory=dict)
    filled: dict[str, dict[str, float]] = field(default_factory=dict)

    def then(self, other: "_Summary") -> None:
        """Appends what follows, in place."""
        self.nats += other.nats
        self.chars += other.chars
        for (slot, form), count in other.recalls.items():
            if slot in self.filled:
                self.chars += count * self.filled[slot][form]
            else:
                self.recalls[slot, form] = self.recalls.get((slot, form), 0.0) + count
        self.filled.update(other.filled)

    def mix(self, share: float, other: "_Summary") -> None:
        """Adds an alternative that is taken with probability `share`, in place."""
        self.nats += share * other.nats
        self.chars += share * other.chars
        for key, count in other.recalls.items():
            self.recalls[key] = self.recalls.get(key, 0.0) + share * count
        for slot, lengths in other.filled.items():
            mixed = self.filled.setdefault(slot, {})
            for form, length in lengths.items():
                mixed[form] = mixed.get(form, 0.0) + share * length


class _Summaries:
    """The summaries of nodes, each computed once."""

    def __init__(self) -> None:
        self._done: dict[Node, _Summary] = {}

    def of(self, node: Node) -> _Summary:
        """The summary of a node."""
        if node not in self._done:
            self._done[node] = self._compute(node)
        return self._done[node]

    def _compute(self, node: Node) -> _Summary:
        if isinstance(node, Literal):
            return _Summary(chars=len(node.text))
        if isinstance(node, Recall):
            return _Summary(recalls={(node.slot, node.form): 1.0})
        return self._pick(node) if isinstance(node, Pick) else self._choice(node)

    @staticmethod
    def _pick(pick: Pick) -> _Summary:
        share = 1 / len(pick.entries)
        lengths = {form: share * sum(len(entry[form]) for entry in pick.entries) for form in pick.entries[0]}
        return _Summary(pick.nats, lengths[pick.form], {}, {pick.slot: lengths} if pick.slot else {})

    def _choice(self, choice: Choice) -> _Summary:
        """The mean over the alternatives; only slots that all of them fill count as filled."""
        mixed = _Summary()
        always: set[str] | None = None
        for option in choice.options:
            sequence = _Summary(nats=choice.nats(option))
            for part in option.parts:
                sequence.then(self.of(part))
            mixed.mix(option.weight / choice.total, sequence)
            always = set(sequence.filled) if always is None else always & set(sequence.filled)
        mixed.filled = {slot: mixed.filled[slot] for slot in mixed.filled if slot in (always or ())}
        return mixed


_Rest: TypeAlias = "tuple[Node, _Rest] | None"
_Path: TypeAlias = "tuple[str, _Path] | None"


class _Thread(NamedTuple):
    """A derivation under way: what was written and what remains to be expanded, as linked lists."""

    position: int
    rest: _Rest
    bound: Bound
    nats: float
    path: _Path

    def after(self, step: _Step, rest: _Rest) -> "_Thread":
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
    """A probabilistic grammar: see the module's text for the language it is written in.

    Args:
        source: the text of the rules.
        kinds: the entries of each kind of word.
        start: the rule that derives a whole text.

    Raises:
        ValueError: when the rules are malformed, recursive, or refer to something that does not exist.
    """

    def __init__(self, source: str, kinds: Mapping[str, Sequence[Entry]], start: str = "story") -> None:
        self.root: Node = _Compiler(split_rules(source), kinds).rule(start)

    def derivations(self) -> Iterator[Derivation]:
        """Every derivation of the grammar (for grammars small enough)."""
        threads = [_Thread(0, (self.root, None), {}, 0.0, None)]
        while threads:
            thread = threads.pop()
            if thread.rest is None:
                yield thread.derivation()
            else:
                node, rest = thread.rest
                threads += [thread.after(step, rest) for step in node.steps(thread.bound)]

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
        whole = _Summaries().of(self.root)
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

    def sampler(self) -> "Sampler":
        """A fast sampler of this grammar."""
        return Sampler(self.root)


def _agreeing(thread: _Thread, text: str) -> Iterator[_Thread]:
    """The threads one step on that agree with the text."""
    assert thread.rest is not None
    node, rest = thread.rest
    at = thread.position
    steps = node.steps_at(text[at : at + 1]) if isinstance(node, Pick) else node.steps(thread.bound)
    return (thread.after(step, rest) for step in steps if text.startswith(step.text, at))


# --- Fast sampling ------------------------------------------------------------------------------------------


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
