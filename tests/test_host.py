"""What is known of the machine: its processor, and whether others use it."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aeattn import host
from aeattn.compare.local import worker_environment
from aeattn.errors import InputError, SlowerWarning


@pytest.fixture
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (host.WAIT_POLICY, host.SPIN_COUNT):
        monkeypatch.setenv(name, "")  # so that it is taken back afterwards
        monkeypatch.delenv(name)


def _settled() -> dict[str, str]:
    return {name: os.environ[name] for name in (host.WAIT_POLICY, host.SPIN_COUNT) if name in os.environ}


@pytest.mark.usefixtures("_nothing_said")
@pytest.mark.parametrize(
    ("running", "settled"),
    [
        ([1, 1, 1, 1, 1], {host.SPIN_COUNT: host.BRIEFLY}),
        ([3, 1, 2, 1, 1], {host.SPIN_COUNT: host.BRIEFLY}),
        ([3, 2, 2, 1, 1], {host.WAIT_POLICY: "PASSIVE"}),
        ([None], {host.WAIT_POLICY: "PASSIVE"}),
    ],
)
def test_threads_spin_only_where_nobody_else_works(
    running: list[int | None], settled: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    glances = iter(running)
    monkeypatch.setattr(host, "_running", lambda: next(glances))
    host.settle_waiting()
    assert _settled() == settled


@pytest.mark.usefixtures("_nothing_said")
@pytest.mark.parametrize("name", [host.WAIT_POLICY, host.SPIN_COUNT])
def test_what_the_user_says_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "7")
    host.settle_waiting()
    assert _settled() == {name: "7"}


def test_runs_side_by_side_do_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(host.SPIN_COUNT, "3000")
    assert host.SPIN_COUNT in worker_environment(1)
    beside = worker_environment(2)
    assert host.SPIN_COUNT not in beside
    assert beside[host.WAIT_POLICY] == "PASSIVE"


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="Linux only")
def test_the_count_of_this_moment_includes_us() -> None:
    assert (host._running() or 0) >= 1


def test_the_compiler_is_the_one_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert host.cxx() == (shutil.which("g++") or shutil.which("clang++"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert host.cxx() is None


def test_users_are_warned_in_a_line() -> None:
    from aeattn.cli.parser import _warning_line

    line = _warning_line("it is slower", SlowerWarning, "file.py", 7)
    assert line == "aeattn: warning: it is slower\n"
    assert "file.py:7" in _warning_line("other", RuntimeWarning, "file.py", 7)


def test_an_unknown_fact_is_empty() -> None:
    assert host.cpu_fact("no such line") == ""
    assert not host.cpu_has("no_such_feature")


def test_a_start_collects_no_garbage_until_it_is_over() -> None:
    with host.Startup() as startup:
        assert not gc.isenabled()
        startup.over()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    with pytest.raises(InputError), host.Startup():
        raise InputError("bad")
    assert gc.isenabled()


def test_who_collects_no_garbage_is_left_alone() -> None:
    gc.disable()
    try:
        with host.Startup() as startup:
            startup.over()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_was_kept_from_collection_is_let_go_when_the_process_ends() -> None:
    """Or else libraries whose modules are cleared then (triton's) print pages about objects that leak."""
    script = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))\n"  # registered first, called last
        "from aeattn import host\n"
        "with host.Startup() as startup:\n"
        "    startup.over()\n"
        "    assert gc.get_freeze_count() > 0\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
