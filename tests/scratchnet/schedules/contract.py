"""How a schedule is made beside its PyTorch twin, and led through its steps."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from scratchnet import nn, optim

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


def halve(optimizer: Any) -> None:
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
