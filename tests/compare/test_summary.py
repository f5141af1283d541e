"""From records to sentences: hand-made cases whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from aeattn.analysis.results import RunAnalysis, Snapshot
from aeattn.compare.declaration import Declaration, read_declaration
from aeattn.compare.folder import Folder
from aeattn.compare.intervals import estimate
from aeattn.compare.jobs import jobs
from aeattn.compare.records import Record
from aeattn.compare.results import Bootstrap, ContrastResult, RunCounts, Summary, TuningResult
from aeattn.compare.sentences import conditions, edges
from aeattn.compare.summary import summarise, together
from tests.compare import made_up
from tests.compare.conftest import Declare, done, failed
from tests.compare.made_up import with_gini

STANDARD = {1: 1.300, 2: 1.310, 3: 1.305}


def _records(declaration: Declaration, auto: dict[int, float | None]) -> dict[str, Record]:
    found = {}
    for job in jobs(declaration, {}):
        nats = (STANDARD if job.arm == "standard" else auto).get(job.seed)
        if nats is not None:
            found[job.name] = done(job, nats)
        elif job.seed in auto:
            found[job.name] = failed(job)
    return found


def _summary(declare_in: Declare, auto: dict[int, float | None], amend: bool = False, **changes: Any) -> Summary:
    folder, declaration = declare_in(changes, amend=amend)
    summary = summarise(folder, declaration, _records(declaration, auto))
    assert Summary.from_dict(json.loads(json.dumps(summary.to_dict(), allow_nan=False)), "x") == summary
    return summary


def _less(*by: float) -> dict[int, float | None]:
    return {seed: STANDARD[seed] - each for seed, each in zip(STANDARD, by, strict=False)}


def test_a_clear_difference(declare_in: Declare) -> None:
    summary = _summary(declare_in, _less(0.011, 0.012, 0.013))
    [contrast] = summary.contrasts
    assert contrast.verdict == "better"
    wanted = stats.ttest_1samp([-0.011, -0.012, -0.013], 0).confidence_interval()
    assert contrast.interval == pytest.approx(tuple(wanted))
    assert summary.answer == (
        "auto is better than standard attention by 0.0120 nats/char [0.0095, 0.0145] at equal width, "
        "1.2 % of perplexity."
    )
    assert summary.arms[0].mean == pytest.approx(1.305)
    assert summary.runs == RunCounts(wanted=6, done=6, failed=0, missing=0)


def test_the_other_way_round(declare_in: Declare) -> None:
    summary = _summary(declare_in, _less(-0.011, -0.012, -0.013))
    assert summary.contrasts[0].verdict == "worse"
    assert "auto is worse than standard attention by 0.0120 nats/char" in summary.answer


def test_losses_that_are_near_enough_are_equivalent(declare_in: Declare) -> None:
    summary = _summary(declare_in, _less(0.011, 0.012, 0.013), smallest_effect=0.05)
    assert summary.contrasts[0].verdict == "equivalent"
    assert summary.answer == (
        "auto and standard attention are equivalent within 0.05 nats/char at equal width: "
        "-0.0120 nats/char [-0.0145, -0.0095]; auto is better by less than that."
    )
    summary = _summary(declare_in, _less(0.001, -0.001, 0.0003), amend=True, smallest_effect=0.005)
    assert summary.answer.startswith(
        "auto and standard attention are equivalent within 0.005 nats/char at equal width: "
    )
    assert "than that" not in summary.answer


def test_a_difference_that_is_not_shown_to_matter(declare_in: Declare) -> None:
    summary = _summary(declare_in, _less(0.011, 0.012, 0.013), smallest_effect=0.012)
    assert summary.contrasts[0].verdict == "better"
    assert (
        "it is not shown to exceed 0.012 nats/char, the declared smallest difference that matters"
        in summary.answer
    )


def test_no_difference(declare_in: Declare) -> None:
    summary = _summary(declare_in, _less(0.001, -0.001, 0.0003), smallest_effect=0.001)
    [contrast] = summary.contrasts
    assert contrast.verdict == "no difference found"
    low, high = contrast.interval or (0.0, 0.0)
    assert "No difference between auto and standard attention was found at equal width" in summary.answer
    assert f"a difference larger than {max(-low, high):.4f} can be excluded at 95 % confidence." in summary.answer


def test_one_model_under_two_names(declare_in: Declare) -> None:
    [contrast] = _summary(declare_in, dict(STANDARD)).contrasts
    assert contrast.interval == (0.0, 0.0)
    assert contrast.verdict == "no difference found"
    assert contrast.sentence == (
        "auto and standard attention have the same validation loss at equal width, with every seed."
    )


def test_a_measure_that_one_arm_lacks_is_no_missing_run(declare_in: Declare) -> None:
    contrasts = [{"arm": "auto", "than": "standard", "measure": "latent_cache_bytes"}]
    [contrast] = _summary(declare_in, dict(STANDARD), contrasts=contrasts).contrasts
    assert contrast.verdict == "not measured"
    assert contrast.sentence.endswith("one of the two has no latent KV cache, so nothing is compared.")


@pytest.mark.parametrize("by", ["parameters", "flops", "wall-clock"])
def test_an_arm_that_was_not_matched_is_never_called_equal(by: str, declare_in: Declare) -> None:
    arms = {"auto": {"match": False, "model": {"d_ff": 48}}}
    folder, declaration = declare_in(
        {"matching": {"by": [by]}, "arms": arms}, measure=lambda configs: [c.model.d_ff for c in configs]
    )
    summary = summarise(folder, declaration, _records(declaration, _less(0.011, 0.012, 0.013)))
    sentence = summary.contrasts[-1].sentence
    assert sentence.startswith(
        "auto is better than standard attention by 0.0120 nats/char [0.0095, 0.0145] though not at"
    )
    assert any("of the others" in note for note in summary.notes)


def test_arms_on_the_edge_of_the_grid_share_a_sentence() -> None:
    on_edge = [TuningResult(id, (), 2.0, True, id != "c", None) for id in "abc"]
    assert edges(on_edge) == [
        "c does best on the edge of what was searched: it may be tuned too little.",
        "a and b do best on the edge of what was searched, which was extended there: they may be tuned "
        "too little.",
    ]


def test_one_seed_says_that_no_interval_is_possible(declare_in: Declare) -> None:
    summary = _summary(declare_in, _less(0.01), seeds=[1])
    assert "from one seed: no confidence interval is possible" in summary.answer
    assert "One seed was declared: no confidence interval is possible." in summary.notes
    assert summary.noise.sd is None


def test_failed_runs_are_reported_and_never_averaged(declare_in: Declare) -> None:
    summary = _summary(declare_in, {**_less(0.011, 0.012), 3: None})
    [contrast] = summary.contrasts
    assert contrast.seeds == (1, 2)
    assert contrast.mean == pytest.approx(-0.0115)
    assert "Of 3 seeds, 1 failed or are missing" in contrast.sentence
    assert summary.arms[1].n == 2
    assert summary.failed[0].name == "final-auto-seed3"
    assert any("counts nowhere: loss is nan" in note for note in summary.notes)


def test_missing_runs_are_said_to_be_missing(declare_in: Declare) -> None:
    summary = _summary(declare_in, {})
    assert "no pair of runs has succeeded yet" in summary.answer
    assert "3 of 6 runs are still missing." in summary.notes


def test_stale_records_do_not_count(declare_in: Declare) -> None:
    folder, declaration = declare_in()
    records = _records(declaration, _less(0.01, 0.01, 0.01))
    stale = {name: replace(record, hash="old") for name, record in records.items()}
    assert summarise(folder, declaration, stale).runs.done == 0


def test_noise_floor(declare_in: Declare) -> None:
    noise = _summary(declare_in, {}).noise
    assert noise.sd == pytest.approx(0.005)
    assert noise.resolvable == pytest.approx(stats.t.ppf(0.975, 4) * 0.005 * (2 / 3) ** 0.5)


def test_the_noise_floor_of_a_screening_is_that_of_all_variants(declare_in: Declare) -> None:
    folder, declaration = declare_in({"screening": True, "contrasts": []}, amend=True)
    records = _records(declaration, _less(0.01, 0.02, 0.06))
    noise = summarise(folder, declaration, records).noise
    each = [[r.nats_per_char for r in records.values() if r.arm == arm.id] for arm in declaration.arms]
    assert noise.variants == len(each) > 1
    variances = [np.var(losses, ddof=1) for losses in each]
    assert len(set(np.round(variances, 9))) > 1
    assert noise.sd == pytest.approx(np.mean(variances) ** 0.5)
    degrees = len(each) * (len(each[0]) - 1)
    assert noise.resolvable == pytest.approx(stats.t.ppf(0.975, degrees) * noise.sd * (2 / len(each[0])) ** 0.5)


def test_many_contrasts_are_corrected(declare_in: Declare) -> None:
    contrasts = [{"arm": "auto", "than": "standard", "primary": True},
                 {"arm": "auto", "than": "standard", "measure": "gap"},
                 {"arm": "auto", "than": "standard", "measure": "cache_bytes"}]  # fmt: skip
    folder, declaration = declare_in({"contrasts": contrasts})
    records = _records(declaration, _less(0.010, 0.012, 0.017))
    found = summarise(folder, declaration, records).contrasts
    assert found[0].p_holm == pytest.approx(3 * found[0].p)
    assert found[2].p == found[2].p_holm == 1.0


def test_speed_of_runs_that_shared_the_machine_is_not_compared(declare_in: Declare) -> None:
    speed = {"arm": "auto", "than": "standard", "measure": "chars_per_second"}
    folder, declaration = declare_in({"contrasts": [{"arm": "auto", "than": "standard"}, speed]})
    records = _records(declaration, _less(0.010, 0.012, 0.017))
    assert summarise(folder, declaration, records).contrasts[1].n == 3
    shared = {name: replace(r, started="2026-01-01", finished="2026-01-02") for name, r in records.items()}
    loss, found = summarise(folder, declaration, shared).contrasts
    assert (found.verdict, found.mean, found.n, found.lost) == ("not comparable", None, 0, 0)
    assert found.sentence.endswith(
        "training speed was measured in runs that shared the machine, so nothing is compared."
    )
    assert loss.n == 3


def test_only_the_primary_contrast_has_an_interval_of_its_own(declare_in: Declare) -> None:
    arms = {"wide": {"model": {"d_ff": 40}}, "deep": {"model": {"n_layers": 2}}}
    folder, declaration = declare_in({"arms": arms})
    records = {
        job.name: done(job, 1.3 + 0.01 * (job.seed % 2) - (0.004 * job.seed if job.arm != "standard" else 0))
        for job in jobs(declaration, {})
    }
    summary = summarise(folder, declaration, records)
    primary, *others = summary.contrasts
    assert primary.shown == primary.interval
    assert primary.simultaneous is None
    assert not summary.answer.startswith("Exploratory")
    for other in others:
        assert other.interval == pytest.approx(primary.interval)
        wanted = stats.ttest_1samp(list(other.differences.values()), 0).confidence_interval(1 - 0.05 / 2)
        assert other.shown == pytest.approx(tuple(wanted))
        assert other.sentence.startswith("Exploratory: ")


def test_intervals_of_exploratory_contrasts_hold_0_all_at_once_where_there_is_no_difference() -> None:
    """Five arms without any difference against one baseline, 400 times: at least one of the bare intervals misses
    0 far more often than once in twenty, of the simultaneous ones no more often, up to the simulation error."""
    random = np.random.default_rng(7)
    times, missed = 400, {"interval": 0, "simultaneous": 0}
    for losses in random.normal(0, 0.002, (times, 6, 6)):  # seeds 6, the baseline first
        contrasts = together([_null(arm - losses[0]) for arm in losses[1:]])
        for name in missed:
            missed[name] += any(not low <= 0 <= high for low, high in (getattr(c, name) for c in contrasts))
    assert missed["interval"] / times > 0.12
    assert missed["simultaneous"] / times <= 0.05 + 2 * (0.05 * 0.95 / times) ** 0.5


def _null(differences: np.ndarray[Any, Any]) -> ContrastResult:
    found = estimate(list(differences))
    return ContrastResult(
        id="", arm="a", than="b", measure="valid_nats", matching="width", size=None, primary=False, claim=None,
        labels=("a", "b"), unit="nats", n=6, seeds=(), lost=0, differences=dict(enumerate(differences)),
        mean=found.mean, interval=found.interval, p=found.p, baseline=None, bootstrap=None,
        percent_perplexity=None, paired_batches=True, verdict="one seed",
    )  # fmt: skip


def test_the_conditions_of_an_answer_are_said(declare_in: Declare, text: dict[str, Any]) -> None:
    assert _summary(declare_in, {}).conditions == (
        "Found at 2.56K and 2.82K parameters, 512 characters of train.txt, three seeds, learning rates not tuned."
    )
    tuning = {"rates": [1.0, 2.0], "share": 0.5}
    folder, declaration = declare_in({"tuning": tuning, "smallest_effect": 0.01}, amend=True)
    [amendment] = declaration.amended
    assert amendment.changed[:2] == ("seeds.tuning was [], is [1001]", "smallest_effect was 0.005, is 0.01")
    said = summarise(folder, declaration, {}).conditions
    assert (
        "three seeds, learning rates tuned on half of the budget with one other seed; amended once after" in said
    )
    assert "(seeds.tuning was [], is [1001]; smallest_effect was 0.005, is 0.01" in said


def test_without_a_primary_contrast_all_sizes_are_conditions(tmp_path: Path) -> None:
    folder = made_up.make(tmp_path / "made", sizes=("460k", "120k", "30k"), arms=("standard",))
    assert conditions(read_declaration(folder)).startswith("Found at 32.2K, 120K and 460K parameters, 20M")


def test_runs_that_were_resumed_are_named(declare_in: Declare) -> None:
    folder, declaration = declare_in()
    records = _records(declaration, _less(0.010, 0.012, 0.017))
    records["final-auto-seed2"] = replace(records["final-auto-seed2"], resumed=(4,))
    notes = summarise(folder, declaration, records).notes
    assert "Interrupted, and resumed from a checkpoint: final-auto-seed2." in notes


def test_runs_in_two_precisions_are_counted(declare_in: Declare) -> None:
    folder, declaration = declare_in()
    records = _records(declaration, _less(0.010, 0.012, 0.017))
    assert not any("precision" in note for note in summarise(folder, declaration, records).notes)
    one = records["final-auto-seed2"]
    training = {**one.config["training"], "precision": "bf16"}
    records[one.name] = replace(one, config={**one.config, "training": training})
    notes = summarise(folder, declaration, records).notes
    assert "The runs were not computed in one precision: 1 in bf16, 5 in fp32." in notes


def test_a_measure_of_attention_is_read_from_the_analysis(declare_in: Declare) -> None:
    contrast = {"arm": "auto", "than": "standard", "measure": "attention.gini"}
    folder, declaration = declare_in({"attention": True, "contrasts": [contrast]})
    records = _records(declaration, _less(0, 0, 0))
    _analyse(folder, records)
    [found] = summarise(folder, declaration, records).contrasts
    assert found.mean == pytest.approx(0.2)
    assert found.verdict == "more"
    assert found.sentence.startswith(
        "auto has higher attention Gini index than standard attention at equal width: by 0.2000"
    )


def _analyse(folder: Folder, records: dict[str, Record]) -> None:
    folder.analysis.mkdir()
    for name, record in records.items():
        gini = (0.7 if record.arm == "auto" else 0.5) + 0.01 * record.seed
        analysis = RunAnalysis(name, record.hash, (Snapshot(1, 1.3, with_gini(gini)),))
        (folder.analysis / f"{name}.json").write_text(json.dumps(analysis.to_dict()))


def test_books_may_disagree_where_seeds_agree(declare_in: Declare) -> None:
    folder, declaration = declare_in()
    records = {}
    for job in jobs(declaration, {}):
        shift = 0.001 * job.seed if job.arm == "auto" else 0.0
        books = {"a": (1.3 - 0.1 * (job.arm == "auto"), 100), "b": (1.3 + 0.08 * (job.arm == "auto"), 100)}
        total = sum(nats * chars for nats, chars in books.values()) / 200
        records[job.name] = done(job, total - shift / 1e3, books)
    [contrast] = summarise(folder, declaration, records).contrasts
    assert contrast.verdict == "better"
    assert contrast.bootstrap == Bootstrap(pytest.approx((-0.1, 0.08)), seeds=3, books=2)
    assert "On other books it might be otherwise" in contrast.sentence


def test_unpaired_batches_are_said_to_be_unpaired(declare_in: Declare) -> None:
    folder, declaration = declare_in()
    records = {name: replace(r, batches=r.arm) for name, r in _records(declaration, _less(0, 0, 0.1)).items()}
    [contrast] = summarise(folder, declaration, records).contrasts
    assert not contrast.paired_batches
    assert "did not read the same batches" in contrast.sentence
