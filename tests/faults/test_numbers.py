"""What is no finite number never reaches weights or checkpoints; spikes are passed over, exactly."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file

from aeattn.runs import checkpoint
from aeattn.runs.folder import RunFolder
from tests.faults.conftest import Tally
from tests.faults.harness import USUAL, Bench, difference

KIND = "bad numbers stopped"
EXPLODING = ["--steps", "50", "--optimizer", "adamw", "--learning-rate", "1e18", "--sample-every", "0"]


@pytest.mark.parametrize("every", ["1", "4"])
def test_a_loss_that_is_no_number_names_step_and_batch(every: str, bench: Bench, tally: Tally, out: Path) -> None:
    result = bench.train(out, [*EXPLODING, "--checkpoint-every", every])
    named = re.search(
        r"at step (\d+), before the update; the last good state is checkpoint step-(\d+); the batch was windows "
        r"at characters [\d,]+, [\d,]+ of the training text",
        result.complaint,
    )
    assert tally.count(KIND, result.code == 1 and named is not None), result.errors
    assert named is not None
    kept = checkpoint.all_checkpoints(RunFolder(out))
    assert int(named[2]) == checkpoint.step_of(kept[-1]) <= int(named[1])
    for folder in kept:
        for name in (checkpoint.WEIGHTS, checkpoint.OPTIMIZER):
            assert all(bool(t.isfinite().all()) for t in load_file(folder / name).values())
    again = bench.resume(out)
    assert tally.count(KIND, again.code == 1 and f"at step {named[1]}, before the update" in again.complaint)


def test_spikes_are_passed_over_and_counted(bench: Bench, tally: Tally, out: Path) -> None:
    settings = [*USUAL, "--preset", "460k", "--spike-factor", "1.01", "--learning-rate", "0.1"]
    result = bench.train(out, settings)
    assert result.code == 0, result.errors
    told = re.findall(
        r"loss is [\d.]+ at step \d+, windows at .*: back to step (\d+), and on behind", result.errors
    )
    state = json.loads((out / "checkpoints" / "step-00000012" / "state.json").read_text())
    assert tally.count(KIND, state["rollbacks"] == len(told) > 0), result.errors
    assert all(int(step) % 3 == 0 for step in told)
    assert state["passed_over"] >= state["rollbacks"]


def test_a_spike_detector_that_finds_nothing_changes_nothing(bench: Bench, out: Path) -> None:
    assert bench.train(out, [*USUAL, "--spike-factor", "1000"]).code == 0
    weights = [load_file(run / "model.safetensors") for run in (out, bench.whole())]
    assert all(bool((weights[0][name] == weights[1][name]).all()) for name in weights[0])


def test_interruptions_change_nothing_in_what_is_passed_over(bench: Bench, tally: Tally, out: Path) -> None:
    """More checkpoints, at other steps, and two kills: the same way back."""
    settings = [*USUAL, "--spike-factor", "1.01", "--learning-rate", "0.1"]
    for at in (4, 6):
        run = bench.train if at == 4 else lambda out, settings, **faults: bench.resume(out, **faults)
        assert run(out, settings, kill_at_update=at, settled=True).code == -9
    assert bench.resume(out).code == 0
    assert tally.difference("crash points survived", difference(out, bench.whole(settings)))
