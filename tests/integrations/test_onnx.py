"""Folders for onnxruntime: what the graph computes, what is in the folder, what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import aeattn
from aeattn.cli import main
from aeattn.config.model import ModelConfig
from aeattn.data.tokenizer import CharTokenizer, make_tokenizer
from aeattn.errors import InputError
from aeattn.integrations.onnx_model import Graph, layer_kept, slots
from aeattn.nn.size import kept, use_latent_cache
from aeattn.nn.transformer import LanguageModel
from aeattn.runs.folder import RunFolder
from tests.conftest import VARIANTS, lively_model, tiny_config
from tests.integrations.numpy_model import NumpyModel
from tests.integrations.test_hf_export import TEXT, complaint, make_run

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
from aeattn.integrations import onnx_export
from aeattn.integrations.onnx_run import OnnxSession

FULL = os.environ.get("AEATTN_FAULTS") == "full"
EXPORTED = list(VARIANTS) if FULL else []
SMALL = {"n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "value": "shared", "positions": "decoupled", "gate": True}


def ids_of(batch: int, time: int) -> Tensor:
    return torch.randint(0, 11, (batch, time), generator=torch.Generator().manual_seed(batch))


@torch.no_grad()
def read(graph: Any, ids: Tensor, ends: list[int], mask: Tensor | None = None) -> Tensor:
    """Logits (B, T, V) of a graph, in PyTorch or in onnxruntime, that reads up to each of `ends` in turn."""
    mask = torch.ones_like(ids) if mask is None else mask
    past, found, start = [torch.zeros(slot.first(len(ids))) for slot in graph.slots], [], 0
    for end in ends:
        if isinstance(graph, OnnxSession):
            arrays = [each.numpy() for each in past]
            logits, arrays = graph(ids[:, start:end].numpy(), mask[:, :end].numpy(), arrays)
            logits, past = torch.from_numpy(logits), list(map(torch.from_numpy, arrays))
        else:
            logits, *past = graph(ids[:, start:end], mask[:, :end], past)
        found.append(logits)
        start = end
    return torch.cat(found, dim=1)


def near(a: Tensor, b: Any) -> bool:
    return torch.allclose(a.double(), torch.as_tensor(b, dtype=torch.float64), atol=1e-4, rtol=0)


@torch.no_grad()
def agrees(graph: Any, model: LanguageModel, context: int = 16) -> None:
    """Whole and in pieces, one row and several, up to the context, padded on the left: as ours and as NumPy."""
    weights = {name: t.numpy() for name, t in model.state_dict().items()}
    witness = NumpyModel(json.loads(json.dumps(model.config.to_dict())), weights)
    for batch, time in ((1, 1), (2, 9), (3, context)):
        ids = ids_of(batch, time)
        wanted = model(ids)
        third = np.stack([witness.logits(row.numpy()) for row in ids])
        assert near(wanted, third)
        for ends in ([time], [1, *range(2, time + 1)], [time // 2, time - 1, time]):
            found = read(graph, ids, sorted({end for end in ends if 0 < end <= time}))
            assert near(found, wanted)
            assert near(found, third)
    ids, mask = ids_of(2, 8), torch.ones(2, 8, dtype=torch.int64)
    mask[0, :3] = 0
    for ends in ([8], [5, 6, 7, 8]):
        found = read(graph, ids, ends, mask)
        assert near(found[0, 3:], model(ids[:1, 3:])[0])
        assert near(found[1], model(ids[1:])[0])


@pytest.mark.parametrize("name", VARIANTS)
def test_the_graph_computes_what_the_model_and_numpy_do(name: str) -> None:
    model = lively_model(tiny_config(**VARIANTS[name]))
    agrees(Graph(model).eval(), model)


@pytest.mark.parametrize("name", VARIANTS)
def test_it_keeps_codes_and_no_more_than_ours(name: str) -> None:
    config = tiny_config(**VARIANTS[name])
    held = sum(layer_kept(config, i).total for i in range(config.n_layers))
    assert held <= kept(config, use_latent_cache(config)).total
    assert held == sum(sum(slot.holds.values()) for slot in slots(config) if not slot.is_conv)
    hf = pytest.importorskip("aeattn.integrations.hf")
    assert held == hf.to_hf_model(config, lively_model(config).state_dict()).kept_numbers


def exported(config: ModelConfig, folder: Path) -> tuple[LanguageModel, OnnxSession]:
    model = lively_model(config)
    path = folder / "model.onnx"
    return model, OnnxSession(path, onnx_export._write_graph(model, path, lambda _: None))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", EXPORTED)
def test_onnxruntime_computes_the_same(name: str, tmp_path: Path) -> None:
    model, session = exported(tiny_config(**VARIANTS[name]), tmp_path)
    agrees(session, model)


# -- folders -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    return make_run(folder / "run", CharTokenizer("".join(sorted(set(TEXT)))), **SMALL)


@pytest.fixture(scope="module")
def plain(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("onnx") / "plain"
    assert main(["export", str(run), "--to", "onnx", str(made)]) == 0
    return made


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With 8 bits, by a process of its own, whose output is kept beside it."""
    made = tmp_path_factory.mktemp("onnx") / "folder"
    text = made.parent / "text.txt"
    text.write_text(TEXT * 20, encoding="utf-8")
    command = [sys.executable, "-m", "aeattn", "export", str(run), "--to", "onnx", str(made)]
    found = subprocess.run([*command, "--int8", "--measure", str(text), "--json"], check=True, timeout=300,
                           capture_output=True, text=True)  # fmt: skip
    (made.parent / "stdout").write_text(found.stdout, encoding="utf-8")
    (made.parent / "stderr").write_text(found.stderr, encoding="utf-8")
    return made


