"""How processes are started, and what is said when one ends."""

from __future__ import annotations

import pytest

from aeattn.errors import InputError, Lost, Stalled
from aeattn.training.launch import first_of, outcome, patience, size_of_group
from aeattn.training.processes import hearing

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.mark.parametrize(
    ("codes", "first", "code", "said"),
    [
        ([0, 0], 0, 0, None),
        ([2, 2], 1, 2, None),  # bad input: the main process has spoken
        ([143, 143], 1, 143, None),
        ([1, -9], 1, 1, "process 1 of 2 was ended by SIGKILL"),
        ([-9, 1], 0, 1, "process 0 of 2 was ended by SIGKILL"),
        ([1, 1, 1], 2, 1, None),  # a failure that has left its word
        ([-9, 1], 1, 1, "process 1 of 2 failed, and process 0 did not end by itself"),
    ],
)
def test_one_message_and_one_exit_code(codes: list[int], first: int, code: int, said: str | None) -> None:
    assert outcome(codes, first) == (code, said)


def test_the_environment_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert size_of_group() == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert size_of_group() == 1  # some schedulers set that alone
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(InputError, match="MASTER_ADDR is not set"):
        size_of_group()
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "1")
    assert size_of_group() == 2
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(InputError, match="RANK is '2' and WORLD_SIZE '2'"):
        size_of_group()


@pytest.mark.parametrize("value", ["soon", "-1", "0", "inf"])
def test_a_time_that_cannot_be(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEATTN_TIMEOUT", value)
    with pytest.raises(InputError, match="AEATTN_TIMEOUT is"):
        patience()


def test_what_the_network_says_in_our_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEATTN_TIMEOUT", "7")
    with pytest.raises(Stalled, match="has not answered for 7 seconds"), hearing():
        raise RuntimeError("Timed out waiting 7000ms for recv operation to complete")
    with pytest.raises(Lost, match="lost"), hearing():
        raise RuntimeError("Connection reset by peer")


def test_the_killed_one_was_first() -> None:
    assert first_of([1, -9]) == 1
    assert first_of([None, 1]) == 1
    assert first_of([None, 0]) is None
