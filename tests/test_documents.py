"""What documents tell people to type works: every code block of README and docs is parsed or run.

    python    run, the blocks of a page one after the other
    sh        commands of aeattn are parsed, and those of `WALKED` pages run with less work; modules, extras and
              targets of make must exist
    toml      read as a comparison's spec or as settings
    text      no code

A block that cannot be tested has `<!-- not tested: REASON -->` in the line before it.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from aeattn.cli import main, make_parser
from aeattn.data import fetch, tales

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WALKED = {"README.md", "tutorial.md", "own-text.md", "huggingface.md"}
BLOCK = re.compile(r"^(?:<!-- not tested: (?P<reason>[^>]+) -->\n)?```(?P<language>\S*)\n(?P<code>.*?)^```$",
                   re.DOTALL | re.MULTILINE)  # fmt: skip
OTHERS = {
    "git",
    "cd",
    "pip",
    "torchrun",
    "dask",
    "helm",
    "kubectl",
    "lm_eval",
}  # programs of others, which are not run
NEEDED = {"huggingface.md": "transformers"}
LESS = {"--minutes": None, "--steps": None, "--preset": None}
QUICK = ["--steps", "2", "--batch", "2", "--context", "32", "--compile", "off", "--quiet"]


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    reason: str | None

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words of each command, without comments."""
        for line in self.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S+", words[0]):
                words = words[1:]
            if words:
                yield words


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(m["language"], m["code"], m["reason"]) for m in found]


TESTED = [(page, block) for page in PAGES for block in blocks(page) if block.reason is None]


def _named(kind: str) -> list[object]:
    return [pytest.param(page, block, id=f"{page.name}: {block.code.splitlines()[0][:50]}")
            for page, block in TESTED if block.language == kind]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert {block.language for block in blocks(page)} <= {"sh", "python", "toml", "text"}
    assert text.count("\n```") + text.startswith("```") == 2 * len(blocks(page))
    outside = BLOCK.sub("", text)
    assert not re.search(r"(?:^|\n)\n {4}\S", outside), "an indented block: fence it, and say what it is"


@pytest.mark.parametrize(("page", "block"), _named("sh"))
def test_commands_are_commands(page: Path, block: Block) -> None:
    for words in block.commands:
        _check(words)


def _check(words: list[str]) -> None:
    program, *arguments = words
    if program == "aeattn":
        if "..." not in arguments:
            make_parser().parse_args(arguments)
    elif program == "make":
        targets = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in arguments:
            assert f"\n{target}:" in targets, target
    elif program == "python" and arguments[0] == "-m":
        assert find_spec(arguments[1]) is not None, arguments[1]
    elif program == "python":
        assert (ROOT / arguments[0]).exists(), arguments[0]
    elif program == "pip" and (extra := re.search(r"autoencoder-attention\[(.*)\]", words[-1])):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert set(extra[1].split(",")) <= set(project["optional-dependencies"])
    else:
        assert program in OTHERS, f"{program} is unknown: what is it?"
        if "aeattn" in words:
            _check(words[words.index("aeattn") :])


@pytest.mark.parametrize(("page", "block"), _named("toml"))
def test_settings_are_settings(page: Path, block: Block, tmp_path: Path) -> None:
    values = tomllib.loads(block.code)
    if "arms" in values:
        from aeattn.compare.parse import read_spec

        (tmp_path / "spec.toml").write_text(block.code)
        assert read_spec(tmp_path / "spec.toml").arms
    elif "project" not in values and "plugins" not in values:
        from aeattn.config.sources import resolve

        resolve(values)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The texts that documents speak of, and a run of one of them."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "my_book.txt").write_text(tales.generate(20_000)[0])
    for name in ("another_book.txt", "mine.txt"):
        (folder / name).write_text(tales.generate(3_000, stream="valid")[0])
    assert main(["train", str(folder / "my_book.txt"), *QUICK, "--out", str(folder / "runs" / "mine")]) == 0
    return folder


@pytest.fixture
def desk(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with what is given, where built-in stories are short."""
    shutil.copytree(given, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    generate = fetch.tales  # a hundredth of the text will do
    monkeypatch.setattr(fetch, "tales", lambda size, *more: generate(size // 100, *more))
    return tmp_path


def _quick(arguments: list[str]) -> list[str]:
    """The same command with less work."""
    if arguments[0] != "train":
        return arguments
    at, kept = 0, []
    while at < len(arguments):
        if arguments[at] in LESS:
            at += 2
            continue
        kept.append(arguments[at])
        at += 1
    return [*kept, *QUICK]


@pytest.mark.parametrize("page", [p for p in PAGES if {b.language for b in blocks(p)} & {"python", "sh"}],
                         ids=lambda page: page.name)  # fmt: skip
def test_pages_can_be_followed(page: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if (needed := NEEDED.get(page.name)) and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page):
        if block.reason is not None:
            continue
        if block.language == "toml" and (name := _file_named_before(page, block)):
            (desk / name).write_text(block.code)
        if block.language == "python":
            exec(compile(block.code, page.name, "exec"), names)
        if block.language == "sh" and page.name in WALKED:
            for words in block.commands:
                if words[0] == "aeattn" and words[1] != "compare":
                    if "--out" in words:
                        shutil.rmtree(desk / words[words.index("--out") + 1], ignore_errors=True)
                    assert main(_quick(words[1:])) == 0, words
                if words[:2] == ["aeattn", "compare"] and "--plan" in words and (desk / words[2]).exists():
                    assert main(words[1:]) == 0, words
    capsys.readouterr()


def _file_named_before(page: Path, block: Block) -> str | None:
    """The file that the sentence before a block tells people to save it as."""
    before = page.read_text(encoding="utf-8").partition(block.code)[0]
    found = re.findall(r"[Ss]ave this one as `(\S+)`", before[-400:])
    return found[-1] if found else None


@pytest.mark.parametrize("page", [*PAGES, ROOT / "results" / "README.md"], ids=lambda page: page.name)
def test_losses_have_one_unit(page: Path) -> None:
    found = re.findall(r"(?:nats|bits) (?:a|per) (?:char\w*|byte)", page.read_text(encoding="utf-8"))
    assert not found, "write nats/char, bits/char, nats/byte, bits/byte"


def test_links_lead_somewhere() -> None:
    documents = [*PAGES, ROOT / "results" / "README.md", ROOT / "CHANGELOG.md"]
    for document in documents:
        for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_readme_has_what_a_newcomer_types() -> None:
    sh = [words for block in blocks(ROOT / "README.md") if block.language == "sh" for words in block.commands]
    assert {words[1] for words in sh if words[0] == "aeattn"} == {
        "train",
        "generate",
        "compare",
        "evaluate",
        "size",
    }


def test_continuous_integration_runs_the_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
