"""Measurements of ceilings last a moment: their figures are not tested."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aeattn.bench.ceilings.SECONDS", 0.01)
    monkeypatch.setattr("aeattn.bench.ceilings.MEMORY_NUMBERS", 1 << 20)
