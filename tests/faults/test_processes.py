"""Several processes, killed, stopped, kept apart: all end, with one message, and the run goes on."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from aeattn.data import tales
from tests.faults.conftest import Tally
from tests.faults.harness import FULL, difference
from tests.training.test_processes import (
    TINY,
    children,
    environment,
    lines_of_ours,
    metrics,
    ranks,
    start,
    wait_for,
)

pytestmark = pytest.mark.skipif(not FULL, reason="many seconds each: `make faults`")
LONG = ["--steps", "1000000", "--checkpoint-every", "5"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(tales.generate(8_000)[0])
    return path


def _trained(text: Path, out: Path, *more: str) -> str:
    process = start(["train", str(text), *TINY, "--out", str(out), *more], environment())
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return errors


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_each_of_three_is_killed_and_three_go_on(rank: int, text: Path, out: Path, tally: Tally) -> None:
    """With as many processes, to the very bits of the uninterrupted run."""
    settings = ["--steps", "60", "--checkpoint-every", "5", "--batch", "6", "--processes", "3"]
    whole = out.with_name("whole")
    _trained(text, whole, *settings)
    process = start(["train", str(text), *TINY, "--out", str(out), *settings], environment())
    wait_for(out / "metrics.jsonl", process)
    time.sleep(random.Random(rank).uniform(0, 0.5))
    os.kill(children(process)[rank], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert tally.count("processes that end together", process.returncode == 1 and len(lines_of_ours(errors)) == 1)
    assert f"process {rank} of 3 was ended by SIGKILL" in errors
    again = start(["resume", str(out), "--quiet", "--processes", "3"], environment())
    again.communicate(timeout=120)
    assert again.returncode == 0
    assert tally.difference("crash points survived", difference(out, whole))


def test_torchrun_goes_on_by_itself(text: Path, out: Path, tally: Tally) -> None:
    settings = ["--steps", "60", "--checkpoint-every", "5"]
    whole = out.with_name("whole")
    torchrun = ["--nproc-per-node", "2", "--max-restarts", "2", "--standalone", "-m", "aeattn", "train", str(text)]
    _trained(text, whole, *settings, "--processes", "2")
    process = start([*torchrun, *TINY, "--out", str(out), *settings], environment(), "torch.distributed.run")
    wait_for(out / "checkpoints" / "step-00000010", process)
    os.kill(children(process)[-1], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert tally.difference("crash points survived", difference(out, whole))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_waits_for_others_hears_a_signal(number: int, text: Path, out: Path, tally: Tally) -> None:
    process = start(["train", str(text), *TINY, "--out", str(out)], env := ranks(2)[0])
    port, deadline = int(env["MASTER_PORT"]), time.monotonic() + 60
    while not _is_open(port):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=10)
    right = process.returncode == 128 + number and len(lines_of_ours(errors)) == 1
    assert tally.count("signals right", right), errors


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("to", ["the launcher", "one process"])
def test_a_signal_saves_once_and_ends_all(
    to: str, number: int, code: int, text: Path, out: Path, tally: Tally
) -> None:
    process = start(["train", str(text), *TINY, *LONG, "--out", str(out), "--processes", "2"], environment())
    wait_for(out / "metrics.jsonl", process)
    os.kill(process.pid if to == "the launcher" else children(process)[1], number)
    _, errors = process.communicate(timeout=60)
    (said,) = lines_of_ours(errors)
    right = process.returncode == code and f"after saving a checkpoint; go on with `aeattn resume {out}`" in said
    assert tally.count("signals right", right), errors


def test_when_the_launcher_is_killed_all_save_and_end(text: Path, out: Path, tally: Tally) -> None:
    process = start(["train", str(text), *TINY, *LONG, "--out", str(out), "--processes", "2"], environment())
    wait_for(out / "metrics.jsonl", process)
    process.kill()
    _, errors = process.communicate(timeout=60)  # until nobody has its pipes open any more
    assert tally.count("processes that end together", "after saving a checkpoint" in errors), errors
    assert any((out / "checkpoints").iterdir())


def test_one_that_is_silent_is_named_in_time(text: Path, out: Path, tally: Tally) -> None:
    env = environment(AEATTN_TIMEOUT="5")
    process = start(["train", str(text), *TINY, *LONG, "--out", str(out), "--processes", "2"], env)
    wait_for(out / "metrics.jsonl", process)
    os.kill(children(process)[1], signal.SIGSTOP)
    _, errors = process.communicate(timeout=60)
    (said,) = lines_of_ours(errors)
    assert tally.count(
        "processes that end together", process.returncode == 1 and "not answered for 5 seconds" in said
    )


def test_those_who_never_come_are_missed_in_time(text: Path, out: Path, tally: Tally) -> None:
    env = ranks(2, AEATTN_TIMEOUT="3")[0]
    process = start(["train", str(text), *TINY, "--out", str(out)], env)
    _, errors = process.communicate(timeout=60)
    (said,) = lines_of_ours(errors)
    assert tally.count("refusals", process.returncode == 2 and "have not met at 127.0.0.1" in said), errors


def test_a_port_in_use(text: Path, out: Path, tally: Tally) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        env = ranks(2, MASTER_PORT=str(other.getsockname()[1]), AEATTN_TIMEOUT="5")[0]
        process = start(["train", str(text), *TINY, "--out", str(out)], env)
        _, errors = process.communicate(timeout=60)
    (said,) = lines_of_ours(errors)
    assert tally.count("refusals", process.returncode == 2 and "is in use: choose another port" in said), errors


def test_another_text_is_named(text: Path, out: Path, tally: Tally) -> None:
    other = text.with_name("other.txt")
    other.write_text(text.read_text()[:-1] + "e")
    texts = [text, other]
    started = [start(["train", str(texts[int(env["RANK"])]), *TINY, "--out", str(out)], env) for env in ranks(2)]
    errors = "".join(process.communicate(timeout=90)[1] for process in started)
    (said,) = lines_of_ours(errors)
    assert tally.count("refusals", "process 1 of 2" in said and "another text to" in said), errors


def test_a_model_in_parts_trains_and_goes_on_as_a_whole_one(text: Path, out: Path, tally: Tally) -> None:
    settings = ["--steps", "20", "--checkpoint-every", "10"]
    whole = out.with_name("whole")
    _trained(text, whole, *settings)
    _trained(text, out, *settings, "--processes", "2", "--shard")
    close = _close(whole, out)
    for run, more in ((out, []), (whole, ["--processes", "2", "--shard"])):
        shutil.rmtree(run / "checkpoints" / "step-00000020")
        process = start(["resume", str(run), "--quiet", *more], environment())
        process.communicate(timeout=120)
        assert process.returncode == 0
        close = close and _close(whole, out)
    assert tally.count("processes that do what one does", close)


def _close(one: Path, two: Path) -> bool:
    pairs = list(zip(metrics(one), metrics(two), strict=True))
    return all(abs(a[k] - b[k]) < 2e-6 for a, b in pairs for k in ("train_nats", "valid_nats") if k in a)
