"""Optimisers beside their PyTorch twins, over a hundred steps and to the last digits."""

from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn, optim
from scratchnet.tape import Array

torch = pytest.importorskip("torch")

STEPS = 100
SHAPES = [(4, 3), (3,), (5,), (2, 2), (6,)]

CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 0.1}),
    "SGD, momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "SGD, dampening": ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    "SGD, Nesterov": ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "SGD, weight decay": ("SGD", {"lr": 0.1, "weight_decay": 0.05}),
    "SGD, everything": (
        "SGD",
        {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "maximize": True},
    ),
    "Adam": ("Adam", {"lr": 0.01}),
    "Adam, weight decay": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "Adam, amsgrad": ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "amsgrad": True}),
    "Adam, maximize": ("Adam", {"lr": 0.01, "eps": 1e-3, "maximize": True}),
    "AdamW": ("AdamW", {"lr": 0.01}),
    "AdamW, amsgrad": ("AdamW", {"lr": 0.01, "weight_decay": 0.2, "amsgrad": True}),
    "AdamW, maximize": ("AdamW", {"lr": 0.01, "weight_decay": 0.05, "maximize": True}),
}

every_configuration = pytest.mark.parametrize(
    ("name", "options"), CONFIGURATIONS.values(), ids=CONFIGURATIONS
)


def pairs() -> tuple[list[nn.Parameter], list[Any]]:
    numbers = np.random.default_rng(0)
    starts = [numbers.standard_normal(shape) for shape in SHAPES]
    return [nn.Parameter(start.copy()) for start in starts], [
        torch.nn.Parameter(torch.tensor(start)) for start in starts
    ]


def gets_a_gradient(position: int, step: int) -> bool:
    """The first always, the second never, the others only sometimes and not together."""
    return position == 0 or (position > 1 and (step + position) % (position + 1) != 0)


def gradients(arrays: list[Array], numbers: np.random.Generator, step: int) -> list[Array | None]:
    """Noise, and a pull towards zero, so that what goes wrong in one step shows in all that follow."""
    return [
        0.1 * array + noise if gets_a_gradient(position, step) else None
        for position, array in enumerate(arrays)
        for noise in [numbers.standard_normal(array.shape)]
    ]


def learn(optimizer: Any, parameters: list[Any], slopes: list[Array | None], tensor: Any) -> None:
    """One step with the gradients given."""
    for parameter, slope in zip(parameters, slopes, strict=True):
        parameter.grad = None if slope is None else tensor(slope)
    optimizer.step()


def flat(arrays: list[Any]) -> Array:
    return np.concatenate([np.ravel(array) for array in arrays])


def run(ours: Any, theirs: Any, parameters: list[nn.Parameter], twins: list[Any], steps: int = STEPS) -> None:
    """Takes the steps side by side, and compares all parameters after each."""
    noise, twin_noise = np.random.default_rng(1), np.random.default_rng(1)
    for step in range(steps):
        arrays, twin_arrays = [p.numpy() for p in parameters], [twin.detach().numpy() for twin in twins]
        learn(ours, parameters, gradients(arrays, noise, step), sn.Tensor)
        learn(theirs, twins, gradients(twin_arrays, twin_noise, step), torch.from_numpy)
        ends = flat([p.numpy() for p in parameters]), flat([twin.detach().numpy() for twin in twins])
        np.testing.assert_allclose(*ends, rtol=1e-12, atol=1e-13)


@every_configuration
def test_parameters_that_get_a_gradient_only_sometimes_go_pytorch_s_way(
    name: str, options: dict[str, Any]
) -> None:
    parameters, twins = pairs()
    start = parameters[1].numpy().copy()
    run(
        getattr(optim, name)(parameters, **options),
        getattr(torch.optim, name)(twins, **options),
        parameters,
        twins,
    )
    np.testing.assert_array_equal(parameters[1].numpy(), start)


@every_configuration
def test_groups_of_their_own_hyperparameters_go_pytorch_s_way(name: str, options: dict[str, Any]) -> None:
    parameters, twins = pairs()

    def groups(members: list[Any]) -> list[dict[str, Any]]:
        return [
            {"params": members[:2]},
            {"params": members[2:4], "lr": 0.003, "weight_decay": 0.0},
            {"params": members[4:], "weight_decay": 0.3},
        ]

    run(
        getattr(optim, name)(groups(parameters), **options),
        getattr(torch.optim, name)(groups(twins), **options),
        parameters,
        twins,
    )


@pytest.mark.parametrize("choice", ["SGD, momentum", "Adam, weight decay", "AdamW, amsgrad"])
def test_a_learning_rate_that_changes_on_the_way_changes_it_as_in_pytorch(choice: str) -> None:
    name, options = CONFIGURATIONS[choice]
    parameters, twins = pairs()
    ours, theirs = getattr(optim, name)(parameters, **options), getattr(torch.optim, name)(twins, **options)
    for factor in (3.0, 0.1):
        ours.param_groups[0]["lr"] *= factor
        theirs.param_groups[0]["lr"] *= factor
        run(ours, theirs, parameters, twins, STEPS // 2)
