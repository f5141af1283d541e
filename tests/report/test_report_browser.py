"""The report in a real browser, offline: nothing is blocked, nothing overflows, tables sort, values are shown,
axe-core finds no violation, it prints."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from aeattn.report import write_report
from tests.compare.made_up import make

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
AXE = {"resultTypes": ["violations"]}  # every rule is applied, but what passes is not listed element by element
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: install one, or set CHROMIUM"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="there is no playwright: pip install playwright"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make(tmp_path_factory.mktemp("browser") / "c", seeds=(1, 2, 3), hostile=True)
    return write_report(folder.path)[0]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With all kinds of blocks, but two variants alone analysed: axe-core looks at every cell of their tables."""
    analysed = ("standard", "autoencoder")
    folder = make(tmp_path_factory.mktemp("short") / "c", seeds=(1, 2), hostile=True, analysed=analysed)
    return write_report(folder.path)[0]


def _open(browser: Any, report: Path, width: int, scheme: str, bypass_csp: bool = False) -> tuple[Any, list[str]]:
    page = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True, bypass_csp=bypass_csp
    ).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: said.append(request.url) if request.url != report.as_uri() else None)
    page.goto(report.as_uri())
    return page, said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 900, 1600])
def test_it_fits_and_nothing_is_blocked_or_fetched(browser: Any, report: Path, width: int, scheme: str) -> None:
    page, said = _open(browser, report, width, scheme)
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, dark[4:-1].split(","))) < 200) == (scheme == "dark")
    cut = """() => [...document.querySelectorAll('figure svg')].filter(s => s.clientWidth)
        .filter(s => !s.closest('.natural-size')).flatMap(s =>
        [...s.querySelectorAll('text')].filter(t => {
            const a = t.getBoundingClientRect(), b = s.closest('figure').getBoundingClientRect();
            return a.left < b.left - 1 || a.right > b.right + 1 }).map(t => t.textContent))"""
    assert page.evaluate(cut) == []
    small = """() => Math.min(...[...document.querySelectorAll('figure svg .tick, figure svg .under')]
        .filter(t => t.getBoundingClientRect().width > 0)
        .map(t => t.ownerSVGElement.clientWidth / t.ownerSVGElement.viewBox.baseVal.width * 12))"""
    assert page.evaluate(small) >= 8
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (900, "dark"), (1600, "light")])
@pytest.mark.skipif(find_spec("axe_playwright_python") is None, reason="pip install axe-playwright-python")
def test_axe_core_finds_no_violation(browser: Any, short: Path, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, _ = _open(browser, short, width, scheme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = Axe().run(page, options=AXE).response
    assert [(v["id"], [n["html"] for n in v["nodes"][:3]]) for v in found["violations"]] == []
    assert {"color-contrast", "region", "heading-order", "svg-img-alt"} <= {rule["id"] for rule in found["passes"]}
    page.close()


def test_a_phone_shows_short_tables_as_cards_and_says_where_there_is_more(browser: Any, report: Path) -> None:
    page, _ = _open(browser, report, 360, "light")
    cells = """() => [...document.querySelectorAll('#variants .cards:not(details *) td')]
        .filter(cell => cell.offsetWidth).map(cell => [
            getComputedStyle(cell, '::before').content, cell.scrollWidth <= cell.clientWidth,
            [...cell.querySelectorAll('span')].every(piece => piece.getClientRects().length === 1)])"""
    shown = page.evaluate(cells)
    assert any("KV-cache bytes a token" in label for label, _, _ in shown)
    assert all(fits and whole for _, fits, whole in shown)
    hint = page.locator("#records .hint")
    assert hint.inner_text() == "Scroll to the right for more."
    place = "() => document.querySelector('#records tbody th').getBoundingClientRect().left"
    before = page.evaluate(place)
    page.evaluate("document.querySelector('#records .scroll').scrollLeft = 400")
    assert page.evaluate(place) == before  # the first column stays
    page.close()


def test_nothing_is_hidden_at_1600_pixels_while_there_is_room(browser: Any, report: Path) -> None:
    page, _ = _open(browser, report, 1600, "light")
    wide = """() => [...document.querySelectorAll('.scroll:not(details *), .natural-size')].filter(b =>
        b.clientWidth && b.scrollWidth > b.clientWidth + 2).map(b => b.getAttribute('aria-label'))"""
    assert page.evaluate(wide) == ["Every run, table"]  # twenty columns
    page.close()


def test_values_are_shown_where_a_pointer_rests_and_by_arrow_keys(browser: Any, report: Path) -> None:
    page, said = _open(browser, report, 900, "light")
    tip, chart = page.locator("#tip"), page.locator("#learning-curves figure svg").first
    dot = chart.locator(".dot").nth(3)
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    assert "nats/char after" in tip.inner_text()
    page.mouse.move(0, 0)
    assert tip.inner_text() == ""
    chart.focus()
    page.keyboard.press("ArrowRight")
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    assert "nats/char after" in first
    assert first != tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.inner_text() == ""
    map_ = page.locator("details[open] .map").first
    map_.scroll_into_view_if_needed()
    box = map_.locator("path").first.bounding_box()
    page.mouse.move(box["x"] + 3.5, box["y"] + 3.5)
    assert tip.inner_text() == "layer 1, head 1: \u201co\u201d (1) attends to \u201co\u201d (1) with 1.00"
    page.locator("details[open] svg.natural").first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "PageDown"):
        page.keyboard.press(key)
    assert tip.inner_text().startswith("layer 1, head 2: \u201cc\u201d (3) attends to \u201cn\u201d (2) with 0.")
    assert said == []
    page.close()


def test_tables_sort_by_number_and_back(browser: Any, report: Path) -> None:
    page, said = _open(browser, report, 900, "light")
    column = "[...document.querySelectorAll('#records tbody tr')].map(r => r.cells[6].dataset.v ?? null)"
    button = page.locator("#records th button").nth(6)
    for direction in ("ascending", "descending"):
        button.click()
        values = page.evaluate(column)
        numbers = [float(value) for value in values if value is not None]
        assert numbers == sorted(numbers, reverse=direction == "descending")
        assert None not in values[: len(numbers)]
        assert page.locator("#records th").nth(6).get_attribute("aria-sort") == direction
    names = page.locator("#records th button").nth(0)
    names.focus()
    page.keyboard.press("Enter")
    texts = page.evaluate("[...document.querySelectorAll('#records tbody tr')].map(r => r.cells[0].textContent)")
    assert texts == sorted(texts)
    assert said == []
    page.close()


def test_it_prints_on_white_with_everything_unfolded(browser: Any, report: Path) -> None:
    page, said = _open(browser, report, 900, "dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")
    cut = "[...document.querySelectorAll('.scroll, pre')].filter(b => b.scrollHeight > b.clientHeight + 2).length"
    assert page.evaluate(cut) == 0
    assert len(page.pdf()) > 10_000
    assert said == []
    page.close()
