"""The loop: accumulation and compiling change nothing, seeds decide everything, progress says what is."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from aeattn import hardware
from aeattn.config.run import DataConfig, RunConfig, TrainingConfig
from aeattn.config.text import TextOptions
from aeattn.data import tales
from aeattn.data.corpora import Document
from aeattn.data.store import Prepared, build_store
from aeattn.data.tokenizer import CharTokenizer
from aeattn.errors import Diverged, InputError
from aeattn.runs.folder import RunFolder
from aeattn.terminal.progress import LiveReporter, PlainReporter, Status, clock, describe, heading, screen
from aeattn.training import compiled_cache, compiling, hooks
from aeattn.training import trainer as trainer_module
from aeattn.training.evaluate import Score
from aeattn.training.start import Training, add_hooks
from aeattn.training.trainer import Trainer
from tests.conftest import tiny_config

TEXT = tales.generate(8_000)[0]
needs_compiler = pytest.mark.skipif(not compiling.can_compile(torch.device("cpu")), reason="no C++ compiler here")
SETTINGS = TrainingConfig(
    steps=6,
    batch=4,
    compile="off",
    precision="fp32",
    device="cpu",
    checkpoint_every=0,
    eval_every=0,
    sample_every=0,
)


def _trainer(folder: Path, settings: TrainingConfig = SETTINGS, **model: Any) -> Trainer:
    tokenizer = CharTokenizer.from_chunks([TEXT])
    train, valid = (Document(name=name, text=text) for name, text in (("a", TEXT), ("b", TEXT[:700])))
    stores = [build_store([d], tokenizer, TextOptions(), folder / d.name) for d in (train, valid)]
    config = RunConfig(tiny_config(vocab_size=tokenizer.vocab_size, **model), settings, DataConfig())
    return Trainer(config, Prepared(tokenizer, *stores, notes=[]))


def _training(folder: Path, settings: TrainingConfig = SETTINGS) -> Training:
    """The same in a folder, with all hooks."""
    trainer, run = _trainer(folder, settings), RunFolder(folder / "run")
    run.create(trainer.config, trainer.text.tokenizer, {})
    add_hooks(trainer, run, PlainReporter(Console(file=io.StringIO())), None, ())
    return Training(trainer, run, None)


def _trained(folder: Path, **changes: Any) -> dict[str, torch.Tensor]:
    folder.mkdir()
    trainer = _trainer(folder, replace(SETTINGS, **changes))
    trainer.run()
    return trainer.model.state_dict()


def _distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max((a[name] - b[name]).abs().max().item() for name in a)


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    whole, parts = _trainer_in(tmp_path / "a"), _trainer_in(tmp_path / "b", batch=2, accumulate=2)
    windows = whole.loader.at(0)
    assert np.array_equal(windows, parts.loader.at(0))
    assert whole._gradients(windows) == pytest.approx(parts._gradients(windows), rel=1e-6)
    for p, q in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert torch.allclose(p.grad, q.grad, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_passes_of_few_windows_give_the_gradient_of_one_pass(
    dropout: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU a batch is cut to fit the caches; masks of dropout belong to windows, not to passes."""
    monkeypatch.setattr(trainer_module, "PASS_TOKENS", 0)
    found = []
    for windows, fitting in ((6, 7), (3, 5), (2, 2), (1, 0)):
        monkeypatch.setattr(trainer_module, "PASS_NUMBERS", 8 * 16 * fitting)  # windows of 8, 16 features wide
        (tmp_path / str(windows)).mkdir()
        trainer = _trainer(tmp_path / str(windows), replace(SETTINGS, batch=6), context=8, dropout=dropout)
        assert trainer.windows_at_once == windows
        loss = trainer._gradients(trainer.loader.at(0))
        found.append((loss, [p.grad for p in trainer.model.parameters()]))
    monkeypatch.setattr(trainer_module, "PASS_TOKENS", 1)  # of a wide model, weights are more than a pass
    assert trainer._windows_at_once(6) == 6
    for loss, gradients in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-6)
        for g, h in zip(gradients, found[0][1], strict=True):
            assert torch.allclose(g, h, atol=1e-6)


