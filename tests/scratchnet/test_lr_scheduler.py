"""Every schedule in one table: beside its PyTorch twin, across a saved state, and by its formula."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

from scratchnet import nn, optim
from scratchnet.optim import lr_scheduler

STEPS = 200
RATES = (0.1, 0.03)


@dataclass
class Case:
    """One configuration. ``make`` is given a module of schedules, ours or PyTorch's, and an optimiser."""

    id: str
    schedule: str
    make: Callable[[Any, Any], Any]
    optimizer: str = "SGD"
    measures: bool = False


def case(schedule: str, *arguments: Any, note: str = "", optimizer: str = "SGD", **options: Any) -> Case:
    """The ordinary case: a constructor that takes the optimiser and plain values."""
    return Case(
        f"{schedule}{', ' + note if note else ''}",
        schedule,
        lambda module, it: getattr(module, schedule)(it, *arguments, **options),
        optimizer,
        measures=schedule == "ReduceLROnPlateau",
    )


def sequence(s: Any, o: Any) -> Any:
    parts = [s.LinearLR(o, 0.1, total_iters=20), s.CosineAnnealingLR(o, 100), s.ExponentialLR(o, 0.97)]
    return s.SequentialLR(o, parts, milestones=[20, 120])


def sequence_of_cycles(s: Any, o: Any) -> Any:
    parts = [s.ConstantLR(o, 0.2, 10), s.CosineAnnealingWarmRestarts(o, 15, 2, 1e-3), s.StepLR(o, 7)]
    return s.SequentialLR(o, parts, milestones=[10, 150])


def chain(s: Any, o: Any) -> Any:
    return s.ChainedScheduler([s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.99), s.StepLR(o, 30, 0.5)])


def chain_to_a_floor(s: Any, o: Any) -> Any:
    return s.ChainedScheduler([s.LinearLR(o, 0.1, 1.0, 50), s.CosineAnnealingLR(o, 300, eta_min=1e-3)], o)


def written_over(s: Any, o: Any) -> Any:
    return s.ChainedScheduler([s.ExponentialLR(o, 0.9), s.LambdaLR(o, lambda step: 1 / (1 + step))])


CASES = [
    case("LambdaLR", lambda step: 0.95**step),
    case("LambdaLR", [lambda step: 1 / (1 + step), lambda step: step % 7], note="one a group"),
    case("StepLR", 30),
    case("StepLR", 7, gamma=0.8, note="short stairs"),
    case("MultiStepLR", [1, 30, 31, 150], gamma=0.5),
    case("ConstantLR"),
    case("ConstantLR", 0.7, total_iters=150, note="long"),
    case("LinearLR"),
    case("LinearLR", 1e-3, 0.8, total_iters=77, note="long"),
    case("LinearLR", 1.0, 0.0, total_iters=150, note="down to zero"),
    case("ExponentialLR", 0.98),
    case("PolynomialLR"),
    case("PolynomialLR", 180, power=2.5, note="curved"),
    case("CosineAnnealingLR", 200, eta_min=1e-4),
    case("CosineAnnealingLR", 37, note="several waves"),
    case("CosineAnnealingLR", 50, eta_min=0.05, note="floor between the rates"),
    case("CosineAnnealingWarmRestarts", 13),
    case("CosineAnnealingWarmRestarts", 10, 2, eta_min=1e-3, note="growing rounds"),
    case("CosineAnnealingWarmRestarts", 9, 3, note="powers of three"),
    case("CyclicLR", 0.001, 0.1, step_size_up=20),
    case("CyclicLR", 0.0, [0.1, 0.5], 13, 31, mode="triangular2", note="halved"),
    case("CyclicLR", 0.01, 0.1, 20, mode="exp_range", gamma=0.99, note="exponential"),
    case("CyclicLR", [0.01, 0.02], 0.1, 20, scale_fn=lambda cycle: 1 / cycle**2, note="own scale"),
    case("CyclicLR", 0.01, 0.1, 9, scale_fn=math.cos, scale_mode="iterations", note="own scale by step"),
    case("CyclicLR", 0.01, 0.1, 20, base_momentum=0.7, max_momentum=0.95, optimizer="Adam", note="Adam"),
    case("CyclicLR", 0.01, 0.1, 20, cycle_momentum=False, note="momentum left alone"),
    case("OneCycleLR", 0.5, total_steps=200),
    case("OneCycleLR", [0.5, 0.1], epochs=10, steps_per_epoch=20, optimizer="Adam", note="Adam"),
    case("OneCycleLR", 0.5, 211, pct_start=0.4, anneal_strategy="linear", note="linear"),
    case("OneCycleLR", 0.5, 200, three_phase=True, note="three phases"),
    case("OneCycleLR", 0.5, 203, pct_start=0.5, three_phase=True, div_factor=3.0, note="two halves"),
    case("OneCycleLR", 0.5, 200, pct_start=0.0, cycle_momentum=False, note="no rise, no momentum"),
    case("OneCycleLR", 0.5, 200, base_momentum=[0.5, 0.6], max_momentum=0.99, note="momenta"),
    case("ReduceLROnPlateau", patience=5),
    case("ReduceLROnPlateau", "max", factor=0.7, patience=1, threshold_mode="abs", note="max, abs"),
    case("ReduceLROnPlateau", threshold=0.05, threshold_mode="abs", patience=2, note="min, abs"),
    case("ReduceLROnPlateau", "max", 0.5, 3, 0.01, cooldown=7, min_lr=[0.01, 0.02], note="cooldown, bounds"),
    case("ReduceLROnPlateau", patience=0, factor=0.5, eps=1e-3, min_lr=1e-5, note="no patience, eps"),
    Case("SequentialLR", "SequentialLR", sequence),
    Case("SequentialLR, cycles", "SequentialLR", sequence_of_cycles),
    Case("ChainedScheduler", "ChainedScheduler", chain),
    Case("ChainedScheduler, floor", "ChainedScheduler", chain_to_a_floor),
    Case("ChainedScheduler, written over", "ChainedScheduler", written_over),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)

