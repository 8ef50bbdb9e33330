"""Every optimiser with some arguments, and a small network for it to train."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn, optim


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(np.array(values))


def give(p: nn.Parameter, *gradient: float) -> None:
    """Adds a gradient to a parameter by a backward pass."""
    (p * np.array(gradient)).sum().backward()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1))


def train(model: nn.Module, optimizer: optim.Optimizer, steps: int) -> list[float]:
    x = np.random.default_rng(0).standard_normal((16, 3))
    y = (x.sum(axis=1) > 0).astype(int)

    def closure() -> sn.Tensor:
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(x), y)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


EVERY: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda params: optim.SGD(params, lr=0.1),
    "SGD with momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    "Adagrad": lambda params: optim.Adagrad(params, lr=0.1, initial_accumulator_value=0.1),
    "RMSprop": lambda params: optim.RMSprop(params, lr=0.02, centered=True, momentum=0.5),
    "Adadelta": lambda params: optim.Adadelta(params, lr=3.0, eps=1e-3),
    "Adam": lambda params: optim.Adam(params, lr=0.1, amsgrad=True),
    "AdamW": lambda params: optim.AdamW(params, lr=0.1),
    "NAdam": lambda params: optim.NAdam(params, lr=0.1),
    "RAdam": lambda params: optim.RAdam(params, lr=0.1),
    "Lion": lambda params: optim.Lion(params, lr=0.03, weight_decay=0.01),
    "Shampoo": lambda params: optim.Shampoo(params, lr=0.1, momentum=0.5, update_interval=3),
    "LBFGS": lambda params: optim.LBFGS(params, lr=0.1, max_iter=2),
    "LBFGS with line search": lambda params: optim.LBFGS(params, max_iter=2, line_search_fn="strong_wolfe"),
    "SAM": lambda params: optim.SAM(optim.Adam(params, lr=0.1)),
}
WITHOUT_CLOSURE = {
    name: make for name, make in EVERY.items() if make([nn.Parameter(np.ones(1))]).needs_closure is False
}
every_optimizer = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
every_plain_optimizer = pytest.mark.parametrize("make", WITHOUT_CLOSURE.values(), ids=WITHOUT_CLOSURE)
