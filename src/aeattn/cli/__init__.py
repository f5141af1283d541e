"""The command line."""

from aeattn.cli.parser import main, make_parser

__all__ = ["main", "make_parser"]
