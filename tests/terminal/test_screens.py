"""Screens: lines of at most 79 columns that never break in a word, on terminals and through pipes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from aeattn.cli import main, make_parser, suggestions
from aeattn.cli.parser import COMMANDS
from aeattn.terminal.tables import table_lines
from aeattn.terminal.wrapping import WIDTH, wrap
from tests.terminal.screens import lines_of, longest, on_terminal, through_pipes

NAMES = [command.name for command in COMMANDS]
QUICK = [["size"], ["size", "--bottleneck", "16"], ["presets"], [], ["--help"], ["trian"], ["train", "--lr", "3"],
         ["size", "--preset", "461k"], ["generate", "nowhere-" * 5]]  # fmt: skip


def _help(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_and_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = [[name, "train"], [name, "generate"]] if name == "bench" else [[name]]
    for arguments in kinds:
        shown = _help(capsys, *arguments)
        assert len(longest(shown.splitlines())) <= WIDTH
        assert shown.startswith("usage: aeattn ")
    assert "examples:\n" in _help(capsys, name)


@pytest.mark.parametrize("columns", [60, 79, 120])
@pytest.mark.parametrize("name", NAMES)
def test_help_fits_a_terminal(name: str, columns: int, tmp_path: Path) -> None:
    code, screen = on_terminal([name, "--help"], columns, tmp_path)
    assert code == 0
    assert len(longest(lines_of(screen))) <= WIDTH


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_examples_can_be_typed(command: object) -> None:
    for example in command.examples:  # type: ignore[attr-defined]
        program, *arguments = shlex.split(example.command)
        assert program == "aeattn"
        assert make_parser().parse_args(arguments).command == command.name  # type: ignore[attr-defined]


@pytest.mark.parametrize("columns", [79, 120])
@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_a_terminal_gets_no_longer_lines(arguments: list[str], columns: int, tmp_path: Path) -> None:
    code, screen = on_terminal(arguments, columns, tmp_path)
    lines, piped = lines_of(screen), through_pipes(arguments, tmp_path)
    assert len(longest(lines)) <= WIDTH
    assert len(longest(piped.stdout.splitlines())) <= WIDTH
    assert code == piped.returncode
    assert "".join(lines).split() != []
    assert " ".join(lines).split() == (piped.stdout + piped.stderr).split()  # no word is broken
    assert piped.stderr.count("\n") == (code == 2)  # what is wrong is one line, whoever reads it


def test_colour_only_where_it_is_wanted(tmp_path: Path) -> None:
    assert "\x1b[1m" in on_terminal(["size"], 100, tmp_path)[1]
    assert "\x1b" not in on_terminal(["size"], 100, tmp_path, NO_COLOR="1")[1]
    assert "\x1b" not in through_pipes(["size"], tmp_path).stdout


def test_a_greeting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert re.findall(r"^  aeattn (\w+)", shown, re.MULTILINE) == ["train", "generate", "size"]
    for line in re.findall(r"^  (aeattn .*?)  ", shown, re.MULTILINE):
        assert make_parser().parse_args(shlex.split(line)[1:])


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["trian"], "'train'"), (["sample"], "'generate'"), (["eval"], "'evaluate'"),
        (["train", "--lr", "1"], "--learning-rate"), (["train", "--setps", "1"], "--steps"),
        (["train", "--batch-size", "8"], "--batch"), (["train", "--epochs", "3"], "--chars"),
        (["train", "--n_layers", "3"], "--n-layers"), (["train", "--tied"], "--set model.tied=VALUE"),
        (["generate", "--promt", "x"], "--prompt"), (["compare", "--plna"], "--plan"),
        (["train", "--optimizer", "adam"], "'adamw'"),
    ],
)  # fmt: skip
def test_near_misses(arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert f"did you mean {meant}?" in error


@pytest.mark.parametrize("arguments", [["generate"], ["generate", "runs/nowhere"]])
def test_runs_are_named_where_one_is_missing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").touch()
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert "; runs there are: " in error
    assert "runs/one" in error


def test_words_of_other_programs_lead_to_options_that_are_there() -> None:
    known = set()
    for command in COMMANDS:
        for parser in _parsers(command.name):
            known |= set(parser._option_string_actions)
    assert {option for options in suggestions._OPTIONS.values() for option in options} <= known
    assert set(suggestions._COMMANDS.values()) <= set(NAMES)
    assert not set(suggestions._COMMANDS) & set(NAMES)


def _parsers(name: str) -> list[object]:
    top = make_parser()._subparsers._group_actions[0].choices[name]  # type: ignore[union-attr, index]
    top.fill()
    below = [a for a in top._actions if hasattr(a, "choices") and isinstance(a.choices, dict)]
    return [top, *(parser for action in below for parser in action.choices.values())]


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    from aeattn.config.presets import PRESETS, WHAT_FOR
    from aeattn.data.corpora import NAMES as CORPORA
    from aeattn.data.corpora import RECIPES

    assert list(WHAT_FOR) == list(PRESETS)
    assert main(["presets", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["preset"] for row in found["presets"]] == list(PRESETS)
    assert [row["recipe"] for row in found["recipes"]] == list(RECIPES)
    assert [row["corpus"] for row in found["corpora"]] == list(CORPORA)
    assert all(row["about"] for rows in found.values() for row in rows)
    assert all(min(row["parameters"], row["context"], row["cache_bytes"]) > 0 for row in found["presets"])


def test_size_takes_any_setting(capsys: pytest.CaptureFixture[str]) -> None:
    def rows(*arguments: str) -> list[dict[str, int]]:
        assert main(["size", "--json", *arguments]) == 0
        found: list[dict[str, int]] = json.loads(capsys.readouterr().out)["presets"]
        return found

    (plain,), (tied,) = rows("--preset", "460k"), rows("--set", "model.tied=true")
    (narrow,) = rows("--d-model", "64")
    assert tied["parameters"] == plain["parameters"] - 49 * 128
    assert (plain["changed"], tied["changed"], narrow["changed"]) == (False, True, True)
    assert len(rows()) > 5


def test_size_says_which_width_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", "--preset", "460k-standard", "--bottleneck", "16"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "bottleneck is 16, which changes nothing: no projection has one here (query = linear, key" in said
    assert main(["size", "--preset", "460k", "--bottleneck", "16"]) == 0
    assert "changes nothing" not in capsys.readouterr().out


def test_a_wide_table_is_shown_in_parts() -> None:
    columns = ["name", *(f"column {at}" for at in range(20))]
    rows = [[f"row {row}", *(f"{row * at:,}.0000" for at in range(20))] for row in (1, 2)]
    lines = table_lines(columns, rows, 1, WIDTH)
    assert len(longest(lines)) <= WIDTH
    assert sum(line.startswith("row 1") for line in lines) == sum(line.startswith("row 2") for line in lines) > 1
    assert {cell for row in rows for cell in row[1:]} <= set(" ".join(lines).split())


def test_a_heading_is_broken_where_it_may_be() -> None:
    lines = table_lines(("name", "top\u00a016", "against all"), [("one", "1", "2")], 1, WIDTH)
    assert lines[1:3] == ["              against", "name  top 16      all"]


def test_presets_that_keep_as_little_are_named_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["presets"]
    kept = {
        row["preset"]: min(row["cache_bytes"], row["latent_cache_bytes"] or row["cache_bytes"]) for row in rows
    }
    assert main(["size"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    least = [name for name in kept if kept[name] == min(kept.values())]
    assert f"The smallest KV cache is that of {' and '.join(least)}: {min(kept.values()):,} bytes a token." in said


def test_what_is_missing_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in ((["compare"], "SPEC: claims, first,"), (["bench"], "WHAT: train, generate")):
        with pytest.raises(SystemExit):
            main(arguments)
        assert f"arguments are required: {said}" in capsys.readouterr().err


def test_a_long_name_is_shortened_in_its_middle() -> None:
    lines = table_lines(["file", "chars"], [["folder/" * 20 + "the-end.txt", "1,000"]], 1, WIDTH)
    assert len(longest(lines)) <= WIDTH
    assert any(line.startswith("folder/") and "the-end.txt  1,000" in line for line in lines)


def test_a_word_is_never_broken() -> None:
    path = "/a/very/long/path" * 8
    assert wrap(f"written to {path} now", 79) == ["written to", path, "now"]
    assert wrap("one two-three four", 9) == ["one", "two-three", "four"]
