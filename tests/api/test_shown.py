"""How objects show themselves: short in a line, escaped in a notebook, legible on a light and on a dark page."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch

import aeattn
from aeattn.api.attention_maps import AttentionMaps
from aeattn.api.attention_picture import png
from aeattn.api.text_model import TextModel
from aeattn.config.generation import GenerationConfig
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.config.text import TextOptions
from aeattn.data.tokenizer import CharTokenizer
from aeattn.terminal import notebook
from aeattn.terminal.notebook import NotebookReporter, in_notebook
from aeattn.terminal.progress import PlainReporter, Status, make_reporter
from tests.conftest import lively_model, tiny_config

NASTY = '<script>alert(1)</script>&"\x1b[31m'


def _model(**more: Any) -> TextModel:
    return TextModel(lively_model(tiny_config()), CharTokenizer("\n abcdefghi"), TextOptions(), **more)


class _Closed(html.parser.HTMLParser):
    """Holds a piece of HTML to tags that are closed in order."""

    EMPTY = frozenset({"img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag != "script"
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _check(page: str) -> None:
    _Closed(page)
    for colour in re.findall(r"(?:^|[;\"])\s*(?:background|color)\s*:\s*([^;\"]+)", page):
        assert colour.strip() in ("inherit", "none", "transparent"), "colours are the notebook's"


@pytest.mark.parametrize(
    "config",
    [tiny_config(key=("linear", "autoencoder")), aeattn.ModelConfig(), TrainingConfig(seed=3),
     DataConfig(corpus=("a",)), TextOptions(keep="ab"), GenerationConfig(stop=("x",)),
     RunConfig(preset="1m", training=TrainingConfig(steps=7))],
)  # fmt: skip
def test_settings_are_shown_as_they_could_be_typed(config: Any) -> None:
    names = {kind.__name__: kind for kind in (aeattn.ModelConfig, TrainingConfig, DataConfig, TextOptions,
                                              GenerationConfig, RunConfig)}  # fmt: skip
    assert eval(repr(config), names) == config
    assert len(repr(config)) < 200
    _check(config._repr_html_())


def test_a_default_is_left_out_and_what_is_shown_is_escaped() -> None:
    assert repr(aeattn.ModelConfig(vocab_size=49)) == "ModelConfig(vocab_size=49)"
    page = DataConfig(corpus=(NASTY,))._repr_html_()
    assert "&lt;script&gt;" in page
    _check(page)


def test_a_model_says_what_it_is(tmp_path: Path) -> None:
    shown = repr(_model(run=tmp_path / NASTY.replace("/", "")))
    assert shown.startswith(f"TextModel({aeattn.size(tiny_config()).parameters:,} parameters; 2 layers, 2 heads")
    assert "\n" not in shown
    page = _model(run=tmp_path / NASTY.replace("/", ""))._repr_html_()
    assert f"{aeattn.size(tiny_config()).latent_cache_bytes:,} bytes a token (codes)" in page
    assert "keys and values" in _model(cache="full")._repr_html_()
    _check(page)
    _check(aeattn.size(tiny_config())._repr_html_())
    _check(aeattn.size(tiny_config(positions="rotary"))._repr_html_())


def test_maps_show_themselves(tmp_path: Path) -> None:
    maps = _model().attention("abc dea\nb")
    assert repr(maps) == "AttentionMaps(2 layers, 2 heads, 9 tokens: 'abc dea\\nb')"
    page = maps._repr_html_()
    assert page.count("<img") == 4
    assert 'alt="layer 2, head 1"' in page
    _check(page)
    _check(AttentionMaps((NASTY,), torch.ones(1, 1, 1, 1))._repr_html_())
    assert "3 more heads" in AttentionMaps(("a",) * 1500, torch.zeros(2, 2, 1500, 1500))._repr_html_()


def test_pictures_are_transparent_where_nothing_is_looked_at(tmp_path: Path) -> None:
    weights = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    (tmp_path / "map.png").write_bytes(png(weights))
    alpha = matplotlib.image.imread(tmp_path / "map.png")[..., 3]
    assert np.allclose(alpha, weights.sqrt().numpy(), atol=1 / 255)


@pytest.mark.parametrize(("given", "panels"), [({}, 4), ({"layer": 2}, 2), ({"head": 1}, 2),
                                               ({"layer": 1, "head": 2}, 1)], ids=str)  # fmt: skip
def test_maps_are_drawn(given: dict[str, int], panels: int, tmp_path: Path) -> None:
    maps = AttentionMaps((" ", "\n", "$", "\x1b"), torch.eye(4).expand(2, 2, 4, 4))
    figure = maps.plot(**given)
    assert len(figure.axes) == panels
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == (["␣", "⏎", "$", "\\x1b"] if panels == 1 else [])
    assert figure._repr_png_().startswith(b"\x89PNG")
    figure.savefig(tmp_path / "maps.svg")


def test_a_layer_or_a_head_that_is_not_there_is_said() -> None:
    maps = AttentionMaps(("a",), torch.ones(2, 3, 1, 1))
    for given, message in (({"layer": 0}, "layer is 0: choose from 1 to 2"), ({"head": 4}, "head is 4")):
        with pytest.raises(ValueError, match=message):
            maps.plot(**given)
    assert maps.head(2, 3).shape == (1, 1)


# -- progress in a notebook --------------------------------------------------------------------------------------


class Cell:
    """Stands for the output of a cell: pieces of HTML, each redrawn in place."""

    def __init__(self) -> None:
        self.areas: list[list[str]] = []

    def show(self, page: str) -> Any:
        self.areas.append([page])
        return self.areas[-1].append


def _status(step: int) -> Status:
    return Status(step, 1000, 2.5, None, None, 1e6, 3.0)


def test_progress_is_one_area_that_is_redrawn_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(notebook.time, "monotonic", lambda: now[0])
    cell = Cell()
    reporter = NotebookReporter(False, cell.show)
    for step in range(1000):
        now[0] = step / 1000  # a second in all
        reporter.status(_status(step))
    for number in range(50):
        reporter.note(f"note {number} {NASTY}")
    reporter.sample(1000, NASTY)
    reporter.evaluated(_status(1000))
    reporter.close()
    assert len(cell.areas) == 1
    assert len(cell.areas[0]) <= 3 + 50 + 3
    before, last = cell.areas[0][-2:]
    assert before.count("note") == notebook.NOTES
    assert 'value="1000" max="1000"' in before
    assert "1,000 updates<br>nats/char" in last
    assert "left" not in last
    assert "note" not in last
    for page in cell.areas[0]:
        _check(page)


def test_a_quiet_notebook_hears_warnings_alone() -> None:
    cell = Cell()
    reporter = NotebookReporter(True, cell.show)
    reporter.note("a")
    reporter.status(_status(1))
    reporter.sample(1, "b")
    reporter.close()
    assert cell.areas == []
    reporter.warn("beware")
    reporter.close()
    assert len(cell.areas) == 1
    assert "beware" in cell.areas[0][-1]
    assert "progress" not in cell.areas[0][-1]


def test_a_notebook_is_told_from_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not in_notebook()
    assert isinstance(make_reporter(True), PlainReporter)
    for shell, there in ((None, False), (object(), False), (type("Shell", (), {"kernel": 1})(), True)):
        fake = type("IPython", (), {"get_ipython": staticmethod(lambda shell=shell: shell)})
        monkeypatch.setitem(__import__("sys").modules, "IPython", fake)
        assert in_notebook() is there
    assert isinstance(make_reporter(False), NotebookReporter)
