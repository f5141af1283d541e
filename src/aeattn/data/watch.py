"""Lines that say how far long work on a text is, and how long it will take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator

EVERY_SECONDS = 10.0


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    whole = max(0, round(seconds)) if math.isfinite(seconds) else 0
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


class Watch:
    """Says a line every EVERY_SECONDS, the first after as long: short work says nothing.

    Args:
        say: where lines go; None for nowhere.
        what: is done, such as "encoding the training text".
        total: bytes that are expected, 0 where nobody knows. What turns out to be more is said without it.
    """

    def __init__(self, say: Callable[[str], None] | None, what: str, total: int = 0) -> None:
        self._say, self._what, self.total, self.done = say, what, total, 0
        self._before, self._begun = 0, time.monotonic()
        self._next = self._begun + EVERY_SECONDS

    def add(self, size: int, *, worked: bool = True) -> None:
        """So many bytes more are done; if not `worked`, they were before."""
        self.done += size
        self._before += 0 if worked else size
        now = time.monotonic()
        if self._say and now >= self._next:
            self._next = now + EVERY_SECONDS
            self._say(self._line(now - self._begun))

    def over(self, chunks: Iterable[str]) -> Iterator[str]:
        """The same chunks; each is done when it is asked for."""
        for chunk in chunks:
            self.add(len(chunk))
            yield chunk

    def _line(self, seconds: float) -> str:
        rate = max(1.0, (self.done - self._before) / seconds)
        speed = f"{rate / 1e6:.0f} MB/s" if rate >= 1e7 else f"{rate / 1e6:.1f} MB/s"
        if self.done > self.total:
            return f"{self._what}: {_size(self.done)}, {speed}"
        left = clock((self.total - self.done) / rate)
        return f"{self._what}: {_size(self.done)} of {_size(self.total)}, {speed}, {left} left"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
