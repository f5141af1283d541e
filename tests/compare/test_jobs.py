"""Which runs are wanted, given what is there: tuning first, the same for every arm, on seeds of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aeattn.compare.declaration import Declaration
from aeattn.compare.jobs import choices, is_current, jobs, suggest, untuned_work, work
from aeattn.compare.records import Record
from aeattn.errors import InputError
from tests.compare.conftest import Declare, done, failed

TUNING = {"rates": [0.5, 1.0, 2.0], "seeds": [11, 12], "extend": 2, "share": 0.5}
Loss = Callable[[Record], float | None]


def _all_done(declaration: Declaration, loss: Loss) -> tuple[dict[str, Record], list[Record]]:
    """Records of everything that is ever wanted, and the jobs in the order in which they were done."""
    records: dict[str, Record] = {}
    order: list[Record] = []
    while todo := [job for job in jobs(declaration, records) if not is_current(job, records)]:
        order.append(todo[0])
        nats = loss(todo[0])
        records[todo[0].name] = failed(todo[0]) if nats is None else done(todo[0], nats)
    return records, order


def test_without_tuning_there_are_final_runs_alone_seed_by_seed(declare_in: Declare) -> None:
    _, declaration = declare_in()
    found = jobs(declaration, {})
    assert [(job.seed, job.arm) for job in found] == [(s, a) for s in (1, 2, 3) for a in ("standard", "auto")]
    assert found[0].name == "final-standard-seed1"
    assert untuned_work(declaration, {}) == sum(map(work, found))


def test_checkpoints_come_by_steps_alone(declare_in: Declare) -> None:
    training = {"checkpoint_minutes": 0.001, "eval_every": 2}
    _, declaration = declare_in({"base": {"training": training}, "attention": True, "tuning": TUNING})
    _, order = _all_done(declaration, lambda job: job.rate)
    found = {
        (job.phase, *(job.config["training"][f"checkpoint_{n}"] for n in ("minutes", "every"))) for job in order
    }
    assert found == {("tune", None, 1), ("final", None, 2)}


def test_every_arm_is_tuned_on_the_same_rates_and_seeds_and_then_run_at_its_best(declare_in: Declare) -> None:
    _, declaration = declare_in({"tuning": {**TUNING, "rates": [0.25, 0.5, 1.0, 2.0, 4.0]}})
    best = {"standard": 0.5, "auto": 2.0}
    records, order = _all_done(declaration, lambda job: 1 + abs(job.rate - best[job.arm]))
    assert [job.phase for job in order] == ["tune"] * 20 + ["final"] * 6
    assert {job.seed for job in order[:20]} == {11, 12}
    for arm in best:
        assert sorted(job.rate for job in order if job.arm == arm and job.seed == 11) == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert {job.arm: job.rate for job in order[20:]} == best
    final, tuned = order[-1].config["training"], order[0].config["training"]
    assert final["matrix_learning_rate"] == pytest.approx(2.0 * 2e-2)
    assert tuned["steps"] == final["steps"] // 2
    found = choices(declaration, records)
    assert not found["auto"].at_edge
    assert found["auto"].sensitivity == pytest.approx(1.5)  # 1 nat lost at rate 1, and 2 at rate 4


def test_an_optimum_on_the_edge_extends_the_grid_for_every_arm(declare_in: Declare) -> None:
    _, declaration = declare_in({"tuning": TUNING})
    best = {"standard": 1.0, "auto": 4.0}
    records, order = _all_done(declaration, lambda job: 1 + abs(job.rate - best[job.arm]))
    for arm in best:
        assert sorted({job.rate for job in order if job.arm == arm and job.phase == "tune"}) == [0.5, 1, 2, 4, 8]
    assert {job.arm: job.rate for job in order[-2:]} == best
    assert not choices(declaration, records)["auto"].at_edge


def test_an_optimum_that_stays_on_the_edge_is_known_as_such(declare_in: Declare) -> None:
    _, declaration = declare_in({"tuning": TUNING})
    records, _ = _all_done(declaration, lambda job: 1 + job.rate)
    found = choices(declaration, records)["auto"]
    assert found.at_edge
    assert found.chosen == 0.125


def test_muons_rate_is_tuned_first_and_then_adamws_with_the_best_of_it(declare_in: Declare) -> None:
    _, declaration = declare_in({"tuning": {**TUNING, "seeds": [11], "extend": 1, "apart": True}})
    best = {"standard": (2.0, 1.0), "auto": (1.0, 0.5)}  # AdamW's, Muon's
    records, order = _all_done(
        declaration,
        lambda job: 1 + abs(job.rate - best[job.arm][0]) + abs((job.matrix_rate or 0) - best[job.arm][1]),
    )
    found = choices(declaration, records)
    assert {arm: choice.chosen for arm, choice in found.items()} == best
    tried = {arm: sorted(choice.losses) for arm, choice in found.items()}
    rates = [0.25, 0.5, 1.0, 2.0, 4.0]  # each grid grew to the side where one arm did best on its edge
    assert tried["auto"] == sorted({*((1.0, r) for r in rates[:4]), *((r, 0.5) for r in rates[1:])})
    assert len(tried["standard"]) == len(tried["auto"])
    assert not found["standard"].at_edge
    assert found["auto"].sensitivity == pytest.approx((0.25 + 0.5 + 0.5 + 1.0) / 4)
    final = next(job for job in order if job.phase == "final" and job.arm == "auto")
    assert (final.rate, final.matrix_rate) == (1.0, 0.5)
    training = final.config["training"]
    assert (training["learning_rate"], training["matrix_learning_rate"]) == (5e-3, 1e-2)
    assert order[0].name == "tune-standard-rate1-matrix0.5-seed11"
    with pytest.raises(InputError, match=r"tuning\.apart tunes Muon's rate"):
        declare_in({"tuning": {"apart": True}, "base": {"training": {"optimizer": "adamw"}}}, amend=True)


def test_a_rate_at_which_a_run_failed_is_not_chosen(declare_in: Declare) -> None:
    _, declaration = declare_in({"tuning": TUNING})
    records, _ = _all_done(
        declaration, lambda job: None if job.rate == 1.0 and job.seed == 12 else 2 + job.rate**2
    )
    found = choices(declaration, records)["standard"]
    assert 1.0 not in found.means
    assert found.losses[1.0] == {11: 3.0, 12: None}


def test_an_arm_that_cannot_be_trained_has_no_final_runs(declare_in: Declare) -> None:
    _, declaration = declare_in({"tuning": TUNING})
    _, order = _all_done(declaration, lambda job: None if job.arm == "auto" else 1 + abs(job.rate - 1))
    assert {job.arm for job in order if job.phase == "final"} == {"standard"}


def test_a_job_is_known_by_everything_that_determines_it(declare_in: Declare) -> None:
    _, declaration = declare_in()
    hashes = {job.hash for job in jobs(declaration, {})}
    assert len(hashes) == 6
    _, other = declare_in({"base": {"training": {"weight_decay": 0.1}}}, amend=True)
    assert not hashes & {job.hash for job in jobs(other, {})}
    _, more = declare_in({"seeds": [1, 2, 3, 4]}, amend=True)
    assert hashes < {job.hash for job in jobs(more, {})}  # what there is still counts


def test_running_and_stale_records_are_not_current(declare_in: Declare) -> None:
    _, declaration = declare_in()
    job = jobs(declaration, {})[0]
    assert not is_current(job, {job.name: job})
    assert is_current(job, {job.name: failed(job)})
    assert not is_current(job, {job.name: replace(done(job, 1.0), hash="other")})


SPACE = {"training.learning_rate": [1e-3, 1e-1], "training.weight_decay": [1e-3, 1.0]}


def test_optuna_gives_every_arm_as_many_trials_and_repeats_itself(declare_in: Declare) -> None:
    tuning: dict[str, Any] = {"search": "optuna", "trials": 4, "seeds": [11], "space": SPACE}
    _, declaration = declare_in({"tuning": tuning})
    loss: Loss = lambda job: None if job.trial == 1 else job.config["training"]["learning_rate"]  # noqa: E731
    records, order = _all_done(declaration, loss)
    assert [job.trial for job in order if job.phase == "tune"] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert _all_done(declaration, loss)[1] == order
    best = min(job.config["training"]["learning_rate"] for job in order if job.phase == "tune" and job.trial != 1)
    assert order[-1].config["training"]["learning_rate"] == best
    assert choices(declaration, records)["auto"].means.keys() == {0.0, 2.0, 3.0}


def test_suggestions_depend_on_what_came_before() -> None:
    first = suggest(SPACE, [])
    assert first == suggest(SPACE, [])
    assert suggest(SPACE, [(first, 1.0)]) != first
    assert all(low <= first[name] <= high for name, (low, high) in SPACE.items())
