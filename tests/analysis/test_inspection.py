"""`aeattn inspect`: every preset and projection, checkpoints, texts, bad input, bounded memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aeattn.analysis import picture
from aeattn.analysis.inspection import inspect_run
from aeattn.analysis.maps import pack, unpack
from aeattn.analysis.results import RunAnalysis, Snapshot
from aeattn.analysis.tables import tables
from aeattn.analysis.windows import rows_at_once, sample
from aeattn.cli import main
from aeattn.config.convert import build
from aeattn.config.model import ModelConfig
from aeattn.config.presets import PRESETS, preset
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.data.store import TokenStore
from aeattn.data.stored import StoredDocument
from aeattn.data.tokenizer import CharTokenizer
from aeattn.errors import InputError
from aeattn.runs.folder import RunFolder
from aeattn.runs.weights import to_bytes
from tests.conftest import VARIANTS, lively_model

TEXT = "the quick brown fox jumps over the lazy dog, and the dog does not mind.\n" * 60
TINY = ["--d-model", "16", "--n-layers", "2", "--bottleneck", "4", "--d-ff", "16", "--context", "24", "--batch",
        "2", "--steps", "4", "--compile", "off", "--quiet"]  # fmt: skip


def _train(folder: Path, *more: str) -> Path:
    text, out = folder / "text.txt", folder / "run"
    text.write_text(TEXT)
    assert main(["train", str(text), "--out", str(out), *TINY, *more]) == 0
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    return _train(folder, "--preset", "460k", "--n-heads", "2", "--checkpoint-every", "2", "--eval-every", "2")


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main(["inspect", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_is_one_object_with_what_is_promised(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = _json(capsys, str(run))
    assert set(result) == {"format", "run", "step", "text", "attention", "layers", "loss", "codes", "projections",
                           "maps"}  # fmt: skip
    assert [len(layer["heads"]) for layer in result["layers"]] == [2, 2]
    assert result["text"]["context"] == 24
    assert result["text"]["queries"] == result["text"]["windows"] * 12
    heads = [head for layer in result["layers"] for head in layer["heads"]]
    mean = sum(head["gini"] for head in heads) / 4
    assert result["attention"]["gini"] == pytest.approx(mean)
    assert (run / "attention.png").read_bytes().startswith(b"\x89PNG")
    assert len(result["maps"]["text"]) == 24
    assert np.allclose(unpack(result["maps"]["weights"][1][1]).sum(1), 1, atol=24 / 510)


def test_tables_on_a_pipe_are_plain(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", str(run), "--chars", "240"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    for words in (
        "exp(H)",
        "Attention without the first position",
        "top 4 in layer 2 alone",
        "query, autoencoder",
    ):
        assert words in out
    assert f"picture: {run / 'attention.png'}" in out


KINDS: dict[str, dict[str, Any]] = {
    **{name: dict(preset(name)["model"]) for name in PRESETS},
    **{name: dict(changes) for name, changes in VARIANTS.items()},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_preset_and_projection(kind: str, tmp_path: Path) -> None:
    narrow = {"d_model": 24, "d_ff": 16, "bottleneck": 4, "context": 24, "d_rotary": 4}
    settings = {**KINDS[kind], **narrow, "n_layers": 2}
    result = inspect_run(_untrained(tmp_path, settings), [str(tmp_path / "text.txt")], chars=100)
    assert result.loss.all > 0
    assert (result.attention.effective_chars or 0) >= 1
    assert all(p.effective_rank is not None for p in result.projections)
    if kind in ("460k", "460k-classic"):
        picture.draw(result, tmp_path / "attention.png")
    assert all(table.rows and table.legend for table in tables(result))


def test_maps_are_drawn_with_their_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: (drawn.append(self), path.write_bytes(b"")))
    result = inspect_run(
        _untrained(tmp_path, {"d_model": 24, "bottleneck": 4, "context": 24}),
        [str(tmp_path / "text.txt")],
        chars=100,
    )
    assert result.maps is not None
    picture.draw(replace(result, maps=replace(result.maps, text="$" + result.maps.text[1:])), tmp_path / "a.png")
    [figure] = drawn
    maps = [axes for axes in figure.axes if axes.images]
    assert len(maps) == len(result.layers) * len(result.layers[0].heads)
    assert all(axes.images or axes.patches for axes in figure.axes)
    for axes in maps:
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            named = "".join(tick.get_text() for tick in ticks)
            assert named == "$" + result.maps.text[1:].replace(" ", "\u2423").replace("\n", "\u21b5")


def _untrained(folder: Path, settings: dict[str, Any]) -> Path:
    """A run folder of a model that has never been trained."""
    (folder / "text.txt").write_text(TEXT)
    tokenizer = CharTokenizer.from_chunks([TEXT])
    model = build(ModelConfig, {**settings, "vocab_size": tokenizer.vocab_size}, "model")
    run = RunFolder(folder / "run")
    run.create(RunConfig(model, TrainingConfig(), DataConfig()), tokenizer, {})
    run.publish(to_bytes(lively_model(model).state_dict()))
    run.unlock()
    return run.path


ANALYSES = Path(__file__).parents[2] / "results" / "first" / "analysis"


def test_what_was_measured_is_read_and_written_back_as_it_was(run: Path) -> None:
    paths = sorted(ANALYSES.glob("*.json"))
    assert len(paths) > 20
    for path in paths:
        text = path.read_text(encoding="utf-8")
        again = json.dumps(RunAnalysis.from_dict(json.loads(text), path.name).to_dict())
        assert again == json.dumps(json.loads(text))  # in the same order, too
    analysis = RunAnalysis("a", "00", (Snapshot(4, 1.5, inspect_run(run, chars=200)),))
    values = json.loads(json.dumps(analysis.to_dict()))
    assert RunAnalysis.from_dict(values, "a") == analysis
    assert values["at"][0]["measured"]["maps"]["weights"]


DAMAGED: dict[str, Any] = {
    "a list": [],
    "no snapshots": {"name": "a", "hash": "00", "at": []},
    "no name": {"hash": "00", "at": []},
    "a snapshot that is none": {"name": "a", "hash": "00", "at": [{"step": 1, "valid_nats": 1.5, "measured": 3}]},
    "a step that is none": {"name": "a", "hash": "00", "at": [{"step": "one", "valid_nats": 1, "measured": {}}]},
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_analyses_are_one_line(case: str) -> None:
    with pytest.raises(InputError, match=r"a\.json (is damaged|holds no snapshot).*delete it") as raised:
        RunAnalysis.from_dict(DAMAGED[case], "a.json")
    assert "\n" not in str(raised.value)


def test_figures_are_found_by_their_names(run: Path) -> None:
    found = inspect_run(run, chars=200, maps=False)
    assert found.figure("attention.gini") == found.attention.gini
    assert found.figure("attention.without_first.top4") == found.attention.without_first.top4
    assert found.figure("loss.added.top4") == found.loss.top[4] - found.loss.all
    assert found.figure("codes.key.dead_share") == found.codes.key.dead_share
    for nothing in ("attention.entropy", "attention", "layers", "loss.added.top5", "run", "codes.to_dict"):
        assert found.figure(nothing) is None


def test_two_models_are_measured_at_the_same_places(run: Path, tmp_path: Path) -> None:
    other = _train(tmp_path, "--n-heads", "4", "--key", "linear", "--seed", "5")
    texts = [str(tmp_path / "text.txt")]
    facts = [inspect_run(path, texts, chars=200, maps=False).text for path in (run, other)]
    assert facts[0] == facts[1]
    assert inspect_run(run, texts, chars=400, maps=False).text.digest != facts[0].digest
    shorter = inspect_run(run, texts, chars=200, context=10, maps=False).text
    assert (shorter.context, shorter.first_query, shorter.windows) == (10, 5, 20)


def test_a_checkpoint_is_another_model(run: Path) -> None:
    early, late = (inspect_run(run, step=step, chars=200, maps=False) for step in (2, 4))
    assert early.step == 2
    assert early.loss.all != late.loss.all
    assert inspect_run(run, chars=200, maps=False).loss == late.loss


BAD = {
    "no run": (["nowhere"], "nowhere is no run folder"),
    "no text": (["RUN", "nothing.txt"], "nothing.txt"),
    "no checkpoint": (["RUN", "--step", "3"], "no checkpoint of step 3; there are: 2, 4"),
    "short text": (["RUN", "SHORT"], "give a text of at least 3 characters"),
    "context": (["RUN", "--context", "99"], "context is 99: choose from 2 to 24"),
    "device": (["RUN", "--device", "abacus"], "device 'abacus' cannot be used"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "short.txt").write_text("ab")
    places = {"RUN": str(run), "SHORT": str(tmp_path / "short.txt")}
    arguments, message = BAD[name]
    capsys.readouterr()
    assert main(["inspect", *[places.get(a, a) for a in arguments]]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.out == ""


def _store(*lengths: int) -> TokenStore:
    ends = np.cumsum(lengths)
    documents = tuple(
        StoredDocument(str(i), int(e - n), int(e), int(n), int(n))
        for i, (e, n) in enumerate(zip(ends, lengths, strict=True))
    )
    return TokenStore(np.arange(int(ends[-1])) % 7, documents, unknown={}, dropped={}, sha256="")  # type: ignore[arg-type]


def test_windows_stay_inside_documents_and_within_what_was_asked_for() -> None:
    store = _store(50, 9, 31)
    chosen = sample(store, 10, 1000)
    assert chosen.starts.tolist() == [0, 10, 20, 30, 59, 69, 79]
    assert sample(store, 10, 30).starts.tolist() == [0, 20, 59]
    assert sample(store, 10, 1).starts.tolist() == [0]
    assert sample(_store(6, 4), 10, 100).length == 5
    with pytest.raises(InputError, match="nothing to look at"):
        sample(_store(2, 2), 10, 100)


def test_memory_is_bounded_by_the_windows_read_at_once() -> None:
    assert rows_at_once(256, 4) * 4 * 128 * 256 <= 1 << 22
    assert rows_at_once(100_000, 64) == 1


def test_maps_survive_packing() -> None:
    weights = np.tril(np.random.default_rng(0).random((2, 3, 9, 9), np.float32))
    packed = pack(weights)
    assert np.allclose(unpack(packed[1][2]), weights[1, 2], atol=1 / 509)
    with pytest.raises(ValueError, match="no lower triangle"):
        unpack("AAAAAA==" + "")
