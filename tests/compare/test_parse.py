"""Specs: what is declared is what was written, and every mistake gets a line that says how to mend it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from aeattn.compare.parse import find_spec, parse, read_spec, shipped
from aeattn.compare.spec import Budget
from aeattn.config.convert import overlay
from aeattn.errors import InputError


def test_what_is_not_said_has_a_default(spec_values: dict[str, Any]) -> None:
    spec = parse(spec_values, "small")
    assert spec.seeds == (1, 2, 3)
    assert spec.budget == Budget("chars", 512)
    assert spec.tuning is None
    [contrast] = spec.contrasts
    assert (contrast.arm, contrast.than, contrast.primary) == ("auto", "standard", True)
    assert spec.settings(spec.arms[1], None)["model"]["query"] == "linear"
    assert spec.settings(spec.arms[1], None)["data"]["seed"] == 0  # the same text for every seed


def test_an_arm_may_start_from_another_preset(spec_values: dict[str, Any]) -> None:
    spec = parse(overlay(spec_values, {"arms": {"classic": {"preset": "460k-classic"}}}), "small")
    settings = spec.settings(spec.arms[2], None)
    assert settings["model"]["per_head"] is True
    assert settings["model"]["d_model"] == 16  # what the base says holds for every arm


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"sede": [1]}, "unknown key 'sede'; did you mean 'seeds'"),
    ({"seeds": [1, 1]}, "seeds is .*different whole numbers"),
    ({"seeds": []}, "seeds is"),
    ({"seeds": "three"}, "seeds is 'three'"),
    ({"budget": {"chars": -1}}, "budget.chars is -1: give a number of more than 0"),
    ({"budget": {"chars": 1, "minutes": 2}}, "give one of chars, flops and minutes"),
    ({"budget": {"hours": 1}}, "budget: unknown key 'hours'"),
    ({"matching": {"by": ["size"]}}, "matching.by is 'size': choose one of width"),
    ({"matching": {"by": [1]}}, "matching.by is"),
    ({"matching": {"reference": "standart"}}, "did you mean 'standard'"),
    ({"matching": {"vary": "d_model"}}, "matching.vary is 'd_model': choose one of d_ff"),
    ({"matching": {"target": 1000}}, "target goes with `by`"),
    ({"tuning": {"seeds": [3]}}, "share 3: tune on seeds that are used for nothing else"),
    ({"tuning": {"rates": [1.0]}}, "two or more different factors"),
    ({"tuning": {"rates": ["fast", 2]}}, "tuning.rates is"),
    ({"tuning": {"share": 2.0}}, "tuning.share is 2.0"),
    ({"tuning": {"search": "random"}}, "choose grid or optuna"),
    ({"tuning": {"search": "optuna"}}, "tuning.space: say what to search"),
    ({"tuning": {"search": "optuna", "space": {"learning_rate": [1e-3, 1e-2]}}}, "name a setting"),
    ({"tuning": {"search": "optuna", "space": {"training.learning_rate": [1e-2, 1e-3]}}}, "give .low, high"),
    ({"base": {"training": {"seed": 3}}}, "training.seed comes from seeds: leave it out"),
    ({"base": {"mode": {}}}, "base: unknown key 'mode'; did you mean 'model'"),
    ({"arms": {"auto": {"training": {"steps": 3}}}}, "arms.auto: training.steps comes from the budget"),
    ({"arms": {"auto": {"model": {"d_fff": 3}}}}, "arms.auto: model: unknown key 'd_fff'; did you mean 'd_ff'"),
    ({"arms": {"auto": {"model": {"key": "cubic"}}}}, "arms.auto: model: key projection 'cubic' is unknown"),
    ({"arms": {"auto": {"model": {"bottleneck": 17}}}}, "arms.auto: .*wider than the width 16"),
    ({"arms": {"auto": {"model": 3}}}, "write a table"),
    ({"arms": {"auto": 3}}, "arms.auto is 3: write a table of settings there"),
    ({"arms": {"auto": {"preset": "460K"}}}, "did you mean '460k'"),
    ({"arms": {"a/b": {}}}, "choose a name of letters"),
    ({"arms": {"auto": {"match": "no"}}}, "write true or false"),
    (
        {"contrasts": [{"arm": "autos", "than": "standard"}]},
        "contrasts.arm is 'autos': did you mean 'auto'",
    ),
    ({"contrasts": [{"arm": "auto"}]}, "lacks 'than'"),
    ({"contrasts": [{"arm": ["auto"], "than": "standard"}]}, r"contrasts.arm is \['auto'\]"),
    ({"contrasts": [3], "budgets": {"quick": {"matching": {"by": ["width"]}}}}, "write tables"),
    ({"sizes": {"half": {"training": {"steps": 3}}}}, "sizes.half: training.steps comes from the budget"),
    ({"contrasts": [{"arm": "auto", "than": "auto"}]}, "compared with itself"),
    ({"contrasts": [{"arm": "auto", "than": "standard", "measure": "valid_nat"}]}, "did you mean 'valid_nats'"),
    ({"contrasts": [{"arm": "auto", "than": "standard", "measure": "attention.gini"}]}, "attention = true"),
    ({"contrasts": [{"arm": "auto", "than": "standard", "primary": True}] * 2}, "mark one, or say how many"),
    (
        {"contrasts": [{"arm": "auto", "than": "standard"}] * 2},
        "auto against standard in valid_nats is there twice",
    ),
    ({"sizes": {"half": {"modle": {}}}}, "sizes.half: unknown key 'modle'"),
    ({"smallest_effect": 0}, "smallest_effect is 0"),
    ({"attention": "yes"}, "attention is 'yes': write true or false"),
    ({"jobs": 0}, "jobs is 0"),
]


def test_equal_time_and_equal_operations_exclude_each_other(spec_values: dict[str, Any]) -> None:
    spec_values |= {"budget": {"flops": 1e9}, "matching": {"by": ["parameters", "wall-clock"]}}
    with pytest.raises(InputError, match="leave out wall-clock, or give"):
        parse(spec_values, "small")


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_mistakes(changes: dict[str, Any], message: str, spec_values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse(overlay(spec_values, changes), "small")
    assert "\n" not in str(caught.value)


def test_one_arm_is_no_comparison(spec_values: dict[str, Any]) -> None:
    del spec_values["arms"]["auto"]
    with pytest.raises(InputError, match="needs two"):
        parse(spec_values, "small")


def test_budgets_are_laid_over_the_spec(spec_values: dict[str, Any]) -> None:
    budgets = {"quick": {"seeds": [7]}, "slow": {"budget": {"minutes": 3}, "only": ["auto", "other"]}}
    values = overlay(spec_values, {"budgets": budgets, "arms": {"other": {}}})
    assert parse(values, "small").seeds == (7,)  # the first one
    slow = parse(values, "small", "slow")
    assert slow.budget == Budget("minutes", 3)
    assert [arm.name for arm in slow.arms] == ["auto", "other"]
    with pytest.raises(InputError, match="did you mean 'quick'"):
        parse(values, "small", "quik")
    with pytest.raises(InputError, match="no budget 'full' to choose"):
        parse(spec_values, "small", "full")


@pytest.mark.parametrize(
    ("name", "budget"), [("claims", "small"), ("claims", "full"), ("claims", "sizes"), ("first", None)]
)
def test_shipped_specs_are_specs(name: str, budget: str | None) -> None:
    assert name in shipped()
    spec = read_spec(find_spec(name), budget)
    assert sum(contrast.primary for contrast in spec.contrasts) == 1
    for arm in spec.arms:
        assert arm.label != arm.name


def test_the_example_in_the_documentation_is_a_spec() -> None:
    text = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    assert parse(tomllib.loads(example), "example", "quick").seeds == (1, 2)


def test_a_name_that_is_no_spec(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SPEC is 'claim': did you mean 'claims'"):
        find_spec("claim")
    with pytest.raises(InputError, match="is not there"):
        read_spec(find_spec(str(tmp_path / "none.toml")))


def test_without_books_another_text_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = read_spec(find_spec("claims"), "small")
    monkeypatch.setenv("AEATTN_CORPORA", str(tmp_path))
    assert spec.with_texts_at_hand().given["base"]["data"]["corpus"] == ["tales"]
    (tmp_path / "books" / "train").mkdir(parents=True)
    (tmp_path / "books" / "train" / "one.txt").write_text("once")
    assert spec.with_texts_at_hand().given["base"]["data"]["recipe"] == "books10m"
