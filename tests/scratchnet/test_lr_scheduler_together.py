"""Schedules that are not alone: beside others and other hands on the rate, and from a checkpoint on."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from scratchnet.optim import lr_scheduler
from tests.scratchnet.schedules.cases import sequence
from tests.scratchnet.schedules.contract import (
    RATES,
    STEPS,
    Case,
    advance,
    case,
    halve,
    numbers,
    of_torch,
    ours,
    theirs,
    walk,
)


@pytest.mark.parametrize(
    "case",
    [
        case("StepLR", 20, 0.5),
        case("LinearLR", 0.1, total_iters=100),
        case("PolynomialLR", 300, 2.0),
        case("CosineAnnealingLR", 300, 0.01),
        case("CosineAnnealingWarmRestarts", 30),
        case("LambdaLR", lambda step: 0.9**step),
    ],
    ids=lambda case: case.id,
)
def test_what_others_do_to_a_rate_is_kept_or_written_over_as_in_pytorch(case: Case) -> None:
    pair = case.make(lr_scheduler, ours()), case.make(of_torch(), theirs())
    for step in range(STEPS):
        for schedule in pair:
            if step in (17, 40, 111):
                halve(schedule.optimizer)
            advance(schedule, case, step)
        mine, yours = (numbers(schedule.optimizer) for schedule in pair)
        np.testing.assert_allclose(mine, yours, rtol=1e-9)


def test_two_schedules_in_one_loop_multiply() -> None:
    optimizer = ours()
    schedules = [lr_scheduler.LinearLR(optimizer, 0.1), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    for step in range(1, 30):
        for schedule in schedules:
            schedule.step()
        share = 0.1 + 0.9 * min(step / 5, 1)
        rates = [rate * share * 0.9**step for rate in RATES]
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(rates, rel=1e-13)


def test_one_group_s_rate_may_be_changed_alone() -> None:
    optimizer = ours()
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.param_groups[1]["lr"] = 8.0
    schedule.step()
    assert schedule.get_last_lr() == [0.05, 4.0]


@pytest.mark.parametrize(
    "case",
    [
        case("StepLR", 20, 0.5),
        case("MultiStepLR", [10, 60]),
        case("LinearLR", 0.1, total_iters=100),
        case("CosineAnnealingLR", 120, 0.01),
        case("LambdaLR", lambda step: 0.9**step),
        case("OneCycleLR", 0.5, 200),
        case("CyclicLR", 0.01, 0.1, 20),
    ],
    ids=lambda case: case.id,
)
def test_last_epoch_goes_on_from_a_checkpoint_s_groups(case: Case) -> None:
    first = case.make(lr_scheduler, ours())
    expected = list(walk(case, first, 0, STEPS))
    before = case.make(lr_scheduler, ours())
    for step in range(50):
        advance(before, case, step)
    optimizer = ours()
    for old, new in zip(before.optimizer.param_groups, optimizer.param_groups, strict=True):
        new.update({"lr": old["lr"], "momentum": old["momentum"], "initial_lr": old["initial_lr"]})
    later = case.make(GoingOn(49), optimizer)
    np.testing.assert_allclose(list(walk(case, later, 50, STEPS)), expected[50:], rtol=1e-12)


def test_last_epoch_keeps_the_part_that_another_schedule_had() -> None:
    optimizer = ours()
    whole = [lr_scheduler.ConstantLR(optimizer, 0.1, 30), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    for _ in range(10):
        for schedule in whole:
            schedule.step()
    later = [
        lr_scheduler.ConstantLR(optimizer, 0.1, 30, last_epoch=9),
        lr_scheduler.ExponentialLR(optimizer, 0.9, last_epoch=9),
    ]
    assert later[0].last_epoch == 10
    for _ in range(25):
        for schedule in later:
            schedule.step()
    assert later[1].get_last_lr() == pytest.approx([rate * 0.9**35 for rate in RATES], rel=1e-12)


class GoingOn:
    """The module of schedules, each told where it stands."""

    def __init__(self, last_epoch: int) -> None:
        self.last_epoch = last_epoch

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(lr_scheduler, name), last_epoch=self.last_epoch)


def test_a_sequence_goes_on_in_the_middle_of_a_part() -> None:
    plain = Case("", "SequentialLR", sequence)
    expected = list(walk(plain, sequence(lr_scheduler, ours()), 0, STEPS))
    optimizer = ours()
    whole = sequence(lr_scheduler, optimizer)
    later = lr_scheduler.SequentialLR(optimizer, whole._schedulers, whole._milestones, last_epoch=69)
    np.testing.assert_allclose(list(walk(plain, later, 70, STEPS)), expected[70:], rtol=1e-12)
