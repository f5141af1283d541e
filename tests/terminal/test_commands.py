"""What commands that need a model show: they fit, end with the next command, and say how far they are."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from aeattn.data import tales
from aeattn.data.watch import EVERY_SECONDS
from aeattn.terminal.work import Work
from aeattn.terminal.wrapping import WIDTH, Flow
from tests.terminal.screens import lines_of, longest, on_terminal, through_pipes

TRAIN = ["train", "text.txt", "--out", "run", "--steps", "12", "--d-model", "32", "--n-layers", "1",
         "--n-heads", "4", "--preset", "460k", "--bottleneck", "8", "--d-ff", "32", "--context", "32",
         "--batch", "4", "--compile", "off"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("screens")
    (made / "text.txt").write_text(tales.generate(6_000)[0])
    (made / "other.txt").write_text(tales.generate(1_500, stream="valid")[0])
    return made


@pytest.fixture(scope="module")
def trained(folder: Path) -> str:
    code, screen = on_terminal(TRAIN, 79, folder)
    assert code == 0, screen
    return screen


def test_training_on_a_terminal(trained: str) -> None:
    lines = lines_of(trained)
    assert len(longest(lines)) <= WIDTH
    shown = " ".join(lines)
    for part in (
        "Losses in nats/char",
        "smoothed",
        "left",
        "sample after",
        "validation:",
        "training, measured alike",
    ):
        assert part in shown
    assert shown.count("left") < 3 + len(lines)  # one time left a line
    assert all(line.count("left") <= 1 for line in lines)
    assert "  aeattn generate run --prompt 'The '" in lines


def test_training_through_a_pipe(folder: Path) -> None:
    done = through_pipes([*TRAIN[:3], "piped", *TRAIN[4:]], folder)
    assert done.returncode == 0
    assert len(longest(done.stdout.splitlines())) <= WIDTH
    assert len(longest(done.stderr.splitlines())) <= WIDTH
    names = next(line for line in done.stderr.splitlines() if "smoothed" in line and "chars/s" in line)
    assert names.split() == ["update", "last", "smoothed", "training", "validation", "chars/s", "left"]
    evaluated = [line.split() for line in done.stderr.splitlines() if re.match(r"\s+\d+\s+\d\.\d{4}", line)]
    assert all(len(row) in (5, 7) for row in evaluated)
    assert sum(len(row) == 7 for row in evaluated) >= 6


@pytest.mark.parametrize("command", ["evaluate", "inspect --chars 500"])
@pytest.mark.parametrize("columns", [79, 120])
def test_evaluating_and_inspecting_on_a_terminal(trained: str, folder: Path, columns: int, command: str) -> None:
    name, *options = command.split()
    code, screen = on_terminal([name, "run", "other.txt", *options], columns, folder)
    lines = lines_of(screen)
    assert code == 0, screen
    assert len(longest(lines)) <= WIDTH
    assert "Next:" in lines
    assert re.search(r"evaluating with|measuring heads", screen)  # and taken away again


def test_evaluating_and_inspecting_through_pipes(trained: str, folder: Path) -> None:
    done = through_pipes(["evaluate", "run", "other.txt"], folder)
    assert len(longest(done.stdout.splitlines())) <= WIDTH
    assert "The model predicts this text at" in done.stdout
    assert "n-gram model (" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    done = through_pipes(["inspect", "run", "other.txt", "--chars", "500"], folder)
    assert len(longest(done.stdout.splitlines())) <= WIDTH
    assert "largest weights of each query alone, the loss is" in done.stdout
    done = through_pipes(["evaluate", "run", "other.txt", "--no-baseline", "--json"], folder)
    assert json.loads(done.stdout)["chars"] > 0


SPEC = """
title = "two arms"
seeds = [1, 2]
[budget]
chars = 2000
[base]
preset = "460k"
[base.data]
corpus = ["text.txt"]
[base.model]
d_model = 32
n_layers = 1
d_ff = 32
bottleneck = 8
context = 32
[arms.standard]
model = { query = "linear", key = "linear", value = "linear" }
[arms.autoencoder]
model = { key = "autoencoder" }
[[contrasts]]
arm = "autoencoder"
than = "standard"
primary = true
"""


@pytest.mark.parametrize("columns", [79, 120])
def test_a_plan_says_how_long_it_takes(folder: Path, columns: int) -> None:
    (folder / "spec.toml").write_text(SPEC)
    code, screen = on_terminal(["compare", "spec.toml", "--plan", "--out", f"plan{columns}"], columns, folder)
    lines = lines_of(screen)
    assert code == 0, screen
    assert len(longest(lines)) <= WIDTH
    shown = " ".join(" ".join(lines).split())
    assert "estimate: about " in shown
    assert "warning: two seeds only: a 95 % confidence interval" in shown
    assert f"aeattn compare spec.toml --out plan{columns}" in shown


def test_generated_text_is_broken_between_words_on_a_terminal_alone(trained: str, folder: Path) -> None:
    arguments = ["generate", "run", "--chars", "300", "--prompt", "word " * 40, "--engine", "simple"]
    code, screen = on_terminal(arguments, 79, folder)
    piped = through_pipes(arguments, folder)
    assert code == piped.returncode == 0
    assert len(longest(lines_of(screen))) <= WIDTH
    assert piped.stdout.startswith("word " * 40)
    assert sum(set(line.split()) == {"word"} for line in lines_of(screen)) >= 2


def test_text_in_pieces_loses_nothing_but_where_lines_break() -> None:
    text = "one two  three\n\n    four five six seven eight " + "x" * 50 + " nine ten"
    for size in (1, 3, 100):
        flow = Flow(20)
        shown = "".join(flow.push(text[at : at + size]) for at in range(0, len(text), size)) + flow.close()
        assert shown.split() == "".join(shown).split()
        assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", text)
        assert "three\n\n    four" in shown
        assert max(map(len, shown.replace("x", "").splitlines())) <= 20


def test_long_work_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Work() as work:
        work.stage("evaluating", 100)
        now = 1.0
        work.add(10)
        assert capsys.readouterr().err == ""  # short work says nothing
        now = EVERY_SECONDS + 1.0
        work.add(40)
        now += 1.0
        work.add(1)
    assert capsys.readouterr().err == "evaluating: 50 %, 0:11 left\n"
