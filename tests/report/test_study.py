"""The screening's page, a part of the second comparison, and the page of all its parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aeattn.benchmarks import steps, writing
from aeattn.benchmarks.arms import run
from aeattn.benchmarks.train import step_of
from aeattn.compare.declaration import read_declaration
from aeattn.compare.folder import Folder
from aeattn.compare.intervals import holm
from aeattn.compare.results import StepSpeeds, Summary
from aeattn.compare.study import joint, parts_of
from aeattn.compare.worker import environment
from aeattn.config.model import ModelConfig
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.errors import InputError
from aeattn.files import write_json
from aeattn.report.blocks import Figures, Samples, Table
from aeattn.report.claims import claim_blocks
from aeattn.report.data import load, on_frontier
from aeattn.report.overhead import with_steps
from aeattn.report.page import make_page, write_report
from aeattn.report.study import make_page as page_of
from tests.compare.studied import made


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        root = tmp_path_factory.mktemp("second")
        for part in ("cache", "overfit"):
            made(f"second-{part}", root / part, monkeypatch)
        yield root


def _summary(path: Path) -> Summary:
    values = json.loads((path / "summary.json").read_text())
    return Summary.from_dict(values, "summary")


def test_primary_contrasts_are_corrected_for_the_whole_study(study: Path) -> None:
    cache = [c for c in _summary(study / "cache").contrasts if c.primary]
    assert len(cache) == 5
    ps = [c.p_value for c in cache]
    assert [c.p_holm for c in cache] == pytest.approx(holm([*ps, 1.0, 1.0])[:5])
    together = [c for part in joint(parts_of(study)) for c in part if c.primary]
    assert [c.p_holm for c in together] == pytest.approx(holm([*(c.p_value for c in together), 1.0])[:6])
    deep = next(c for c in cache if (c.arm, c.than) == ("deep-v", "standard"))
    assert deep.verdict == "better"
    assert "Of 7 primary contrasts, whose intervals hold all at once: Holm's p is" in deep.sentence
    assert deep.two_way is not None
    assert (deep.two_way.seeds, deep.two_way.books) == (5, 16)
    low, high = deep.shown or (0.0, 0.0)
    assert low < deep.two_way.interval[0] < deep.two_way.mean < deep.two_way.interval[1] < high
    near = next(c for c in cache if (c.arm, c.than) == ("deep-v", "deep-v-linear"))
    assert near.verdict == "better"
    gap = next(c for c in _summary(study / "overfit").contrasts if c.primary)
    assert gap.measure == "beyond_gap"
    assert gap.two_way is not None
    assert gap.two_way.books == 5
    exploratory = next(c for c in _summary(study / "cache").contrasts if not c.primary)
    assert exploratory.sentence.startswith("Exploratory: ")
    assert exploratory.p_holm is None


def test_a_part_has_its_frontier_and_a_verdict_for_each_claim(study: Path) -> None:
    page = make_page(study / "cache")
    sections = {section.title: section for section in page.sections}
    claims = sections["Published claims"].blocks[1]
    assert {row[0].text: row[2].text for row in claims.rows}["works"] == "holds"  # type: ignore[union-attr]
    table = next(block for block in sections["Variants"].blocks if isinstance(block, Table))
    at = list(table.columns).index("#KV-cache bytes a token")
    rows = {row[0].text: row for row in table.rows}
    assert rows["multi-query attention"][at].text == "769"
    assert rows["autoencoder on k and v"][at].text == rows["latent attention"][at].text == "817"
    assert table.columns[-1] == "on the frontier"
    assert table.columns[2] == "#minus standard attention"
    assert rows["grouped-query attention"][2].text.startswith("+")
    assert rows["deep autoencoder on v"][-1].text == "yes"
    said = " ".join(block.text for block in sections["Variants"].blocks if block.kind == "text")  # type: ignore[union-attr]
    assert "has not been measured" in said


def test_differences_of_one_measure_say_what_they_are_from(study: Path) -> None:
    hero = make_page(study / "overfit").hero
    assert hero is not None
    assert hero.figures[0].title == (
        "Differences in gap between other text of the training authors and the training text"
    )
    for svg in (hero.figures[0].svg, hero.figures[0].narrow):
        assert ">minus standard attention<" in str(svg)
        assert ">minus linear bottleneck on q, k and v<" in str(svg)
        assert "nats/char<" in str(svg)


def test_the_page_of_a_study_has_all_its_parts(study: Path, tmp_path: Path) -> None:
    paths = write_report(study, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert [path.name for path in paths] == ["report.html", "report.md", "report.svg"]
    assert text.split("\n\n")[2].startswith("**Deep autoencoder on v is better than standard attention by 0.0")
    assert "with 25 % of its KV cache.**" in text
    assert "Of 6 primary differences: " in text
    assert text.count("Holm's correction counts 7 primary contrasts, whose intervals") == 1  # of both parts
    assert "cache: Found at " in text
    assert "overfit: Found at " in text
    assert "no difference found." not in text.split("\n\n")[2]
    assert "Holm's correction counts 7 primary differences, of which 6 are known" in text
    for claim in ("works", "less is more", "sparser", "efficient", "overhead"):
        assert f"| {claim} |" in text
    evidence = next(block for section in page_of(study).sections for block in section.blocks
                    if isinstance(block, Table) and block.title == "What the verdicts follow from")  # fmt: skip
    cells = [[cell.text for cell in row] for row in evidence.rows]
    assert ["works", "deep autoencoder on v", "standard attention", "test loss"] in [row[:4] for row in cells]
    bytes_kept = next(row for row in cells if row[:2] == ["efficient", "deep autoencoder on v"])
    assert bytes_kept[4] == "-2,304 bytes a token"  # with every seed


def test_a_screening_claims_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made("screening", tmp_path / "screening", monkeypatch)
    page = make_page(folder.path)
    assert page.answer == "A screening makes no claims: it says which variants deserve a comparison."
    assert "Differences" not in [section.title for section in page.sections]
    table = next(block for block in page.sections[0].blocks if isinstance(block, Table))
    losses = [float(row[1].text.split()[0]) for row in table.rows]
    assert losses == sorted(losses)
    assert len(losses) > 25
    ranking = next(block for block in page.sections[0].blocks if isinstance(block, Figures)).figures[0]
    ranked = [said.split(": ")[1].split()[0] for said in ranking.alt.split("; ")]
    assert ranked == [row[1].text.split()[0] for row in table.rows]


def test_where_variants_are_many_pictures_tell_a_few_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made("screening", tmp_path / "screening", monkeypatch)
    comparison = load(folder.path)
    page = make_page(folder.path)
    best = {row[0].text for block in page.sections[0].blocks if isinstance(block, Table)
            for row in block.rows if row[-1].text == "yes"}  # fmt: skip
    assert best
    legend = {name for name, _ in (page.hero.figures[0].legend if page.hero else ())}
    assert legend == {"standard attention", *best}
    styles = [comparison.series(arm) for arm in comparison.arms]
    assert [style for style in styles if style is not None] == list(range(len(legend)))
    samples = [block for section in page.sections for block in section.blocks if isinstance(block, Samples)]
    assert len(samples) <= len(legend)


def test_the_frontier_joins_what_nothing_beats_in_both() -> None:
    points = {"a": (10.0, 1.3), "b": (20.0, 1.2), "c": (20.0, 1.25), "d": (30.0, 1.2), "e": (5.0, 1.4)}
    assert on_frontier(points, least=True) == ["e", "a", "b"]
    assert on_frontier(points, least=False) == ["d"]


def test_how_fast_arms_write_is_measured_and_shown(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "pick", lambda *_: "simple")
    small = ModelConfig(vocab_size=49, d_model=16, n_layers=1, n_heads=2, d_ff=8, bottleneck=4, context=32)
    found = writing.measure({"deep-v": small, "standard": small}, context=48, chars=4, rounds=1)
    assert found.arms["deep-v"].cache == "latent"
    assert 0 < found.arms["deep-v"].slowest <= found.arms["deep-v"].chars_per_second
    path = Folder(study / "cache").writing
    write_json(path, found.to_dict())
    try:
        variants = make_page(study / "cache").sections[0].blocks
    finally:
        path.unlink()
    table = next(block for block in variants if isinstance(block, Table))
    assert "#chars/s generated" in table.columns
    titles = [figure.title for block in variants if isinstance(block, Figures) for figure in block.figures]
    assert titles == ["Loss against chars/s generated at 8,192 characters of context"]


def test_how_fast_arms_train_is_measured_and_decides_what_runs_left_open(study: Path) -> None:
    small = ModelConfig(vocab_size=49, d_model=16, n_layers=1, n_heads=2, d_ff=8, bottleneck=4, context=32)
    settings = TrainingConfig(batch=2, accumulate=3, compile="off")
    found = steps.measure({"deep-v": RunConfig(small, settings, DataConfig())}, rounds=2)
    assert all(rate > 0 for rate in found.arms["deep-v"])
    assert step_of(RunConfig(small, settings, DataConfig())).work() == 2 * 3 * 32

    comparison = load(study / "cache")
    speed = [c for c in comparison.contrasts if c.measure == "chars_per_second"]
    shared = [replace(c, verdict="not comparable", mean=None, interval=None, simultaneous=None) for c in speed]
    assert with_steps(shared, None) == (shared, [])
    machine = [1.0, 3.0, 0.5, 2.0] * 5  # how fast it is in each round
    rates = {"standard": [110 * m for m in machine], "deep-v": [100 * m for m in machine]}
    timed, notes = with_steps(shared, StepSpeeds({id: tuple(r) for id, r in rates.items()}, found.environment))
    deep, narrow = ({c.arm: c for c in timed}[id] for id in ("deep-v", "autoencoder-kv"))
    assert (deep.verdict, deep.center) == ("worse", -15)
    assert deep.shown == (-20, -10)
    assert narrow.verdict == "not comparable"
    assert "20 steps of each variant" in notes[0]
    path = Folder(study / "cache").steps
    write_json(path, StepSpeeds({"deep-v": (2.0, 3.0), "standard": (3.0, 4.0)}, found.environment).to_dict())
    try:
        costs = next(s for s in make_page(study / "cache").sections if s.title == "Cost of training").blocks
    finally:
        path.unlink()
    table = next(block for block in costs if isinstance(block, Table))
    assert table.columns[-1] == "#chars/s of steps in turn"
    assert sorted(row[-1].text for row in table.rows if row[-1].text != "-") == ["2", "4"]


def test_steps_that_were_not_taken_in_turn_decide_nothing(study: Path) -> None:
    path = Folder(study / "cache").steps
    write_json(path, StepSpeeds({"deep-v": (2.0, 3.0), "standard": (3.0,)}, environment()).to_dict())
    try:
        comparison = load(study / "cache")
    finally:
        path.unlink()
    assert comparison.steps is None
    assert f"{path} has more rounds of some arms than of others: measure again" in comparison.problems


def test_steps_of_subwords_are_refused(study: Path) -> None:
    declared = read_declaration(Folder(study / "cache"))
    arm = declared.arms[0]
    subwords = replace(arm, config={**arm.config, "data": {**arm.config["data"], "tokenizer": "bpe:1024"}})
    arms = (subwords, *declared.arms[1:])
    with pytest.raises(InputError, match=f"subwords are read by {arm.id}: name a comparison of characters"):
        steps.main(Folder(study / "cache"), replace(declared, arms=arms))
    assert not Folder(study / "cache").steps.exists()


def test_benchmarks_of_arms_want_the_folder_of_a_comparison(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms: list[str] = []
    assert run(lambda _, declaration: arms.extend(arm.id for arm in declaration.arms), [str(study / "cache")]) == 0
    assert "deep-v" in arms
    assert run(lambda *_: None, []) == 2
    assert capsys.readouterr().err == "name the folder of one comparison, such as results/second/cache\n"
    assert run(lambda *_: None, [str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_where_nothing_bears_on_a_published_claim_none_is_shown() -> None:
    assert claim_blocks([]) == []
