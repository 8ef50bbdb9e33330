"""Schedules by their formulas: known rates, what holds at the ends, schedules of one's own."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scratchnet import nn, optim
from scratchnet.optim import lr_scheduler
from tests.scratchnet.schedules.contract import of_torch, ours, theirs


def run(make: Callable[[optim.Optimizer], Any], steps: int, lr: float = 1.0) -> list[float]:
    optimizer = optim.SGD([nn.Parameter(np.zeros(1))], lr=lr, momentum=0.9)
    schedule = make(optimizer)
    rates = [schedule.get_last_lr()[0]]
    for _ in range(steps):
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    return rates


HALF = math.sqrt(0.5)
KNOWN: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "lambda": (lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)), [1, 1 / 2, 1 / 3, 1 / 4]),
    "stairs": (lambda o: lr_scheduler.StepLR(o, 2, 0.5), [1, 1, 0.5, 0.5, 0.25]),
    "milestones": (lambda o: lr_scheduler.MultiStepLR(o, [1, 3], 0.5), [1, 0.5, 0.5, 0.25, 0.25]),
    "constant": (lambda o: lr_scheduler.ConstantLR(o, 0.5, 2), [0.5, 0.5, 1, 1]),
    "constant from zero": (lambda o: lr_scheduler.ConstantLR(o, 0.0, 2), [0, 0, 1, 1]),
    "warm-up": (lambda o: lr_scheduler.LinearLR(o, 0.25, total_iters=3), [0.25, 0.5, 0.75, 1, 1]),
    "exponential": (lambda o: lr_scheduler.ExponentialLR(o, 0.5), [1, 0.5, 0.25, 0.125]),
    "line to zero": (lambda o: lr_scheduler.PolynomialLR(o, 4), [1, 0.75, 0.5, 0.25, 0, 0]),
    "parabola": (lambda o: lr_scheduler.PolynomialLR(o, 2, power=2), [1, 0.25, 0, 0]),
    "cosine": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 4),
        [1, (1 + HALF) / 2, 0.5, (1 - HALF) / 2, 0, (1 - HALF) / 2],
    ),
    "restarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 1, 2, eta_min=0.5),
        [1, 1, 0.75, 1, 0.75 + HALF / 4, 0.75, 0.75 - HALF / 4, 1],
    ),
    "triangles": (lambda o: lr_scheduler.CyclicLR(o, 1, 3, 2), [1, 2, 3, 2, 1, 2]),
    "halved triangles": (
        lambda o: lr_scheduler.CyclicLR(o, 1, 3, 1, mode="triangular2"),
        [1, 3, 1, 2, 1, 1.5],
    ),
    "one cycle": (
        lambda o: lr_scheduler.OneCycleLR(o, 8, 8, pct_start=0.375, div_factor=4, final_div_factor=2),
        [2, 5, 8, 8 - 7 * math.sin(math.pi / 10) ** 2],
    ),
    "one linear cycle": (
        lambda o: lr_scheduler.OneCycleLR(
            o, 8, 7, pct_start=3 / 7, anneal_strategy="linear", div_factor=4, final_div_factor=2
        ),
        [2, 5, 8, 6.25, 4.5, 2.75, 1],
    ),
    "a sequence": (
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o, 0.1, 9), lr_scheduler.ExponentialLR(o, 0.5)], [2]
        ),
        [0.1, 0.1, 1, 0.5, 0.25],
    ),
    "a chain": (
        lambda o: lr_scheduler.ChainedScheduler(
            [lr_scheduler.ConstantLR(o, 0.1, 2), lr_scheduler.ExponentialLR(o, 0.5)]
        ),
        [0.1, 0.05, 0.25, 0.125],
    ),
    "a chain within a sequence": (
        lambda o: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.ConstantLR(o, 0.3, 9),
                lr_scheduler.ChainedScheduler(
                    [lr_scheduler.ConstantLR(o, 0.1, 1), lr_scheduler.ExponentialLR(o, 0.5)]
                ),
            ],
            [2],
        ),
        [0.3, 0.3, 0.1, 0.5, 0.25],
    ),
}


@pytest.mark.parametrize(("make", "rates"), KNOWN.values(), ids=KNOWN)
def test_the_first_rates_are_what_the_formula_says(make: Callable[[Any], Any], rates: list[float]) -> None:
    assert run(make, len(rates) - 1) == pytest.approx(rates, rel=1e-12, abs=1e-15)


def test_momentum_mirrors_the_one_cycle() -> None:
    optimizer = ours()
    schedule = lr_scheduler.OneCycleLR(
        optimizer, 1.0, 10, base_momentum=0.5, max_momentum=0.9, anneal_strategy="linear"
    )
    momenta = []
    for _ in range(10):
        momenta.append(optimizer.param_groups[0]["momentum"])
        schedule.step()
    rise, fall = np.linspace(0.9, 0.5, 3), np.linspace(0.5, 0.9, 8)[1:]
    assert momenta == pytest.approx([*rise, *fall])


def test_nothing_drifts_over_many_steps() -> None:
    assert run(lambda o: lr_scheduler.ExponentialLR(o, 0.9997), 20_000, lr=0.3)[-1] == 0.3 * 0.9997**20_000
    assert run(lambda o: lr_scheduler.LinearLR(o, 1e-6, total_iters=9_999), 10_000, lr=0.3)[-1] == 0.3


def test_a_schedule_goes_on_after_its_rate_was_zero() -> None:
    wave = run(lambda o: lr_scheduler.CosineAnnealingLR(o, 10), 20)
    assert wave[10] == 0
    assert wave[20] == pytest.approx(1.0)


def test_warm_restarts_take_fractions_of_an_epoch() -> None:
    pair = [
        module.CosineAnnealingWarmRestarts(optimizer, 3, 2)
        for module, optimizer in ((lr_scheduler, ours()), (of_torch(), theirs()))
    ]
    epochs = [*np.arange(0, 12, 0.25).tolist(), None, None, 26, None]
    for epoch in epochs:
        for schedule in pair:
            schedule.optimizer.step()
            schedule.step(epoch)
        assert pair[0].get_last_lr() == pytest.approx(pair[1].get_last_lr(), rel=1e-9, abs=1e-15)
        assert pair[0].last_epoch == pair[1].last_epoch


def test_a_restart_is_never_missed() -> None:
    # By logarithms, as PyTorch counts the rounds, some of these restarts come a step late.
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(ours(), 1, 3)
    for exponent in range(1, 30):
        schedule.step((3**exponent - 1) // 2)
        assert (schedule.T_cur, schedule.T_i) == (0, 3**exponent)


def test_a_schedule_of_one_s_own_needs_get_lr_alone() -> None:
    class Halving(lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:
            return [base / 2**self.last_epoch for base in self.base_lrs]

    assert run(Halving, 3) == [1, 0.5, 0.25, 0.125]
    joined = run(lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ConstantLR(o), Halving(o)], [2]), 4)
    assert joined == pytest.approx([1 / 3, 1 / 3, 1, 0.5, 0.25])


def test_a_rate_of_numpy_s_becomes_python_s() -> None:
    optimizer = optim.SGD([nn.Parameter(np.ones(2, np.float32))], lr=np.float64(0.5))
    schedule = lr_scheduler.ExponentialLR(optimizer, np.float64(0.5))
    schedule.step()
    assert type(optimizer.param_groups[0]["lr"]) is float
