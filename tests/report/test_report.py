"""The report: everything that it must hold, from whole, partial and hostile folders."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from aeattn.analysis.results import RunAnalysis, Snapshot
from aeattn.cli import main
from aeattn.compare.records import Point
from aeattn.compare.results import ContrastResult
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig, weight_of_new
from aeattn.data.tokenizer import CharTokenizer
from aeattn.nn.size import size
from aeattn.report import write_report
from aeattn.report.answer import answer, detail
from aeattn.report.attention import NAMES, attention_blocks
from aeattn.report.blocks import Cell, Figures, Page, Samples, Section, Table, Text, to_markdown
from aeattn.report.charts import curve, learning_curves, whole_text
from aeattn.report.curve import ALIKE, TRAIN, draw, learning_curve, recent
from aeattn.report.data import load, over_seeds
from aeattn.report.forest import contrast_row, forest_figures
from aeattn.report.maps import map_figure
from aeattn.report.page import make_page
from aeattn.report.snapshots import at_loss
from aeattn.report.svg import Chart, Scale, alike, short, spread
from aeattn.runs.folder import RunFolder
from tests.compare.made_up import ARMS, HOSTILE, STEPS, make, measured, with_gini
from tests.conftest import tiny_config

SECTIONS = ["Variants", "Learning curves", "Differences", "Cost of training", "Learning rates",
            "What attention does", "Samples", "Pre-registered", "Protocol", "Records"]  # fmt: skip
BRIEF = ["Variants", "Learning curves", "Pre-registered", "Caveats"]  # in Markdown


class Reader(HTMLParser):
    """What is in a page: tags with their attributes, and the text of each heading."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _report(folder: Path) -> tuple[Reader, str, str]:
    html, markdown, *_ = write_report(folder)
    return Reader(html.read_text(encoding="utf-8")), html.read_text(encoding="utf-8"), markdown.read_text("utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reader, str, str]:
    folder = make(tmp_path_factory.mktemp("report") / "whole").path
    return folder, *_report(folder)


def test_the_answer_comes_first_and_every_section_is_there(whole: tuple[Path, Reader, str, str]) -> None:
    _, reader, html, markdown = whole
    answer = json.loads((whole[0] / "summary.json").read_text())["answer"]
    first, then = html.split("</section>")[:2]
    assert answer[1:] in first
    assert first.index('<p class="answer">') < first.index("<svg") < first.index(answer[1:])
    assert "<table" in then
    assert [text for text in reader.text["h2"] if text in SECTIONS] == SECTIONS
    assert [line[3:] for line in markdown.splitlines() if line.startswith("## ")] == BRIEF
    assert answer[1:] in markdown


def test_the_answer_is_one_sentence_of_25_words_with_the_cache_beside_it(tmp_path: Path) -> None:
    comparison = load(make(tmp_path / "c").path)
    said = answer(comparison)
    assert said.startswith("No difference between autoencoder on q, k and v and") or " than standard" in said
    assert "with 25 % of its KV cache." in said
    assert len(said.split()) <= 25
    long = replace(
        comparison.contrasts[0], labels=("a variant with a name of very many words, " * 3, "another one")
    )
    assert comparison.summary is not None
    wordy = replace(comparison, summary=replace(comparison.summary, contrasts=(long,)))
    assert "KV cache" not in answer(wordy)
    several = replace(
        comparison.summary, contrasts=(replace(long, verdict="worse"), replace(long, verdict="better"))
    )
    assert answer(replace(comparison, summary=several)) == "Of 2 primary differences: 1 worse, 1 better."


def test_the_answer_of_several_is_the_difference_from_the_first_variant(tmp_path: Path) -> None:
    comparison = load(make(tmp_path / "c").path)
    assert comparison.summary is not None
    primary, first = comparison.contrasts[0], comparison.arms[0].id
    assert primary.than == first
    another = replace(primary, than="another", verdict="worse")
    both = replace(comparison, summary=replace(comparison.summary, contrasts=(another, primary)))
    assert answer(both) == answer(comparison)
    assert len(answer(both).split()) <= 25
    assert detail(both)[0].startswith("Of 2 primary differences: ")
    neither = replace(comparison, summary=replace(comparison.summary, contrasts=(another, another)))
    assert answer(neither) == "Of 2 primary differences: 2 worse."
    assert len(detail(neither)) == 2


def test_ticks_of_an_axis_have_decimals_alike_and_a_short_logarithmic_axis_has_enough() -> None:
    assert alike([1.38, 1.4, 1.42]) == ["1.38", "1.40", "1.42"]
    assert alike([-0.5, 0.0, 1000.0]) == ["\u22120.5", "0.0", "1,000.0"]
    assert alike([5_000.0, 20_000.0]) == ["5,000", "20k"]
    assert Scale(688, 3430, 0, 300, log=True).ticks() == [700, 1000, 1500, 2000, 3000]
    assert Scale(1, 1000, 0, 300, log=True).ticks() == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]


