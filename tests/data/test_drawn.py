"""What is kept of a table's sides is what hashing all of its rows finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeattn.data import drawn, rows
from aeattn.data.rows import Batch
from aeattn.data.splits import Draw
from aeattn.errors import SlowerWarning
from tests.data.test_tables import made, write

texts = st.lists(st.lists(st.text(min_size=1, max_size=9), max_size=12), max_size=6)


@pytest.fixture(autouse=True)
def every_table_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "WORTH", 0)


def of_side(path: Path, side: Draw, batches: Any) -> list[str]:
    return [text for batch in drawn.of_side(path, "text", side, batches) for text in rows.texts(batch)]


@settings(max_examples=30)
@given(texts, st.booleans(), st.integers(0, 9), st.booleans())
def test_both_sides_come_from_the_cache_as_from_the_table(
    tmp_path_factory: pytest.TempPathFactory, found: list[list[str]], arrow: bool, seed: int, first: bool
) -> None:
    path = tmp_path_factory.mktemp("tables") / "a"
    path.write_bytes(b"")
    as_arrow = [rows.from_bytes(*rows.as_bytes(batch), of_arrow=True) for batch in found]
    batches: list[Batch] = [*as_arrow] if arrow else [*found]
    batches = [batch for batch in batches if len(batch)]
    sides = {valid: Draw(seed, valid, 0.3) for valid in (False, True)}
    wanted: dict[bool, list[str]] = {valid: [] for valid in sides}
    for batch in batches:
        mask = sides[True].mask(rows.hashes(batch))
        wanted[True] += rows.texts(rows.chosen(batch, mask))
        wanted[False] += rows.texts(rows.chosen(batch, ~mask))
    assert of_side(path, sides[first], batches) == wanted[first]  # found out
    assert of_side(path, sides[True], []) == wanted[True]  # and known: nothing is read
    assert of_side(path, sides[False], batches) == wanted[False]
    for valid, side in sides.items():
        kept = drawn.sample(path, "text", side)
        assert kept is not None
        assert (kept.texts, kept.bits) == (len(wanted[valid]), 0)
        if wanted[valid]:
            assert kept.hashes.tolist() == rows.hashes(wanted[valid]).tolist()


def test_rows_that_are_too_many_to_keep_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "MOST_KEPT", 100)
    monkeypatch.setattr(drawn, "SAMPLED", 50)
    path, batches, side = (
        write(tmp_path / "a.jsonl", [*made(400)]),
        [made(250), made(400)[250:]],
        Draw(0, True, 0.4),
    )
    wanted = of_side(path, side, batches)
    assert of_side(path, side, []) == []
    assert of_side(path, side, batches) == wanted
    kept = drawn.sample(path, "text", side)
    assert kept is not None
    assert (kept.texts, 25 < len(kept.hashes) <= 50, kept.bits > 0) == (len(wanted), True, True)
    assert {*kept.hashes.tolist()} == {h for h in rows.hashes(wanted).tolist() if h % (1 << kept.bits) == 0}


def test_what_is_known_is_of_one_draw_of_one_table(tmp_path: Path) -> None:
    path, side = write(tmp_path / "a.jsonl", [*made(40)]), Draw(0, True, 0.3)
    of_side(path, side, [made(40)])
    for other in (Draw(1, True, 0.3), Draw(0, True, 0.2), Draw(0, True, 0.3, few=(1, 2))):
        assert drawn.sample(path, "text", other) is None
    assert drawn.sample(path, "title", side) is None
    write(path, [*made(41)])
    assert drawn.sample(path, "text", side) is None


def test_what_is_damaged_is_found_out_again(tmp_path: Path) -> None:
    path, side = write(tmp_path / "a.jsonl", [*made(40)]), Draw(0, True, 0.3)
    wanted = of_side(path, side, [made(40)])
    entry = drawn._entry(path, "text", side)
    assert entry is not None
    entry.write_bytes(entry.read_bytes()[:-1])
    with pytest.warns(SlowerWarning, match="made anew"):
        assert of_side(path, side, [made(40)]) == wanted
    assert of_side(path, side, []) == wanted


def test_a_table_that_is_not_read_to_its_end_leaves_nothing(tmp_path: Path) -> None:
    path, side = write(tmp_path / "a.jsonl", [*made(40)]), Draw(0, False, 0.3)

    def broken() -> Iterator[Batch]:
        yield made(40)
        raise KeyError

    with pytest.raises(KeyError):
        of_side(path, side, broken())
    next(iter(drawn.of_side(path, "text", side, [made(40), made(40)])))
    assert drawn.sample(path, "text", side) is None
