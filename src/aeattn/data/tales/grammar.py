"""A small language for writing probabilistic story grammars.

A grammar is a text of *rules* over a lexicon of *kinds* (lists of words with their forms)::

    greeting:
        {hero=girl.the} met {animal.a}[ by the river|]. @3
        "Good day," said {girl.the}.

Each line indented by four is one alternative, continued on lines indented further; `@3` gives it weight 3
(the default is 1). In an alternative

* `{rule}` expands a rule, `{rule<x,y>}` expands it with `$1`, `$2` replaced by `x`, `y`;
* `{kind}` or `{kind.form}` picks an entry of a kind, all entries being equally likely;
* `{slot=kind.form}` does the same and remembers the entry in a slot of the story;
* `{slot.form}` repeats a form of the remembered entry, at no cost in probability;
* `[a|b|c]` chooses in line (`@` weights work here too), and `/` ends a paragraph;
* a line that begins with `#` is a remark.

Choices never depend on what earlier choices gave, only the words shown by `{slot.form}` do. That is what
makes probabilities exact, and expected lengths and entropies computable in closed form.
"""

import re
from collections.abc import Mapping, Sequence

from aeattn.data.tales.nodes import Choice, Entry, Literal, Node, Option, Pick, Recall

_TOKEN = re.compile(r"[\[\]|]|\{[^{}]*\}|[^\[\]|{}]+")
_REFERENCE = re.compile(r"\{(?:(?P<slot>\w+)=)?(?P<name>\w+)(?:\.(?P<form>\w+))?(?:<(?P<args>[\w,=]+)>)?\}")
_WEIGHT = re.compile(r" *@(\d+) *$")


def split_rules(source: str) -> dict[str, list[str]]:
    """The alternatives of each rule in the text of a grammar, one string per alternative.

    Raises:
        ValueError: when a rule is given twice.
    """
    rules: dict[str, list[str]] = {}
    for line in source.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
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


def read_grammar(source: str, kinds: Mapping[str, Sequence[Entry]], start: str = "story") -> Node:
    """The node that derives a whole text.

    Args:
        source: the text of the rules, in the language that the module's text explains.
        kinds: the entries of each kind of word.
        start: the rule that derives a whole text.

    Raises:
        ValueError: when the rules are malformed, recursive, or refer to something that does not exist.
    """
    return _Compiler(split_rules(source), kinds).rule(start)
