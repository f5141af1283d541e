"""Every file and argument that commands read, changed in one to three places, under the rule of `rule.py`.

A few examples of each in `make test`, thousands in `make faults`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import share, use_cache
from tests.faults.conftest import Tally
from tests.faults.harness import FULL
from tests.faults.mutations import (
    ODD,
    Change,
    as_json,
    as_toml,
    byte_changes,
    damaged,
    mutated,
    tree_changes,
)
from tests.faults.rule import Place, broken, call
from tests.faults.surfaces import SURFACES, Surface

QUICK = {
    "specs": 12,
    "configs": 20,
    "comparisons read by report": 8,
    "runs": 8,
}  # the others in the full set alone
EXAMPLES = int(os.environ.get("AEATTN_FUZZ", "400"))  # of each surface, in the full set
BRIEF = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),  # a search that goes on where something is wrong
    derandomize=not FULL,  # what is tested at each change of the code is the same
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> dict[str, Path]:
    """A folder of each surface, made when it is first asked for."""
    return {}


class Found(dict[str, object]):
    """What was wrong, once for each way: the search goes on."""

    def add(self, right: bool, wrong: list[str], *what: object) -> None:
        if not right:
            self.setdefault(re.sub(r"\d+", "0", wrong[0])[-600:], (*what, wrong))


def _good(name: str, folders: dict[str, Path], base: Path) -> Path:
    if name not in folders:
        folders[name] = base / name.replace(" ", "-")
        folders[name].mkdir()
        SURFACES[name].make(folders[name])
    return folders[name]


def _change(path: Path, in_tree: list[Change] | None, in_bytes: list[Change]) -> None:
    """JSON as a tree, where there are changes to that; all else as bytes."""
    if in_tree is None or path.suffix not in (".json", ".jsonl"):
        path.write_bytes(damaged(path.read_bytes(), in_bytes))
    elif path.suffix == ".jsonl":
        lines = mutated([json.loads(line) for line in path.read_text().splitlines()], in_tree)
        path.write_bytes(b"\n".join(map(as_json, lines if isinstance(lines, list) else [lines])))
    else:
        path.write_bytes(as_json(mutated(json.loads(path.read_text()), in_tree)))


def _as_toml(path: Path) -> None:
    """The TOML file that a changed `x.toml.json` stands for."""
    try:
        path.with_suffix("").write_bytes(as_toml(json.loads(path.read_bytes())))
    except (ValueError, RecursionError):
        shutil.copy(path, path.with_suffix(""))


def _try(surface: Surface, root: Path, data: st.DataObject) -> list[str]:
    files = sorted({path for pattern in surface.files for path in root.glob(pattern) if path.is_file()})
    changed = data.draw(st.sampled_from(files))
    _change(changed, data.draw(st.none() | tree_changes | tree_changes), data.draw(byte_changes))
    for path in root.glob("*.toml.json"):
        _as_toml(path)
    command = [
        part.format(root) if "{}" in part else part for part in data.draw(st.sampled_from(surface.commands))
    ]
    with Place(root, root / surface.named, frozenset(surface.may_change)) as place:
        ended = call(command)
    return broken(ended) + place.lost()


@pytest.mark.parametrize("name", SURFACES if FULL else QUICK)
@pytest.mark.timeout(7200)
def test_changed_files(
    name: str, good: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, tally: Tally
) -> None:
    found = Found()
    original, spoilt = _good(name, good, tmp_path_factory.getbasetemp()), tmp_path_factory.mktemp("spoilt") / "a"

    @settings(BRIEF, max_examples=EXAMPLES if FULL else QUICK[name])
    @given(st.data())
    def check(data: st.DataObject) -> None:
        shutil.rmtree(spoilt, ignore_errors=True)
        shutil.copytree(original, spoilt)
        wrong = _try(SURFACES[name], spoilt, data)
        found.add(tally.count(f"changed files: {name}", not wrong), wrong)

    check()
    assert not found


# -- caches -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not FULL, reason="make faults")
def test_changed_caches(
    good: dict[str, Path], compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    """What is kept of texts is made anew where it is damaged: the figures are the same."""
    root = _good("runs", good, tmp_path)
    use_cache(monkeypatch, share(compiled, tmp_path / "whole"))
    command = ["evaluate", str(root / "run"), str(root / "text.txt"), "--no-sliding", "--json"]
    expected, spoilt, found = call(command).out, tmp_path / "spoilt", Found()

    @settings(BRIEF, max_examples=EXAMPLES)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        shutil.rmtree(spoilt, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", spoilt, symlinks=True)
        use_cache(monkeypatch, spoilt)
        files = sorted(p for p in spoilt.rglob("*") if p.is_file() and "compiled" not in p.parts)
        _change(data.draw(st.sampled_from(files)), data.draw(st.none() | tree_changes), data.draw(byte_changes))
        ended = call(command)
        wrong = broken(ended) + ([] if ended.out == expected else [f"other figures: {ended.said}"])
        found.add(tally.count("changed caches", not wrong), wrong)

    check()
    assert not found


# -- arguments ----------------------------------------------------------------------------------------------

ARGUMENTS: tuple[tuple[str, ...], ...] = (
    ("size", "--parameters", "?"), ("size", "--flops", "?"), ("size", "--vocab-size", "?"), ("size", "--set", "?"),
    ("size", "--set", "model.d_ff=?"), ("size", "--set", "training.steps=?"), ("size", "--set", "data.corpus=?"),
    ("size", "--set", "?=1"), ("size", "--preset", "?"), ("size", "--plugin", "?"), ("size", "--config", "?"),
    ("generate", "?"), ("generate", "{}/run", "--samples", "?", "--chars", "1"),
    ("generate", "{}/run", "--top-k", "?"),
    ("generate", "{}/run", "--top-p", "?", "--chars", "3"), ("generate", "{}/run", "--seed", "?", "--chars", "3"),
    ("generate", "{}/run", "--stop", "?", "--chars", "3"), ("generate", "{}/run", "--prompt", "?", "--chars", "3"),
    ("generate", "{}/run", "--prompts", "?"), ("evaluate", "{}/run", "?"), ("evaluate", "{}/run", "hf:?"),
    ("evaluate", "{}/run", "{}/text.txt", "--no-baseline", "--stride", "?"),
    ("evaluate", "{}/run", "{}/text.txt", "--no-baseline", "--column", "?"),
    ("evaluate", "{}/run", "{}/text.txt", "--no-baseline", "--split", "?"),
    ("inspect", "{}/run", "--step", "?"), ("inspect", "{}/run", "--chars", "?"), ("report", "?"),
    ("compare", "?", "--plan"), ("compare", "first", "--plan", "--on", "?"), ("bench", "train", "--preset", "?a"),
    ("train", "?a", "--out", "{}/out"), ("train", "{}/no.txt", "--tokenizer", "?", "--out", "{}/out"),
    ("train", "{}/no.txt", "--tokenizer", "bpe:?", "--out", "{}/out"), ("train", "hf:?", "--out", "{}/out"),
    ("train", "{}/no.txt", "--minutes", "?", "--out", "{}/out"),
)  # fmt: skip
WORDS = [*(str(value)[:2000] for value in ODD[:-1]), "1e11", "1e400", "0x10", "--", "-1", "*", "@:/", "a@b:c"]
odd_words = st.sampled_from(WORDS) | st.text(max_size=30).map(lambda text: text.replace("\0", "0"))


@pytest.mark.timeout(7200)
def test_odd_arguments(
    good: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    root = _good("runs", good, tmp_path)
    found = Found()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(root)

    @settings(BRIEF, max_examples=2 * EXAMPLES if FULL else 20)
    @given(st.sampled_from(ARGUMENTS), odd_words)
    def check(arguments: tuple[str, ...], word: str) -> None:
        with Place(root, root / "out", frozenset({"attention.png"})) as place:
            ended = call([part.replace("{}", str(root)).replace("?", word) for part in arguments])
        wrong = broken(ended) + place.lost()
        shutil.rmtree(root / "out", ignore_errors=True)
        found.add(tally.count("odd arguments", not wrong), wrong, arguments, word)

    check()
    assert not found
