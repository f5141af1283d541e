"""docs/reference.md is what the declarations say."""

from __future__ import annotations

from pathlib import Path

from aeattn.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run python -m aeattn.cli.reference > docs/reference.md"
    )
