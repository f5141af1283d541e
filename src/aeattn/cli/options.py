"""Options of the command line, made from the declaration of settings; those that commands share stand once."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, get_args, get_origin

from aeattn.config.presets import DEFAULT_PRESET
from aeattn.errors import meant
from aeattn.terminal.tables import say
from aeattn.terminal.wrapping import width_of, wrap

if TYPE_CHECKING:
    from aeattn.config.fields import Setting
    from aeattn.config.run import RunConfig
    from aeattn.files import Json

Group = argparse._ActionsContainer
SECTIONS = ("model", "training", "data", "data.text")
MOST = 2**53  # of anything that is counted
EXAMPLE_RUN = f"runs/tales-{DEFAULT_PRESET}"  # where `aeattn train` leaves its run


class Help(argparse.RawDescriptionHelpFormatter):
    """Lines that fit a terminal and are broken between words alone."""

    def __init__(self, prog: str, **known: Any) -> None:
        super().__init__(prog, **{**known, "max_help_position": 26, "width": width_of(sys.stdout)})

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap(text, width)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and what may have been meant. A command's options are added when it is
    called: the others cost no time."""

    command: Command | None = None

    def __init__(self, *args: Any, **known: Any) -> None:
        super().__init__(*args, **{"formatter_class": Help, **known})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.fill()
        if args is not None and self._subparsers is None:
            self._check_options(list(args))
        found, more = super().parse_known_args(args, namespace)
        if more:
            self.error(f"{more[0]!r} is one argument too many")
        return found, more

    def fill(self) -> None:
        """Add the options of the command, and how it is used."""
        command, self.command = self.command, None
        if command is not None:
            command.options(self)
            if self._subparsers is None:
                self.usage = " ".join(filter(None, [self.prog, *map(_usage, self._actions), "[OPTION ...]"]))
            self.epilog = _examples(command.examples)

    def _check_options(self, args: Sequence[str]) -> None:
        """Refuse an option that is not there before anything else is wrong."""
        given = args[: args.index("--")] if "--" in args else args
        for text in given:
            name = text.partition("=")[0]
            if text[:2] == "--" and " " not in text and not any(o.startswith(name) for o in self._options()):
                self._unknown(name)

    def _options(self) -> Sequence[str]:
        return list(self._option_string_actions)

    def _unknown(self, name: str) -> NoReturn:
        from aeattn.cli import suggestions

        near = suggestions.option(name, self._options()) or _setting_named(name, self._options())
        self.error(f"there is no option {name[:100]}" + (f": did you mean {near}?" if near else ""))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse does, and says what may have been meant."""
        if action.choices is None or value in action.choices:
            return
        from aeattn.cli import suggestions

        known = list(map(str, action.choices))
        commands = isinstance(action, argparse._SubParsersAction)
        what = f"there is no command {value[:100]!r}" if commands else f"invalid choice {value[:100]!r}"
        near = suggestions.command(value, known) if commands else None
        mend = f"did you mean {near!r}?" if near in known else meant(value, known)
        raise argparse.ArgumentError(None if commands else action, f"{what}: {mend}")

    def error(self, message: str) -> NoReturn:
        missing = message.partition("arguments are required: ")[2].split(", ")[0]
        message += next((_meaning(each) for each in self._actions if each.metavar == missing), "")
        if missing == "RUN":
            from aeattn.cli import suggestions

            message += suggestions.runs()
        say(f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)")
        self.exit(2)


def _meaning(action: argparse.Action) -> str:
    """What an argument is, or which ones there are, for somebody who has left it out."""
    known = ", ".join(map(str, action.choices or ())) or action.help
    return f": {known}" if known else ""


def _usage(action: argparse.Action) -> str:
    """A positional argument, or an option that must be given, in a line of usage."""
    name = str(action.metavar or action.dest)
    if action.option_strings:
        choices = "|".join(map(str, action.choices or ())) or name
        return f"{action.option_strings[0]} {choices}" if action.required else ""
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}.get(str(action.nargs), name)


def _examples(examples: Sequence[Example]) -> str | None:
    """As they stand below the options."""
    lines = [f"  {each.command}\n      {each.does}" for each in examples]
    return "\n".join(["examples:", *lines]) if examples else None


def _setting_named(option: str, known: Sequence[str]) -> str | None:
    """How a setting that has no option of its own is given, where a command takes `--set`."""
    name = option.lstrip("-").replace("-", "_")
    if "--set" not in known:
        return None
    there = (section for section in SECTIONS if any(each.name == name for each in section_settings(section)))
    return next((f"--set {section}.{name}=VALUE" for section in there), None)


class Example(NamedTuple):
    """A command line, and what it does."""

    command: str
    does: str


@dataclass(frozen=True)
class Command:
    """One command: its name, a line of help, what adds its options, and what runs it and returns the exit code."""

    name: str
    help: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    examples: tuple[Example, ...] = ()


# -- types of arguments ------------------------------------------------------------------------------------


def number(text: str) -> int:
    """A whole number; 20M, 1.5e6 and 500k are understood."""
    scale = {"k": 1e3, "m": 1e6, "g": 1e9}.get(text[-1:].lower())
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError, OverflowError):
        value = float(text) if scale is None else float(text[:-1]) * scale
        if value == int(value):
            return int(value)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number")


def whole(text: str) -> int:
    """A whole number of at least 1, as `number` reads it."""
    try:
        found = number(text)
    except argparse.ArgumentTypeError:
        found = 0
    if not 1 <= found < MOST:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number of at least 1, below 2^53")
    return found


def real(text: str) -> float:
    """Any number, as Python writes it."""
    with suppress(ValueError):
        return float(text)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number")


def positive(text: str) -> float:
    """A finite number of more than 0."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < 1e18:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number of more than 0, below 1e18")
    return found


