"""Exported models with Trainer, PEFT, accelerate, torchao, and a stand-in for the hub."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import aeattn
from aeattn.cli import main
from aeattn.config.run import RunConfig, TrainingConfig
from aeattn.data.tokenizer import CharTokenizer
from aeattn.nn.transformer import LanguageModel
from tests.conftest import VARIANTS, tiny_config
from tests.integrations.test_hf_model import both, greedy, ids_of, in_pieces, near

transformers = pytest.importorskip("transformers")
from aeattn.integrations import hf  # noqa: E402
from aeattn.integrations.hf_tokenizer import to_hf_tokenizer  # noqa: E402
from aeattn.integrations.modeling_aeattn import AeattnForCausalLM  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


@pytest.fixture(autouse=True)
def _registered() -> None:
    hf.register()


def twins(**changes: object) -> tuple[LanguageModel, AeattnForCausalLM]:
    """`both`, with the same weights at every call."""
    torch.manual_seed(0)
    return both(**changes)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The default model, as `save_pretrained` leaves it."""
    twins()[1].save_pretrained(tmp_path / "model")
    return tmp_path / "model"


# -- Trainer -----------------------------------------------------------------------------------------------


class Losses(aeattn.Hook):
    def __init__(self) -> None:
        self.nats: list[float] = []
        self.windows: list[Tensor] = []
        self.first: dict[str, Tensor] = {}

    def start(self, trainer: Any) -> None:
        self.first = {name: p.detach().clone() for name, p in trainer.model.state_dict().items()}
        self.windows = [torch.from_numpy(trainer.batches.at(step)) for step in range(20)]

    def before_update(self, trainer: Any, loss: float, norm: float) -> None:
        self.nats.append(loss)


def test_losses_of_20_steps_are_those_of_our_own_loop(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    training = TrainingConfig(
        steps=20, batch=4, optimizer="adamw", learning_rate=3e-3, schedule="constant", warmup=0.0, clip=1.0,
        precision="fp32", compile="off", eval_every=100, sample_every=100,
    )  # fmt: skip
    watch = Losses()
    text = "once upon a time there was a king who ate three pies. " * 40
    aeattn.train(RunConfig(model=tiny_config(vocab_size=0), training=training), text, hooks=[watch])

    config = tiny_config(vocab_size=len(set(text)), context=17)  # Trainer shifts the labels itself
    model = hf.to_hf_model(config, watch.first)
    rows = [{"input_ids": row, "labels": row} for window in watch.windows for row in window]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=20, per_device_train_batch_size=4, learning_rate=3e-3,
        lr_scheduler_type="constant", adam_beta1=training.beta1, adam_beta2=training.beta2, adam_epsilon=1e-8,
        weight_decay=0.0, max_grad_norm=1.0, logging_steps=1, save_strategy="no", report_to="none", use_cpu=True,
        disable_tqdm=True, optim="adamw_torch", train_sampling_strategy="sequential",
    )  # fmt: skip
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows)
    trainer.train()
    found = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(found) == len(watch.nats) == 20
    assert found == pytest.approx(watch.nats, abs=1e-4)
    assert watch.nats[-1] < watch.nats[0] - 0.1
    trainer.save_model(str(tmp_path / "trained"))
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "trained")
    assert near(again(rows[0]["input_ids"][None]).logits, model.eval()(rows[0]["input_ids"][None]).logits)


# -- PEFT --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", [["encoder"], ["decoder"], ["query.encoder", "value.decoder"], ["up", "down"]])
def test_low_rank_adapters_are_trained_saved_and_merged(targets: list[str], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    _, model = twins()
    ids = ids_of()
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM"))
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained
    assert all(any(f".{target}.lora_" in name for target in targets) for name in trained)
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=0.05)
    losses = []
    for _ in range(8):
        loss = adapted.train()(input_ids=ids, labels=ids).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.05
    adapted.eval().save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        wanted = adapted(input_ids=ids).logits
        written = adapted.generate(input_ids=ids[:, :4], max_new_tokens=10, do_sample=False)
        again = peft.PeftModel.from_pretrained(twins()[1], tmp_path / "adapter").eval()
        assert near(again(input_ids=ids).logits, wanted)
        cache = transformers.DynamicCache(config=model.config)
        assert near(in_pieces(again, ids, cache), wanted)
        merged = again.merge_and_unload()
        assert near(merged(ids).logits, wanted)
        assert torch.equal(merged.generate(ids[:, :4], max_new_tokens=10, do_sample=False), written)


