"""What is no longer as it was when a run began: config, text, vocabulary, versions, machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aeattn.data.store import Prepared
from aeattn.data.tokenizer import CharTokenizer, Tokenizer

MACHINE = ("cpu", "threads", "gpu", "kernels")
_ABSENT = object()


def config_changes(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """One phrase a setting that differs between two configs as nested dictionaries."""
    for key in sorted(set(before) | set(now)):
        old, new = before.get(key, _ABSENT), now.get(key, _ABSENT)
        name = f"{where}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from config_changes(old, new, f"{name}.")
        elif old is _ABSENT and isinstance(new, Mapping):
            yield f"{name} is new"
        elif new is _ABSENT and isinstance(old, Mapping):
            yield f"{name} is gone"
        elif old != new:
            yield f"{name} was {_shown(old)}, is {_shown(new)}"


def _shown(value: object) -> str:
    return "not there" if value is _ABSENT else repr(value)[:60]


def text_facts(text: Prepared) -> dict[str, Any]:
    """What identifies the text of a run."""
    return {
        side: {"chars": store.chars, "sha256": store.sha256, "unknown": store.unknown.total()}
        for side, store in (("train", text.train), ("valid", text.valid))
    }


def text_changes(before: object, now: Mapping[str, Any]) -> Iterator[str]:
    """One phrase a side of the text that is not the same."""
    for side, facts in now.items():
        old = _mapping(before).get(side)
        if old != facts:
            yield f"another text to {side} on: it was {_text(old)}, is {_text(facts)}"


def _text(facts: object) -> str:
    if not isinstance(facts, Mapping) or not isinstance(facts.get("chars"), int):
        return "not known"
    return f"{facts['chars']:,} characters (sha256 {str(facts.get('sha256'))[:8]})"


def vocabulary_changes(before: Tokenizer, now: Tokenizer) -> Iterator[str]:
    """One phrase if the tokenizers differ."""
    if before.digest == now.digest:
        return
    if not (isinstance(before, CharTokenizer) and isinstance(now, CharTokenizer)):
        yield f"another tokenizer: it had {before.vocab_size} tokens, has {now.vocab_size}"
        return
    gone, new = (sorted(set(a.characters) - set(b.characters)) for a, b in ((before, now), (now, before)))
    parts = [f"{''.join(c)[:30]!r} {what}" for c, what in ((gone, "are gone"), (new, "are new")) if c]
    sizes = f"it had {before.vocab_size} characters, has {now.vocab_size}"
    yield f"another vocabulary: {sizes}; {', '.join(parts)}"


def version_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """One phrase for each version on which results depend bit for bit, and that is another."""
    old, new = (_mapping(facts.get("packages")) for facts in (before, now))
    for name in ("autoencoder-attention", "torch"):
        if old.get(name) != new.get(name):
            yield f"another version of {name}: it was {str(old.get(name))[:40]}, is {new.get(name)}"


def machine_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """One phrase for what else can change the last bits of a result, as far as it was noted."""
    for name in MACHINE:
        if name in before and before[name] != now.get(name):
            yield f"{name} was {str(before.get(name))[:60]}, is {str(now.get(name))[:60]}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