# -- settings ----------------------------------------------------------------------------------------------


def section_settings(section: str) -> tuple[Setting, ...]:
    """The declaration of a section, such as `data.text`; of the whole without one."""
    from aeattn.config.fields import settings
    from aeattn.config.run import RunConfig

    found = settings(RunConfig)
    for name in filter(None, section.split(".")):
        found = settings(next(each.type for each in found if each.name == name))
    return found


def add_settings(group: Group, section: str, only: Sequence[str] = (), but: Sequence[str] = ()) -> None:
    """An option for each setting of a section that has a flag."""
    for each in section_settings(section):
        if each.flag and (not only or each.name in only) and each.name not in but:
            _add(group, section, each)


def _add(group: Group, section: str, each: Setting) -> None:
    kinds = get_args(each.type) or (each.type,)
    known: dict[str, Any] = {"dest": f"{section}.{each.name}".lstrip("."), "help": _help(each), "default": None}
    if each.type is bool:
        known["action"] = "store_true"
    else:
        known["metavar"] = each.metavar
        known["type"] = number if int in kinds else real if float in kinds else str
    if get_origin(each.type) is Literal and each.metavar is None:
        known["choices"] = get_args(each.type)
    if get_origin(each.type) is tuple:
        known["action"] = "append"
    group.add_argument(each.option, **known)


def add_declared(group: Group, cls: type[Any], **types: Callable[[str], Any]) -> None:
    """An option for each setting of a dataclass, with its default; `types` read some of them more strictly."""
    from aeattn.config.fields import settings

    for each in settings(cls):
        _add(group, "", each)
        default = list(each.default) if isinstance(each.default, tuple) else each.default
        action = next(a for a in group._actions if a.dest == each.name)
        action.default, action.type = default, types.get(each.name, action.type)


def _help(each: Setting) -> str:
    default = each.default
    shown = default is not None and default != () and each.type is not bool
    return (f"{each.help} (default {default})" if shown else each.help).replace("%", "%%")


def add_sources(parser: Group) -> None:
    """Where settings come from besides options of their own."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings from a TOML file, a run's "
                        "config.json, or a record of a comparison")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="sets",
                        help="any setting of docs/reference.md, as in model.tied=true")  # fmt: skip
    add_plugins(parser)


def add_plugins(parser: Group) -> None:
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", dest="plugin",
                        help="a file, or an entry point, with projections, tokenizers or hooks")  # fmt: skip


def config_of(options: argparse.Namespace, given: Json | None = None) -> RunConfig:
    """The run that the options describe. Raises InputError."""
    from aeattn.config.convert import overlay
    from aeattn.config.sources import resolve

    values = overlay(_given(options), given or {})
    return resolve(values, file=options.config, sets=options.sets, plugins=options.plugin)


def _given(options: argparse.Namespace) -> Json:
    """Settings that have been given as options, as nested dictionaries."""
    from aeattn.config.convert import nested, overlay

    values: Json = {}
    for name, value in vars(options).items():
        if (name in ("preset", "track") or name.rpartition(".")[0] in SECTIONS) and value not in (None, []):
            values = overlay(values, nested(name, value))
    return values


# -- options that commands share ---------------------------------------------------------------------------


def add_json(parser: Group) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def add_quiet(parser: Group) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress")


def add_yes(parser: Group) -> None:
    parser.add_argument("--yes", action="store_true", help="download data sets without being asked")


def add_run(parser: Group) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")


def check_run(path: Path) -> None:
    """Raise InputError for what is no run folder, before anything heavy is imported."""
    from aeattn.runs.folder import RunFolder

    RunFolder(path).read_config()


def add_texts(parser: Group, nargs: str, more: str = "") -> None:
    what = f"files, folders, globs, or a corpus by name{more}"
    parser.add_argument("text", nargs=nargs, metavar="TEXT", help=what)


def add_device(parser: Group) -> None:
    from aeattn.config.generation import DEVICE

    what = f"auto, cpu, cuda, ... (default {DEVICE})"
    parser.add_argument("--device", default=DEVICE, metavar="NAME", help=what)
