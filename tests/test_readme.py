"""What the README says that stands elsewhere is as it is there."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from aeattn.benchmarks.readme import (
    MISSING,
    PICTURE,
    UNDER_WAY,
    answer,
    bargain,
    clone,
    headline,
    measured,
    rivals,
    with_facts,
)
from aeattn.files import read_json
from aeattn.report.answer import answer as answer_of
from aeattn.report.data import load
from tests.compare.studied import made

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST = ROOT / "results" / "first"


def test_its_figures_are_those_of_the_records() -> None:
    assert with_facts(README, ROOT) == README, "run python -m aeattn.benchmarks.records --tables"
    assert re.findall(r"<!-- from (\S+) -->", README) == [
        "results/speed",
        "results/second",
        "results",
        "pyproject.toml",
        "results/first",
    ]


def test_no_other_figure_stands_in_it() -> None:
    """Beside versions, sizes of examples and settings, which code blocks and names in backquotes have."""
    text = re.sub(r"<!-- from .*?<!-- end -->", "", README, flags=re.DOTALL)
    text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
    assert re.findall(r"\d[\d.,]*\d|\d", text) == ["3.11"]


def test_the_repository_has_one_address() -> None:
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert f"git clone {urls['Repository']} &&" in (said := clone(ROOT / "pyproject.toml"))
    assert ("OWNER is the account" in said) == ("OWNER" in urls["Repository"])
    assert all(url.startswith(urls["Repository"]) for name, url in urls.items() if name != "Documentation")


def test_the_bargain_has_both_sides_and_conditions() -> None:
    comparison, found = load(ROOT / "results" / "second" / "cache"), bargain(measured(ROOT / "results"))
    known = comparison.summary
    assert known is not None
    ours, standard = (next(arm for arm in known.arms if arm.id == name) for name in ("deep-v", "standard"))
    assert f"| {standard.mean:.4f} | {ours.mean:.4f}<br>" in found
    theirs, own = (comparison.mean_kept_bytes(arm.id) or 0 for arm in (standard, ours))
    assert f"| {theirs:,.0f} | {own:,.0f}<br>" in found
    assert (standard.cost.cache_bytes, ours.cost.cache_bytes) == (int(theirs), int(own))
    speed = read_json(ROOT / "results" / "speed" / "generate.json", "record")
    curves = speed["long_context"]["curves"]
    at = speed["long_context"]["lengths"].index(8192)
    for name, end in (("standard attention, full cache", " |"), ("autoencoder, full cache", "<br>")):
        assert f"| {curves[name]['chars_per_second'][at]:,.0f}{end}" in found
    assert ("an earlier version of the decoding loop" in found) == ("engine" not in speed)
    numbers = {int(n) for n in re.findall(r"\[(\d)\] \|", found)}
    assert numbers == {int(n) for n in re.findall(r"^(\d)\. ", found, re.MULTILINE)} == {1, 2, 3, 4, 5}


def test_the_headline_has_the_figures_of_the_table() -> None:
    found = measured(ROOT / "results")
    said, table = headline(found), bargain(found)
    for line, form in (
        (2, "KV cache {}"),
        (3, "generating {}"),
        (4, "training {}"),
        (5, "nanoGPT: training {}"),
        (6, "{} with bfloat16"),
    ):
        cell = table.splitlines()[line + 1].split("<br>")[-1].removesuffix(" |")
        assert form.format(re.sub(r" \[.*\]", "", cell)) in said


def test_what_has_no_record_is_not_said(tmp_path: Path) -> None:
    assert headline(measured(tmp_path)) == ""
    found = bargain(measured(tmp_path))
    assert found.count(MISSING) == 6
    assert not re.search(r"\d,\d|\d\.\d", found.replace("8,192 in context", ""))


def test_an_answer_says_how_much_of_it_is_there() -> None:
    known = load(FIRST)
    assert known.summary is not None
    whole = answer(known)
    assert whole.startswith(f"**{answer_of(known)}**\n\n{known.summary.conditions}\n\nExploratory: no difference")
    assert whole.endswith(f"\n\n{PICTURE}")
    control = next(c for c in known.contrasts if c.id == "autoencoder-vs-bottleneck")
    assert f"\n\n{control.sentence}\n\n" in whole
    runs = replace(known.summary.runs, done=1, wanted=2)
    half = replace(known, summary=replace(known.summary, runs=runs))
    assert answer(half) == whole.replace("**\n\n", "**\n\nSo far, with 1 of 2 runs done.\n\n", 1)
    nothing = replace(known.summary, contrasts=tuple(replace(c, mean=None) for c in known.contrasts))
    assert "\n" not in answer(replace(known, summary=nothing))
    assert "There is no answer yet" in answer(replace(known, summary=None))


def test_the_study_says_what_it_found_or_that_it_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rivals(tmp_path / "second") == UNDER_WAY
    made("second-cache", tmp_path / "second" / "cache", monkeypatch)
    said = rivals(tmp_path / "second").split("\n\n")
    assert re.fullmatch(
        r"\*\*Deep autoencoder on v is better than standard attention by .* KV cache\.\*\*", said[0]
    )
    assert re.fullmatch(r"\[!\[Loss against .*\]\(docs/second/report\.svg\)\]\(docs/second/report\.md\)", said[1])
    assert "seeds" in said[2]
    assert said[3] == "[All of it](docs/second/report.md). To measure it again: `aeattn compare second-cache`."
    assert said[4].startswith("- Of 5 primary differences: ")
    assert len(said[4].split("\n")) == 1 + 5  # each difference
    assert all(line.startswith("- ") for line in said[4].split("\n"))


@pytest.mark.parametrize("name", ["idea"])
def test_pictures_are_those_that_are_drawn(name: str) -> None:
    drawn: dict[str, object] = {"__file__": str(ROOT / "tools" / "picture.py"), "__name__": "picture"}
    exec((ROOT / "tools" / "picture.py").read_text(encoding="utf-8"), drawn)
    assert (ROOT / "docs" / "pictures" / f"{name}.svg").read_text(encoding="utf-8") == drawn["picture"]()  # type: ignore[operator]
