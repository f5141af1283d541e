"""`python -m aeattn` is the command `aeattn`."""

import sys

from aeattn.cli import main

if __name__ == "__main__":
    sys.exit(main())
