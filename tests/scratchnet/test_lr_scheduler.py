"""Every schedule of the table beside its PyTorch twin, and across a saved state."""

import copy
import json

import numpy as np
import pytest

from scratchnet.optim import lr_scheduler
from tests.scratchnet.schedules.cases import CASES
from tests.scratchnet.schedules.contract import (
    RATES,
    STEPS,
    Case,
    advance,
    halve,
    numbers,
    of_torch,
    ours,
    theirs,
    walk,
)

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


def test_every_schedule_has_a_case() -> None:
    assert {case.schedule for case in CASES} == set(lr_scheduler.__all__) - {"LRScheduler"}
    assert len({case.id for case in CASES}) == len(CASES)


@every_case
def test_rates_and_momenta_are_pytorch_s_over_two_hundred_steps(case: Case) -> None:
    twin = case.make(of_torch(), theirs(case.optimizer))
    schedule = case.make(lr_scheduler, ours(case.optimizer))
    for mine, yours in zip(walk(case, schedule, 0, STEPS), walk(case, twin, 0, STEPS), strict=True):
        np.testing.assert_allclose(mine, yours, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(schedule.get_last_lr(), twin.get_last_lr(), rtol=1e-9, atol=1e-15)


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rates_are_python_s_own_numbers_so_that_weights_keep_their_dtype(case: Case, dtype: type) -> None:
    schedule = case.make(lr_scheduler, ours(case.optimizer, dtype))
    weights = [parameter for group in schedule.optimizer.param_groups for parameter in group["params"]]
    for step in range(12):
        for weight in weights:
            weight.grad = None
            weight.sum().backward()
        advance(schedule, case, step)
        assert all(type(value) is float for value in numbers(schedule.optimizer))
        assert all(weight.dtype == dtype for weight in weights)
    assert schedule.get_last_lr() == [group["lr"] for group in schedule.optimizer.param_groups]
    assert schedule.last_epoch == 12


@every_case
@pytest.mark.parametrize("stop", [0, 1, 97])
def test_a_loaded_state_goes_on_exactly_where_the_saved_one_stood(case: Case, stop: int) -> None:
    whole = case.make(lr_scheduler, ours(case.optimizer))
    expected = list(walk(case, whole, 0, STEPS))
    first = case.make(lr_scheduler, ours(case.optimizer))
    for step in range(stop):
        advance(first, case, step)
    # Through a file: nothing in a state may be a function, an array or an optimiser.
    state = json.loads(json.dumps(first.state_dict()))
    second = case.make(lr_scheduler, ours(case.optimizer))
    for old, new in zip(first.optimizer.param_groups, second.optimizer.param_groups, strict=True):
        new.update({name: value for name, value in old.items() if name != "params"})
    second.load_state_dict(state)
    assert second.get_last_lr() == first.get_last_lr()
    assert list(walk(case, second, stop, STEPS)) == expected[stop:]


@every_case
def test_a_state_is_a_copy_and_a_copied_schedule_is_on_its_own(case: Case) -> None:
    schedule = case.make(lr_scheduler, ours(case.optimizer))
    state, twin = schedule.state_dict(), copy.deepcopy(schedule)
    before = copy.deepcopy(state), numbers(twin.optimizer)
    for step in range(60):
        advance(schedule, case, step)
    assert (state, numbers(twin.optimizer)) == before


def test_a_state_may_be_loaded_more_than_once() -> None:
    state = lr_scheduler.ExponentialLR(ours(), 0.5).state_dict()
    first, second = (lr_scheduler.ExponentialLR(ours(), 0.5) for _ in range(2))
    for schedule in (first, second):
        schedule.load_state_dict(state)
    halve(first.optimizer)
    first.step()
    second.step()
    assert first.get_last_lr() == pytest.approx([rate / 4 for rate in RATES])
    assert second.get_last_lr() == pytest.approx([rate / 2 for rate in RATES])
