"""Text that a model or a stranger wrote is untrusted: control characters must not reach a terminal."""

from __future__ import annotations

import re

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing
_CONTROL = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}]")


def escape_controls(text: str) -> str:
    """The text with control characters, but for newline and tab, written as `\\x1b` and the like."""
    return _CONTROL.sub(lambda match: ascii(match.group())[1:-1], text)


def shortened(text: str, most: int = 1500) -> str:
    """A message without its middle where it is longer: what is wrong stands first, how to mend it last."""
    return text if len(text) <= most else f"{text[: most * 3 // 5]} ... {text[-most // 3 :]}"


def printable(name: str) -> str:
    """The name of a file or a title on one line, without control characters and bytes that are no UTF-8."""
    one_line = re.sub(r"[\n\t]", lambda match: ascii(match.group())[1:-1], escape_controls(name))
    return one_line.encode("utf-8", "backslashreplace").decode("utf-8")
