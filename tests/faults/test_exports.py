"""After SIGKILL at any moment, what an export or an import makes is whole or not there, and can be made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.faults.harness import FULL, Bench, Result
from tests.faults.test_crashes import _chosen

KIND = "exports and imports killed"
WAYS = {
    "hf": ["export", "{run}", "--to", "hf", "{made}"],
    "onnx": ["export", "{run}", "--to", "onnx", "{made}"],
    "import": ["import", "{hf}", "{made}"],
}


class _Desk:
    """A folder in which one thing is made, again and again."""

    def __init__(self, bench: Bench, folder: Path, way: str) -> None:
        self.bench, self.made = bench, folder / "desk" / "made"
        places = {"run": bench.whole(), "hf": folder / "hf", "made": self.made}
        if way == "import":
            self._must(["export", str(places["run"]), "--to", "hf", str(places["hf"])])
        self.arguments = [each.format(**places) for each in WAYS[way]]
        self.made.parent.mkdir()

    def _must(self, arguments: list[str]) -> Result:
        result = self.bench.server.run(self.made.parent, *arguments)
        assert result.code == 0, result.errors
        return result

    def whole(self) -> tuple[dict[str, bytes], int]:
        """What it makes, and by how many events."""
        events = len(self._must(self.arguments).events)
        return self.content(), events

    def content(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.made.iterdir()}

    def clear(self) -> None:
        shutil.rmtree(self.made.parent)
        self.made.parent.mkdir()

    def survives(self, content: dict[str, bytes], **fault: float) -> str | None:
        """Kill it, do it again, compare; returns what is wrong."""
        killed = self.bench.server.run(self.made.parent, *self.arguments, **fault)
        if killed.code != -9:
            return f"{fault}: ended with {killed.code}: {killed.errors}"
        if self.made.exists():
            return None if self.content() == content else f"{fault}: {sorted(self.content())} is not whole"
        again = self.bench.server.run(self.made.parent, *self.arguments)
        if again.code != 0:
            return f"{fault}: not done again: {again.errors}"
        left = sorted(path.name for path in self.made.parent.iterdir())
        return None if left == ["made"] and self.content() == content else f"{fault}: {left}"


@pytest.mark.parametrize("way", ["hf", "import"])
@pytest.mark.timeout(3600 if FULL else 480)
def test_killed_it_leaves_nothing_half_made(way: str, bench: Bench, tally: Tally, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    desk = _Desk(bench, tmp_path, way)
    content, number = desk.whole()
    assert number > 3 * len(content)  # each file opened, written, flushed
    _kill(desk, tally, content, [{"kill_at": at} for at in _chosen(number, 2, seed=4, apart=2)])


@pytest.mark.skipif(not FULL, reason="many seconds each: `make faults`")
@pytest.mark.timeout(3600)
def test_killed_it_leaves_no_half_written_graph(bench: Bench, tally: Tally, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    desk = _Desk(bench, tmp_path, "onnx")
    content, number = desk.whole()
    faults: list[dict[str, float]] = [{"kill_at": at} for at in range(0, number, 6)]
    _kill(desk, tally, content, [*faults, {"kill_after": 2.0}])  # the last while it traces


def _kill(desk: _Desk, tally: Tally, content: dict[str, bytes], faults: list[dict[str, float]]) -> None:
    wrong = []
    for fault in faults:
        desk.clear()
        problem = desk.survives(content, **fault)
        wrong += [] if tally.count(KIND, problem is None) else [problem]
    assert not wrong