@pytest.mark.timeout(600)
def test_onnxruntime_computes_the_same_and_ends_with_the_context(run: Path, plain: Path) -> None:
    """The case of every day; all variants take minutes (`AEATTN_FAULTS=full`)."""
    model = aeattn.load(run, engine="simple").model
    session = OnnxSession(plain / "model.onnx", slots(model.config))
    agrees(session, model)
    for ends in ([48, 49], [49]):
        with pytest.raises(Exception, match="out of"):
            read(session, ids_of(1, 49), ends)


@pytest.mark.timeout(600)
def test_the_folder_holds_all_that_a_stranger_needs(run: Path, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "config.json", "tokenizer.json", "generate.py", "README.md"
    }  # fmt: skip
    source = str(Path(aeattn.__file__).parent).encode()
    assert source not in (folder / "model.onnx").read_bytes()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert [each["input"] for each in config["cache"]] == ["past_key_values.0.key", "past_conv.0"]
    assert config["cache_numbers_a_token"] == 4 + 2 + 4  # code, inverse norms, rotary part
    assert str(run.parent) not in (folder / "config.json").read_text(encoding="utf-8")
    printed = json.loads((folder.parent / "stdout").read_text(encoding="utf-8"))
    assert printed["measured"] == config["measured"]
    assert printed["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    notes = (folder.parent / "stderr").read_text(encoding="utf-8")
    assert not re.search(r"[Ww]arning|torchvision|deprecated", notes)
    assert "tracing 1 layers" in notes


@pytest.mark.timeout(600)
def test_what_8_bits_cost_is_what_was_measured(run: Path, folder: Path) -> None:
    from aeattn.training.evaluate_run import evaluate_run

    measured = json.loads((folder / "config.json").read_text(encoding="utf-8"))["measured"]
    wanted = evaluate_run(run, [str(folder.parent / "text.txt")], sliding=False, baseline=False)
    assert measured["chars"] == wanted["chars"]
    assert measured["run_nats_per_char"] == pytest.approx(wanted["nats_per_char"], abs=1e-6)
    assert 0 < abs(measured["nats_per_char"] - measured["run_nats_per_char"]) < 0.5
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"this folder {measured['nats_per_char']:.4f}" in " ".join(card.split())
    import onnx

    kinds = {node.op_type for node in onnx.load(folder / "model.onnx").graph.node}
    assert "MatMulInteger" in kinds or "DynamicQuantizeMatMul" in kinds


BLOCKED = "import sys; sys.modules['torch'] = sys.modules['aeattn'] = sys.modules['tokenizers'] = None\n"


@pytest.mark.timeout(600)
def test_the_example_writes_as_ours_without_torch_or_aeattn(run: Path, plain: Path) -> None:
    """The file as it is exported, and the passage of the card as it is printed."""
    ours = aeattn.load(run, engine="simple")
    prompts = ["once upon a time", "king"]
    wanted = [ours.generate(prompt, chars=20, temperature=0.0) for prompt in prompts]
    arguments = ["generate.py", *prompts, "--new", "20"]
    script = f"{BLOCKED}import runpy; sys.argv = {arguments!r}; runpy.run_path('generate.py', run_name='__main__')"
    assert _python(script, plain).stdout == "".join(f"{text}\n" for text in wanted)
    card = (plain / "README.md").read_text(encoding="utf-8")
    passage = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0].replace("new=200", "new=20")
    assert _python(BLOCKED + passage, plain).stdout == f"{wanted[0]}\n"
    for bad, reason in (
        (["once", "--new", "60"], "more than the context of 48"),
        (["Q"], "outside the vocabulary"),
    ):
        found = subprocess.run([sys.executable, "generate.py", *bad], cwd=plain, capture_output=True, text=True)
        assert (found.returncode, found.stderr.count("\n")) == (2, 1)
        assert reason in found.stderr


