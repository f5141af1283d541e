"""Sampling rules against their definitions, and one random stream for every batch size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeattn.errors import InputError
from aeattn.generation.sampling import RandomStream, Sampling
from aeattn.generation.torch_engine import choose, probabilities

LOGITS = st.lists(st.floats(-8, 8), min_size=1, max_size=12)


def _by_definition(logits: list[float], rule: Sampling) -> list[float]:
    """Slow and plain: the rule in words."""
    top = max(logits)
    chances = [math.exp((x - top) / rule.temperature) for x in logits]
    chances = [c / sum(chances) for c in chances]
    ranking = sorted(range(len(chances)), key=lambda i: (-chances[i], i))
    kept = ranking[: rule.top_k] if rule.top_k else ranking
    if rule.top_p is not None:
        mass, nucleus = 0.0, []
        whole = sum(chances[i] for i in kept)
        for i in kept:
            if mass >= rule.top_p * whole:
                break
            nucleus.append(i)
            mass += chances[i]
        kept = nucleus
    whole = sum(chances[i] for i in kept)
    return [chances[i] / whole if i in kept else 0.0 for i in range(len(chances))]


@given(
    LOGITS,
    st.floats(0.05, 5),
    st.one_of(st.none(), st.integers(1, 20)),
    st.one_of(st.none(), st.floats(0.05, 0.99)),
)
def test_probabilities_follow_their_definition(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> None:
    rule = Sampling(temperature, top_k, top_p)
    ours = probabilities(torch.tensor([logits], dtype=torch.float64), rule)[0]
    assert ours.sum().item() == pytest.approx(1)
    expected = _by_definition(logits, rule)
    borderline = top_p is not None and abs(ours - torch.tensor(expected)).max() > 1e-9
    if borderline:  # a sum that equals top_p but for rounding may fall on either side: one character differs
        assert abs(int((ours > 0).sum()) - sum(p > 0 for p in expected)) <= 1
    else:
        assert ours.tolist() == pytest.approx(expected)


@given(LOGITS)
def test_temperature_zero_is_greedy(logits: list[float]) -> None:
    chances = probabilities(torch.tensor([logits]), Sampling(0.0))
    assert chances[0].argmax().item() == int(np.argmax(np.array(logits, dtype=np.float32)))
    assert chances.sum().item() == 1


def test_the_sampler_draws_what_the_probabilities_say() -> None:
    chances = probabilities(torch.tensor([[0.0, 1.0, 2.0, -1.0, 0.5]]), Sampling(0.9, top_k=4))
    draws, stream = 40_000, RandomStream(5, 1)
    uniform = torch.tensor([stream.draw()[0] for _ in range(draws)])
    ids = choose(chances.expand(draws, -1), uniform)
    counts = torch.bincount(ids, minlength=5).double()
    assert counts[3] == 0
    expected = chances[0] * draws
    likely = expected > 0
    chi_square = ((counts - expected)[likely] ** 2 / expected[likely]).sum().item()
    assert chi_square < 16.3  # 3 degrees of freedom, p = 0.001


@given(st.floats(0, 1, exclude_max=True), LOGITS)
def test_nothing_impossible_is_ever_drawn(uniform: float, logits: list[float]) -> None:
    chances = probabilities(torch.tensor([logits]), Sampling(1.0, top_k=1))
    chosen = choose(chances, torch.tensor([uniform], dtype=torch.float64))
    assert chances[0, chosen.item()] > 0  # type: ignore[index]
    last = torch.tensor([np.nextafter(1.0, 0.0)], dtype=torch.float64)
    assert chances[0, choose(chances, last).item()] > 0  # type: ignore[index]


def test_a_row_draws_the_same_numbers_in_any_batch() -> None:
    one, many = RandomStream(3, 1), RandomStream(3, 4)
    for _ in range(RandomStream.BLOCK + 5):
        assert one.draw()[0] == many.draw()[0]
    first = RandomStream(3, 2).draw()
    assert first[0] != first[1]
    assert RandomStream(4, 1).draw()[0] != RandomStream(3, 1).draw()[0]


def test_the_random_stream_is_pinned() -> None:
    stream = RandomStream(0, 2)
    expected = [[0.011546754286331562, 0.8133540609793564], [0.24154919656271812, 0.7513314251083365]]
    assert [stream.draw().tolist() for _ in range(2)] == expected


@pytest.mark.parametrize(
    "values", [(-1.0,), (float("nan"),), (float("inf"),), (1.0, 0), (1.0, None, 0.0), (1.0, None, 1.5)]
)
def test_impossible_rules_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="choose"):
        Sampling(*values)  # type: ignore[arg-type]


def test_seeds_out_of_range_are_refused() -> None:
    for seed in (-1, 2**63):
        with pytest.raises(InputError, match="seed"):
            RandomStream(seed, 1)
