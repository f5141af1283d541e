"""Text that a model wrote is untrusted: control characters must not reach a terminal."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    """The text with control characters, but for newline and tab, written as `\\x1b` and the like."""
    return _CONTROL.sub(lambda match: ascii(match.group())[1:-1], text)