def _python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=folder,
                          timeout=120)  # fmt: skip


@pytest.mark.parametrize("spec", ["char", "bytes", "bpe:270"])
def test_the_example_reads_and_writes_ids_as_ours(spec: str, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    from aeattn.integrations.onnx_generate import Model

    ours, model = make_tokenizer(spec, [TEXT * 40]), Model.__new__(Model)
    model.tokenizer = json.dumps(ours.to_dict(), ensure_ascii=False)
    for text in (TEXT, "  a king\n\n") if spec == "char" else (TEXT, "<|endoftext|> 漢字 😀\n\t é"):
        ids = model.encode(text)
        assert ids == ours.encode(text).tolist()
        assert model.decode(ids) == ours.decode(np.array(ids, np.int64))


def test_the_example_draws_with_the_chances_of_the_logits() -> None:
    from aeattn.integrations.onnx_generate import choose

    chances = np.array([0.1, 0.6, 0.3])
    logits = np.log(np.tile(chances, (20_000, 1))).astype(np.float32)
    drawn = np.bincount(choose(logits, 1.0, np.random.default_rng(0)), minlength=3) / 20_000
    assert np.abs(drawn - chances).max() < 0.02
    assert set(choose(logits, 0.0, None)) == {1}


# -- what is refused ---------------------------------------------------------------------------------------


def test_bad_input_is_refused_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"
    assert "is there already" in complaint(capsys, "export", run, "--to", "onnx", tmp_path)
    assert "no run folder" in complaint(capsys, "export", tmp_path, "--to", "onnx", new)
    assert "go with --to onnx" in complaint(capsys, "export", run, "--to", "hf", new, "--int8")
    assert "go with --to onnx" in complaint(capsys, "export", run, "--to", "hf", new, "--measure", "x")
    assert "no-such" in complaint(capsys, "export", run, "--to", "onnx", new, "--measure", "no-such")
    busy = RunFolder(run)
    busy.lock()
    assert "in use by another process" in complaint(capsys, "export", run, "--to", "onnx", new)
    busy.unlock()
    for missing in ("onnx", "onnxscript", "onnxruntime"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, missing, None)
            assert "pip install 'autoencoder-attention[onnx]'" in complaint(
                capsys, "export", run, "--to", "onnx", new
            )
    assert not new.exists()


@pytest.mark.timeout(600)
def test_kinds_from_plug_ins_that_cannot_be_traced_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from aeattn.nn.projection import Bottleneck, register_projection

    def code(self: Any, x: Tensor) -> Tensor:
        return torch.tanh(x) if float(x.sum()) > 0 else x

    register_projection("mine")(type("Mine", (Bottleneck,), {"__doc__": "mine", "code": code}))
    run = make_run(tmp_path / "run", CharTokenizer(" ab"), key="mine", n_layers=1)
    assert "kind mine come from a plug-in" in refusal(capsys, run, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def refusal(capsys: pytest.CaptureFixture[str], run: Path, folder: Path) -> str:
    """The last line that an export says; those before it are its progress."""
    capsys.readouterr()
    assert main(["export", str(run), "--to", "onnx", str(folder / "new")]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_another_graph_than_the_models_is_refused(tmp_path: Path) -> None:
    """What is written is checked against the run: here a session that is wrong by a little."""
    model = lively_model(tiny_config())

    class Wrong:
        def in_pieces(self, ids: Any, ends: Any) -> Any:
            with torch.no_grad():
                return model(torch.from_numpy(ids)).numpy() + 1e-2

    with pytest.raises(InputError, match="differ by"):
        onnx_export._check(model, Wrong(), model.config)  # type: ignore[arg-type]
