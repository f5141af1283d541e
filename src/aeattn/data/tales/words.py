"""The words of the corpus `tales` (words.txt), in the forms in which its grammar writes them."""

from functools import cache
from itertools import product
from pathlib import Path

from aeattn.data.tales.nodes import Entry

_AN_BEFORE = ("hon", "hour", "heir")
_A_BEFORE = ("one-", "once", "eu", "ewe", "uni", "use")


def with_article(phrase: str) -> str:
    """A phrase with the indefinite article that its sound asks for.

    >>> with_article("honest owl"), with_article("unicorn")
    ('an honest owl', 'a unicorn')
    """
    vowel = phrase[0].lower() in "aeiou" and not phrase.startswith(_A_BEFORE)
    honest = phrase.startswith(_AN_BEFORE) and not phrase.startswith("honey")
    return f"an {phrase}" if vowel or honest else f"a {phrase}"


def plural(noun: str) -> str:
    """The plural of a noun.

    >>> plural("goose"), plural("cherry"), plural("lump of coal")
    ('geese', 'cherries', 'lumps of coal')
    """
    head, of, rest = noun.partition(" of ")
    if of:
        return plural(head) + of + rest
    if irregular := _irregular().get(noun):
        return irregular
    if noun[-1] == "y" and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def _title(phrase: str) -> str:
    small = {"of", "in", "the", "a"}
    return " ".join(word if word in small else word[:1].upper() + word[1:] for word in phrase.split())


def _split(words: str) -> list[str]:
    """The phrases of a list: parted by commas, or by blanks where there are no commas."""
    return [" ".join(word.split()) for word in (words.split(",") if "," in words else words.split())]


def _phrases(words: str) -> list[Entry]:
    return [{"": word, "Cap": word[0].upper() + word[1:]} for word in _split(words)]


def _with_articles(phrase: str) -> Entry:
    phrase = with_article(phrase)
    return {"a": phrase, "A": phrase[0].upper() + phrase[1:]}


def _adjectives(words: str) -> list[Entry]:
    return [{"": w, **_with_articles(w), "Title": _title(w)} for w in _split(words)]


def _nouns(words: str) -> list[Entry]:
    return [{"": w, **_with_articles(w), "s": plural(w), "Title": _title(w)} for w in _split(words)]


_SHE = {"he": "she", "He": "She", "him": "her", "his": "her", "His": "Her", "himself": "herself"}
_HE = {"he": "he", "He": "He", "him": "him", "his": "his", "His": "His", "himself": "himself"}
_IT = {"he": "it", "He": "It", "him": "it", "his": "its", "His": "Its", "himself": "itself"}


def _persons(women: str, men: str) -> list[Entry]:
    """Named persons: "the" is how the story refers to them, "" the bare word."""

    def person(name: str, forms: Entry, child: str, sir: str) -> Entry:
        return {"": name, "the": name, "The": name, "child": child, "sir": sir, **forms}

    girls = [person(name, _SHE, "girl", "my girl") for name in _split(women)]
    return girls + [person(name, _HE, "boy", "my boy") for name in _split(men)]


def _characters(words: str, forms: Entry) -> list[Entry]:
    """Characters without a name, such as "the ferryman"."""
    return [
        {"": w, "a": with_article(w), "the": f"the {w}", "The": f"The {w}", "Title": _title(w), **forms}
        for w in _split(words)
    ]


def _kin(words: str, forms: Entry) -> list[Entry]:
    """Relatives: the hero's own word for them serves as their name."""
    names = {word: _title(word.replace("-", " ")) for word in _split(words)}
    return [{"": word, "the": name, "The": name, **forms} for word, name in names.items()]


def _villages(starts: str, ends: str) -> list[Entry]:
    """All the village names that are not hard to read, such as Stonemere but not Stoneness."""
    pairs = product(_split(starts), _split(ends))
    return [{"": start + end} for start, end in pairs if start[-1] != end[0] and start.lower() != end]


def _riddles(lines: str) -> list[Entry]:
    return [{"": q, "answer": a, "Answer": a[0].upper() + a[1:]} for q, a in _pairs(lines).items()]


def _pairs(lines: str) -> dict[str, str]:
    return dict(line.split(" = ") for line in lines.splitlines())


def _joined(parts: str, more: str, between: str = "") -> list[Entry]:
    return _phrases(",".join(first + between + second for first, second in product(_split(parts), _split(more))))


@cache
def _lists() -> dict[str, tuple[str, str]]:
    """The forms and the words of each list of words.txt, by its name."""
    found: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] = []
    for line in Path(__file__).with_name("words.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            lines.append(line.strip())
        elif line and not line.startswith("#"):
            name, _, forms = line.partition(":")
            lines = []
            found[name] = forms.strip(), lines
    return {name: (forms, "\n".join(lines)) for name, (forms, lines) in found.items()}


@cache
def _irregular() -> dict[str, str]:
    return _pairs(_lists()["irregular_plurals"][1])


_FORMS = {"nouns": _nouns, "adjectives": _adjectives, "phrases": _phrases}


def kinds() -> dict[str, list[Entry]]:
    """The kinds of words that the grammar of the tales names, by their names there."""
    words = {name: text for name, (_, text) in _lists().items()}
    chores = _phrases(words["chores"])
    return {
        "hero_name": _persons(words["hero_girls"], words["hero_boys"]),
        "friend_name": _persons(words["friend_girls"], words["friend_boys"]),
        "old_names": _phrases(f"{words['friend_girls']} {words['friend_boys']}"),
        "village": _villages(words["village_starts"], words["village_ends"]),
        "stranger_kind": _characters(words["stranger_men"], _HE) + _characters(words["stranger_women"], _SHE),
        "kin_kind": _kin(words["kin_women"], _SHE) + _kin(words["kin_men"], _HE),
        "beast_kind": _characters(words["beasts"], _IT),
        "thief_kind": _characters(words["thieves"], _IT),
        "riddle_kind": _riddles(words["riddles"]),
        "chores": chores[::2],
        "more_chores": chores[1::2],
        "syllable": _joined(words["onsets"], words["vowels"]),
        "coda": _phrases(",".join(_split(words["codas"]))),
        "high_numbers": _joined(words["tens"], words["units"], "-"),
        **{name: _FORMS[forms](text) for name, (forms, text) in _lists().items() if forms},
    }
