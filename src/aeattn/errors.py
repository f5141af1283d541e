"""What is said to users: the exceptions that are theirs to mend, those that end a training, a warning, and what a
word that is not known may have meant."""

from __future__ import annotations

from collections.abc import Iterable

ALIKE = 0.65  # from 0 to 1: how like a known word must be, to be the one that was meant


class InputError(ValueError):
    """Bad input: its message is one line that says what is wrong and how to mend it.

    The command line prints the message without a traceback and exits with status 2. Everything else that
    escapes is a fault of ours.

    Stable: that it is a ValueError, and where it is raised; not its words.
    """


class Damaged(InputError):
    """A file is proven to be torn, to have another checksum, or not to fit its neighbours.

    Never raised for what may be well tomorrow: a full disk, a file that cannot be opened, another version, a lock.
    """


class Diverged(Exception):
    """The loss or its gradient is no finite number. The message names the step and the batch."""


class BadValidation(Diverged):
    """The validation loss is no finite number: what has been learnt is not worth saving."""


class Lost(Exception):
    """Another process of the same training has ended."""


class Stalled(Lost):
    """Another process of the same training does not answer."""


class Spike(Exception):
    """The loss of a batch leaps, and the config says to go back and pass it over."""


class SlowerWarning(RuntimeWarning):
    """Something fast cannot be used here; what is done instead gives the same result."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The likeliest of the known words, whatever its case, if one is alike."""
    import difflib  # only now: most words are known

    words = {each.lower(): each for each in known}
    found = difflib.get_close_matches(word[:100].lower(), words, n=1, cutoff=ALIKE)
    return words[found[0]] if found else None


def meant(word: str, known: Iterable[str]) -> str:
    """How to mend a word that is not known: the likeliest of those that are, or all of them."""
    words = list(known)
    near = nearest(word, words)
    return f"choose one of {', '.join(words)}" if near is None else f"did you mean {near!r}?"
