"""Steps that wait until several can be worked out together."""

import numpy as np
import pytest

from diag.columns import of_network
from diag.events import Column
from diag.plan import Plan, Taken
from diag.steps import EndedSteps


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


RATE, OTHER = (Plan([of_network((name,)).cells]) for name in ("learning_rate", "loss"))
NORMS = Plan([tuple(Column(name, "0.weight", "parameters") for name in ("weight_norm", "update_norm"))])


def read(ended):
    return [(each.step, {r.name: r.value for r in each.readings}) for each in ended]


def test_they_come_together_in_order_with_what_follows_from_them(clock):
    steps = EndedSteps(most=3, clock=clock)
    for step in range(2):
        assert steps.add(step, [Taken(NORMS, np.array([2.0, step])), Taken(RATE, np.array([0.1]))]) == []
    ended = steps.add(2, [Taken(NORMS, np.array([2.0, 2.0])), Taken(RATE, np.array([0.1]))])
    assert read(ended) == [
        (step, {"weight_norm": 2.0, "update_norm": step, "update_ratio": step / 2, "learning_rate": 0.1})
        for step in range(3)
    ]
    assert steps.take() == []


def test_none_waits_for_longer_than_it_is_told_to(clock):
    steps = EndedSteps(seconds=1.0, clock=clock)
    assert steps.add(0, [Taken(RATE, np.array([0.1]))]) == []
    assert not steps.are_due
    clock.now = 1.0
    assert steps.are_due
    assert [each.step for each in steps.add(1, [Taken(RATE, np.array([0.1]))])] == [0, 1]
    assert not steps.are_due


def test_other_numbers_send_those_before_them_on_their_way(clock):
    steps = EndedSteps(clock=clock)
    steps.add(0, [Taken(RATE, np.array([0.1]))])
    assert read(steps.add(1, [Taken(OTHER, np.array([7.0]))])) == [(0, {"learning_rate": 0.1})]
    assert read(steps.take()) == [(1, {"loss": 7.0})]


def test_each_has_the_time_when_it_ended(clock, monkeypatch):
    times = iter([100.0, 101.5])
    monkeypatch.setattr("time.time", lambda: next(times))
    steps = EndedSteps(clock=clock)
    for step in range(2):
        steps.add(step, [Taken(RATE, np.array([0.1]))])
    assert [each.wall_time for each in steps.take()] == [100.0, 101.5]
