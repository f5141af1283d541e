"""A projection of one's own, as docs/extending.md prints it: trained, measured, inspected; and it generates."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aeattn import AutoencoderAttention
from aeattn.cli import main
from aeattn.config import plugins, projections

DOCUMENT = Path(__file__).parents[2] / "docs" / "extending.md"
SMALL = [
    "--d-model",
    "32",
    "--n-heads",
    "2",
    "--n-layers",
    "1",
    "--d-ff",
    "16",
    "--bottleneck",
    "8",
    "--context",
    "16",
]
KINDS = ["--query", "gated", "--key", "gated", "--value", "shared", "--n-kv-heads", "1"]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(projections, "_KINDS", dict(projections._KINDS))
    monkeypatch.setattr(plugins, "_loaded", set())
    printed = re.search(r"```python\n(# mine\.py\n.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert printed is not None
    assert printed[1].count("\n") <= 24  # about twenty lines
    file = tmp_path / "mine.py"
    file.write_text(printed[1])
    before = set(sys.modules)
    yield file
    for name in set(sys.modules) - before:
        if name.startswith("aeattn_plugin"):
            del sys.modules[name]


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return json.loads(capsys.readouterr().out)


def test_it_is_a_kind_like_any_other(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, run = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("the cat sat on the mat and the dog lay by the door. " * 60)
    plugin = ["--plugin", str(mine)]
    arguments = ["train", str(text), "--out", str(run), *plugin, *SMALL, *KINDS]
    assert main([*arguments, "--steps", "2", "--batch", "2", "--compile", "off", "--quiet"]) == 0
    assert main(["resume", str(run), "--steps", "3", "--quiet"]) == 0
    sized = _json(capsys, "size", "--preset", "460k", "--json", *plugin, *SMALL, *KINDS)["presets"][0]
    assert sized["latent_cache_bytes"] == 4 * (8 + 1)  # the code of the keys, and their norm
    made = _json(capsys, "generate", str(run), "--prompt", "the", "--chars", "5", "--json")
    assert made["chars"] == 5
    found = _json(capsys, "inspect", str(run), str(text), "--json")
    assert {each["kind"] for each in found["projections"]} == {"gated", "shared"}


def test_the_module_takes_it(mine: Path) -> None:
    plugins.load_plugins([str(mine)])
    module, x = AutoencoderAttention(32, 4, key="gated", n_kv_heads=2, qk_norm=True), torch.randn(2, 6, 32)
    with torch.inference_mode():
        cache = module.new_cache(6)
        parts = [module(x[:, :4], cache=cache), module(x[:, 4:], cache=cache)]
        assert cache.latent
        assert torch.allclose(torch.cat(parts, dim=1), module(x), atol=1e-5)
