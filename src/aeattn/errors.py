"""The one exception that is the user's to mend."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: its message is one line that says what is wrong and how to mend it.

    The command line prints the message without a traceback and exits with status 2. Everything else that
    escapes is a fault of ours.
    """
