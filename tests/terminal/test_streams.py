"""Standard streams that are closed, and readers that go away."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from aeattn.compare.progress import GridProgress
from aeattn.terminal.escaping import shortened
from aeattn.terminal.progress import PlainReporter

AEATTN = f"{sys.executable} -m aeattn"
SIZE = f"{AEATTN} size --preset 460k"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (f"{SIZE} >&-", 0, ""),
        (f"{SIZE} 2>&- | cat >/dev/null", 0, ""),
        (f"{SIZE} --json <&- >&- 2>&-", 0, ""),
        (f"{AEATTN} size --preset 461k >&-", 2, "aeattn: "),
        (f"{AEATTN} generate nowhere --prompt-file - <&-", 2, "aeattn: nowhere is no run folder"),
        (f"{SIZE} | true", 0, ""),
        (f"{SIZE} --json | true", 0, ""),
        (f"{AEATTN} --help | true", 0, ""),
        (f"{SIZE} --json >/dev/full", 1, "aeattn: [Errno 28]"),
    ],
)
def test_a_command_needs_no_streams(command: str, code: int, said: str) -> None:
    script = f"{command}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == bool(said)
    assert done.stderr.startswith(said)


def test_a_file_never_gets_the_number_of_a_closed_stream() -> None:
    code = "from aeattn.terminal.streams import standard_streams as s\n"
    code += "with s(): print(open('/dev/null').fileno() > 2)"
    done = subprocess.run(["bash", "-c", f'{sys.executable} -c "{code}" <&- 2>&-'], capture_output=True, text=True)
    assert done.stdout == "True\n"


def test_a_backend_that_matplotlib_does_not_know_is_not_asked_for() -> None:
    code = "from aeattn.cli import main; main(['presets']); import matplotlib"
    odd = {**os.environ, "MPLBACKEND": "nonsense"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=odd)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_long_message_keeps_what_is_wrong_and_how_to_mend_it() -> None:
    assert shortened("title is " + "x" * 10_000 + ": choose another").endswith("xxx: choose another")
    assert len(shortened("x" * 10_000)) < 1500
    assert shortened("short") == "short"


@pytest.mark.parametrize("width", [40, None])
@pytest.mark.parametrize("kind", [PlainReporter, GridProgress])
def test_notes_show_control_characters_instead_of_sending_them(kind: type, width: int | None) -> None:
    to = io.StringIO()
    kind(Console(file=to, force_terminal=width is not None, width=width)).note("torch was 2.13\x00\x1b[2J")
    assert to.getvalue().replace("\n", "").endswith("torch was 2.13\\x00\\x1b[2J")