def test_which_way_is_better_is_written_at_the_ends_of_each_axis(whole: tuple[Path, Reader, str, str]) -> None:
    comparison = load(whole[0])
    losses, speeds = forest_figures(comparison, comparison.contrasts, comparison.groups[0])
    for figure, ends in ((losses, ("better", "worse")), (speeds, ("worse", "better"))):
        for svg in (figure.svg, figure.narrow):
            assert re.findall(r">\u2190 (\w+)<.*>(\w+) \u2192<", str(svg)) == [ends]
        assert figure.alt.startswith(f"Left is {ends[0]}, right is {ends[1]}. ")
    assert "minus standard attention" in str(losses.svg)
    assert " less " not in str(losses.svg)


def test_names_do_not_stand_on_the_zero_line_of_a_narrow_picture(whole: tuple[Path, Reader, str, str]) -> None:
    comparison = load(whole[0])
    svg = str(forest_figures(comparison, comparison.contrasts, comparison.groups[0])[0].narrow)
    lines = [tuple(map(float, ends)) for ends in re.findall(r'class="zero" d="M[\d.]+ ([\d.]+)V([\d.]+)"', svg)]
    heights = [float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)" class="(?:name|under|figure)', svg)]
    assert len(lines) == 3
    assert not [y for y in heights for top, bottom in lines if top <= y - 4 <= bottom]


def test_the_first_table_has_loss_cache_and_speed(whole: tuple[Path, Reader, str, str]) -> None:
    table = next(b for b in make_page(whole[0]).sections[0].blocks if isinstance(b, Table))
    assert table.columns[:5] == [
        "variant", "#nats/char", "#minus standard attention", "#KV-cache bytes a token", "#training chars/s"
    ]  # fmt: skip
    kept = {row[0].text: row[3].value for row in table.rows}
    assert kept == {label: 3072 if label == "standard attention" else 768 for label, _, _ in ARMS.values()}
    assert table.cards


def test_no_picture_is_shown_twice_and_none_is_empty(whole: tuple[Path, Reader, str, str]) -> None:
    drawn = re.findall(r"<svg [^>]*role=\"img\".*?</svg>", whole[2], flags=re.DOTALL)
    bodies = [re.sub(r'(id|labelledby|path)="[^"]*"', "", svg) for svg in drawn]
    assert len(set(bodies)) == len(bodies)
    assert all(re.search(r'class="(dot|map|band)', svg) for svg in drawn)


def test_nothing_comes_from_outside(whole: tuple[Path, Reader, str, str]) -> None:
    _, reader, html, _ = whole
    policy = next(a["content"] for a in reader.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not [a for _, a in reader.tags if {"src", "style", "onclick", "onerror"} & set(a)]
    assert all(str(a["href"]).startswith("#") for a in reader.all("a"))
    assert not {"link", "img", "iframe", "object", "form"} & {tag for tag, _ in reader.tags}
    assert not re.search(r"https?://", html)
    assert "@import" not in html
    assert "url(" not in html.replace("url(#clip", "")


def test_links_lead_to_sections_and_ids_are_unique(whole: tuple[Path, Reader, str, str]) -> None:
    _, reader, _, _ = whole
    ids = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {str(a["href"])[1:] for a in reader.all("a")} <= set(ids)
    named = [name for a in reader.all("svg") for name in str(a.get("aria-labelledby") or "").split()]
    assert set(named) <= set(ids)


def test_every_picture_has_alternative_text(whole: tuple[Path, Reader, str, str]) -> None:
    _, reader, html, _ = whole
    pictures = [a for a in reader.all("svg") if a.get("aria-hidden") != "true"]
    assert len(pictures) > 12
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in pictures)
    descriptions = re.findall(r"<desc[^>]*>(.*?)</desc>", html)
    assert len(descriptions) == len(pictures)
    assert all(len(text) > 20 for text in descriptions)


