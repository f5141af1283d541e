"""What is said to users: the one exception that is theirs to mend, and a warning."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: its message is one line that says what is wrong and how to mend it.

    The command line prints the message without a traceback and exits with status 2. Everything else that
    escapes is a fault of ours.
    """


class SlowerWarning(RuntimeWarning):
    """Something fast cannot be used here; what is done instead gives the same result."""
