"""What the README tells people to type works."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from aeattn.cli import main, make_parser
from aeattn.data import fetch, tales

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICK = {"train": ["--steps", "2", "--batch", "2", "--context", "32", "--compile", "off", "--quiet"]}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def _commands(program: str) -> list[list[str]]:
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(f"{program} ")]


def test_there_is_something_to_test() -> None:
    assert {command[1] for command in _commands("make")} == {"demo", "test"}
    assert {command[1] for command in _commands("aeattn")} == {"train", "generate", "evaluate", "size"}
    assert len(_blocks("python")) == 4


@pytest.mark.parametrize("command", _commands("make"), ids=" ".join)
def test_make_targets_are_there(command: list[str]) -> None:
    subprocess.run([*command, "--dry-run"], cwd=ROOT, check=True, capture_output=True, timeout=60)


def test_continuous_integration_runs_the_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def _quick(command: list[str]) -> list[str]:
    """The command as it stands is valid; run it with less work."""
    arguments = command[1:]
    make_parser().parse_args(arguments)
    if "--minutes" in arguments:
        at = arguments.index("--minutes")
        del arguments[at : at + 2]
    return arguments + QUICK.get(arguments[0], [])


def test_commands_and_python_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    generate = fetch.tales  # a hundredth of the text will do
    monkeypatch.setattr(fetch, "tales", lambda size, *more: generate(size // 100, *more))
    Path("my_book.txt").write_text(tales.generate(20_000)[0])
    Path("another_book.txt").write_text(tales.generate(3_000, stream="valid")[0])
    for command in _commands("aeattn"):
        assert main(_quick(command)) == 0, command
    names: dict[str, object] = {}
    for block in _blocks("python")[1:]:  # the first is the idea in two lines, without its names
        exec(compile(block, "README.md", "exec"), names)
    assert capsys.readouterr().out


def test_links_lead_somewhere() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