def test_the_first_picture_is_a_file_of_its_own(whole: tuple[Path, Reader, str, str]) -> None:
    root = ElementTree.parse(whole[0] / "report.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = "".join(root.itertext())
    assert all(label in words for label, _, _ in ARMS.values())
    assert "--card" in words
    addresses = {value for element in root.iter() for name, value in element.attrib.items() if "href" in name}
    assert not addresses


def test_the_markdown_is_short_and_its_pictures_are_files_beside_it(whole: tuple[Path, Reader, str, str]) -> None:
    folder, _, _, markdown = whole
    tables = [line for line in markdown.splitlines() if re.fullmatch(r"(\|(---|--:))+\|", line)]
    assert len(tables) == 2
    assert len(markdown) < 6000
    assert "(report.html)" in markdown
    pictures = re.findall(r"^!\[(.*)\]\(([\w-]+\.svg)\)$", markdown, flags=re.MULTILINE)
    assert [name for _, name in pictures] == [
        "report.svg", "report-loss-bytes.svg", "report-curves-training.svg", "report-curves-half.svg"
    ]  # fmt: skip
    for alt, name in pictures:
        assert len(alt) > 20
        root = ElementTree.parse(folder / name).getroot()
        words = "".join(root.itertext())
        assert all(label in words for label, _, _ in ARMS.values())  # the legend, where there is one


@pytest.mark.parametrize(("chars", "halves"), [(25_000, 1), (10_000, 0)])
def test_a_second_half_is_drawn_where_arms_can_be_compared_in_it(tmp_path: Path, chars: int, halves: int) -> None:
    folder = make(tmp_path / "made", arms=("standard", "bottleneck"), analysed=())
    for record in folder.read_records():
        if record.arm == "standard":
            shorter = tuple(msgspec.structs.replace(p, chars=p.step * chars) for p in record.curve)
            folder.write_record(replace(record, curve=shorter))
    found = learning_curves(load(folder.path))
    assert found is not None
    assert sum("second half" in figure.title for figure in found.figures) == halves


def test_every_record_and_every_arm_is_named(whole: tuple[Path, Reader, str, str]) -> None:
    folder, _, html, markdown = whole
    names = [path.stem for path in (folder / "records").glob("*.json")]
    assert len(names) == len(ARMS) * (6 + 3)
    for name in names:
        assert name in html
    assert all(label in markdown for label, _, _ in ARMS.values())
    assert "failed (diverged): loss is nan at step 12" in html


def test_the_same_folder_makes_the_same_report(whole: tuple[Path, Reader, str, str]) -> None:
    folder, _, html, markdown = whole
    assert _report(folder)[1:] == (html, markdown)


CASES: dict[str, dict[str, Any]] = {
    "one seed": {"seeds": (1,)},
    "no analysis": {"analysed": ()},
    "several": {
        "matchings": ("parameters", "width"),
        "sizes": ("460k", "120k"),
        "seeds": (1, 2),
        "arms": ("standard", "autoencoder"),
    },
    "one arm": {"arms": ("standard",)},
    "two seeds": {"seeds": (3, 4), "arms": ("standard", "autoencoder")},
}


@pytest.mark.parametrize("case", CASES)
def test_other_comparisons(case: str, tmp_path: Path) -> None:
    reader, html, _ = _report(make(tmp_path / "c", **CASES[case]).path)
    assert [text for text in reader.text["h2"] if text in SECTIONS] == [
        name for name in SECTIONS if not (name == "Differences" and case == "one arm")
    ]
    assert "nan" not in " ".join(str(a) for name, a in reader.tags if name in ("path", "polyline", "text"))
    assert ("one seed" in html) == (case == "one seed")
    assert ("was not measured in these runs" in html) == (case == "no analysis")
    assert ("Loss over size" in html) == (case == "several")


def test_partial_folders(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", seeds=(1, 2))
    for path in (folder.summary, folder.toml):
        path.unlink()
    next(folder.records.glob("final-*")).write_text("{torn")
    next(folder.analysis.glob("*")).write_text("[]")
    _, html, markdown = _report(folder.path)
    assert "Nothing has been concluded yet: run aeattn compare." in html
    made = make_page(folder.path)
    assert "7 of 8 final runs done" in made.facts
    for text in ("There is no answer yet", "is damaged"):
        assert text in html
        assert text in markdown


def test_a_folder_that_has_only_been_declared(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", seeds=(1,))
    for path in [*folder.records.iterdir(), *folder.analysis.iterdir(), folder.summary]:
        path.unlink()
    reader, html, _ = _report(folder.path)
    assert "There are no records yet" in html
    assert {"Variants", "Pre-registered", "Protocol"} <= set(reader.text["h2"])
    assert not reader.all("svg")


def test_failed_runs_are_not_averaged(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", seeds=(1, 2, 3))
    path = folder.record_path("final-standard-seed3")
    values = json.loads(path.read_text())
    path.write_text(
        json.dumps({**values, "status": "failed", "failure": "diverged", "valid": {"nats_per_char": 99}})
    )
    material = load(folder.path)
    assert [record.seed for record in material.finals("standard")] == [1, 2]
    _, html, _ = _report(folder.path)
    assert "99.0" not in html


def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", seeds=(1, 2), hostile=True)
    reader, html, markdown = _report(folder.path)
    assert len(reader.all("script")) == 1
    assert not reader.all("img")
    assert "&lt;script&gt;alert(&#39;x&#39;)" in html
    for text in (html, markdown):
        assert "\x1b" not in text
        assert "\u202e" not in text
    title = markdown.splitlines()[0]
    assert "\\<script>" in title
    samples = to_markdown(Page("p", "", "", None, [], [], [Section("S", [Samples("t", [("h", HOSTILE)])], True)]))
    fenced = re.findall(r"^(`{3,})\n(.*?)\n\1$", samples, flags=re.DOTALL | re.MULTILINE)
    assert any(HOSTILE[:30] in text and len(fence) == 4 for fence, text in fenced)


def test_a_run_folder_has_a_report_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(RunConfig(tiny_config(), TrainingConfig(), DataConfig()), CharTokenizer("abcdefghijk"), {})
    for step in (2, 4):
        losses = {"train_nats": 3.0 / step, "valid_nats": 3.1 / step, "valid_chars": 99}
        run.append_metrics({"step": step, "chars": 64 * step, "seconds": 0.1, **losses})
        run.append_sample(step, HOSTILE)
    capsys.readouterr()
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    written = [tmp_path / "out" / f"report.{kind}" for kind in ("html", "md", "svg")]
    assert capsys.readouterr().out.split() == [str(path) for path in written]
    html = (tmp_path / "out" / "report.html").read_text()
    assert "Validation loss 0.7750 nats/char after 256 characters, with " in html
    assert "0.7750 nats/char is 1.1181 bits/char, over 99 characters, after 4 steps." in html
    assert "&lt;script&gt;alert" in html
    assert "after 4 steps" in html


def test_the_page_of_a_run_says_what_it_was_and_what_it_attends_to(tmp_path: Path) -> None:
    from aeattn.nn.transformer import LanguageModel
    from aeattn.runs.weights import to_bytes

    run, tokenizer = RunFolder(tmp_path / "run"), CharTokenizer("abcdefghijk")
    config = RunConfig(replace(tiny_config(), vocab_size=11), TrainingConfig(), DataConfig(("tales",)))
    text = {"train": {"chars": 5000, "sha256": ""}, "valid": {"chars": 400, "sha256": ""}}
    run.create(config, tokenizer, {"cpu": "a processor", "threads": 3, "text": text})
    run.append_metrics({"step": 2, "chars": 6000, "seconds": 3.0, "train_nats": 2.0, "valid_nats": 2.1})
    run.append_sample(2, "abcabcdeabc" * 10)
    run.publish(to_bytes(LanguageModel(config.model).state_dict()))
    run.unlock()
    page = make_page(run.path)
    facts = {row[0].text: row[1].text for row in page.sections[0].blocks[0].rows}  # type: ignore[union-attr]
    assert facts["parameters"] == f"{size(config.model).parameters:,}"
    assert facts["text"] == "tales: 5,000 characters to train on, 400 characters to validate on"
    assert facts["training speed"] == "2,000 chars/s, 3 seconds in all"
    assert facts["machine"] == "a processor, 3 threads"
    assert f"{size(config.model).cache_bytes:,} bytes a token in float32" in facts["KV cache"]
    assert len(page.answer.split()) <= 25
    [maps] = [block for block in page.sections[1].blocks if isinstance(block, Figures)]
    heads = config.model.n_layers * config.model.n_heads
    shown = "abcabcdeabc" * 10
    assert str(maps.figures[0].svg).count(f">{shown[: min(40, config.model.context)]}<") == 2 * heads
    run.model.write_bytes(b"torn")
    assert "Attention is not shown: " in make_page(run.path).notes[0]


def test_the_training_loss_is_shown_since_the_point_before() -> None:
    losses, smooth, points = [3.0 - step / 100 for step in range(200)], 0.0, []
    for step, nats in enumerate(losses, start=1):
        smooth += weight_of_new(step - 1) * (nats - smooth)
        if step % 20 == 0:
            points.append(Point(step, 100 * step, 0.1, smooth))
    found = recent(points)
    assert [chars for chars, _ in found] == [20 * 100 * i / 1e6 for i in range(1, 11)]
    for i, (_, nats) in enumerate(found):
        part = losses[20 * i : 20 * (i + 1)]
        assert min(part) < nats < np.mean(part) + 1e-9  # later updates weigh more
    assert found[0][1] == pytest.approx(np.mean(losses[:20]))
    assert smooth > losses[160]  # which was shown before
    assert len(recent([Point(step, step, 0.1, 2.0) for step in range(1, 401)])) == 40
    assert all(nats == pytest.approx(2.0) for _, nats in recent([Point(s, s, 0.1, 2.0) for s in range(1, 401)]))


def test_bad_folders_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    broken = make(tmp_path / "c", seeds=(1,), analysed=())
    broken.spec.write_text('{"format": 1, "arms": 3}')
    newer = make(tmp_path / "n", seeds=(1,), analysed=())
    newer.spec.write_text('{"format": 99}')
    for folder, message in (
        (tmp_path / "nowhere", "neither a comparison nor a run folder"),
        (tmp_path / "empty", "neither a comparison nor a run folder"),
        (broken.path, "is damaged"),
        (newer.path, "update aeattn"),
    ):
        capsys.readouterr()
        assert main(["report", str(folder)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1
    (tmp_path / "file").write_text("")
    good = make(tmp_path / "g", seeds=(1,), analysed=())
    assert main(["report", str(good.path), "--out", str(tmp_path / "file")]) == 2


# -- colours -------------------------------------------------------------------------------------------------


def _schemes() -> dict[str, dict[str, str]]:
    """The colours of each scheme: light, dark, and on paper."""
    texts = [(files("aeattn.report") / "assets" / name).read_text() for name in ("chart.css", "report.css")]
    blocks = [block for text in texts for block in re.findall(r":root \{(.*?)\}", text, flags=re.DOTALL)]
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block)) for block in blocks]
    return dict(zip(("light", "dark", "paper"), [colours for colours in found if "ink" in colours], strict=True))


def _contrast(one: str, other: str) -> float:
    """That of WCAG 2.2."""
    lights = []
    for colour in (one, other):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "paper"])
def test_colours_have_the_contrast_that_wcag_asks_for(scheme: str) -> None:
    assert _contrast("#000", "#ffffff") == pytest.approx(21)
    colours = _schemes()[scheme]
    for text in ("ink", "soft", "accent"):
        for ground in ("paper", "card", "warm", "shade"):
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for series in (*(f"c{i}" for i in range(8)), "warm-line" if scheme != "paper" else "soft"):
        assert _contrast(colours[series], colours["card"]) >= 3, series


# -- figures -------------------------------------------------------------------------------------------------


def test_curves_are_means_over_the_evaluations_that_all_seeds_have(tmp_path: Path) -> None:
    material = load(make(tmp_path / "c", seeds=(1, 2, 3)).path)
    runs = material.finals("standard")
    runs[0] = replace(runs[0], curve=(runs[0].curve[0], *runs[0].curve[2:]))
    points = curve(runs)
    assert [point.at for point in points] == [s * 40_000 for s in STEPS if s != STEPS[1]]
    last = [record.curve[-1].valid_nats or 0.0 for record in runs]
    assert points[-1].nats == pytest.approx(np.mean(last))
    low, high = points[-1].interval or (0.0, 0.0)
    half = 4.302653 * np.std(last, ddof=1) / np.sqrt(3)  # Student's t with two degrees of freedom
    assert (high - low) / 2 == pytest.approx(half, rel=1e-5)


def test_figures_over_seeds() -> None:
    assert over_seeds([]) == (None, None)
    assert over_seeds([None, 2.0]) == (2.0, None)


def test_at_equal_loss_is_between_the_checkpoints_around_it() -> None:
    ginis = [(2.0, 10.0), (1.5, 20.0), (1.0, 40.0)]
    at = tuple(Snapshot(i, nats, with_gini(gini)) for i, (nats, gini) in enumerate(ginis))
    analysis, gini = RunAnalysis("a", "00", at), "attention.gini"
    assert at_loss(analysis, 1.75, gini) == pytest.approx(15.0)
    assert at_loss(analysis, 1.1, gini) == pytest.approx(36.0)
    assert at_loss(analysis, 1.0, gini) == pytest.approx(40.0)
    assert at_loss(analysis, 0.9, gini) is None
    assert at_loss(analysis, 2.5, gini) is None
    assert at_loss(analysis, 1.5, "attention.entropy") is None
    assert at_loss(replace(analysis, at=(*at, Snapshot(3, None, with_gini(50.0)))), 1.1, gini) == pytest.approx(
        36.0
    )


def test_every_head_and_code_arm_against_arm(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", seeds=(1, 2, 3), arms=("standard", "autoencoder"))
    material = load(folder.path)
    tables = {t.title: t for t in attention_blocks(material) if isinstance(t, Table)}
    ends = tables["Attention at the end of training (equal steps)"]
    assert list(ends.columns) == ["measure", "#standard attention", "#autoencoder on q, k and v"]
    assert [row[0].text for row in ends.rows] == ["seeds", *NAMES.values()]
    first = [
        [json.loads((folder.analysis / f"final-{arm}-seed{seed}.json").read_text()) for seed in (1, 2, 3)]
        for arm in ("standard", "autoencoder")
    ]
    ginis = np.array(
        [[run["at"][-1]["measured"]["layers"][1]["heads"][2]["gini"] for run in runs] for runs in first]
    )
    heads = tables["Every head"]
    [row] = [row for row in heads.rows if row[0].text == "autoencoder on q, k and v" and row[1].text == "2/3"]
    assert row[2 + list(NAMES).index("gini")].value == pytest.approx(ginis[1].mean())
    paired = {(r[2].text, r[3].text): r for r in tables["Every head, variant minus variant, paired by seed"].rows}
    assert set(paired) == {(f"{i}/{j}", at) for i in (1, 2) for j in (1, 2, 3) for at in ("steps", "loss")}
    difference = paired["2/3", "steps"][4 + list(NAMES).index("gini")]
    assert difference.value == pytest.approx((ginis[1] - ginis[0]).mean())
    assert "[" in difference.text
    codes = tables["Every code, variant minus variant, paired by seed"]
    assert [row[2].text for row in codes.rows if row[3].text == "steps"] == [
        "1/key",
        "1/value",
        "2/key",
        "2/value",
    ]
    assert codes.rows[0][4].value == pytest.approx(0.2)  # effective rank, as it was made up
    assert codes.rows[0][7].text == "-"


def test_a_map_has_its_characters_and_its_weights() -> None:
    inspected = measured(0.5, np.random.default_rng(0), maps=True)
    assert inspected.maps is not None
    figure = map_figure("a run", inspected.maps)
    assert figure is not None
    svg = str(figure.svg)
    assert svg.count('class="map"') == 2 * 3
    assert svg.count(">once\u2423upon\u2423a\u2423time\u2423the<") == 2 * 2 * 3  # above each and left of each
    assert all(packed in svg for layer in inspected.maps.weights for packed in layer)
    assert "layer 2, head 3" in svg
    assert "2 layers of 3 heads on the passage \u201conce upon a time the\u201d" in figure.alt
    assert map_figure("damaged", replace(inspected.maps, weights=(("AAAA",),))) is not None
    assert map_figure("damaged", replace(inspected.maps, weights=(("?",),))) is None


def test_a_map_of_subwords_has_its_tokens() -> None:
    inspected = measured(0.5, np.random.default_rng(0), maps=True)
    assert inspected.maps is not None
    tokens = ("once", " upon", *("a<b", "unforgettable") * 9)
    figure = map_figure("a run", replace(inspected.maps, text="".join(tokens), tokens=tokens))
    assert figure is not None
    svg = str(figure.svg)
    assert svg.count(">\u2423upon<") == svg.count(">once<") == 2 * 2 * 3
    assert svg.count(">a&lt;b<") == svg.count(">unforge\u2026<") == 9 * 2 * 2 * 3
    assert 'class="chars"' not in svg
    of_another = map_figure("a run", replace(inspected.maps, tokens=tokens[1:]))
    assert of_another is not None
    assert 'class="token"' not in str(of_another.svg)


def test_percent_of_what_is_negative_keeps_its_direction() -> None:
    negative = ContrastResult(
        id="a-vs-b", arm="a", than="b", measure="attention.gini", matching="width", size=None, primary=False,
        claim=None, labels=("a", "b"), unit="", n=2, seeds=(1, 2), lost=0, differences={}, mean=-0.002,
        interval=None, p=None, baseline=-0.02, bootstrap=None, percent_perplexity=None, paired_batches=True,
        verdict="no difference found", simultaneous=(-0.01, 0.006),
    )  # fmt: skip
    row = contrast_row(negative)
    assert row.mean == pytest.approx(-10.0)
    assert row.interval == pytest.approx((-50.0, 30.0))
    in_nats = contrast_row(replace(negative, measure="gap"))
    assert (in_nats.mean, in_nats.interval) == (-0.002, (-0.01, 0.006))
    assert in_nats.under == "minus b: validation minus training loss"


def test_scales() -> None:
    assert Scale(0, 10, 100, 200)(2.5) == 125
    assert Scale(1, 100, 0, 1, log=True)(10) == pytest.approx(0.5)
    assert Scale(3, 3, 0, 10)(3) == 5
    assert spread([]) == (0.0, 1.0)
    low, high = spread([2.0, 2.0])
    assert low < 2 < high
    ticks = Scale(0.97, 2.03, 0, 1).ticks()
    assert min(ticks) >= 0.97
    assert max(ticks) <= 2.03
    assert [short(v) for v in (20_000, 3.5e6, -0.02, 5.8e13)] == ["20k", "3.5M", "\u22120.02", "58T"]


def test_charts_are_clipped_to_a_rectangle() -> None:
    svg = str(Chart("a title", "what it shows", (0, 1), (0, 1), "x", "y").render())
    left, _, right, _, end = re.findall(r"[\d.]+", svg.split('<path d="')[1].split('"')[0])
    assert left == end
    assert float(left) < float(right)


def test_markdown_keeps_cells_apart() -> None:
    table = Table("t", ["a", "#b"], [[Cell("x | y\nz"), Cell("1", 1.0)]])
    text = to_markdown(Page("p", "", "", None, [], [], [Section("S", [table, Text("w", ["i"])], True)]))
    assert "| x \\| y z | 1 |" in text
    assert "|---|--:|" in text
    assert "- i" in text


def test_runs_that_read_another_text_are_pointed_out(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", seeds=(1, 2))
    assert "Not all runs were measured on the same text" not in _report(folder.path)[1]
    path = next(folder.analysis.glob("final-standard-*"))
    path.write_text(path.read_text().replace('"digest": "d"', '"digest": "other"'))
    assert "Not all runs were measured on the same text" in _report(folder.path)[1]


def test_a_curve_is_drawn_even_from_nothing(tmp_path: Path) -> None:
    for name, points in (("none.png", []), ("some.png", [Point(1, 10, 0.1, 2.0, 1.9)])):
        draw(learning_curve(points, floor_nats=1.0), tmp_path / name, "a $title$ \x1b \udcff")
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_a_loss_on_the_whole_text_is_no_point_of_a_curve_on_a_part_of_it(tmp_path: Path) -> None:
    points = [Point(i, 100 * i, 0.1, 2.0, 1.5 - i / 10, 200) for i in (1, 2)]
    curve_ = learning_curve([*points, Point(3, 300, 0.1, 2.0, 1.6, 5000)])
    assert [nats for _, nats in curve_.valid] == pytest.approx([1.4, 1.3])
    assert curve_.whole == [(0.0003, 1.6)]
    assert not learning_curve(points).whole
    assert curve_.train_name == TRAIN
    alike = learning_curve([*points, Point(3, 300, 0.1, 2.0, 1.6, 200, train_eval_nats=1.55)])
    assert (list(alike.train), alike.train_name) == ([(0.0003, 1.55)], ALIKE)
    folder = make(tmp_path / "c", seeds=(1, 2))
    for record in load(folder.path).records:
        if record.phase == "final":
            last = Point(501, 20_040_000, 250.5, 1.2, 1.7, 2_700_000)
            valid = replace(record.valid, nats_per_char=1.7, chars=2_700_000) if record.valid else None
            folder.write_record(replace(record, curve=(*record.curve, last), valid=valid))
    comparison = load(folder.path)
    runs = comparison.finals("standard")
    assert [point.at for point in curve(runs)] == [step * 40_000 for step in STEPS]
    whole = whole_text(runs)
    assert whole is not None
    assert (whole.at, whole.nats) == (20_040_000, pytest.approx(1.7))
    _, html, markdown = _report(folder.path)
    assert len(markdown) < 6000
    assert html.count("on the whole validation text, after training") > 1
    assert "losses on two texts do not compare" in markdown


def test_losses_on_another_text_are_not_read_at_equal_loss(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", seeds=(1, 2))
    name = "final-standard-seed1"
    record = json.loads(folder.record_path(name).read_text())
    record["curve"][-1] |= {"valid_chars": 2_700_000, "valid_nats": 9.0}
    folder.record_path(name).write_text(json.dumps(record))
    losses = [snapshot.valid_nats for snapshot in load(folder.path).analyses[name].at]
    assert losses[-1] is None
    assert None not in losses[:-1]


def test_runs_that_shared_the_machine_are_not_compared_in_time(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", seeds=(1, 2))
    assert "training chars/s" in _costs_of(_report(folder.path)[1])
    for record in load(folder.path).records:
        folder.write_record(replace(record, started="2026-11-22T10:00:00", finished="2026-11-22T11:00:00"))
    _, html, markdown = _report(folder.path)
    assert "Runs shared the machine" in markdown
    assert "training chars/s" not in _costs_of(html)
    assert "training FLOPs/char" in markdown
    assert "Loss against training seconds" not in html


def _costs_of(html: str) -> str:
    return html.split('<section id="cost-of-training"')[1].split("</section>")[0]


def test_the_conditions_stand_beside_the_answer_and_exploratory_contrasts_are_called_so(
    whole: tuple[Path, Reader, str, str],
) -> None:
    _, _, html, markdown = whole
    conditions = "Found at 460K parameters, 20M characters, made up."
    for text in (html, markdown):
        assert text.index(conditions) < text.index("Learning curves")
    section = html.split('<section id="differences"')[1].split("</section>")[0]
    rows = [row for row in section.split("<tr") if ">validation loss<" in row]
    assert [("primary" in row, "exploratory" in row) for row in rows] == [
        (True, False),
        (False, True),
        (False, True),
    ]


def test_reporting_one_run_loads_no_torch(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(RunConfig(tiny_config(), TrainingConfig(), DataConfig()), CharTokenizer("abcdefghijk"), {})
    run.append_metrics({"step": 2, "chars": 64, "seconds": 0.1, "train_nats": 2.0, "valid_nats": 2.1})
    run.unlock()
    code = f"""import sys; from aeattn.cli import main; assert main(["report", {str(run.path)!r}]) == 0
assert 'torch' not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
