"""What may have been meant by a word that is not known."""

from __future__ import annotations

import pytest

from aeattn.errors import meant, nearest

WORDS = ("linear", "bottleneck", "Autoencoder")


@pytest.mark.parametrize(
    ("word", "found"), [("linaer", "linear"), ("BOTTLENECK", "bottleneck"), ("autoencodr", "Autoencoder")]
)
def test_a_near_miss_is_named(word: str, found: str) -> None:
    assert nearest(word, WORDS) == found
    assert meant(word, WORDS) == f"did you mean {found!r}?"


def test_all_are_named_where_none_is_alike() -> None:
    assert nearest("xyz", WORDS) is None
    assert meant("xyz", WORDS) == "choose one of linear, bottleneck, Autoencoder"