OPTIONS: dict[str, dict[str, Any]] = {"SGD": {"momentum": 0.9}, "Adam": {"betas": (0.9, 0.99)}}


def groups_of(make: Callable[[int], Any]) -> list[dict[str, Any]]:
    return [{"params": [make(index)], "lr": rate} for index, rate in enumerate(RATES)]


def ours(kind: str = "SGD", dtype: type = np.float32) -> optim.Optimizer:
    groups = groups_of(lambda _: nn.Parameter(np.ones(2, dtype)))
    return getattr(optim, kind)(groups, **OPTIONS[kind])


def theirs(kind: str = "SGD") -> Any:
    torch = pytest.importorskip("torch")
    return getattr(torch.optim, kind)(groups_of(lambda _: torch.nn.Parameter(torch.ones(2))), **OPTIONS[kind])


def of_torch() -> Any:
    return pytest.importorskip("torch.optim.lr_scheduler")


def measure(step: int) -> float:
    """Falls, lingers, falls again, and is once no number."""
    noise = np.random.default_rng(step).normal(0, 0.02)
    return math.nan if step == 60 else 2 * 0.97 ** min(step, 80) - 0.3 * (step > 150) + noise


def advance(schedule: Any, case: Case, step: int) -> None:
    schedule.optimizer.step()
    schedule.step(*([measure(step)] if case.measures else []))


def numbers(optimizer: Any) -> list[float]:
    """What a schedule may move: rates, and momentum or the first beta."""
    return [
        value for group in optimizer.param_groups for value in (group["lr"], *group.get("betas", ())[:1])
    ] + [group["momentum"] for group in optimizer.param_groups if "momentum" in group]


def walk(case: Case, schedule: Any, begin: int, end: int) -> Iterator[list[float]]:
    for step in range(begin, end):
        yield numbers(schedule.optimizer)
        advance(schedule, case, step)
    yield numbers(schedule.optimizer)


# ------------------------------------------------------------------------------------- every schedule


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


# -------------------------------------------------------------------------------- beside other hands


def halve(optimizer: Any) -> None:
    for group in optimizer.param_groups:
        group["lr"] *= 0.5


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


