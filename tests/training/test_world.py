"""What several processes do, one after the other: together it is what one does."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aeattn.config.run import RunConfig, TrainingConfig
from aeattn.errors import InputError
from aeattn.nn.layers import Dropout, dropout_by_rows, key_dropouts, row_keys
from aeattn.training import optimizers
from aeattn.training.evaluate import score_windows, summed, total
from aeattn.training.exchange import Exchange
from aeattn.training.optimizers import BatchedMuon, joined_parts, padded, part_of
from aeattn.training.processes import Processes, check_alike, meeting
from aeattn.training.signals import Interrupted
from aeattn.training.start import differences, facts
from aeattn.training.trainer import Trainer
from aeattn.training.world import World, check_batch
from tests.training.test_trainer import SETTINGS, _trainer


def _in_world(alone: Trainer, world: World) -> Trainer:
    settings: TrainingConfig = replace(alone.config.training, eval_chars=200)
    return Trainer(RunConfig(alone.config.model, settings, alone.config.data), alone.text, world=world)


@pytest.fixture
def trainers(tmp_path: Path) -> list[Trainer]:
    """One that is alone, and two of a world of two, over two documents, with dropout."""
    alone = _trainer(tmp_path, SETTINGS, dropout=0.2)
    first, cut = alone.text.valid.documents[0], 520  # more windows than are evaluated at once
    halves = (replace(first, name="a", stop=cut, chars=cut, bytes=cut),
              replace(first, name="b", start=cut, chars=len(first) - cut, bytes=len(first) - cut))  # fmt: skip
    alone.text = replace(alone.text, valid=replace(alone.text.valid, documents=halves))
    return [_in_world(alone, world) for world in (World(), World(0, 2), World(1, 2))]


def test_all_have_the_same_weights_and_a_share_of_the_batch(trainers: list[Trainer]) -> None:
    alone, *both = trainers
    for trainer in both:
        for p, q in zip(alone.model.parameters(), trainer.model.parameters(), strict=True):
            assert torch.equal(p, q)
    rows = np.concatenate([trainer.loader.at(3) for trainer in both])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, alone.loader.at(3).numpy()))


@pytest.mark.parametrize("passes", [1, 2])
def test_gradients_with_dropout_average_to_those_of_one(trainers: list[Trainer], passes: int) -> None:
    losses, gradients = [], []
    for trainer in trainers:
        if trainer is not trainers[0]:
            trainer.windows_at_once = len(trainer.loader.rows) // passes
            trainer._dropout_keys = key_dropouts(trainer.model, trainer.windows_at_once)
        losses.append(trainer._gradients(trainer.loader.at(0)))
        gradients.append([p.grad for p in trainer.model.parameters() if p.grad is not None])
    assert losses[0] == pytest.approx((losses[1] + losses[2]) / 2, rel=1e-6)
    for whole, first, second in zip(*gradients, strict=True):
        assert torch.allclose(whole, (first + second) / 2, atol=1e-7)


def test_evaluations_of_all_processes_sum_to_that_of_one(trainers: list[Trainer]) -> None:
    alone, *both = trainers
    whole, shares = alone._evaluate(), [trainer._evaluate() for trainer in both]
    assert all(share.tokens for share in shares)
    sum_ = total(shares)
    assert (whole.tokens, whole.chars, whole.bytes) == (sum_.tokens, sum_.chars, sum_.bytes)
    assert whole.nats == pytest.approx(sum_.nats, rel=1e-12)
    files = summed([trainer.file_scores for trainer in both])
    assert [(name, score.chars) for name, score in files] == [(n, s.chars) for n, s in alone.file_scores]


@pytest.mark.parametrize("side", ["valid", "train"])
def test_evaluations_on_the_way_are_shared_too(trainers: list[Trainer], side: str) -> None:
    scores = []
    for trainer in trainers:
        trainer.evaluation.start(trainer)
        windows = trainer.world.share(getattr(trainer.evaluation, f"_{side}"))
        scores.append(score_windows(trainer.model, windows, trainer.text.tokenizer))
    assert scores[0].tokens == scores[1].tokens + scores[2].tokens
    assert scores[0].nats == pytest.approx(scores[1].nats + scores[2].nats, rel=1e-6)


@given(st.integers(1, 5), st.integers(0, 12), st.integers(0, 12))
def test_each_takes_every_so_many(size: int, first: int, count: int) -> None:
    """Counted on from what came before."""
    numbers = list(range(first, first + count))
    shares = [list(World(rank, size).each(numbers, first)) for rank in range(size)]
    assert sorted(chain(*shares)) == numbers
    assert all(n % size == rank for rank, share in enumerate(shares) for n in share)


def test_what_cannot_be_is_refused() -> None:
    assert World(0, 2).main
    assert not World(1, 2).main
    with pytest.raises(InputError, match="rank is 2 of 2"):
        World(2, 2)
    check_batch(6, World(0, 3))
    with pytest.raises(InputError, match=r"4 processes cannot share a batch of 6 windows equally: .* such as 8"):
        check_batch(6, World(0, 4))
    with pytest.raises(InputError, match="2 processes cannot share a batch of 1 window equally"):
        check_batch(1, World(0, 2))


# -- dropout --------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**63 - 1), st.integers(0, 99), st.integers(1, 5), st.integers(1, 90))
def test_masks_are_those_of_the_row_whoever_has_it(seed: int, batch: int, size: int, width: int) -> None:
    rows, x = torch.arange(6), torch.ones(6, width)
    whole = dropout_by_rows(x, 0.3, row_keys(seed, batch, rows))
    for rank in range(size):
        mine = rows[rank::size]
        assert torch.equal(dropout_by_rows(x[mine], 0.3, row_keys(seed, batch, mine)), whole[mine])


def test_masks_of_rows_are_independent_and_of_the_rate_asked_for() -> None:
    n = 40_000
    keys = torch.cat([row_keys(seed, batch, torch.arange(2)) for seed in (0, 1) for batch in (0, 1)])
    assert len(keys.unique()) == len(keys)
    kept = (dropout_by_rows(torch.ones(len(keys), n), 0.5, keys) != 0).double()
    assert torch.corrcoef(kept).sub(torch.eye(len(keys))).abs().max() < 0.025
    assert torch.corrcoef(kept.view(-1, 4).T).sub(torch.eye(4)).abs().max() < 0.02
    dropped = (dropout_by_rows(torch.ones(len(keys), n), 0.1, keys) == 0).double().mean()
    assert abs(dropped - 0.1) < 0.003


def test_every_layer_and_use_has_masks_of_its_own() -> None:
    model = torch.nn.Sequential(Dropout(0.5), Dropout(0.5))
    key_dropouts(model, 2).copy_(row_keys(0, 0, torch.arange(2)))
    x = torch.ones(2, 64)
    masks = [layer(x, use) for layer in model for use in (0, 1)]
    assert all(not torch.equal(a, b) for i, a in enumerate(masks) for b in masks[:i])
    assert torch.equal(model[0](x, 1), masks[1])


# -- Muon -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_parts_of_stacks_join_to_the_whole(size: int, numbers: list[int]) -> None:
    stacks = [torch.randn(n, i + 1, 3) for i, n in enumerate(numbers)]
    sent = []
    for rank in range(size):
        world = World(rank, size)
        parts = [padded(part_of(stack, world), stack, world) for stack in stacks]
        sent.append(torch.cat([part.flatten() for part in parts]))
    for found, stack in zip(joined_parts(sent, stacks, World(0, size)), stacks, strict=True):
        assert torch.equal(found, stack)


@dataclass(frozen=True)
class _Talking(Processes):
    """A process whose fellows' words are made up."""

    others: Any = None

    def collect(self, tensor: Tensor) -> list[Tensor]:
        return [self.others(rank, tensor) if rank != self.rank else tensor for rank in range(self.size)]

    def add_up(self, tensor: Tensor) -> None:
        for rank in range(1, self.size):
            tensor += self.others(rank, tensor)

    def gather(self, value: Any) -> list[Any]:
        return [value, *(self.others(rank, value) for rank in range(1, self.size))]


