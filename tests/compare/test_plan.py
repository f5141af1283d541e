"""What is declared is written before anything runs, known by its hash, and never changed in silence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from aeattn.compare import plan
from aeattn.compare.declaration import read_declaration
from aeattn.compare.jobs import jobs
from aeattn.compare.parse import find_spec, read_spec, shipped
from aeattn.compare.records import Text, TextSide
from aeattn.config.model import ModelConfig
from aeattn.config.run import DataConfig
from aeattn.config.sources import read_toml
from aeattn.data.store import prepare
from aeattn.errors import InputError
from aeattn.nn.size import size
from aeattn.training.plan import corpus_of
from tests.compare.conftest import Declare, nothing_timed


def test_a_declaration_comes_back_as_it_was_written(declare_in: Declare) -> None:
    folder, declaration = declare_in({"tuning": {"rates": [0.5, 2]}, "matching": {"by": ["width", "parameters"]}})
    assert read_declaration(folder) == declaration
    assert json.loads(folder.spec.read_text())["hash"] == declaration.hash
    assert folder.toml.read_text() == "# as given\n"
    assert (
        declare_in({"tuning": {"rates": [0.5, 2]}, "matching": {"by": ["width", "parameters"]}})[1] == declaration
    )


def test_another_spec_is_refused_and_an_amendment_is_remembered(declare_in: Declare) -> None:
    folder, before = declare_in()
    with pytest.raises(InputError, match=r"declared with another spec .* --amend"):
        declare_in({"seeds": [4]})
    assert read_declaration(folder) == before
    _, after = declare_in({"seeds": [4]}, amend=True)
    assert after.hash != before.hash
    assert [each.hash for each in after.amended] == [before.hash]


def test_a_declaration_that_was_changed_is_refused(declare_in: Declare) -> None:
    folder, _ = declare_in()
    values = json.loads(folder.spec.read_text())
    values["smallest_effect"] = 1.0
    folder.spec.write_text(json.dumps(values))
    with pytest.raises(InputError, match="changed after it was declared"):
        declare_in()
    folder.spec.write_text('{"format": 1, "hash": "x"}')
    with pytest.raises(InputError, match="damaged"):
        declare_in()
    folder.spec.write_text('{"format": 2}')
    with pytest.raises(InputError, match="update aeattn"):
        declare_in()


def test_a_folder_of_other_files_is_left_alone(declare_in: Declare, tmp_path: Any) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        declare_in()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("kind", ["parameters", "flops", "wall-clock"])
def test_an_arm_that_is_left_alone_says_how_far_it_is_off(kind: str, declare_in: Declare) -> None:
    arms = {"auto": {"match": False, "model": {"d_ff": 48}}}
    _, declaration = declare_in(
        {"matching": {"by": [kind]}, "arms": arms}, measure=lambda configs: [c.model.d_ff for c in configs]
    )
    assert declaration.arm("auto").run_config.model.d_ff == 48
    assert (declaration.arm("auto").off_by or 0) > 0.1
    assert declaration.arm("standard").off_by is None


def test_every_way_of_matching_has_arms_of_its_own_unless_they_are_the_same(declare_in: Declare) -> None:
    _, declaration = declare_in({"matching": {"by": ["width", "parameters", "flops"], "tolerance": 0.02}})
    assert [arm.id for arm in declaration.arms] == ["standard@width", "auto@width", "auto@parameters"]
    [*contrasts] = declaration.contrasts
    assert {(c.arm, c.than) for c in contrasts} == {
        ("auto@width", "standard@width"),
        ("auto@parameters", "standard@width"),
    }
    assert [c.primary for c in contrasts] == [True, False]
    assert declaration.arm("auto@parameters").parameters == declaration.arm("standard@width").parameters


def test_sizes_are_matched_one_by_one(declare_in: Declare) -> None:
    sizes = {"small": {"model": {"d_ff": 24}}, "large": {"model": {"d_ff": 96}}}
    _, declaration = declare_in({"matching": {"by": ["parameters"], "tolerance": 0.02}, "sizes": sizes})
    found = {arm.id: arm.parameters for arm in declaration.arms}
    assert found["auto@small"] == found["standard@small"] < found["auto@large"] == found["standard@large"]
    assert [c.size for c in declaration.contrasts] == ["small", "large"]


@pytest.mark.parametrize(
    ("budget", "steps"), [({"chars": 6400}, [100, 100]), ({"minutes": 0.1}, [60, 30]), ({"flops": 1e9}, None)]
)
def test_budgets_become_steps(
    budget: dict[str, float], steps: list[int] | None, declare_in: Declare, spec_values: dict[str, Any]
) -> None:
    spec_values["budget"] = budget
    _, declaration = declare_in(measure=lambda configs: [0.1, 0.2])
    if steps is None:
        costs = [64 * size(ModelConfig(**arm.config["model"])).train_flops for arm in declaration.arms]
        steps = [int(1e9 // cost) for cost in costs]
        assert steps[0] != steps[1]
    assert [arm.steps for arm in declaration.arms] == steps


def test_a_budget_of_characters_counts_those_of_the_text_and_not_its_tokens(
    declare_in: Declare, spec_values: dict[str, Any]
) -> None:
    spec_values["budget"] = {"chars": 64 * 100}
    _, declaration = declare_in({"arms": {"auto": {"data": {"tokenizer": "bpe:300"}}}})
    characters, subwords = declaration.arms
    known = prepare(corpus_of(subwords.run_config.data, 0), spec="bpe:300").train.chars_per_token
    assert known > 2
    assert characters.steps == 100
    assert subwords.steps == int(100 / known)


def test_arms_that_cannot_be_matched_leave_no_folder(declare_in: Declare, tmp_path: Any) -> None:
    with pytest.raises(InputError, match=r"arms.auto cannot be matched by parameters: the nearest, d_ff = 1, has"):
        declare_in(
            {"matching": {"by": ["parameters"]}, "arms": {"auto": {"model": {"context": 32, "n_layers": 4}}}}
        )
    assert not (tmp_path / "out").exists()


def test_arms_may_read_texts_of_their_own(declare_in: Declare) -> None:
    _, declaration = declare_in({"arms": {"auto": {"data": {"limit_valid_chars": 50}}}})
    assert [arm.text for arm in declaration.arms] == [0, 1]
    assert declaration.text[1].valid.chars == 150
    assert declaration.text[1].valid.files == ("a", "b", "c")


SHIPPED = [
    (name, budget) for name in shipped() for budget in read_toml(find_spec(name)).get("budgets", {None: {}})
]


@pytest.mark.parametrize(("name", "budget"), SHIPPED)
def test_every_shipped_spec_can_be_declared_in_every_budget(
    name: str, budget: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stand_in(self: plan._Resolver, data: DataConfig, seed: int) -> plan.ReadText:
        self.read.append(plan.ReadText(data, data, 49, 1.0))
        self.texts.append(Text(TextSide(1, ""), TextSide(1, "")))
        return self.read[-1]

    monkeypatch.setattr(plan._Resolver, "_text", stand_in)
    declaration = plan.declare(read_spec(find_spec(name), budget), "", nothing_timed, lambda _: None)
    assert len(declaration.arms) >= 3
    assert all(arm.run_config.model.d_ff > 1 for arm in declaration.arms)  # an arm without a feed-forward is none
    for contrast in declaration.contrasts:
        assert {contrast.arm, contrast.than} <= {arm.id for arm in declaration.arms}


def test_an_arm_may_be_matched_in_some_ways_alone(declare_in: Declare) -> None:
    arms = {"auto": {"match": ["parameters"], "model": {"d_ff": 48}}}
    _, declaration = declare_in({"matching": {"by": ["parameters", "flops"], "tolerance": 0.02}, "arms": arms})
    matched, left = declaration.arm("auto@parameters"), declaration.arm("auto@flops")
    assert matched.off_by is not None
    assert abs(matched.off_by) <= 0.02
    assert left.run_config.model.d_ff == 48
    assert (left.off_by or 0) > 0.1


def test_replaced_records_are_not_ignored(declare_in: Declare) -> None:
    folder, _ = declare_in()
    assert folder.ignore.read_text() == "/runs/\n/logs/\n/executor/\n/optuna.journal*\n/stale/*/runs/\n/.lock\n"


def test_a_plug_in_is_part_of_what_is_declared(declare_in: Declare, tmp_path: Path) -> None:
    without = {job.hash for job in jobs(declare_in()[1], {})}
    plugin = tmp_path / "mine.py"
    plugin.write_text("A = 1\n")
    named = {"plugins": [str(plugin)]}
    folder, declaration = declare_in(named, amend=True)
    assert declaration.plugins == {str(plugin): hashlib.sha256(b"A = 1\n").hexdigest()}
    assert declaration.arms[0].run_config.plugins == (str(plugin),)  # so that every run loads it
    before = {job.hash for job in jobs(declaration, {})}
    assert not before & without
    assert read_declaration(folder) == declaration == declare_in(named)[1]
    plugin.write_text("A = 2\n")
    with pytest.raises(InputError, match="declared with another spec"):
        declare_in(named)
    _, amended = declare_in(named, amend=True)
    assert not before & {job.hash for job in jobs(amended, {})}
