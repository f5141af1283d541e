"""What is said to users: the exceptions that are theirs to mend, those that end a training, and a warning."""

from __future__ import annotations


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
