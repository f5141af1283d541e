"""Weights on disk: the same bytes and the same checks with PyTorch and without, read once, hashed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.data.tokenizer import CharTokenizer
from aeattn.errors import Damaged, InputError
from aeattn.runs import checkpoint, load, weights
from aeattn.runs.folder import RunFolder
from tests.conftest import lively_model, tiny_config

MIXED = {
    "b": torch.randn(3, 4),
    "a.step": torch.tensor(7.0),
    "random": torch.arange(9, dtype=torch.uint8),
    "none": torch.empty(0, 2),
    "turned": torch.randn(4, 3).T,
    "flags": torch.tensor([True, False]),
}


def test_the_bytes_are_those_that_pytorch_would_give() -> None:
    ours = weights.to_bytes(MIXED)
    checksum = weights._checksum_inside(ours, weights.Limits(6, 1000))
    theirs = safetensors.torch.save({n: t.contiguous() for n, t in MIXED.items()}, {"sha256": str(checksum)})
    assert ours == theirs


def test_what_is_written_comes_back() -> None:
    arrays = weights.from_bytes(weights.to_bytes(MIXED), Path("x"), weights.Limits(6, 1000))
    for name, tensor in weights.tensors(arrays).items():
        assert tensor.dtype == MIXED[name].dtype
        assert torch.equal(tensor, MIXED[name])


def test_the_checksum_is_that_of_earlier_versions() -> None:
    content = weights.to_bytes({"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(1.0)})
    known = "520addc66e929c52"  # by the version before this
    assert str(weights._checksum_inside(content, weights.Limits(2, 100))).startswith(known)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder, model = RunFolder(tmp_path / "run"), lively_model(tiny_config())
    tokenizer = CharTokenizer("abcdefghijk")
    folder.create(RunConfig(model.config, TrainingConfig(), DataConfig()), tokenizer, {})
    folder.publish(weights.to_bytes(model.state_dict()))
    folder.unlock()
    return folder


@pytest.mark.parametrize("engine", ["simple", "auto"])
def test_a_writer_reads_each_file_once(run: RunFolder, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    digests: list[str] = []
    read, digest = weights.read_bytes, weights._digest
    monkeypatch.setattr(weights, "read_bytes", lambda path, most: reads.append(path) or read(path, most))
    monkeypatch.setattr(weights, "_digest", lambda arrays: digests.append("once") or digest(arrays))
    load.open_writer(run.path, engine=engine)  # type: ignore[arg-type]
    assert reads == [run.model]
    assert digests == ["once"]


def test_a_model_is_the_same_with_pytorch_and_without(run: RunFolder) -> None:
    config = run.read_config().model
    arrays = weights.read_weights(run.model, config)
    for name, tensor in load.load_model(run, config).state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), arrays[name])


def test_damage_is_told_from_what_is_not_there(run: RunFolder) -> None:
    config, content = run.read_config().model, run.model.read_bytes()
    for damaged in (content[:-1], content[:100], b"", content[:-1] + bytes([content[-1] ^ 1])):
        run.model.write_bytes(damaged)
        with pytest.raises(Damaged, match="is damaged"):
            weights.read_weights(run.model, config)
    run.model.write_bytes(weights.to_bytes({"extra": torch.ones(2)}))
    with pytest.raises(Damaged, match="does not fit"):
        weights.read_weights(run.model, config)
    run.model.unlink()
    with pytest.raises(InputError, match="is not there") as caught:
        weights.read_weights(run.model, config)
    assert not isinstance(caught.value, Damaged)


def test_weights_of_a_checkpoint_are_hashed_once_when_they_are_read(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lively_model(tiny_config())
    checkpoint.commit(run, checkpoint.take(run, model, [], {"step": 3}), keep=1)
    found, _ = checkpoint.newest(run, weights.limits_of(model.config))
    monkeypatch.setattr(weights, "_digest", lambda arrays: pytest.fail("its file's checksum was checked already"))
    assert found is not None
    checkpoint.restore(found, model, [])