def _trainer_in(folder: Path, **changes: Any) -> Trainer:
    folder.mkdir()
    return _trainer(folder, replace(SETTINGS, **changes))


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    first, again = _trained(tmp_path / "a"), _trained(tmp_path / "b")
    assert _distance(first, again) == 0.0
    assert _distance(first, _trained(tmp_path / "c", seed=1)) > 0.01


def test_a_window_trains_what_a_context_of_its_length_does(tmp_path: Path) -> None:
    """Biases on distance have no weights that a longer context would add to."""
    for name in "ab":
        (tmp_path / name).mkdir()
    long = _trainer(tmp_path / "a", replace(SETTINGS, window=8), context=32, conv=3)
    short = _trainer(tmp_path / "b", context=8, conv=3)
    assert long.loader.at(0).shape == (4, 9)
    assert long.config.tokens_per_step == short.config.tokens_per_step == 4 * 8
    scores = [trainer.run() for trainer in (long, short)]
    assert _distance(long.model.state_dict(), short.model.state_dict()) == 0.0
    assert scores[0] != scores[1]  # the validation text is read with the whole context


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    """Weights after a training with each schedule, and nothing else changed."""
    folder = tmp_path_factory.mktemp("bases")
    return {name: _trained(folder / name, schedule=name) for name in ("linear", "wsd")}


