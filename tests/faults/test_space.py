"""A full disk, a folder that may not be written to: the last checkpoint stays, nothing is left lying about, and
the command says what happened."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeattn.config.text import TextOptions
from aeattn.data import build
from aeattn.data.corpora import Document
from aeattn.data.store import build_store
from aeattn.data.tokenizer import CharTokenizer
from aeattn.errors import InputError
from aeattn.runs import checkpoint
from aeattn.runs.folder import RunFolder
from aeattn.runs.weights import limits_of
from tests.faults.conftest import Tally
from tests.faults.harness import FULL, Bench, Result, difference, leftovers

KIND = "full disks survived"


@pytest.fixture
def small_disk(tmp_path: Path, tally: Tally) -> Iterator[Path]:
    """A file system in memory of one mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        reason = f"no file system can be mounted here: {getattr(error, 'stderr', None) or error!r}"
        tally.skipped["small disk"] = reason
        pytest.skip(reason)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _stopped_well(out: Path, result: Result) -> str | None:
    """What is wrong with how a run ended that could not write; nothing if all is as it should be."""
    if result.code not in (1, 2) or "saved" in result.errors:
        return f"{result.code} {result.errors}"
    words = ("No space left", "File too large", "are free", "Read-only", "Permission denied")
    if not any(word in result.complaint for word in words) or leftovers(out):
        return f"{result.complaint} {leftovers(out)}"
    if not (out / "config.json").exists():
        return "files without a run" if out.exists() and any(out.iterdir()) else None
    found, warnings = checkpoint.newest(RunFolder(out), limits_of(RunFolder(out).read_config().model))
    named = found is None or found.path.name in result.complaint or result.code == 2
    return None if named and not warnings else f"{warnings} {result.complaint}"


def _survived(bench: Bench, tally: Tally, out: Path, result: Result) -> str | None:
    """What is wrong after a run met a limit, which has been lifted since; the run goes on, and is removed."""
    problem = None if result.code == 0 else _stopped_well(out, result)
    again = bench.go_on(out) if out.exists() else bench.train(out)
    distance = difference(out, bench.whole()) if again.code == 0 else float("inf")
    right = tally.count(KIND, problem is None) and tally.difference("exact after a full disk", distance)
    shutil.rmtree(out)
    return None if right else f"{problem} {again.errors} {distance}"


def test_a_disk_that_is_full_at_some_point(bench: Bench, tally: Tally, small_disk: Path) -> None:
    out, ballast, wrong = small_disk / "run", small_disk / "ballast", []
    for free in range(8, 420, 10 if FULL else 90):
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - free * 1024))
        result = bench.train(out)
        ballast.unlink()
        if problem := _survived(bench, tally, out, result):
            wrong.append(f"{free} KiB: {problem}")
    assert not wrong


def test_files_that_may_not_grow(bench: Bench, tally: Tally, out: Path) -> None:
    """The same where no file system can be mounted: a limit on the size of files meets every write once."""
    wrong = []
    for size in range(100, 26_000, 1000 if FULL else 6000):
        result = bench.train(out, file_bytes=size)
        if problem := _survived(bench, tally, out, result):
            wrong.append(f"{size} bytes: {problem}")
    assert not wrong


def test_a_disk_that_is_full_when_it_resumes(bench: Bench, tally: Tally, small_disk: Path) -> None:
    out = small_disk / "run"
    assert bench.train(out, kill_at_update=6, settled=True).code == -9
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    result = bench.resume(out)
    assert tally.count("refusals right", result.code == 2 and _stopped_well(out, result) is None), result.errors
    (small_disk / "ballast").unlink()
    assert bench.resume(out).code == 0
    assert tally.difference("exact after a full disk", difference(out, bench.whole()))


def test_a_disk_that_may_only_be_read(bench: Bench, tally: Tally, small_disk: Path) -> None:
    out = small_disk / "run"
    assert bench.train(out, kill_at_update=6, settled=True).code == -9
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for result in (bench.resume(out), bench.train(small_disk / "other")):
        right = result.code == 2 and "Read-only file system" in result.complaint
        assert tally.count("refusals right", right), result.errors
    assert bench.server.run(out, "generate", str(out), "--chars", "5", "--engine", "simple").code == 0
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert bench.resume(out).code == 0
    assert tally.difference("exact after a full disk", difference(out, bench.whole()))


def test_a_disk_that_is_too_small_from_the_start(bench: Bench, tally: Tally, small_disk: Path) -> None:
    result = bench.train(small_disk / "run", ["--steps", "2", "--d-ff", "4000"])
    right = result.code == 2 and "are free: make room" in result.complaint and not any(small_disk.iterdir())
    assert tally.count("refusals right", right), result.errors


def test_a_disk_that_fills_while_a_store_is_built(
    tally: Tally, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "JOURNAL_SECONDS", 0.0)
    text, tokenizer = Document("a", text="abcd " * 120_000), CharTokenizer(" abcd")
    whole = build_store([text], tokenizer, TextOptions(), tmp_path / "whole.ids")
    path, ballast = small_disk / "cache" / "a.ids", small_disk / "ballast"
    for free in range(0, 580, 12 if FULL else 150):
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - free * 1024))
        with pytest.raises(InputError, match=r"No space left on device.*AEATTN_CACHE"):
            build_store([text], tokenizer, TextOptions(), path)
        ballast.unlink()
        found = build_store([text], tokenizer, TextOptions(), path)
        right = found.sha256 == whole.sha256 and found.documents == whole.documents
        assert tally.count(KIND, right and not list(path.parent.glob(".*"))), free
        del found
        shutil.rmtree(path.parent)
