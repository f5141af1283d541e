"""Minutes to nanoGPT's loss: one whole command, in an empty cache, and the table of its record."""

from __future__ import annotations

from pathlib import Path

from aeattn.benchmarks.gpu_loss import NANOGPT_NATS, measure
from aeattn.benchmarks.results_page import SECTIONS
from tests.faults.harness import TINY


def test_a_command_is_timed_whole_and_its_record_becomes_a_table(tmp_path: Path) -> None:
    known = measure(tmp_path, ["train", "tales", *TINY, "--steps", "3"])
    assert known["command_seconds"] > known["training_seconds"] > 0
    assert known["chars"] == 3 * 2 * 16
    assert known["reached"] is (known["valid_nats"] <= NANOGPT_NATS)
    assert known["reached"] is False
    page = str(SECTIONS["speed/gpu-loss"][1](known))
    assert "does not reach 1.4697" in page
    assert f"{known['valid_nats']:.4f}" in page
    assert list((tmp_path / "cache").iterdir())
