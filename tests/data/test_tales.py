"""The corpus `tales`: its probabilities are exact, its grammar unambiguous, and its texts in order."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from itertools import combinations, islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeattn.data import tales
from aeattn.data.tales import words as tales_words
from aeattn.data.tales.nodes import Choice, Literal, Node, Pick, Recall
from aeattn.data.tales.sampler import Sampler
from tests.data.derivations import PLOTS, Grammar, collision_bound, entropy_rate, log_probability, the_grammar
from tests.faults.harness import FULL

KINDS = {
    "name": [{"": "Mara", "he": "she"}, {"": "Ned", "he": "he"}, {"": "Nedda", "he": "she"}],
    "pet": [{"": "fox"}, {"": "owl"}],
}
SMALL = """
story:
    {who=name} saw {sight}. Then {who.he} {left}. / @3
    {who=name} slept. /
sight:
    a {pet}[ and a {pet}|]
    nothing @2
left:
    went home
    met {who=name}, and {who.he} {spoke<x>}
    met {who=name}, and {who.he} {spoke<y>} @5
spoke:
    said "$1"
"""


@cache
def sample(stream: str = "train", seed: int = 0, stories: int = 400) -> tuple[tales.Story, ...]:
    return tuple(islice(tales.stories(seed, stream), stories))


def nodes(root: Node) -> dict[Node, list[tuple[Choice, tuple[Node, ...]]]]:
    """All choices and picks below a node, each with its uses: a choice and what follows there."""
    uses: dict[Node, list[tuple[Choice, tuple[Node, ...]]]] = {root: []}
    todo = [root]
    while todo:
        node = todo.pop()
        for option in node.options if isinstance(node, Choice) else ():
            for index, part in enumerate(option.parts):
                if isinstance(part, Choice | Pick):
                    todo += [] if part in uses else [part]
                    uses.setdefault(part, []).append((node, option.parts[index + 1 :]))
    return uses


# --- Probabilities ------------------------------------------------------------------------------------------


def test_probabilities_of_a_small_grammar_sum_to_one() -> None:
    derivations = list(Grammar(SMALL, KINDS).derivations())
    assert math.fsum(math.exp(-d.nats) for d in derivations) == pytest.approx(1, abs=1e-12)
    assert len({d.text for d in derivations}) == len(derivations) > 100


@pytest.mark.parametrize("rule", ["a_place", "ware", "chattel"])
def test_probabilities_of_parts_of_the_corpus_sum_to_one(rule: str) -> None:
    derivations = list(Grammar(PLOTS, tales_words.kinds(), rule).derivations())
    assert math.fsum(math.exp(-d.nats) for d in derivations) == pytest.approx(1, abs=1e-12)
    assert len({d.text for d in derivations}) == len(derivations)


def test_expectation_of_a_small_grammar_equals_the_sum_over_its_derivations() -> None:
    grammar = Grammar(SMALL, KINDS)
    derivations = list(grammar.derivations())
    nats = math.fsum(d.nats * math.exp(-d.nats) for d in derivations)
    chars = math.fsum(len(d.text) * math.exp(-d.nats) for d in derivations)
    assert grammar.expectation() == pytest.approx((nats, chars), rel=1e-12)
    assert grammar.least_nats() == pytest.approx(min(d.nats for d in derivations))


def test_parser_gives_each_text_of_a_small_grammar_its_probability() -> None:
    grammar = Grammar(SMALL, KINDS)
    for derivation in grammar.derivations():
        assert grammar.parse(derivation.text).nats == pytest.approx(derivation.nats)


def test_sampler_draws_derivations_by_their_probability() -> None:
    grammar, random, draws = Grammar(SMALL, KINDS), Random(5), 40_000
    sampler = Sampler(grammar.root)
    counts = Counter(sampler.sample(random)[0] for _ in range(draws))
    expected = {d.text: draws * math.exp(-d.nats) for d in grammar.derivations()}
    assert set(counts) <= set(expected)
    chi2 = sum((counts[text] - mean) ** 2 / mean for text, mean in expected.items())
    freedom = len(expected) - 1
    assert abs(chi2 - freedom) < 5 * math.sqrt(2 * freedom)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**62), st.sampled_from(tales.STREAMS))
def test_generator_and_parser_agree(seed: int, stream: str) -> None:
    text, nats = tales.generate(3_000, seed, stream)
    assert -log_probability(text) == pytest.approx(nats, rel=1e-9)


def test_stated_entropy_is_met_by_samples() -> None:
    count, rate = 8_000, entropy_rate()
    stories = list(islice(tales.stories(11), count))
    chars = sum(len(story.text) for story in stories)
    assert 0.1 < rate < 0.9
    # the ratio's error, to first order, is the mean of nats - rate * chars over the mean length
    errors = [story.nats - rate * len(story.text) for story in stories]
    spread = math.sqrt(sum(error**2 for error in errors) / count)
    assert abs(sum(errors)) / chars < 4 * spread * math.sqrt(count) / chars
    nats_and_chars = the_grammar().expectation()
    mean = sum(story.nats for story in stories) / count
    deviation = math.sqrt(sum((story.nats - mean) ** 2 for story in stories) / count)
    assert abs(mean - nats_and_chars.nats) < 4 * deviation / math.sqrt(count)


# --- Unambiguity --------------------------------------------------------------------------------------------

State = tuple[str, tuple[Node, ...], tuple[Node, ...]]
"""Two derivations that agree so far: one goes on with a text and then nodes, the other with nodes."""


class Prover:
    """Proves that no two derivations write the same text, nor one a beginning of the other.

    It follows all pairs of alternatives of all choices for as long as they can write the same. Where a pair
    reaches the end of its choice, it goes on with what can follow the choice, in all places where the
    choice is used. What a slot remembers is not followed: a recall may write any entry of the slot. So it
    can refuse an unambiguous grammar, but never accept an ambiguous one.
    """

    def __init__(self, root: Node) -> None:
        self.root = root
        self.uses = nodes(root)
        self.entries: dict[str | None, list[Pick]] = defaultdict(list)
        for node in self.uses:
            if isinstance(node, Pick):
                self.entries[node.slot].append(node)
        self.common: dict[tuple[Node | str, Node], list[tuple[str, bool]]] = {}
        self.letters: dict[Node, set[str]] = {}
        self.proven: set[tuple[Node, frozenset[State]]] = set()

    def prove(self) -> None:
        for node in self.uses:
            self.resolve(node, self.undecided(self.start(node)))

    def start(self, node: Node) -> Iterable[State]:
        if isinstance(node, Choice):
            return [("", a.parts, b.parts) for a, b in combinations(node.options, 2)]
        return [(text, (), ()) for text, _ in self.meet(node, node) if text]

    def resolve(self, node: Node, states: frozenset[State]) -> None:
        """Decides pairs that reached the end of a choice by what can follow it."""
        if not states or (node, states) in self.proven:
            return
        self.proven.add((node, states))
        assert node is not self.root, f"a story can begin with another: {states}"
        for parent, follow in self.uses[node]:
            self.resolve(parent, self.undecided((t, a + follow, b + follow) for t, a, b in states))

    def undecided(self, states: Iterable[State]) -> frozenset[State]:
        """Follows pairs until they differ; those where one side ends first remain."""
        todo = list(states)
        seen, remain = set(todo), set()
        while todo:
            state = todo.pop()
            assert state[0] or state[1] != state[2], f"two derivations of one text, followed by {state[1]}"
            if not state[2] or not (state[0] or state[1]):
                remain.add(state)
                continue
            for new in self.follow(*state):
                if self.can_agree(*new) and new not in seen:
                    seen.add(new)
                    todo.append(new)
        return frozenset(remain)

    def can_agree(self, text: str, a: tuple[Node, ...], b: tuple[Node, ...]) -> bool:
        """Whether the next letters can be the same; only to be quick, since `meet` decides."""
        first, second = {text[0]} if text else self.initials(a), self.initials(b)
        return "" in first or "" in second or not first.isdisjoint(second)

    def initials(self, parts: tuple[Node, ...]) -> set[str]:
        """The first letters of what some nodes write, with "" if that can be nothing."""
        letters = {""}
        for part in parts:
            letters = letters - {""} | self.node_initials(part)
            if "" not in letters:
                break
        return letters

    def node_initials(self, node: Node) -> set[str]:
        if node not in self.letters:
            if isinstance(node, Choice):
                self.letters[node] = set().union(*(self.initials(option.parts) for option in node.options))
            else:
                self.letters[node] = {text[0] for text in self.texts(node)}
        return self.letters[node]

    def follow(self, text: str, a: tuple[Node, ...], b: tuple[Node, ...]) -> Iterator[State]:
        if isinstance(b[0], Choice):
            yield from ((text, a, option.parts + b[1:]) for option in b[0].options)
        elif text:
            yield from self.joined(self.meet(text, b[0]), a, b[1:])
        elif isinstance(a[0], Choice):
            yield from (("", option.parts + a[1:], b) for option in a[0].options)
        else:
            yield from self.joined(self.meet(a[0], b[0]), a[1:], b[1:])

    @staticmethod
    def joined(met: Iterable[tuple[str, bool]], a: tuple[Node, ...], b: tuple[Node, ...]) -> Iterator[State]:
        return ((text, a, b) if first else (text, b, a) for text, first in met)

    def meet(self, a: Node | str, b: Node) -> list[tuple[str, bool]]:
        """What is left of a text of one node without that of the other, and whether of the first."""
        if (a, b) not in self.common:
            first, second = {a} if isinstance(a, str) else self.texts(a), self.texts(b)
            met = {(text[len(head) :], True) for text in first for head in heads(text) if head in second}
            met |= {(text[len(head) :], False) for text in second for head in heads(text) if head in first}
            self.common[a, b] = list(met - {("", False)} if ("", True) in met else met)
        return self.common[a, b]

    def texts(self, node: Node) -> frozenset[str]:
        if isinstance(node, Literal):
            return frozenset((node.text,))
        if isinstance(node, Recall):
            return frozenset(e[node.form] for pick in self.entries[node.slot] for e in pick.entries)
        assert isinstance(node, Pick)
        return frozenset(entry[node.form] for entry in node.entries)


def heads(text: str) -> Iterator[str]:
    return (text[:end] for end in range(1, len(text) + 1))


PROVEN = "606c2564815e15ec4a78a01865da060c3cdfe14a3538a2d0504c60d24d535083"
"""Of the grammar and of how it is read: what the proof was made of."""


def test_grammar_is_unambiguous() -> None:
    """The proof takes a quarter of a minute: it is made again where anything that it depends on has changed."""
    folder = Path(tales.__file__).parent
    parts = ("plots.txt", "words.txt", "words.py", "grammar.py", "nodes.py")
    read = sha256(b"".join((folder / name).read_bytes() for name in parts)).hexdigest()
    if read != PROVEN or FULL:
        Prover(the_grammar().root).prove()
    assert read == PROVEN, f"proven anew: write down {read}"


@pytest.mark.parametrize("story", ["{pet}[s|] / @2", "a[b|bc]d / \n    abcd /", "a{pet} / \n    afox /"])
def test_prover_refuses_what_is_ambiguous_and_only_that(story: str) -> None:
    grammar = Grammar(f"story:\n    {story}\n", KINDS)
    texts = [derivation.text for derivation in grammar.derivations()]
    if len(set(texts)) == len(texts):
        Prover(grammar.root).prove()
    else:
        with pytest.raises(AssertionError):
            Prover(grammar.root).prove()


def test_parser_refuses_two_derivations() -> None:
    with pytest.raises(ValueError, match="2 derivations"):
        Grammar("story:\n    fox\n    {pet}\n", KINDS).parse("fox")


# --- Streams ------------------------------------------------------------------------------------------------


def test_texts_are_the_same_everywhere() -> None:
    text, nats = tales.generate(100_000)
    assert sha256(text.encode("ascii")).hexdigest() == (
        "44fb4dcee61c3c57bd258b83d73c402fe3a205177ebac64afc44c1c844849e03"
    )
    assert nats == pytest.approx(23011.388658, rel=1e-9)
    everything = "".join(tales.generate(20_000, seed, stream)[0] for seed in range(3) for stream in tales.STREAMS)
    assert sha256(everything.encode("ascii")).hexdigest() == (
        "c2957f2afb6ae1b5fd85e8886f946d1e650fcc63d7091881baf2e3dcb816082f"
    )


def test_streams_and_seeds_share_no_story() -> None:
    streams = [sample("train"), sample("valid"), sample("train", 1), sample("valid", 1)]
    texts = [story.text for stories in streams for story in stories]
    assert len(set(texts)) == len(texts)
    assert collision_bound(1e9, 1e9) < 1e-20


def test_generate_gives_whole_stories_of_the_stream() -> None:
    stories = sample()[:9]
    text, nats = tales.generate(sum(len(story.text) for story in stories))
    assert text == "".join(story.text for story in stories)
    assert nats == pytest.approx(sum(story.nats for story in stories))
    assert tales.generate(0) == ("", 0.0)


@pytest.mark.parametrize(("seed", "stream"), [(-1, "train"), (0, "test")])
def test_unknown_streams_are_refused(seed: int, stream: str) -> None:
    with pytest.raises(ValueError, match="no stream"):
        tales.generate(10, seed, stream)


# --- Texts that are not of the corpus -----------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 199), st.floats(0, 1, exclude_max=True), st.sampled_from("#@Q\t"))
def test_altered_texts_are_refused_at_the_right_place(story: int, where: float, letter: str) -> None:
    text = sample()[story].text
    at = int(where * len(text))
    with pytest.raises(ValueError, match="derivations") as refusal:
        log_probability(text[:at] + letter + text[at + 1 :])
    if letter != "Q":
        assert int(str(refusal.value).split()[-1]) <= at


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_unfinished_texts_are_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="0 derivations"):
        log_probability(sample()[0].text[:-cut])


def test_pronouns_that_do_not_agree_are_refused() -> None:
    text = next(story.text for story in sample() if " girl called " in story.text)
    log_probability(text)
    with pytest.raises(ValueError, match="0 derivations"):
        log_probability(text.replace(" girl called ", " boy called "))


# --- What the texts look like -------------------------------------------------------------------------------


def test_characters_are_plain() -> None:
    text = "".join(story.text for story in sample())
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz .,;:!?'\"-\n")
    assert not re.search(r" \n|\n |  |\n\n\n\n|[{}|\[\]$@]| [.,!?]|[,.]\.", text)


def test_stories_end_with_a_blank_line_and_only_there() -> None:
    for story in sample():
        assert story.text.endswith(("." + "\n\n", "!" + "\n\n", '"' + "\n\n"))
        assert "\n\n" not in story.text[:-2]


def test_quotations_close_in_their_paragraph() -> None:
    for paragraph in "".join(story.text for story in sample()).splitlines():
        assert paragraph.count('"') % 2 == 0, paragraph
        assert not re.search(r'"[^"\s]*$', paragraph) or paragraph.endswith('"')


def test_articles_agree_with_the_sound_that_follows() -> None:
    words = re.findall(r"\b([Aa]n?) ([A-Za-z]+)", "".join(story.text for story in sample()))
    odd = {"one", "ewe", "ewes", "honest"}
    for article, word in words:
        vowel = word[0].lower() in "aeiou"
        assert word in odd or (article.lower() == "an") == vowel, f"{article} {word}"
    assert [tales_words.with_article(w) for w in ("ewe", "one-eyed owl", "honest owl", "honey cake")] == [
        "a ewe", "a one-eyed owl", "an honest owl", "a honey cake"
    ]  # fmt: skip


@pytest.mark.parametrize("plural", ["geese", "cherries", "finches", "loaves", "boxes", "lumps of coal"])
def test_plurals(plural: str) -> None:
    singulars = ["goose", "cherry", "finch", "loaf", "box", "lump of coal"]
    assert plural in map(tales_words.plural, singulars)


def test_things_return_at_the_end() -> None:
    titled = [story.text for story in sample() if re.match(r"The Lost [A-Z]", story.text)]
    assert len(titled) > 5
    for text in titled:
        thing = text.splitlines()[0].removeprefix("The Lost ").lower()
        *_, last = text.strip().splitlines()
        assert f" {thing.split(' ', 1)[1]}" in last or "-" in thing


def test_heroes_return_to_the_end() -> None:
    found = 0
    for story in sample():
        hero = re.match(r"([A-Z][a-z]+)(?: (?:and|Goes|Learns) |'s (?:Guest|Bargain))", story.text)
        if hero is not None:
            found += 1
            assert story.text.rindex(hero[1]) > 0.6 * len(story.text), story.text
    assert found > 50


def test_vocabulary_is_large() -> None:
    text, _ = tales.generate(2_000_000, seed=2)
    words = set(re.findall(r"[a-z]+(?:['-][a-z]+)*", text))
    listed = {w for n, kind in tales_words.kinds().items() if n != "village" for e in kind for w in e[""].split()}
    assert len(words) >= 2_500  # without names and villages, which are capitalized
    assert len(words & listed) >= 2_000


# --- The language of grammars -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("story:\n    {story}\n", "contains itself"),
        ("story:\n    a[b\n", "unbalanced|pop"),
        ("story:\n    a]b\n", "unbalanced"),
        ("story:\n    {a b}\n", "not a reference"),
        ("story:\n    {x=nothing}\n", "no rule or kind"),
        ("story:\n    {pet=name}\n", "has the name of"),
        ("story:\n    a\nstory:\n    b\n", "given twice"),
    ],
)
def test_malformed_grammars_are_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grammar(source, KINDS)


@pytest.mark.parametrize("story", ["{who.he} and {who=name}", "[{who=name}|nobody], and {who.he}"])
def test_slots_recalled_before_they_are_filled_are_refused(story: str) -> None:
    with pytest.raises(ValueError, match="before they are filled"):
        Grammar(f"story:\n    {story}\n", KINDS).expectation()


def test_entries_with_the_same_form_are_refused() -> None:
    with pytest.raises(ValueError, match="share their form"):
        Grammar("story:\n    {name.he}\n", KINDS)
