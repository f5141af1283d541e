"""What a tokenizer.json of `tokenizers` must be to be used: byte-level BPE that gives back every text exactly.

Everything else is refused, with the reason: WordPiece and Unigram lose white space or characters, a normaliser
changes the text, a prefix space adds to it, dropout encodes it anew each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aeattn.errors import InputError
from aeattn.files import Json

# Bytes as printable characters, as GPT-2 writes them: those that are printable in Latin-1 stand for themselves.
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
ALPHABET = {chr(b): b for b in _PRINTABLE} | {chr(256 + i): b for i, b in enumerate(_OTHERS)}

# Where a text may be cut: before a space or a line break, behind what is certainly none.
SPACES = re.compile(r"(?<=[^\s\u180e\u200b-\u200f\u2060\ufeff])(?=[ \n])")
LETTERS = re.compile(r"(?<=[A-Za-z])(?= )")
# Patterns that never go on from a letter to a space, whatever stands around: Llama 3 (and cl100k), Qwen 2
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|NUMBERS| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
_KNOWN = tuple(_WORDS.replace("NUMBERS", numbers) for numbers in (r"\p{N}{1,3}", r"\p{N}"))
_KEEPING = ("ByteLevel", "Split", "Digits", "Punctuation")  # pre-tokenizers that keep every character


def token_bytes(values: Mapping[str, Any]) -> list[bytes]:
    """The bytes of each id, b"" for special tokens. Raises InputError for what cannot be used."""
    model = _model(values)
    _check_pipeline(values, model)
    vocabulary, added = _vocabulary(model), _added(values)
    tokens = {id_: text for text, id_ in vocabulary.items()}
    if len(tokens) < len(vocabulary):
        twice = next(text for text, id_ in vocabulary.items() if tokens[id_] != text)
        raise InputError(f"{twice[:20]!r} and {tokens[vocabulary[twice]][:20]!r} have the same id: mend the file")
    for token in added:
        known = tokens.setdefault(token["id"], token["content"])
        if known != token["content"]:
            raise InputError(
                f"id {token['id']} is both {known[:20]!r} and {token['content'][:20]!r}: mend the file"
            )
    if hole := next((i for i in range(len(tokens)) if i not in tokens), None):
        raise InputError(f"no token has the id {hole}, of {len(tokens):,} tokens: ids must have no holes")
    if missing := [byte for character, byte in ALPHABET.items() if character not in vocabulary]:
        raise InputError(f"no token is the byte 0x{missing[0]:02x}: texts that hold it could not be given back")
    special = {token["id"]: b"" if token["special"] else token["content"].encode() for token in added}
    return [special[i] if i in special else _bytes_of(tokens[i]) for i in range(len(tokens))]


def cuts(values: Mapping[str, Any]) -> re.Pattern[str] | None:
    """Where a text can be cut so that its parts have the ids that it has as a whole; None where that is not known.

    GPT-2's pattern takes a space only before or among spaces, so no word goes on over the border from something
    else to a space, and none looks beyond it; Llama 3's may take line breaks behind punctuation, but not a space
    behind a letter. Added tokens must not lie across such a border either.
    """
    for token in _added(values):
        around = token.get("single_word") or token.get("lstrip") or token.get("rstrip")
        if not token["special"] and (around or re.search(r"\s", token["content"])):
            return None
    steps = list(_steps(values.get("pre_tokenizer")))
    splits = [step for step in steps if step["type"] == "Split"]
    if all(step.get("pattern", {}).get("Regex") in _KNOWN for step in splits) and splits:
        return LETTERS
    regular = any(step["type"] == "ByteLevel" and step.get("use_regex", True) for step in steps)
    return SPACES if regular and not splits else None


def _model(values: Mapping[str, Any]) -> Json:
    model = values.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict | list):
        raise InputError("not a tokenizer of `tokenizers`: expected an object with a 'model' that has a 'vocab'")
    kind = model.get("type") or ("BPE" if "merges" in model else "not known")
    if kind != "BPE":
        raise InputError(f"its model is {str(kind)[:20]}: only byte-level BPE gives back every text exactly")
    return model


def _check_pipeline(values: Mapping[str, Any], model: Json) -> None:
    steps = list(_steps(values.get("pre_tokenizer")))
    names = [str(step.get("type"))[:20] for step in steps]
    if other := next((n for n in names if n not in _KEEPING), None):
        raise InputError(f"its pre-tokenizer {other} does not keep every character: only byte-level BPE does")
    if "ByteLevel" not in names:
        raise InputError("it is not byte-level BPE, which alone gives back every text exactly")
    if values.get("normalizer") is not None:
        kind = str(dict(values["normalizer"]).get("type"))[:20]
        raise InputError(f"its normalizer {kind} changes the text: normalise with --ascii or --lower instead")
    if any(step.get("behavior") == "Removed" for step in steps):
        raise InputError("its pre-tokenizer removes characters: only what keeps every character can be used")
    if any(step.get("add_prefix_space") for step in steps):
        raise InputError("it puts a space before a text (add_prefix_space): set that to false in the file")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise InputError(f"its model has a {name}: texts could not be given back exactly")


def _steps(found: object) -> Iterator[Json]:
    """The pre-tokenizers, those of a sequence one after another."""
    if isinstance(found, dict) and found.get("type") == "Sequence":
        for step in found.get("pretokenizers", []):
            yield from _steps(step)
    elif isinstance(found, dict):
        yield found


def _vocabulary(model: Json) -> dict[str, int]:
    found = model["vocab"]
    if not isinstance(found, dict) or not all(type(id_) is int and id_ >= 0 for id_ in found.values()):
        raise InputError("its vocabulary is no table of tokens and their ids")
    return found


def _added(values: Mapping[str, Any]) -> list[Json]:
    found = values.get("added_tokens") or []
    for token in found if isinstance(found, list) else [None]:
        types = {"id": int, "content": str, "special": bool}
        if not isinstance(token, dict) or not all(type(token.get(n)) is t for n, t in types.items()):
            raise InputError("its added_tokens are no list of tokens with id, content and special")
        if not token["special"] and (token.get("lstrip") or token.get("rstrip")):
            raise InputError(f"its added token {token['content'][:20]!r} takes the spaces around it: set lstrip, "
                             "rstrip to false in the file")  # fmt: skip
    return list(found)


def _bytes_of(token: str) -> bytes:
    try:
        return bytes(ALPHABET[character] for character in token)
    except KeyError as error:
        raise InputError(f"its token {token[:20]!r} is not made of bytes") from error
