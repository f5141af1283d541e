"""One to three changes to a valid file: to a place of its tree, or to its bytes."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

_DEEPEST = 5000


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**53, 2**63, 2**64, 10**400, 0.5, -0.5, 1e-320, 1e300, -1e300,
    math.inf, -math.inf, math.nan, "", "a", "7", "nan", "a b", "x" * 100_000, "\0", "\ud800", "é\u202e\x1b[31m",
    "../../elsewhere", "/", "~nobody/x", "[bold]$\\frac{", [], {}, [[]], [None], {"a": 1}, {"": {}}, [1e300] * 3,
    ["a"] * 500,
    _nested(60), _nested(_DEEPEST),
)  # fmt: skip
"""Values that nobody expects: of the wrong type, out of every range, empty, deep, long, no text."""


@dataclass(frozen=True)
class Change:
    """What is done at the place with this number, counted over all places of a tree (or bytes of a file)."""

    place: int
    what: str
    odd: int


_ON_TREES = ("put", "put", "put", "remove", "twice", "rename", "scale", "text")
_ON_BYTES = ("flip", "cut", "remove", "twice", "zeros", "insert")
_places, _odds = st.integers(0, 1 << 20), st.integers(0, len(ODD) - 1)


def changes(of: Sequence[str]) -> st.SearchStrategy[list[Change]]:
    return st.lists(st.builds(Change, _places, st.sampled_from(of), _odds), min_size=1, max_size=3)


tree_changes, byte_changes = changes(_ON_TREES), changes(_ON_BYTES)


def mutated(tree: Any, todo: Sequence[Change]) -> Any:
    """A tree of JSON values with the changes done."""
    holder = {"": copy.deepcopy(tree)}
    for change in todo:
        places = list(_places_in(holder[""], ("",)))
        *above, key = places[change.place % len(places)]
        inside: Any = holder
        for name in above:
            inside = inside[name]
        _change(inside, key, change)
    return holder.get("")


def _places_in(value: Any, at: Path) -> Iterator[Path]:
    """Every place but those deep in what was put there: nobody looks at them."""
    yield at
    if len(at) < 12:
        for key, below in _children(value):
            yield from _places_in(below, (*at, key))


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    if isinstance(value, list):
        yield from enumerate(value[:40])


def _change(inside: Any, key: Any, change: Change) -> None:
    odd, value = ODD[change.odd], inside[key]
    if change.what == "remove":
        del inside[key]
        inside.setdefault("", None) if key == "" and isinstance(inside, dict) else None
    elif change.what == "twice" and isinstance(inside, list):
        inside.insert(key, _fresh(value))
    elif change.what == "rename" and isinstance(inside, dict) and key != "":
        inside[odd if isinstance(odd, str) else str(change.odd)] = inside.pop(key)
    elif change.what == "scale" and isinstance(value, int | float) and not isinstance(value, bool):
        inside[key] = -value if change.odd % 2 else value * 10**6
    elif change.what == "text":
        inside[key] = as_json(value)[:200].decode()
    else:
        inside[key] = _fresh(odd)


def _fresh(value: Any) -> Any:
    """A copy, which may be changed in its turn, or put into itself."""
    try:
        return copy.deepcopy(value)
    except RecursionError:
        return _nested(_DEEPEST)


def damaged(content: bytes, todo: Sequence[Change]) -> bytes:
    """The bytes of a file with the changes done."""
    for change in todo:
        content = _damaged(content, change)
    return content


def _damaged(content: bytes, change: Change) -> bytes:
    at, some = change.place % (len(content) + 1), 1 + change.odd
    insert = as_json(ODD[change.odd])[:2000]
    how: dict[str, Callable[[], bytes]] = {
        "flip": lambda: content[:at] + bytes(b ^ 1 << some % 8 for b in content[at : at + 1]) + content[at + 1 :],
        "cut": lambda: content[:at],
        "remove": lambda: content[:at] + content[at + some :],
        "twice": lambda: content[: at + some] + content[at:],
        "zeros": lambda: content[:at] + bytes(len(content[at : at + some])) + content[at + some :],
        "insert": lambda: content[:at] + insert + content[at:],
    }
    return how[change.what]()


def as_json(tree: Any) -> bytes:
    """As `json.dumps`, which goes as deep as Python's stack; what is deeper is written out."""
    try:
        return json.dumps(tree).encode()
    except RecursionError:
        return b"[" * 50_000


def as_toml(tree: Any) -> bytes:
    """A tree as TOML; what TOML has no words for is written as it is, and no TOML then."""
    if not isinstance(tree, dict):
        return as_json(tree)
    try:
        lines = [f"{_quoted(key)} = {_toml(value)}" for key, value in tree.items()]
    except RecursionError:
        lines = ["a = " + "[" * 50_000]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _quoted(text: str) -> str:
    return json.dumps(text)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_toml(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return _quoted(value)
    return repr(value).lower()
