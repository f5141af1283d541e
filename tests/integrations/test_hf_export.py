"""Folders for `transformers`: written, loaded with and without aeattn, and back."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import aeattn
from aeattn.cli import main
from aeattn.config.run import DataConfig, RunConfig
from aeattn.config.text import TextOptions
from aeattn.data.tokenizer import CharTokenizer, Tokenizer, make_tokenizer
from aeattn.runs.folder import RunFolder
from aeattn.runs.weights import to_bytes
from tests.conftest import VARIANTS, lively_model, tiny_config

transformers = pytest.importorskip("transformers")
from aeattn.integrations import hf  # noqa: E402
from aeattn.integrations.hf_tokenizer import to_hf_tokenizer  # noqa: E402

TEXT = "once upon a time\nthere was a king, and «he» ate 3 pies.  "


def make_run(path: Path, tokenizer: Tokenizer, text: TextOptions | None = None, **changes: object) -> Path:
    """A run folder as training leaves it."""
    data = DataConfig(text=text or TextOptions())
    model = tiny_config(**{"vocab_size": tokenizer.vocab_size, "context": 48, **changes})
    config = RunConfig(model=model, data=data, preset="460k")
    run = RunFolder(path)
    run.create(config, tokenizer, {"device": "cpu"})
    run.publish(to_bytes(lively_model(config.model).state_dict()))
    run.append_metrics({"step": 40, "valid_nats": 1.5, "valid_chars": 100, "valid_bytes": 104})
    run.unlock()
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("hf") / "run", CharTokenizer("".join(sorted(set(TEXT)))))


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf") / "folder"
    assert main(["export", str(run), "--to", "hf", str(folder)]) == 0
    return folder


@pytest.fixture(autouse=True)
def _registered() -> None:
    hf.register()


def test_the_folder_holds_all_that_a_stranger_needs(exported: Path) -> None:
    names = {path.name for path in exported.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert {"tokenizer_config.json", "modeling_aeattn.py", "configuration_aeattn.py"} <= names
    config = json.loads((exported / "config.json").read_text())
    assert config["auto_map"]["AutoModelForCausalLM"] == "modeling_aeattn.AeattnForCausalLM"
    assert config["bottleneck"] == 4
    header = (exported / "model.safetensors").read_bytes()
    assert b'"format":"pt"' in header[:4096]
    card = (exported / "README.md").read_text()
    assert "1.5000" in card
    assert "| bottleneck | 4 |" in card
    assert "``" not in card.replace("```", "")
    assert str(exported.parent) not in card


def test_the_auto_classes_load_it_and_it_writes_as_ours(run: Path, exported: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(exported)
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    assert type(model).__module__ == "aeattn.integrations.modeling_aeattn"
    ours = aeattn.load(run, engine="simple")
    found = model.generate(**tokenizer("once upon", return_tensors="pt"), max_new_tokens=30, do_sample=False)
    assert tokenizer.decode(found[0]) == ours.generate("once upon", chars=30, temperature=0.0)
    batch = tokenizer(["once upon a time", "king"], return_tensors="pt", padding=True)
    rows = tokenizer.batch_decode(
        model.generate(**batch, max_new_tokens=20, do_sample=False), skip_special_tokens=True
    )
    assert rows == [ours.generate(prompt, chars=20, temperature=0.0) for prompt in ("once upon a time", "king")]


def test_a_text_without_a_prompt_follows_the_end_of_a_line(run: Path, exported: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(exported)
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    found = tokenizer.decode(model.generate(max_new_tokens=20, do_sample=False)[0], skip_special_tokens=True)
    assert found == aeattn.load(run, engine="simple").generate("\n", chars=20, temperature=0.0)[1:]
    assert model.config.before_text == tokenizer("\n")["input_ids"][0]


def test_pipelines_write_as_ours(run: Path, exported: Path) -> None:
    writer = transformers.pipeline("text-generation", model=str(exported), device="cpu")
    found = writer("once upon", max_new_tokens=20, do_sample=False)[0]["generated_text"]
    assert found == aeattn.load(run, engine="simple").generate("once upon", chars=20, temperature=0.0)
    assert writer("once upon", do_sample=False)[0]["generated_text"].startswith(found)  # and ends with the context


def test_saving_and_loading_gives_the_same(exported: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(exported)
    model.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "attention_aeattn.py").is_file()
    before, after = (load_file(path / "model.safetensors") for path in (exported, tmp_path / "again"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("changes", [{}, {"tied": True, "key": ("linear", "autoencoder"), "value": "bottleneck"}])
def test_there_and_back_is_bit_for_bit(tmp_path: Path, changes: dict[str, object]) -> None:
    run = make_run(tmp_path / "run", CharTokenizer(" ab"), **changes)
    assert main(["export", str(run), "--to", "hf", str(tmp_path / "folder"), "--json"]) == 0
    assert main(["import", str(tmp_path / "folder"), str(tmp_path / "back")]) == 0
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        assert (tmp_path / "back" / name).read_bytes() == (run / name).read_bytes(), name
    assert aeattn.load(tmp_path / "back", engine="simple").generate("ab", chars=5)


def test_a_model_that_was_trained_on_there_is_brought_back(exported: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(exported)
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    ids = tokenizer("there was a king", return_tensors="pt")["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(3):
        model.train()(ids, labels=ids).loss.backward()
        optimizer.step()
    model.save_pretrained(tmp_path / "trained")
    (tmp_path / "trained" / "aeattn.json").write_bytes((exported / "aeattn.json").read_bytes())
    assert main(["import", str(tmp_path / "trained"), str(tmp_path / "back")]) == 0
    ours = aeattn.load(tmp_path / "back", engine="simple")
    with torch.no_grad():
        assert torch.allclose(ours.logits(ids), model.eval()(ids).logits, atol=1e-5)
    assert not torch.allclose(
        ours.logits(ids), transformers.AutoModelForCausalLM.from_pretrained(exported)(ids).logits
    )


def test_the_code_that_travels_imports_nothing_else(exported: Path) -> None:
    from aeattn.integrations.hf_export import CODE

    names = {path.name for path in exported.glob("*.py")}
    assert names == set(CODE)
    for name in names:
        for node in ast.walk(ast.parse((exported / name).read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert f"{node.module}.py" in names
            elif isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] in ("torch", "transformers", "typing", "dataclasses")
            elif isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= {"torch", "math"}


@pytest.mark.skipif(os.environ.get("AEATTN_FAULTS") != "full", reason="another process, half a minute")
def test_every_kind_loads_where_aeattn_cannot_be_imported(tmp_path: Path) -> None:
    """A model of every form of attention, loaded with the folder's own code."""
    tokenizer = CharTokenizer("".join(sorted(set(TEXT))))
    wanted = {}
    for name, changes in VARIANTS.items():
        run = make_run(tmp_path / "runs" / name, tokenizer, **changes)
        assert main(["export", str(run), "--to", "hf", str(tmp_path / name)]) == 0
        ours = aeattn.load(run, engine="simple")
        logits = ours.logits(torch.from_numpy(tokenizer.encode("there was a king").astype(np.int64))[None])
        wanted[name] = (ours.generate("once upon", chars=30, temperature=0.0), logits[0, -1].tolist())
    code = f"""
import json, sys, torch
sys.modules["aeattn"] = None
from transformers import AutoModelForCausalLM, AutoTokenizer
found = {{}}
for name in {list(VARIANTS)!r}:
    folder = {str(tmp_path)!r} + "/" + name
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules.")
    ids = model.generate(**tokenizer("once upon", return_tensors="pt"), max_new_tokens=30, do_sample=False)
    with torch.no_grad():
        logits = model(**tokenizer("there was a king", return_tensors="pt")).logits
    found[name] = (tokenizer.decode(ids[0]), logits[0, -1].tolist())
print(json.dumps(found))
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                          env=environment, timeout=200, cwd=tmp_path)  # fmt: skip
    found = json.loads(done.stdout)
    for name, (text, logits) in wanted.items():
        assert found[name][0] == text, name
        assert found[name][1] == pytest.approx(logits, abs=1e-5), name


@pytest.mark.parametrize("spec", ["char", "bytes", "bpe:270"])
def test_tokenizers_give_the_same_ids_and_every_text_back(spec: str, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    ours = make_tokenizer(spec, [TEXT * 40])
    to_hf_tokenizer(ours, 48).save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    unknown = "" if spec == "char" else "漢字 😀\x00\u00a0\r\n\t  é"
    for text in (TEXT, "  a  king\n\n", "<|pad|><|document|>", unknown, "Zürich"):
        ids = theirs(text)["input_ids"]
        assert ids == ours.encode(text).tolist(), text
        assert theirs.decode(ids, skip_special_tokens=True) == ours.decode(np.array(ids, np.int64))
    assert theirs.pad_token_id == ours.vocab_size
    assert theirs.bos_token_id == theirs.eos_token_id == ours.vocab_size + 1
    assert theirs(["a", "king"], padding=True)["input_ids"][0][:3] == [ours.vocab_size] * 3 or spec == "bpe:270"


def complaint(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    capsys.readouterr()
    assert main([str(each) for each in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_bad_input_is_refused_in_one_line(
    run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"
    assert "is there already" in complaint(capsys, "export", run, "--to", "hf", tmp_path)
    assert "no run folder" in complaint(capsys, "export", tmp_path, "--to", "hf", new)
    assert "is there already" in complaint(capsys, "import", exported, tmp_path)
    assert "no exported folder" in complaint(capsys, "import", run / "checkpoints", new)
    busy = RunFolder(run)
    busy.lock()
    assert "in use by another process" in complaint(capsys, "export", run, "--to", "hf", new)
    busy.unlock()
    begun = RunFolder(tmp_path / "begun")
    begun.create(RunConfig(model=tiny_config(vocab_size=3)), CharTokenizer(" ab"), {"device": "cpu"})
    begun.unlock()
    assert "has the run been interrupted?" in complaint(capsys, "export", begun.path, "--to", "hf", new)
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "pip install 'autoencoder-attention[hf]'" in complaint(capsys, "export", run, "--to", "hf", new)
    assert not new.exists()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"positions": "alibi"', '"positions": "sinusoidal"', "choose one of none, learned"),
        ('"n_heads": 2', '"n_heads": 3', "choose a divisor of d_model, 16"),
        ('"context": 48', '"context": "48"', "choose a whole number of at least 1"),
        ('"before_text": 0', '"before_text": 99', "choose a token's id"),
    ],
)
def test_a_config_that_was_edited_is_refused_on_loading_with_a_mend(
    old: str, new: str, reason: str, exported: Path, tmp_path: Path
) -> None:
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
    with pytest.raises(ValueError, match=reason):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)


def test_folders_that_were_changed_are_refused(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(name: str, old: str, new: str) -> Path:
        folder = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for path in exported.iterdir():
            content = path.read_bytes()
            (folder / path.name).write_bytes(
                content.replace(old.encode(), new.encode()) if path.name == name else content
            )
        return folder

    out = tmp_path / "out"
    folder = change("config.json", '"context": 48', '"context": 64')
    assert "changed by hand: context is 64, it was 48" in complaint(capsys, "import", folder, out)
    folder = change("config.json", '"aeattn"', '"llama"')
    assert "none of aeattn's" in complaint(capsys, "import", folder, out)
    folder = change("aeattn.json", '"context": 48', '"context": 64')
    assert "not as it was written" in complaint(capsys, "import", folder, out)
    for origin in ("{}", '{"run": null, "tokenizer": {}}', '{"run": {}}'):
        (folder / "aeattn.json").write_text(origin)
        assert "not as it was written" in complaint(capsys, "import", folder, out)
    (folder / "aeattn.json").unlink()
    assert "was not written by `aeattn export`" in complaint(capsys, "import", folder, out)
    folder = change("model.safetensors", "lm_head", "lm_hand")
    assert "does not fit config.json" in complaint(capsys, "import", folder, out)
    assert not out.exists()


def test_kinds_from_plug_ins_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aeattn.nn.projection import Bottleneck, register_projection

    register_projection("mine")(
        type("Mine", (Bottleneck,), {"__doc__": "mine", "code": lambda self, x: torch.tanh(x)})
    )
    run = make_run(tmp_path / "run", CharTokenizer(" ab"), key="mine")
    assert "mine come from a plug-in" in complaint(capsys, "export", run, "--to", "hf", tmp_path / "new")