# ----------------------------------------------------------------------------------------- by formula


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


# --------------------------------------------------------------------------------------------- errors


def one_cycle(**options: Any) -> Any:
    return lr_scheduler.OneCycleLR(ours(), 0.1, **options)


def sequential(*milestones: int, parts: int = 3) -> Any:
    optimizer = ours()
    return lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.ConstantLR(optimizer) for _ in range(parts)], milestones
    )


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no optimiser": (
        lambda: lr_scheduler.StepLR(None, 3),  # type: ignore[arg-type]
        TypeError,
        "StepLR needs an optimiser, got NoneType; make one first",
    ),
    "a model for an optimiser": (
        lambda: lr_scheduler.OneCycleLR(nn.Linear(1, 1), 0.1, 100),  # type: ignore[arg-type]
        TypeError,
        "OneCycleLR needs an optimiser, got Linear",
    ),
    "no optimiser on a plateau": (
        lambda: lr_scheduler.ReduceLROnPlateau([]),  # type: ignore[arg-type]
        TypeError,
        "ReduceLROnPlateau needs an optimiser, got list",
    ),
    "going on without a start": (
        lambda: lr_scheduler.StepLR(ours(), 3, last_epoch=7),
        KeyError,
        "StepLR needs .*initial_lr.* in every group to go on from last_epoch=7",
    ),
    "no stair": (lambda: lr_scheduler.StepLR(ours(), 0), ValueError, "needs step_size > 0, got step_size=0"),
    "milestones that fall": (
        lambda: lr_scheduler.MultiStepLR(ours(), [5, 3]),
        ValueError,
        r"MultiStepLR needs milestones that increase from above zero, got \[5, 3\]",
    ),
    "milestones that stay": (
        lambda: lr_scheduler.MultiStepLR(ours(), [3, 3]),
        ValueError,
        r"milestones that increase from above zero, got \[3, 3\]",
    ),
    "a milestone at zero": (lambda: sequential(0, 3), ValueError, r"increase from above zero, got \[0, 3\]"),
    "too few milestones": (
        lambda: sequential(3),
        ValueError,
        "one milestone between each two schedules, got 3 schedules and 1 milestones",
    ),
    "a share above one": (lambda: lr_scheduler.ConstantLR(ours(), 1.5), ValueError, "needs factor in .0, 1."),
    "a warm-up from zero": (
        lambda: lr_scheduler.LinearLR(ours(), 0.0),
        ValueError,
        "LinearLR needs start_factor > 0, got start_factor=0",
    ),
    "a warm-up of no steps": (
        lambda: lr_scheduler.LinearLR(ours(), total_iters=0),
        ValueError,
        "LinearLR needs total_iters > 0",
    ),
    "no wave": (
        lambda: lr_scheduler.CosineAnnealingLR(ours(), 0),
        ValueError,
        "needs T_max > 0, got T_max=0",
    ),
    "half a round": (
        lambda: lr_scheduler.CosineAnnealingWarmRestarts(ours(), 0.5),  # type: ignore[arg-type]
        ValueError,
        "needs T_0 to be an integer above zero, got 0.5",
    ),
    "an epoch before the first": (
        lambda: lr_scheduler.CosineAnnealingWarmRestarts(ours(), 5).step(-1),
        ValueError,
        "needs epoch >= 0, got -1",
    ),
    "functions for too many groups": (
        lambda: lr_scheduler.LambdaLR(ours(), [abs]),
        ValueError,
        "one lr_lambda for each of 2 groups, got 1",
    ),
    "rates for too many groups": (
        lambda: lr_scheduler.CyclicLR(ours(), 0.1, [0.5, 0.6, 0.7]),
        ValueError,
        "CyclicLR needs one max_lr for each of 2 groups, got 3",
    ),
    "an unknown cycle": (
        lambda: lr_scheduler.CyclicLR(ours(), 0.1, 0.5, mode="square"),  # type: ignore[arg-type]
        ValueError,
        "needs mode 'triangular', 'triangular2' or 'exp_range', got 'square'; pass scale_fn",
    ),
    "no momentum to move": (
        lambda: _without_momentum(),
        ValueError,
        "CyclicLR needs an optimiser with momentum or betas.*pass cycle_momentum=False",
    ),
    "no length": (one_cycle, ValueError, "OneCycleLR needs total_steps, or both epochs and steps_per_epoch"),
    "half a length": (lambda: one_cycle(epochs=3), ValueError, "got epochs=3 and steps_per_epoch=None"),
    "no steps": (
        lambda: one_cycle(total_steps=0),
        ValueError,
        "total_steps to be an integer above zero, got 0",
    ),
    "too few steps to rise": (
        lambda: one_cycle(total_steps=3),
        ValueError,
        r"needs total_steps \* pct_start > 1 to rise at all, got total_steps=3 and pct_start=0.3; count updates",
    ),
    "a rise that never ends": (
        lambda: one_cycle(total_steps=9, pct_start=1.0),
        ValueError,
        "needs pct_start in",
    ),
    "a mirror too long": (
        lambda: one_cycle(total_steps=9, pct_start=0.6, three_phase=True),
        ValueError,
        "at most 0.5 with three_phase=True, got 0.6",
    ),
    "an unknown curve": (
        lambda: one_cycle(total_steps=9, anneal_strategy="exp"),
        ValueError,
        "needs anneal_strategy 'cos' or 'linear', got 'exp'",
    ),
    "a factor that does not reduce": (
        lambda: lr_scheduler.ReduceLROnPlateau(ours(), factor=1.0),
        ValueError,
        "needs 0 <= factor < 1, got factor=1.0",
    ),
    "an unknown aim": (
        lambda: lr_scheduler.ReduceLROnPlateau(ours(), "less"),  # type: ignore[arg-type]
        ValueError,
        "needs mode 'min' or 'max', got 'less'",
    ),
    "an unknown threshold": (
        lambda: lr_scheduler.ReduceLROnPlateau(ours(), threshold_mode="both"),  # type: ignore[arg-type]
        ValueError,
        "needs threshold_mode 'rel' or 'abs', got 'both'",
    ),
    "an empty chain": (
        lambda: lr_scheduler.ChainedScheduler([]),
        ValueError,
        "ChainedScheduler needs at least one schedule, got none",
    ),
    "a plateau in a chain": (
        lambda: lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(ours())]),
        TypeError,
        "needs schedules that count steps, got ReduceLROnPlateau at position 0",
    ),
    "a chain across optimisers": (
        lambda: lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(ours()) for _ in range(2)]),
        ValueError,
        "needs schedules of one optimiser, got another's at position 1",
    ),
    "a state of another class": (
        lambda: lr_scheduler.StepLR(ours(), 3).load_state_dict(
            lr_scheduler.ExponentialLR(ours(), 0.5).state_dict()
        ),
        KeyError,
        "StepLR needs a state of its own class; missing: .'step_size'., unknown: none",
    ),
    "a state of fewer parts": (
        lambda: sequential(1, 2).load_state_dict(sequential(1, parts=2).state_dict()),
        ValueError,
        "SequentialLR needs the states of its 3 parts, got 2",
    ),
    "a schedule without a rule": (
        lambda: lr_scheduler.LRScheduler(ours()),
        TypeError,
        "LRScheduler needs a get_lr method",
    ),
}


def _without_momentum() -> Any:
    optimizer = ours()
    for group in optimizer.param_groups:
        del group["momentum"]
    return lr_scheduler.CyclicLR(optimizer, 0.1, 0.5)


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS.values(), ids=ERRORS)
def test_what_makes_no_schedule_is_refused(
    call: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_one_cycle_ends_where_it_was_told_to() -> None:
    schedule = one_cycle(total_steps=10)
    for _ in range(10):
        schedule.step()
    with pytest.raises(ValueError, match="at most total_steps=10 calls of step, got one more"):
        schedule.step()


def test_a_group_that_came_later_is_refused() -> None:
    optimizer = ours()
    schedule = lr_scheduler.StepLR(optimizer, 3)
    optimizer.param_groups.append({"params": [], "lr": 1.0})
    with pytest.raises(ValueError, match="needs the 2 groups that it was made for, got 3"):
        schedule.step()
