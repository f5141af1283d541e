"""lm-evaluation-harness gives an exported folder the figure that `aeattn evaluate` gives the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aeattn.cli import main
from aeattn.config.text import TextOptions
from aeattn.data.batches import IGNORED, before_text, rolling_windows
from aeattn.data.tokenizer import CharTokenizer, make_tokenizer

TEXT = (
    "Once upon a time, there was a king of Z\u00fcrich; \u00abhe\u00bb ate 3 pies.\n\nAnd then?  No more.\r\n" * 8
)
LETTERS = "".join(sorted(set(TEXT.lower()) - set("z")))


def test_rolling_windows_predict_every_token_once_and_the_last_is_whole() -> None:
    for length in (0, 1, 4, 5, 8, 11):
        ids = np.arange(1, length + 1, dtype=np.uint8)
        windows = [pair for batch in rolling_windows(ids, 77, 4, batch=2) for pair in zip(*batch, strict=True)]
        scored = [t for _, targets in windows for t in targets[targets != IGNORED].tolist()]
        assert scored == ids.tolist()
        for inputs, targets in windows:
            for place in np.flatnonzero(targets != IGNORED):
                before = 77 if targets[place] == 1 else targets[place] - 1
                assert inputs[place] == before
        if length >= 4:
            last = windows[-1][0]
            assert last.tolist() == ([77, 1, 2, 3] if length == 4 else list(range(length - 4, length)))


def test_a_text_follows_the_end_of_a_line() -> None:
    assert before_text(CharTokenizer("\n ab")) == 0
    assert before_text(CharTokenizer(" ab")) == 0  # the space
    assert before_text(make_tokenizer("bytes", [])) == 10


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "one.txt").write_text(TEXT, newline="")
    (folder / "two.txt").write_text(TEXT[40:70], newline="")
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spec", ["char", "bytes", "bpe:270"])
def test_bits_per_byte_is_that_of_aeattn_evaluate(
    spec: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    pytest.importorskip("transformers")
    from lm_eval.tasks import TaskManager

    from tests.integrations.test_hf_export import make_run

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    tokenizer = CharTokenizer(LETTERS) if spec == "char" else make_tokenizer(spec, [TEXT * 4])
    options = TextOptions(lower=True, unwrap=spec == "char")
    run = make_run(tmp_path / "run", tokenizer, text=options)
    assert main(["export", str(run), "--to", "hf", str(tmp_path / "folder")]) == 0
    capsys.readouterr()
    command = ["evaluate", str(run), str(data), "--harness", str(tmp_path / "tasks"), "--json"]
    assert main([*command, "--no-baseline", "--no-sliding"]) == 0
    ours = json.loads(capsys.readouterr().out)
    found: dict[str, Any] = lm_eval.simple_evaluate(
        model="hf", model_args=f"pretrained={tmp_path / 'folder'},trust_remote_code=True", device="cpu",
        tasks=["aeattn_text"],
        task_manager=TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False), batch_size=4,
    )  # fmt: skip
    theirs = found["results"]["aeattn_text"]["bits_per_byte,none"]
    assert theirs == pytest.approx(ours["rolling"]["bits_per_byte"], abs=1e-5)
    assert ours["rolling"]["bits_per_byte"] != pytest.approx(ours["bits_per_byte"], abs=1e-5)  # other windows
    lines = [json.loads(line)["text"] for line in (tmp_path / "tasks" / "texts.jsonl").read_text().splitlines()]
    assert sum(len(line.encode()) for line in lines) == ours["rolling"]["bytes"]
    assert "Once" not in lines[0]
    assert main(command) == 2
    assert "is there already: name a folder that is not, or remove it" in capsys.readouterr().err
