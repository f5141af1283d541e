"""What is told of a run that goes on under other circumstances."""

from __future__ import annotations

import pytest

from aeattn import hardware
from aeattn.runs.identity import config_changes, machine_changes, text_changes, version_changes


def test_whatever_changes_the_last_bits_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    before = hardware.describe()
    assert list(machine_changes(before, hardware.describe())) == []
    monkeypatch.setattr("aeattn.kernels.available.cpu_has", lambda *features: True)
    monkeypatch.setattr("aeattn.kernels.available.cxx", lambda: "g++")
    before = hardware.describe()
    monkeypatch.setenv("AEATTN_KERNELS", "off")
    assert list(machine_changes(before, hardware.describe())) == ["kernels was aeattn, is PyTorch"]
    other = {**before, "cpu": "another", "threads": 99, "gpu": "one"}
    assert [line.split()[0] for line in machine_changes(other, before)] == ["cpu", "threads", "gpu"]


def test_what_earlier_versions_did_not_note_is_no_change() -> None:
    now = hardware.describe()
    assert not list(machine_changes({name: value for name, value in now.items() if name != "kernels"}, now))


def test_settings_texts_and_versions() -> None:
    assert list(config_changes({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}})) == [
        "a.b was 1, is 2",
        "a.c was not there, is 3",
    ]
    assert list(config_changes({"a": {"b": {"c": 1}}}, {"a": {"d": {"c": 1}}})) == ["a.b is gone", "a.d is new"]
    assert list(config_changes({"a": None}, {"a": {"b": 1}})) == ["a was None, is {'b': 1}"]
    facts = {"train": {"chars": 1000, "sha256": "0123456789", "unknown": 0}}
    assert not list(text_changes(facts, facts))
    assert list(text_changes(None, facts)) == [
        "another text to train on: it was not known, is 1,000 characters (sha256 01234567)"
    ]
    assert list(version_changes({"packages": {"torch": "1"}}, {"packages": {"torch": "2"}})) == [
        "another version of torch: it was 1, is 2"
    ]
