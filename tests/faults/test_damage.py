"""Torn, cut and flipped files are recognised and named; resumption falls back a checkpoint, and is exact."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeattn.errors import InputError
from aeattn.runs import checkpoint
from aeattn.runs.folder import RunFolder
from aeattn.runs.load import load_model
from aeattn.runs.weights import limits_of
from tests.faults.conftest import Tally
from tests.faults.harness import FULL, Bench, difference

KIND = "damaged files recognised"


def _damages(content: bytes, random_places: random.Random, flips: int) -> Iterator[tuple[str, bytes]]:
    """Cut at every class of places, one bit flipped at every class of places, zeros, more than there was."""
    end = len(content)
    for at in sorted({0, 1, 7, 8, 9, end // 3, end // 2, end - 4096, end - 2, end - 1}):
        if 0 <= at < end:
            yield f"cut at {at}", content[:at]
    places = [0, 7, 8, 9, end // 2, end - 1, *(random_places.randrange(end) for _ in range(flips))]
    for at in places:
        flipped = bytearray(content)
        flipped[at] ^= 1 << random_places.randrange(8)
        yield f"flipped at {at}", bytes(flipped)
    yield "a page of zeros", content[: end // 2] + bytes(min(4096, end - end // 2)) + content[end // 2 + 4096 :]
    yield "all zeros", bytes(end)
    yield "one byte more", content + b"\0"


def test_every_damage_to_a_checkpoint_is_recognised(bench: Bench, tally: Tally, out: Path) -> None:
    run = RunFolder(Path(shutil.copytree(bench.whole(), out)))
    limits = limits_of(run.read_config().model)
    newest = checkpoint.all_checkpoints(run)[-1]
    checkpoint.read(newest, limits)
    missed, places = [], random.Random(5)
    for name in (*checkpoint.FILES, checkpoint.STATE):
        content = (newest / name).read_bytes()
        for what, damaged in _damages(content, places, 200 if FULL else 20):
            (newest / name).write_bytes(damaged)
            try:
                checkpoint.read(newest, limits)
                recognised = damaged == content
            except InputError as error:
                recognised = str(newest) in str(error)
            missed += [] if tally.count(KIND, recognised) else [f"{name} {what}"]
        (newest / name).write_bytes(content)
    assert not missed


def test_every_damage_to_the_published_weights_is_recognised(bench: Bench, tally: Tally, out: Path) -> None:
    run = RunFolder(Path(shutil.copytree(bench.whole(), out)))
    config, content = run.read_config().model, run.model.read_bytes()
    load_model(run, config)
    missed = []
    for what, damaged in _damages(content, random.Random(6), 400 if FULL else 40):
        run.model.write_bytes(damaged)
        try:
            load_model(run, config)
            recognised = damaged == content
        except InputError as error:
            recognised = str(run.model) in str(error)
        missed += [] if tally.count(KIND, recognised) else [what]
    assert not missed


@pytest.mark.parametrize("name", [*checkpoint.FILES, checkpoint.STATE])
def test_resumption_falls_back_and_is_exact(name: str, bench: Bench, tally: Tally, out: Path) -> None:
    wrong = []
    for how in ("cut", "flipped", "gone") if FULL else ("flipped",):
        bench.train(out, kill_at_update=10, settled=True)
        older, newest = checkpoint.all_checkpoints(RunFolder(out))
        content = bytearray((newest / name).read_bytes())
        (newest / name).unlink()
        if how != "gone":
            content[len(content) // 2] ^= 16
            (newest / name).write_bytes(content if how == "flipped" else content[: len(content) // 2])
        result = bench.resume(out)
        loud = f"checkpoint {newest} is damaged: {name}" in result.errors and "falling back" in result.errors
        distance = difference(out, bench.whole()) if result.code == 0 else float("inf")
        if not (tally.count(KIND, loud) and tally.difference("fallbacks exact", distance)):
            wrong.append(f"{how} {result.errors} {distance}")
        assert older.exists() or distance == 0
        shutil.rmtree(out)
    assert not wrong


def test_nothing_whole_left_is_said(bench: Bench, tally: Tally, out: Path) -> None:
    shutil.copytree(bench.whole(), out)
    for folder in checkpoint.all_checkpoints(RunFolder(out)):
        (folder / checkpoint.WEIGHTS).write_bytes(b"torn")
    result = bench.resume(out)
    right = result.code == 2 and "no whole checkpoint is left" in result.complaint
    assert tally.count("refusals right", right), result.errors


def test_a_folder_in_the_place_of_the_weights_is_named_and_nothing_is_lost(
    bench: Bench, tally: Tally, out: Path
) -> None:
    run = RunFolder(Path(shutil.copytree(bench.whole(), out)))
    run.model.unlink()
    run.model.mkdir()
    result = bench.resume(out)
    named = result.code == 1 and f"{run.model}: Is a directory; the last good state" in result.complaint
    run.model.rmdir()
    right = named and bench.resume(out).code == 0 and difference(out, bench.whole()) == 0
    assert tally.count(KIND, right), result.errors


def test_logs_that_were_torn_are_put_right(bench: Bench, tally: Tally, out: Path) -> None:
    bench.train(out, kill_at_update=10, settled=True)
    for name, how in (
        ("metrics.jsonl", lambda b: b[: len(b) // 3] + b"\0\xff{"),
        ("samples.txt", lambda b: b"---"),
    ):
        (out / name).write_bytes(how((out / name).read_bytes()))
    assert bench.resume(out).code == 0
    assert tally.difference("fallbacks exact", difference(out, bench.whole()))
