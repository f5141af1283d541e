"""What reaches a terminal: no control character, whatever wrote it, and no failure, whatever its encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aeattn.cli import main
from aeattn.terminal.escaping import escape_controls, printable
from aeattn.terminal.tables import print_table, say

EVIL = "[red]a\x1b]0;b\x07\u061c\u202e.txt"


def test_what_turns_the_direction_of_writing_is_escaped() -> None:
    assert escape_controls("a\u061cb\u2067c") == "a\\u061cb\\u2067c"
    assert printable("a\nb\tc\udcff") == "a\\nb\\tc\\udcff"


def test_tables_and_notes_show_markup_and_escapes_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["[bold]name", "n"], [[EVIL, "1"]])
    say(EVIL)
    captured = capsys.readouterr()
    for text in captured:
        assert "[red]a\\x1b]0;b\\x07\\u061c\\u202e.txt" in text
        assert not {"\x1b", "\x07", "\u061c", "\u202e"} & set(text)
    assert "[bold]name" in captured.out


def test_the_name_of_a_file_in_a_message_is_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / EVIL)]) == 2
    error = capsys.readouterr().err
    assert "neither a comparison nor a run folder" in error
    assert not {"\x1b", "\x07", "\u061c", "\u202e"} & set(error)


REFUSED = "from aeattn.cli import main; import sys; sys.exit(main(['report', '\u20ac\u2603']))"
PRINTED = (
    "from aeattn.terminal.tables import *; print_any_text(); print_table(['a'], [['\u2603']]); print('\u2603')"
)


@pytest.mark.parametrize(
    ("encoding", "code", "expected"),
    [("ascii", REFUSED, (2, 0, 1)), ("latin-1", PRINTED, (0, 2, 0))],
    ids=["a message in ASCII", "a table in Latin-1"],
)
def test_an_encoding_without_the_character_is_no_failure(
    encoding: str, code: str, expected: tuple[int, int, int]
) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, timeout=60)
    escaped = done.stdout.count(rb"\u2603"), done.stderr.count(rb"\u20ac\u2603 is neither")
    assert (done.returncode, *escaped) == expected
