"""Reading text files and normalising their text, in constant memory.

Every step works on a stream of chunks, and the result never depends on where the chunks were cut: whatever a
step cannot decide yet (a carriage return that may be half of a pair, white space that may go on) it carries
over to the next chunk.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from aeattn.config.text import TextOptions
from aeattn.data.opening import blocks
from aeattn.errors import InputError

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_SPACE_TO_SQUEEZE = re.compile(r"\s{2,}|[^\S ]")  # white space other than a single space

FOLDED = "→"  # between a character and its form in ASCII, in reports

# What compatibility decomposition (NFKD) does not take to ASCII by itself.
_FOLDS = {
    **dict.fromkeys("‘’‚‛′‵´ʼʹ‹›", "'"),
    **dict.fromkeys("“”„‟″‶«»", '"'),
    **dict.fromkeys("‐‑‒–−⁃", "-"),
    **dict.fromkeys("—―⸺", "--"),
    **dict.fromkeys("\u2028\x85", "\n"),
    **dict(zip("…⁄×•æÆœŒ", ("...", "/", "x", "*", "ae", "AE", "oe", "OE"), strict=True)),
    **dict(zip("ßẞøØłŁđĐðÐþÞı", ("ss", "SS", *"oOlLdDdD", "th", "TH", "i"), strict=True)),
    "\u2029": "\n\n",
}


def normalise(chunks: Iterable[str], options: TextOptions, report: Counter[str] | None = None) -> Iterator[str]:
    """The normalised text, chunk by chunk; where `chunks` were cut makes no difference to their sum.

    In this order: byte-order marks go and line ends become LF (always), `ascii`, `lower`, `unwrap`, `keep`.

    Args:
        chunks: the text, cut anywhere.
        options: what to do.
        report: gains the number of times that each character was dropped (accents do not count), and under such
            keys as "é→e" how often one was spelt in ASCII.
    """
    report = Counter() if report is None else report
    chunks = _unify_newlines(chunks)
    if options.ascii:
        chunks = (_fold_to_ascii(chunk, report) for chunk in chunks)
    if options.lower:
        chunks = (_lower(chunk) for chunk in chunks)
    if options.unwrap:
        chunks = _squeeze(chunks, newlines_that_break=2)
    if options.keep is not None:
        chunks = _keep(chunks, frozenset(options.keep), report)
        if options.unwrap:  # dropping characters may have left double spaces and empty lines
            chunks = _squeeze(chunks, newlines_that_break=1)
    return (chunk for chunk in chunks if chunk)


def normalise_text(text: str, options: TextOptions) -> str:
    """`normalise` for one string."""
    return "".join(normalise([text], options))


def _unify_newlines(chunks: Iterable[str]) -> Iterator[str]:
    held = ""  # a carriage return at the end of a chunk waits for its line feed
    for chunk in chunks:
        text = held + chunk.replace("\ufeff", "")
        if "\r" not in text:  # most chunks: nothing to do
            held = ""
            yield text
            continue
        held = "\r" if text.endswith("\r") else ""
        yield text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
    if held:
        yield "\n"


def _fold_to_ascii(chunk: str, report: Counter[str]) -> str:
    """Folds one character at a time, so that a base and its combining mark may stand in different chunks."""
    if chunk.isascii():
        return chunk

    def fold(match: re.Match[str]) -> str:
        character = match[0]
        folded = _ascii_form(character)
        if folded:
            report[f"{character}{FOLDED}{folded}"] += 1
        elif not unicodedata.category(character).startswith("M"):
            report[character] += 1
        return folded

    return _NOT_ASCII.sub(fold, chunk)


@cache
def _ascii_form(character: str) -> str:
    decomposed = unicodedata.normalize("NFKD", _FOLDS.get(character, character))
    return "".join(_FOLDS.get(c, c if c.isascii() else "") for c in decomposed)


def _lower(chunk: str) -> str:
    """`str.lower`, but without its one look at the neighbours: a capital sigma that ends a word."""
    return chunk.replace("Σ", "σ").lower()


def _squeeze(chunks: Iterable[str], newlines_that_break: int) -> Iterator[str]:
    """Makes every run of white space one newline if it holds that many newlines, and one space if not.

    White space before the first word goes; after the last word one newline stays if there was any.
    """

    def one(space: str) -> str:
        return "\n" if space.count("\n") >= newlines_that_break else " "

    held, begun = "", False  # held: white space that may go on in the next chunk
    for chunk in chunks:
        body = chunk.rstrip()
        if not body:
            held = _shorten(held + chunk)
            continue
        text = held + body if begun else body.lstrip()
        held, begun = _shorten(chunk[len(body) :]), True
        yield _SPACE_TO_SQUEEZE.sub(lambda match: one(match[0]), text)
    if begun and "\n" in held:
        yield "\n"


def _shorten(space: str) -> str:
    """As much of a run of white space as can matter: up to two newlines, or a space."""
    return "\n" * min(2, space.count("\n")) or space[:1]


def _keep(chunks: Iterable[str], kept: frozenset[str], report: Counter[str]) -> Iterator[str]:
    for chunk in chunks:
        dropped = set(chunk) - kept
        report.update({character: chunk.count(character) for character in dropped})
        yield chunk.translate({ord(character): None for character in dropped}) if dropped else chunk


def read_chunks(path: Path, chunk_chars: int = 1 << 20) -> Iterator[str]:
    """The text of a UTF-8 file, plain or compressed, in chunks of at most `chunk_chars` characters.

    Raises:
        InputError: the file cannot be read (`opening.blocks` says when), is binary, or is not UTF-8; the message
            gives the offset in bytes (in the decompressed text) of the first byte that is not.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    done = 0  # bytes given to the decoder so far
    for block in blocks(path, chunk_chars):
        _refuse_other_formats(path, block, done)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            where = done - pending + error.start
            raise InputError(
                f"{path}: not UTF-8 at byte {where:,}; convert it to UTF-8, for example with iconv"
            ) from error
        done += len(block)
        if text:
            yield text


def _refuse_other_formats(path: Path, block: bytes, before: int) -> None:
    if before == 0 and block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{path}: is UTF-16, not UTF-8; convert it, for example with iconv -f utf-16 -t utf-8")
    if b"\0" in block:
        raise InputError(f"{path}: is not a text file (it holds NUL bytes); give UTF-8 text")
