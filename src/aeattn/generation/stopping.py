"""Ending a text at a stop string, while it is still being written."""

from __future__ import annotations

from collections.abc import Sequence


class Stopper:
    """Passes text on up to the stop string that is complete first, which is left out (of those that end together,
    the longest). So it does not matter in which pieces the text comes.

    What may be the beginning of a stop string is held back until it is known not to be.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.stops, self.done = tuple(stops), False
        self._held = ""

    def push(self, text: str) -> str:
        """More text; returns what is certain. Nothing after the end."""
        if self.done:
            return ""
        text = self._held + text
        found = [(at + len(stop), at) for stop in self.stops if (at := text.find(stop)) >= 0]
        if found:
            self.done, self._held = True, ""
            return text[: min(found)[1]]
        self._held = text[len(text) - self._undecided(text) :]
        return text[: len(text) - len(self._held)]

    def close(self) -> str:
        """The text ends here: what was held back."""
        held, self._held = self._held, ""
        return held

    def _undecided(self, text: str) -> int:
        """Length of the longest end of the text that begins a stop string."""
        lengths = [n for stop in self.stops for n in range(1, len(stop)) if text.endswith(stop[:n])]
        return max(lengths, default=0)