def test_adapters_of_every_head_and_of_a_model_that_trains_in_pieces() -> None:
    peft = pytest.importorskip("peft")
    _, model = twins(**VARIANTS["grouped_per_head"])
    named = peft.LoraConfig(r=2, target_modules=["encoder", "decoder"], init_lora_weights=False)
    adapted = peft.get_peft_model(model, named)
    ids = ids_of()
    adapted.train()(input_ids=ids, labels=ids).loss.backward()
    gradients = {name: p.grad.clone() for name, p in adapted.named_parameters() if p.requires_grad}
    assert len(gradients) == 2 * 2 * 2 * (4 + 2 + 2)  # layers, sides, A and B, heads
    adapted.zero_grad()
    model.enable_input_require_grads()
    model.activation_checkpointing_enable()
    adapted(input_ids=ids, labels=ids).loss.backward()
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            assert torch.allclose(parameter.grad, gradients[name], atol=1e-6), name


# -- accelerate --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "device_map",
    [
        "cpu",
        "auto",
        {"model": "cpu", "lm_head": "disk"},
        {"model.embedding": "cpu", "model.dropout": "cpu", "model.blocks.0": "cpu", "model.blocks.1": "disk",
         "model.norm": "cpu", "lm_head": "cpu"},
    ],
    ids=["cpu", "auto", "the output on the disk", "a layer on the disk"],
)  # fmt: skip
def test_device_maps(device_map: Any, saved: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    ours, _ = twins()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        saved, device_map=device_map, offload_folder=str(tmp_path / "off")
    )
    ids = ids_of()
    kept = {str(parameter.device) for parameter in model.parameters()}
    assert ("meta" in kept) == isinstance(device_map, dict)  # on the disk until it is needed
    with torch.no_grad():
        assert near(model(ids).logits, ours(ids))
        for cache in (None, "static"):
            found = model.generate(ids[:, :4], max_new_tokens=10, do_sample=False, cache_implementation=cache)
            assert torch.equal(found, greedy(ours, ids[:, :4], 10))


def test_more_than_memory_goes_to_the_disk_by_itself(saved: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    ours, _ = twins()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        saved, device_map="auto", max_memory={"cpu": "8KB"}, offload_folder=str(tmp_path / "off")
    )
    assert any(parameter.device.type == "meta" for parameter in model.parameters())
    assert torch.equal(
        model.generate(ids_of(2, 4), max_new_tokens=10, do_sample=False), greedy(ours, ids_of(2, 4), 10)
    )


# -- torchao -----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["default", "per_head", "latent"])
@torch.no_grad()
def test_int8_weights_by_torchao(name: str, tmp_path: Path) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    ours, model = twins(**VARIANTS[name])
    model.save_pretrained(tmp_path / "model")
    ids = ids_of()
    config = transformers.TorchAoConfig(quantization.Int8WeightOnlyConfig())
    small = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", quantization_config=config)
    kept = type(small.model.blocks[0].feed_forward.up.weight)
    assert kept is not torch.nn.Parameter
    wanted = small(ids).logits
    assert not near(wanted, ours(ids))  # it is quantised,
    assert (wanted - ours(ids)).abs().mean() < 0.1  # and close
    cache = transformers.DynamicCache(config=small.config)
    assert torch.allclose(in_pieces(small, ids, cache), wanted, atol=1e-4)
    found = small.generate(ids[:, :4], max_new_tokens=10, do_sample=False)
    assert found.shape == (2, 14)
    small.save_pretrained(tmp_path / "small")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert near(again(ids).logits, wanted)


@pytest.mark.skipif(os.environ.get("AEATTN_FAULTS") != "full", reason="another process")
def test_nothing_is_said_of_torchao_where_models_are_made() -> None:
    pytest.importorskip("torchao")
    code = "from aeattn.integrations import hf; hf.register()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""


