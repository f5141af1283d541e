"""How long a comparison will take: counted in work, from records or a measurement, and called an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from aeattn.compare import estimate as module
from aeattn.compare.driver import FEW_SEEDS
from aeattn.compare.estimate import RUN_SECONDS, duration, estimate
from aeattn.compare.jobs import jobs, work
from aeattn.config.run import RunConfig
from tests.compare.conftest import Declare, done

SECONDS = 0.01  # an update


def _measure(configs: Sequence[RunConfig]) -> list[float]:
    return [SECONDS for _ in configs]


def test_work_that_is_missing_at_the_measured_speed(declare_in: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LITTLE_WORK", 0.0)
    _, declaration = declare_in()
    found = estimate(declaration, {}, 1, _measure)
    wanted, arm = jobs(declaration, {}), declaration.arms[0]
    assert found is not None
    assert found.runs == len(wanted)
    rate = arm.run_config.tokens_per_step * arm.train_flops / SECONDS
    training = sum(map(work, wanted)) / rate
    assert training + RUN_SECONDS * len(wanted) < found.seconds
    assert found.tokens_per_second == pytest.approx(arm.run_config.tokens_per_step / SECONDS)
    twice = estimate(declaration, {}, 2, _measure)
    assert twice is not None
    assert twice.seconds == pytest.approx(found.seconds / 2)
    assert found.sentence().startswith("estimate: about ")
    assert "measured just now" in found.sentence()


def test_records_say_how_fast_it_is(declare_in: Declare) -> None:
    _, declaration = declare_in()
    wanted = jobs(declaration, {})
    records = {job.name: done(job, 1.5) for job in wanted[:-1]}
    found = estimate(declaration, records, 4, lambda configs: pytest.fail("nothing is measured"))
    assert found is not None
    assert (found.runs, found.at_once) == (1, 1)
    assert "from the records" in found.sentence()
    records[wanted[-1].name] = done(wanted[-1], 1.5)
    assert estimate(declaration, records, 1, _measure) is None


def test_operations_of_records_count_not_characters_which_are_longer_as_subwords(declare_in: Declare) -> None:
    _, declaration = declare_in()
    first = jobs(declaration, {})[0]
    known = done(first, 1.5)
    assert known.cost is not None
    longer = replace(known, cost=replace(known.cost, chars_per_second=5000.0))
    slower = replace(known, cost=replace(known.cost, seconds=2.0))
    one, same, more = (estimate(declaration, {first.name: each}, 1, _measure) for each in (known, longer, slower))
    assert one is not None
    assert more is not None
    assert one == same
    assert more.tokens_per_second == pytest.approx(one.tokens_per_second / 2)


def test_no_more_is_evaluated_than_a_text_has(declare_in: Declare) -> None:
    seconds = []
    for chars in (10**5, 10**9):
        _, declaration = declare_in({"base": {"training": {"eval_chars": chars}}}, amend=True)
        found = estimate(declaration, {}, 1, _measure)
        assert found is not None
        seconds.append(found.seconds)
    assert seconds[0] == seconds[1]


def test_tokens_are_called_characters_where_they_are(declare_in: Declare) -> None:
    for tokenizer, unit in (("char", "characters"), ("bytes", "tokens")):
        _, declaration = declare_in({"base": {"data": {"tokenizer": tokenizer}}}, amend=True)
        found = estimate(declaration, {}, 1, _measure)
        assert found is not None
        assert f" {unit} a second" in found.sentence()


def test_little_work_is_not_measured(declare_in: Declare) -> None:
    _, declaration = declare_in()
    found = estimate(declaration, {}, 1, lambda configs: pytest.fail("nothing is measured"))
    assert found is not None
    assert "a guess" in found.sentence()


def test_durations_do_not_pretend_to_be_exact() -> None:
    shown = [duration(seconds) for seconds in (61, 300, 7300, 40_000, 500_000)]
    assert shown == [
        "about 61 seconds", "about 5 minutes", "about 2 hours", "about 11 hours", "about 5.8 days",
    ]  # fmt: skip


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_few_seeds_are_warned_of(seeds: int, declare_in: Declare) -> None:
    from aeattn.compare.driver import protocol

    folder, declaration = declare_in()
    declaration = replace(declaration, seeds=replace(declaration.seeds, final=tuple(range(seeds))))
    lines = [line for line in protocol(folder, declaration) if line.startswith("warning: ")]
    assert lines == list(FEW_SEEDS.get(seeds, ()))
    assert bool(lines) == (seeds < 3)
