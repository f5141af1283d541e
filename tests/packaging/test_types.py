"""`py.typed` holds: pyright finds the package's types from outside, and a user's mistakes by them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(find_spec("pyright") is None, reason="there is no pyright: pip install pyright")

GOOD = """
from pathlib import Path

import torch
from typing_extensions import assert_type

import aeattn

model = aeattn.train("460k", corpus=Path("book.txt"))
assert_type(model, aeattn.TextModel)
assert_type(model.generate("once", chars=10), str)
assert_type(aeattn.load("run"), aeattn.TextModel)
attention = aeattn.AutoencoderAttention(128, 4)
config = aeattn.ModelConfig(vocab_size=10)
assert_type(config.n_layers, int)
logits = aeattn.LanguageModel(config)(torch.zeros(1, 2, dtype=torch.long))

@aeattn.register_hook
class Mine(aeattn.Hook):
    pass

@aeattn.register_tracker("mine")
class Kept(aeattn.Tracker):
    def begin(self, run: object) -> int | None:
        return None
"""
BAD = """
import aeattn

aeattn.train(corpus=3)
aeattn.load("run").generate(chars="ten")
aeattn.no_such_name
"""


def test_types_are_found_from_outside(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    shutil.copytree(ROOT / "src" / "aeattn", site / "aeattn", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    settings = {"extraPaths": [str(site)], "typeCheckingMode": "standard", "include": ["good.py", "bad.py"]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "-p",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=220)
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = [(Path(e["file"]).name, e["range"]["start"]["line"] + 1, e.get("rule"), e["message"]) for e in found
              if e["severity"] == "error"]  # fmt: skip
    assert [error for error in errors if error[0] == "good.py"] == []
    assert {(error[1], error[2]) for error in errors if error[0] == "bad.py"} == {
        (4, "reportArgumentType"), (5, "reportArgumentType"), (6, "reportAttributeAccessIssue"),
    }  # fmt: skip
