"""Torn files of PyTorch's compiler are found, made anew once, and never end a training."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from aeattn import host
from aeattn.training import compiled_cache, compiling
from aeattn.training.compiled_cache import PLACE, is_whole, keep_compiled, put_aside, remove_torn
from tests.conftest import tiny_config
from tests.faults.harness import FULL
from tests.training.test_trainer import _trainer

pytestmark = pytest.mark.usefixtures("_compiles_anew")


def _library(folder: Path) -> Path:
    """A real library, as a compiler leaves it."""
    path = folder / "ab" / "cab.main.so"
    path.parent.mkdir(parents=True)
    compiler = host.cxx()
    if compiler is None:
        pytest.skip("no C++ compiler here")
    source = path.with_suffix(".cpp")
    source.write_text("int nothing() { return 0; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(path)], check=True)
    return path


def test_a_library_is_whole_or_torn(tmp_path: Path) -> None:
    path = _library(tmp_path)
    assert is_whole(path)
    size = path.stat().st_size
    for kept in (size - 1, size // 2, 100, 63, 3, 0):
        os.truncate(path, kept)
        assert not is_whole(path)
    path.write_bytes(b"MZ another format")
    assert is_whole(path)
    assert is_whole(tmp_path / "not there")


def test_a_place_that_cannot_be_written_to_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch makes the folder when it is imported, and ends there."""
    (tmp_path / "file").touch()
    ours = os.environ[PLACE]
    monkeypatch.setenv(PLACE, str(tmp_path / "file" / "below"))
    assert keep_compiled() is None
    assert os.environ[PLACE] == ours


def test_torn_libraries_are_removed_unless_they_are_being_written(tmp_path: Path) -> None:
    place = Path(os.environ[PLACE])
    path = _library(place)
    assert remove_torn() == []
    os.truncate(path, 0)
    lock = place / "locks" / "cab.lock"
    lock.parent.mkdir()
    with lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert remove_torn() == []
    assert remove_torn() == [path]
    assert not path.exists()


def test_only_a_place_of_ours_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path(os.environ[PLACE])
    (place / "ab").mkdir(parents=True)
    aside = put_aside()
    assert aside == place.with_name("compiled.damaged")
    assert (aside / "ab").exists()
    assert os.listdir(place) == []
    monkeypatch.setenv(PLACE, str(tmp_path / "theirs"))
    assert put_aside() is None


@pytest.mark.parametrize("name", ["a b", "a'b", 'a"b', "a$b", "é"])
def test_a_path_that_the_compiler_cannot_take_is_passed_by(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEATTN_CACHE", str(tmp_path / name))
    monkeypatch.setattr(compiled_cache, "_safe_place", lambda: tmp_path / "safe")
    monkeypatch.delenv(PLACE)
    note = keep_compiled()
    assert os.environ[PLACE] == str(tmp_path / "safe")
    assert note is not None
    assert str(tmp_path / "safe") in note
    assert keep_compiled() == note  # whoever asks later is told as well


def test_the_place_is_settled_before_the_compiler_is_loaded(tmp_path: Path) -> None:
    """By the command line, for whatever command: `resume` compiled into a temporary folder."""
    python = (
        "import os, sys; from aeattn.cli import main; main(['resume', 'no-such-run']);"
        "print(os.environ.get(sys.argv[1]))"
    )
    environment = {key: value for key, value in os.environ.items() if key != PLACE}
    done = subprocess.run(
        [sys.executable, "-c", python, PLACE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == str(Path(os.environ["AEATTN_CACHE"]) / "compiled")


Loss = Callable[[Tensor, Tensor], Tensor]


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("failures", [1, 2])
def test_whatever_the_compiler_raises_training_goes_on(
    where: str, failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is compiled anew, then it is done without; the weights are those of a training without compiling."""
    left = [OSError("ab/cab.main.so: file too short") for _ in range(failures)]

    class Torn(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, loss: Tensor) -> Tensor:
            return loss.clone()

        @staticmethod
        def backward(ctx: object, *gradients: Tensor) -> Tensor:
            if left:
                raise left.pop()
            return gradients[0]

    def compile_step(step: Loss, *_: object, **__: object) -> Loss:
        def compiled(inputs: Tensor, targets: Tensor) -> Tensor:
            if where == "forward" and left:
                raise left.pop()
            loss: Tensor = Torn.apply(step(inputs, targets))  # type: ignore[no-untyped-call]
            return loss

        return compiled

    monkeypatch.setattr(compiling, "compile_step", compile_step)
    monkeypatch.setattr(compiling, "check_compiler", lambda device: None)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    trainer, plain = _trainer(tmp_path / "a"), _trainer(tmp_path / "b")
    said: list[str] = []
    monkeypatch.setattr(type(trainer), "say", lambda self, text, warning=False: said.append(text))
    trainer.settle(compile="on")
    for each in (trainer, plain):
        each.run()
    assert trainer.compiled == (failures == 1)
    assert trainer.config.training.compile == ("on" if failures == 1 else "off")
    assert any("file too short" in line and "compiled anew" in line for line in said)
    assert any("training goes on without" in line for line in said) == (failures == 2)
    for ours, theirs in zip(trainer.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.skipif(not (FULL and compiling.can_compile(torch.device("cpu"))), reason="in the full fault suite")
@pytest.mark.parametrize("damage", ["empty", "cut"])
def test_a_kill_while_pytorch_compiles_is_survived(damage: str, tmp_path: Path) -> None:
    """What it leaves: libraries that are empty or cut off, and no compiled graph."""
    command = [sys.executable, "-m", "aeattn", "train", "tales", "--steps", "2", "--batch", "2", "--context", "16",
               "--d-model", "16", "--n-heads", "2", "--bottleneck", "4", "--d-ff", "24", "--n-layers", "1",
               "--sample-every", "0", "--compile", "on", "--device", "cpu"]  # fmt: skip
    subprocess.run([*command, "--out", str(tmp_path / "a")], check=True, capture_output=True)
    place = Path(os.environ[PLACE])
    for path in place.glob("*/*.so"):
        os.truncate(path, 0 if damage == "empty" else 8192)
    for name in ("fxgraph", "aotautograd"):
        shutil.rmtree(place / name)
    again = subprocess.run([*command, "--out", str(tmp_path / "b")], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "are compiled anew" in again.stderr
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("a", "b")]
    assert weights[0] == weights[1]


def test_a_step_with_other_kernels_has_not_been_compiled_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = (tiny_config(), (2, 8), torch.float32, torch.device("cpu"))
    before = compiling.compiled_mark(*facts)
    assert compiling.compiled_mark(*facts) == before
    (tmp_path / "operator.py").write_text("# another source")
    monkeypatch.setattr(compiling.kernels, "__path__", [str(tmp_path)])
    assert compiling.compiled_mark(*facts) != before