@pytest.mark.parametrize(
    "changes",
    [{"learning_rate": 1e-2}, {"matrix_learning_rate": 1e-2}, {"weight_decay": 0.5}, {"beta1": 0.5},
     {"beta2": 0.5},
     {"momentum": 0.5}, {"clip": 1e-3}, {"schedule": "constant"}, {"warmup": 0.9}, {"optimizer": "adamw"},
     {"final_rate": 0.5}, {"schedule": "wsd", "decay": 0.5}, {"batch": 2}, {"accumulate": 2}, {"steps": 7},
     {"precision": "bf16"}, {"window": 8}],
    ids=str,
)  # fmt: skip
def test_every_training_setting_changes_the_result(
    changes: dict[str, Any], bases: dict[str, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    base = bases["wsd" if "decay" in changes else "linear"]
    assert _distance(base, _trained(tmp_path / "b", **changes)) > 0


def test_intervals_do_what_they_say(tmp_path: Path) -> None:
    training = _training(
        tmp_path, replace(SETTINGS, eval_every=2, eval_chars=64, sample_every=3, sample_chars=5,
                          checkpoint_every=2, keep_checkpoints=3)
    )  # fmt: skip
    training.run()
    lines = training.run_folder.read_metrics()
    assert [line["step"] for line in lines if "valid_nats" in line] == [2, 4, 6]
    assert [line["valid_chars"] for line in lines if "valid_nats" in line] == [64, 64, 699]
    assert training.run_folder.samples.read_text().count("--- step ") == 2
    assert [p.name for p in sorted(training.run_folder.checkpoints.iterdir())] == [
        f"step-{step:08d}" for step in (2, 4, 6)
    ]


@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_the_compiled_step_equals_the_plain_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    small = {"n_layers": 1, "n_heads": 1}  # a wider head, for which there is a kernel: less to compile
    plain = _trainer(tmp_path / "a", **small)
    fast = _trainer(tmp_path / "b", replace(SETTINGS, compile="on"), **small)
    compiling.prepare(fast)
    assert fast.compiled
    windows = plain.loader.at(0)
    for trainer in (plain, fast):
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter.add_(0.05 * torch.linspace(-1, 1, parameter.numel()).view(parameter.shape))
    assert fast._gradients(windows) == pytest.approx(plain._gradients(windows), rel=1e-5)
    for p, q in zip(plain.model.parameters(), fast.model.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert torch.allclose(p.grad, q.grad, atol=1e-5)


def test_a_gradient_that_is_not_finite_stops_before_the_update(tmp_path: Path) -> None:
    training = _training(tmp_path)
    trainer = training.trainer
    before = {name: p.clone() for name, p in trainer.model.state_dict().items()}
    trainer.loss = lambda x, y: trainer.plain_loss(x, y) * float("nan")
    kept = "the last good state is checkpoint step-00000000"
    with pytest.raises(Diverged, match=f"loss is nan at step 0, before the update; {kept}"):
        training.run()
    assert _distance(before, trainer.model.state_dict()) == 0.0
    assert _distance(before, load_file(training.run_folder.model)) == 0.0


def test_a_validation_loss_that_is_not_finite_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = _training(tmp_path, replace(SETTINGS, eval_every=2, checkpoint_every=1))
    monkeypatch.setattr(hooks, "score_windows", lambda *_: Score(float("nan"), 1, 1, 1))
    kept = "the last good state is checkpoint step-00000001: lower the learning rate"
    with pytest.raises(Diverged, match=f"^validation loss is nan after step 2; {kept}$"):
        training.run()


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    training = _training(tmp_path)
    with torch.no_grad():
        next(training.trainer.model.parameters()).fill_(float("inf"))
    with pytest.raises(Diverged, match="no checkpoint was written yet"):
        training.run()
    assert not training.run_folder.model.exists()


def test_compiling_is_decided_from_the_work_ahead() -> None:
    cpu = torch.device("cpu")
    assert not compiling.pays_to_compile("off", cpu, 1e9)
    assert not compiling.pays_to_compile("auto", cpu, 1.0)
    can = compiling.can_compile(cpu)
    assert compiling.pays_to_compile("auto", cpu, 1e9) == can
    between = 2 * compiling.CACHED_SECONDS / compiling.COMPILE_GAIN
    assert not compiling.pays_to_compile("auto", cpu, between)
    assert compiling.pays_to_compile("auto", cpu, between, cached=True) == can


def test_what_was_compiled_is_known_to_the_next_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEATTN_CACHE", str(tmp_path))
    cpu, config = torch.device("cpu"), tiny_config()
    mark = compiling.compiled_mark(config, (4, 8), torch.float32, cpu)
    assert not mark.exists()
    compiling.note(mark)
    assert compiling.compiled_mark(config, (4, 8), torch.float32, cpu).exists()
    assert not compiling.compiled_mark(config, (5, 8), torch.float32, cpu).exists()
    assert not compiling.compiled_mark(config, (4, 9), torch.float32, cpu).exists()
    assert not compiling.compiled_mark(config, (4, 8), torch.bfloat16, cpu).exists()
    assert not compiling.compiled_mark(tiny_config(d_ff=8), (4, 8), torch.float32, cpu).exists()


def test_what_is_compiled_is_kept_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: PyTorch settles the place when its compiler is loaded, by the first optimizer."""
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    python = (
        "import sys, pathlib; from tests.training.test_trainer import _trainer;"
        "folder = pathlib.Path(sys.argv[1]);"
        "folder.mkdir(); _trainer(folder);"
        "from torch._inductor.runtime.cache_dir_utils import cache_dir; print(cache_dir())"
    )
    command = [sys.executable, "-c", python, str(tmp_path / "a")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == str(Path(os.environ["AEATTN_CACHE"]) / "compiled")


def test_a_cache_that_cannot_be_written_to_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AEATTN_CACHE", str(tmp_path / "file"))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    compiled_cache.keep_compiled()
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_compiling_where_it_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "cxx", lambda: None)
    assert not compiling.pays_to_compile("auto", torch.device("cpu"), 1e9)
    with pytest.raises(InputError, match="needs a C\\+\\+ compiler"):
        compiling.pays_to_compile("on", torch.device("cpu"), 1.0)


def test_precisions() -> None:
    assert hardware.pick_precision("fp32", torch.device("cpu")) == torch.float32
    assert hardware.pick_precision("bf16", torch.device("cpu")) == torch.bfloat16
    assert hardware.pick_precision("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)


@pytest.mark.parametrize(("seconds", "picked"), [(1.0, torch.bfloat16), (3.0, torch.float32)])
@pytest.mark.parametrize("has", [True, False])
def test_auto_takes_bf16_only_where_it_is_faster(
    seconds: float, picked: torch.dtype, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {torch.bfloat16: seconds, torch.float32: 2.0}
    monkeypatch.setattr(hardware, "product_seconds", times.__getitem__)
    monkeypatch.setattr(hardware, "bf16_is_faster", hardware.bf16_is_faster.__wrapped__)
    monkeypatch.setattr(hardware, "cpu_has", lambda *features: has)
    assert hardware.pick_precision("auto", torch.device("cpu")) == (picked if has else torch.float32)


def test_devices() -> None:
    assert hardware.pick_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="try `auto` or `cpu`"):
        hardware.pick_device("cuda:99")


STATUS = Status(
    step=50, steps=100, train_nats=1.5, valid_nats=1.4, floor_nats=1.0, chars_per_second=1234.5, seconds_left=75,
    last_nats=1.48, recent_nats=1.46, train_eval_nats=1.39,
)  # fmt: skip


def test_progress_names_its_units() -> None:
    names, line = heading(STATUS).split(), describe(STATUS).split()
    assert dict(zip(names, line, strict=True)) == {
        "update": "50", "last": "1.4800", "smoothed": "1.4600", "training": "1.3900", "validation": "1.4000",
        "above": "+0.4000", "chars/s": "1,234", "left": "1:15",
    }  # fmt: skip
    assert len(heading(STATUS)) == len(describe(STATUS)) <= 79
    assert describe(STATUS, evaluated=False).split() == ["50", "1.4800", "1.4600", "1,234", "1:15"]
    shown = "  ".join(screen(STATUS))
    for part in ("50/100", "1,234 chars/s", "1:15 left", "nats/char: last 1.4800", "validation 1.4000 (+0.4000)"):
        assert part in shown
    assert max(map(len, screen(STATUS))) <= 79
    assert [clock(s) for s in (0, 59.6, 3661, float("nan"))] == ["0:00", "1:00", "1:01:01", "0:00"]


@pytest.mark.parametrize("kind", [PlainReporter, LiveReporter])
def test_reporters_show_losses_and_escape_samples(kind: type[PlainReporter]) -> None:
    out = io.StringIO()
    reporter = kind(Console(file=out, force_terminal=kind is LiveReporter, width=200))
    reporter.status(STATUS)
    reporter.evaluated(STATUS)
    reporter.sample(50, "once\n\x1b[2Jupon")
    reporter.close()
    assert "1.4000" in out.getvalue()
    assert "Losses in nats/char" in out.getvalue()
    assert "once ⏎ \\x1b[2Jupon" in out.getvalue()


class _Scaled:
    def __init__(self, width: int) -> None:
        self.weight = torch.randn(width)

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return (inputs * self.weight - targets).square().mean()


def test_models_of_one_process_do_not_count_towards_the_compilers_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = partial(torch.compile, backend="eager")  # the limit is on what is traced: nothing need be built
    monkeypatch.setattr(torch, "compile", lambda step, **_: traced(step))
    with torch._dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):  # type: ignore[no-untyped-call]
        for width in (3, 4):
            scaled, inputs, targets = _Scaled(width), torch.randn(2, width), torch.randn(2, width)
            compiled = compiling.compile_step(scaled.loss, torch.device("cpu"))
            torch.testing.assert_close(compiled(inputs, targets), scaled.loss(inputs, targets))
