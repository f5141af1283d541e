"""The documents as a site: it builds without a network, no link is broken, every page is in its order, and nothing
comes from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.report.test_report_browser import AXE, CHROMIUM

ROOT = Path(__file__).parents[1]
CONFIG = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
BUILT = find_spec("zensical") is not None and find_spec("mkdocstrings_handlers") is not None


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = spec_from_file_location("site_tool", ROOT / "tools" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _pages(entries: Any) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    values = entries if isinstance(entries, list) else entries.values()
    return [page for entry in values for page in _pages(entry)]


def test_every_page_is_in_the_order(tool: ModuleType) -> None:
    there = {tool.on_site(path.relative_to(ROOT).as_posix()) for path in (ROOT / "docs").rglob("*.md")}
    ordered = _pages(CONFIG["nav"])
    assert len(ordered) == len(set(ordered))
    assert set(ordered) == there | set(tool.PAGES.values())


def test_links_are_made_those_of_the_site(tool: ModuleType) -> None:
    page = "[a](docs/idea.md#values) [b](src/aeattn/nn/projection.py) [c](results/README.md) "
    page += "![d](docs/pictures/idea.svg) [e](docs/first/report.md) [f](docs/first/report.html)"
    assert tool.with_links(page, "README.md", "https://h/o/r") == (
        "[a](idea.md#values) [b](https://h/o/r/blob/main/src/aeattn/nn/projection.py) [c](results.md) "
        "![d](pictures/idea.svg) [e](first/index.md) [f](first/report.html)"
    )
    assert tool.with_links("[a](../README.md) [b](#here)", "docs/idea.md", "") == "[a](index.md) [b](#here)"
    assert tool.with_links("[a](../idea.md)", "docs/first/report.md", "") == "[a](../idea.md)"
    with pytest.raises(FileNotFoundError, match=r"idea.md links to gone.md"):
        tool.with_links("[a](gone.md)", "docs/idea.md", "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not BUILT:
        pytest.skip("there is no zensical: pip install 'autoencoder-attention[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(ROOT / "tools" / "site.py"), "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_it_builds_and_every_page_is_there(site: Path) -> None:
    for page in _pages(CONFIG["nav"]):
        assert (site / page).with_suffix(".html").exists()
    assert (site / "first" / "report.html").exists()
    assert (site / "larger" / "report.html").exists()


def test_the_reference_of_python_has_every_public_name(site: Path) -> None:
    import aeattn

    page = (site / "api.html").read_text(encoding="utf-8")
    for name in set(aeattn.__all__) - {"__version__"}:
        assert f'id="aeattn.{name}"' in page, name


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text):
            if 'rel="canonical"' not in tag:
                assert not re.search(r"(?:src|href)=\"?(?:https?:)?//", tag), f"{page.name}: {tag}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8"))


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: install one, or set CHROMIUM")
@pytest.mark.skipif(find_spec("axe_playwright_python") is None, reason="pip install axe-playwright-python")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 900, 1600])
def test_it_fits_and_axe_core_finds_no_violation(site: Path, width: int, scheme: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        size = {"width": width, "height": 900}
        page = browser.new_context(viewport=size, color_scheme=scheme, offline=True).new_page()  # type: ignore[arg-type]
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index", "python"):
            page.goto((site / f"{name}.html").as_uri())
            page.wait_for_selector(".md-code__nav[aria-label]")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert [found["id"] for found in Axe().run(page, options=AXE).response["violations"]] == []
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