# -- the hub -----------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """What of the hub's interface an upload calls: a repository is made, files come as text or as large files."""

    files: dict[str, bytes]
    objects: dict[str, bytes]
    tokens: set[str | None]

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(404, {"error": "not found"})

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self.objects[self.path.rpartition("/")[2]] = self._body()
        self._answer(200, {})

    def do_POST(self) -> None:
        body = self._body()
        self.tokens.add(self.headers.get("Authorization"))
        here = f"http://127.0.0.1:{self.server.server_address[1]}"
        if self.path.endswith("/repos/create"):
            self._answer(200, {"url": f"{here}/me/model", "name": "me/model"})
        elif "/preupload/" in self.path:
            modes = [{"path": f["path"], "shouldIgnore": False,
                      "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
                     for f in json.loads(body)["files"]]  # fmt: skip
            self._answer(200, {"files": modes})
        elif self.path.endswith("/objects/batch"):
            wanted = [{**each, "actions": {"upload": {"href": f"{here}/lfs/{each['oid']}"}}}
                      for each in json.loads(body)["objects"]]  # fmt: skip
            self._answer(200, {"transfer": "basic", "objects": wanted})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.files[value["path"]] = self.objects[value["oid"]]
            commit = "a" * 40
            self._answer(200, {"commitUrl": f"{here}/me/model/commit/{commit}", "commitOid": commit})
        else:
            self._answer(200, {"errors": [], "warnings": []})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, code: int, values: Any) -> None:
        content = json.dumps(values).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A stand-in for the hub, as `HF_ENDPOINT` would name it."""
    import huggingface_hub
    from huggingface_hub import constants
    from transformers.utils import hub as library

    stand_in = type("StandIn", (Hub,), {"files": {}, "objects": {}, "tokens": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), stand_in)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", here)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", here + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(library, "_hf_api", huggingface_hub.HfApi(endpoint=here, token="hf_stand_in"))
    yield stand_in
    server.shutdown()
    server.server_close()


LARGE_FILES = pytest.mark.filterwarnings("ignore:Use 'content=<...>'")  # of huggingface_hub, which uploads them


@LARGE_FILES
def test_a_folder_goes_to_the_hub_byte_for_byte(pushed: type[Hub], tmp_path: Path) -> None:
    from huggingface_hub import HfApi, constants

    from tests.integrations.test_hf_export import make_run

    run = make_run(tmp_path / "run", CharTokenizer("\n abcdefghi"))
    assert main(["export", str(run), "--to", "hf", str(tmp_path / "folder")]) == 0
    api = HfApi(endpoint=constants.ENDPOINT, token="hf_stand_in")
    api.upload_folder(repo_id="me/model", folder_path=tmp_path / "folder")
    assert pushed.files == {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    assert "aeattn.json" in pushed.files


@LARGE_FILES
def test_what_is_pushed_to_the_hub_loads_as_what_was_saved(pushed: type[Hub], tmp_path: Path) -> None:
    ours, model = twins()
    model.push_to_hub("me/model", token="hf_stand_in")
    to_hf_tokenizer(CharTokenizer("".join("\n abcdefghi")), 16).push_to_hub("me/model", token="hf_stand_in")
    assert pushed.tokens == {"Bearer hf_stand_in"}
    assert len(pushed.objects) == 1  # the weights, as a large file
    for name, content in pushed.files.items():
        (tmp_path / name).write_bytes(content)
    config = json.loads(pushed.files["config.json"])
    assert config["auto_map"]["AutoModelForCausalLM"] == "modeling_aeattn.AeattnForCausalLM"
    code = {name for name in pushed.files if name.endswith(".py")}
    assert code == {
        f"{part}_aeattn.py" for part in ("configuration", "projections", "attention", "caches", "modeling")
    }
    found = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert near(found(ids_of()).logits, ours(ids_of()))
    assert transformers.AutoTokenizer.from_pretrained(tmp_path)("a b")["input_ids"] == [2, 1, 3]