def _stepped(world: World) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = [(8, 4), (4, 8), (4, 4), (4, 8)]
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    muon = BatchedMuon(parameters, world=world, lr=0.1, weight_decay=0.1, momentum=0.9)
    for _ in range(2):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape)
        muon.step()
    return [p.detach() for p in parameters]


def test_muon_of_two_is_that_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process orthogonalises its half; what the other sends is computed as it would be there."""
    done, real = [], optimizers.orthogonalise
    whole = _stepped(World())

    def counted(x: Tensor, *settings: Any) -> Tensor:
        done.append(len(x))
        return real(x, *settings)

    def of_the_other(stacks: list[Tensor], group: dict[str, Any]) -> Callable[[int, Tensor], Tensor]:
        def send(rank: int, _: Tensor) -> Tensor:
            world = World(rank, 2)
            settings = group["ns_coefficients"], group["ns_steps"], group["eps"]
            parts = [padded(real(part_of(s, world).bfloat16(), *settings), s, world) for s in stacks]
            return torch.cat([part.flatten() for part in parts])

        return send

    orthogonal = BatchedMuon._orthogonal

    def told(self: BatchedMuon, stacks: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        self.world = _Talking(0, 2, others=of_the_other(stacks, group))
        return orthogonal(self, stacks, group)

    monkeypatch.setattr(BatchedMuon, "_orthogonal", told)
    monkeypatch.setattr(optimizers, "orthogonalise", counted)
    for p, q in zip(_stepped(World()), whole, strict=True):
        assert torch.equal(p, q)
    assert done == [2, 1] * 2  # of three matrices of one shape and one of another


# -- what they tell each other --------------------------------------------------------------------------------


def test_gradients_and_losses_are_averaged() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([1.0, 2.0, 3.0])
    world = _Talking(0, 2, others=lambda rank, tensor: 3 * tensor)
    assert Exchange(world, [parameter]).average(2.0, None) == 4.0
    assert torch.equal(parameter.grad, torch.tensor([2.0, 4.0, 6.0]))
    assert Exchange(World(), [parameter]).average(2.0, 15) == 2.0  # alone, the trainer looks for itself


def test_a_signal_to_one_stops_all_before_the_update() -> None:
    world = _Talking(0, 2, others=lambda rank, tensor: torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
    with pytest.raises(Interrupted) as stopped:
        Exchange(world, []).average(2.0, None)
    assert stopped.value.exit_code == 143


def test_bf16_gradients_are_rounded() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.tensor([1.0 + 2**-12])
    Exchange(_Talking(0, 2, others=lambda rank, tensor: tensor), [parameter], "bf16").average_gradients()
    assert parameter.grad.dtype == torch.float32
    assert parameter.grad.item() == 1.0


def test_others_are_named(trainers: list[Trainer]) -> None:
    alone = trainers[0]
    here = facts(alone.config, alone.text)
    check_alike(_Talking(0, 2, others=lambda rank, value: value), here, differences)
    text = replace(alone.text, train=replace(alone.text.train, sha256="other"))
    changed = replace(alone.config, training=replace(SETTINGS, seed=7))
    for theirs, said in (
        (facts(alone.config, text), "another text to train on"),
        (facts(changed, alone.text), "training.seed was 0, is 7"),
        ({**here, "packages": {**here["packages"], "torch": "1.0"}}, "another version of torch"),
    ):
        with pytest.raises(InputError, match=rf"process 1 of 2 does not train what process 0 does: .*{said}"):
            check_alike(_Talking(0, 2, others=lambda rank, value, t=theirs: t), here, differences)


def test_a_refusal_of_one_is_that_of_all() -> None:
    def refuse() -> None:
        raise InputError("no text")

    world = _Talking(0, 2, others=lambda rank, value: value)
    with pytest.raises(InputError, match=r"^no text$"):
        world.agreed(refuse)
    with pytest.raises(InputError, match=r"^process 1 of 2: no text$"):
        _Talking(0, 2, others=lambda rank, value: "no text").agreed(lambda: 1)
    assert world.agreed(lambda: 1) == 1


def test_those_who_meet_again_do_not_hear_the_dead() -> None:
    """One store, several times, as torchrun gives it to restarts; in the first, one died before it was heard."""
    store, size, rng = dist.HashStore(), 3, random.Random(4)
    store.set("aeattn/nonce/2", "of-the-dead")

    def meet(rank: int, later: float) -> str:
        time.sleep(later)
        return meeting(store, rank, size, seconds=30.0)

    names = []
    for _ in range(8):
        with ThreadPoolExecutor(size) as threads:
            met = [threads.submit(meet, rank, rng.uniform(0, 0.05)) for rank in range(size)]
            (name,) = {done.result() for done in met}
        names.append(name)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("rank", [0, 1])
def test_one_whom_nobody_meets_waits_no_longer_than_it_is_told(rank: int) -> None:
    with pytest.raises(RuntimeError, match="timed out"):
        meeting(dist.HashStore(), rank, 2, seconds=0.1)
