"""Expected costs and lengths of everything that a grammar derives, in closed form."""

from dataclasses import dataclass, field

from aeattn.data.tales.nodes import Choice, Literal, Node, Pick, Recall


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
