"""docs/reference.md, made from the declarations: `python -m aeattn.cli.reference > docs/reference.md`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from aeattn.cli.options import SECTIONS, Parser, section_settings
from aeattn.cli.parser import make_parser
from aeattn.config.fields import Setting, type_name
from aeattn.config.presets import DEFAULT_PRESET, SETTINGS_PRESET

HEAD = f"""# Reference

Made from the declarations in the source by `python -m aeattn.cli.reference`; a test checks that it is up to date.

## Settings

A setting is written under its section in a TOML or JSON file (`--config`), in the `base` or a variant of a
comparison, or as `--set section.key=value`. Those with an option have that besides.
Defaults are those of the preset `{SETTINGS_PRESET}`, also for the variants of a comparison, and for a file that
has a `[model]` and names no preset. Elsewhere, where no preset is named, `{DEFAULT_PRESET}` is taken: what it
names goes before the defaults below.
"""


COMMANDS = """`aeattn` alone greets, which is no mistake (exit code 0).
A near miss, as `--lr` or `trian`, is refused in one line that says what may have been meant (exit code 2).
Lines fit 79 columns and are broken between words on a terminal; a pipe gets messages and generated text unbroken.
`NO_COLOR` is heeded.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_settings(), "## Commands", "", COMMANDS, *_commands(make_parser())])


def _settings() -> Iterator[str]:
    for section in ("", *SECTIONS):
        rows = [_row(each) for each in section_settings(section) if not dataclasses.is_dataclass(each.type)]
        yield f"### {section or 'Above all sections'}\n"
        yield _table(("key", "type", "default", "option", "help"), rows)


def _row(each: Setting) -> Sequence[str]:
    default = "" if each.default in (None, ()) else f"`{str(each.default).lower()}`"
    option = f"`{each.option}`" if each.flag else ""
    return (f"`{each.name}`", f"`{_choices(type_name(each.type))}`", default, option, each.help)


def _commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every command below a parser, and those below it."""
    for action in parser._actions:
        for below in (action.choices or {}).values() if isinstance(action, argparse._SubParsersAction) else ():
            below.fill()
            if not any(isinstance(a, argparse._SubParsersAction) for a in below._actions):
                yield f"### {below.prog}\n\n{_sentence(below)}"
                yield _table(("argument", "help"), [_argument(a) for a in below._actions if a.dest != "help"])
                yield from _examples(below)
            yield from _commands(below)


def _examples(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The lines of help that follow the options, as code: each command below what it does."""
    if parser.epilog:
        about: list[str] = []
        lines: list[str] = []
        for line in reversed(parser.epilog.splitlines()[1:]):
            if line.startswith("   "):
                about.insert(0, f"# {line.strip()}")
            elif line.strip():
                lines[:0] = [*about, line.strip()]
                about = []
        yield "\n".join(["```sh", *lines, "```\n"])


def _sentence(parser: Parser) -> str:
    text = parser.description or ""
    return f"{text[:1].upper()}{text[1:]}.\n" if text else ""


def _argument(action: argparse.Action) -> Sequence[str]:
    shown = action.metavar or ("" if action.nargs == 0 else " | ".join(map(str, action.choices or [action.dest])))
    many = " ..." if action.nargs in ("*", "+") else ""
    shown = _choices(str(shown))
    names = [f"{name} {shown}{many}".strip() for name in action.option_strings] or [f"{shown}{many}"]
    return ", ".join(f"`{name}`" for name in names), (action.help or "").replace("%%", "%")


def _choices(text: str) -> str:
    """Without bars, which end a cell of a table."""
    return text.replace(" | ", " or ")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
